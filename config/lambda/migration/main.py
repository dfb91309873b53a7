"""Origin request: a growing share of the paths is asked of the new origin. Which ones is decided by
the path alone, so that every viewer of a page sees the same."""

import hashlib

NEW = "new.example.com"
PERCENT = 50


def handler(event, context):
    request = event["Records"][0]["cf"]["request"]
    digest = hashlib.sha256(request["uri"].encode()).digest()
    if int.from_bytes(digest[:2], "big") % 100 < PERCENT:
        request["origin"]["custom"].update(
            domainName=NEW, port=443, protocol="https", path=""
        )
        request["headers"]["host"] = [{"key": "Host", "value": NEW}]
    return request
