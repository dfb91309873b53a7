"""Origin request: each country has its own folder where there is one. CloudFront-Viewer-Country must
be a part of the cache key."""

FOLDERS = {"DE": "/de", "AT": "/de", "FR": "/fr"}


def handler(event, context):
    request = event["Records"][0]["cf"]["request"]
    lines = request["headers"].get("cloudfront-viewer-country", [])
    folder = FOLDERS.get(lines[0]["value"]) if lines else None
    if folder and not request["uri"].startswith(folder + "/"):
        request["uri"] = folder + request["uri"]
    return request
