"""What boto3 makes, reads, changes and removes at an edge, told as JSON."""

import json
import sys

from calls import client_of, fault, many

endpoint, port, pem = sys.argv[1], int(sys.argv[2]), open(sys.argv[3]).read()
client = client_of(endpoint)


def lost(sent, told, path=""):
    """The places of what did not come back as it was sent."""
    if isinstance(sent, dict):
        inner = told if isinstance(told, dict) else {}
        return [place for key, value in sent.items() for place in lost(value, inner.get(key), f"{path}.{key}")]
    if isinstance(sent, list):
        if not isinstance(told, list) or len(told) != len(sent):
            return [path]
        return [place for at, one in enumerate(sent) for place in lost(one, told[at], f"{path}[{at}]")]
    return [] if sent == told else [path]


def choice(kind, *names):
    inner = {"Header": "Headers", "Cookie": "Cookies", "QueryString": "QueryStrings"}[kind]
    return {f"{kind}Behavior": "whitelist", inner: many(*names)}


seen = {}
KINDS = {
    "cache_policy": ("CachePolicy", {
        "Name": "own", "Comment": "c", "MinTTL": 1, "DefaultTTL": 60, "MaxTTL": 600,
        "ParametersInCacheKeyAndForwardedToOrigin": {
            "EnableAcceptEncodingGzip": True, "EnableAcceptEncodingBrotli": False, "HeadersConfig": choice("Header", "Origin"),
            "CookiesConfig": choice("Cookie", "sid"), "QueryStringsConfig": choice("QueryString", "w")}}),
    "origin_request_policy": ("OriginRequestPolicy", {
        "Name": "own", "HeadersConfig": {"HeaderBehavior": "allViewerAndWhitelistCloudFront", "Headers": many("CloudFront-Viewer-Country")},
        "CookiesConfig": {"CookieBehavior": "all"}, "QueryStringsConfig": {"QueryStringBehavior": "allExcept", "QueryStrings": many("utm")}}),
    "response_headers_policy": ("ResponseHeadersPolicy", {
        "Name": "own", "Comment": "c",
        "CorsConfig": {
            "AccessControlAllowOrigins": many("https://a.example.com"), "AccessControlAllowHeaders": many("X-A"),
            "AccessControlAllowMethods": many("GET"), "AccessControlAllowCredentials": True, "AccessControlExposeHeaders": many("ETag"),
            "AccessControlMaxAgeSec": 600, "OriginOverride": True},
        "SecurityHeadersConfig": {
            "FrameOptions": {"Override": True, "FrameOption": "DENY"}, "ContentTypeOptions": {"Override": True},
            "StrictTransportSecurity": {"Override": True, "IncludeSubdomains": True, "Preload": True, "AccessControlMaxAgeSec": 60}},
        "ServerTimingHeadersConfig": {"Enabled": True, "SamplingRate": 50.0},
        "CustomHeadersConfig": many({"Header": "X-B", "Value": "b", "Override": False}), "RemoveHeadersConfig": many({"Header": "X-C"})}),
    "origin_access_control": ("OriginAccessControl", {
        "Name": "own", "Description": "d", "SigningProtocol": "sigv4", "SigningBehavior": "no-override", "OriginAccessControlOriginType": "s3"}),
    "cloud_front_origin_access_identity": ("CloudFrontOriginAccessIdentity", {"CallerReference": "own", "Comment": "c"}),
    "public_key": ("PublicKey", {"CallerReference": "own", "Name": "own", "EncodedKey": pem, "Comment": "c"}),
}
ids = {}
for call, (name, config) in KINDS.items():
    made = getattr(client, f"create_{call}")(**{f"{name}Config": config})
    ids[call] = made[name]["Id"]
    read = getattr(client, f"get_{call}")(Id=ids[call])
    seen[name] = [lost(config, read[name][f"{name}Config"]), made["ETag"] == read["ETag"]]
group = client.create_key_group(KeyGroupConfig={"Name": "own", "Items": [ids["public_key"]]})["KeyGroup"]["Id"]

config = {
    "CallerReference": "boto", "Comment": "words & <more>", "Enabled": True,
    "Origins": many({"Id": "o", "DomainName": "127.0.0.1", "CustomOriginConfig": {
        "HTTPPort": port, "HTTPSPort": 443, "OriginProtocolPolicy": "http-only"}}),
    "DefaultCacheBehavior": {
        "TargetOriginId": "o", "ViewerProtocolPolicy": "allow-all", "CachePolicyId": ids["cache_policy"],
        "OriginRequestPolicyId": ids["origin_request_policy"], "ResponseHeadersPolicyId": ids["response_headers_policy"]},
    "CacheBehaviors": many({
        "PathPattern": "/members/*", "TargetOriginId": "o", "ViewerProtocolPolicy": "allow-all",
        "CachePolicyId": "658327ea-f89d-4fab-a63d-7e88639e58f6", "TrustedKeyGroups": {"Enabled": True, **many(group)}}),
}
made = client.create_distribution_with_tags(DistributionConfigWithTags={
    "DistributionConfig": config, "Tags": {"Items": [{"Key": "team", "Value": "edge"}]}})
name, arn = made["Distribution"]["Id"], made["Distribution"]["ARN"]
seen["domain"] = made["Distribution"]["DomainName"]
client.get_waiter("distribution_deployed").wait(Id=name, WaiterConfig={"Delay": 1, "MaxAttempts": 1})
read = client.get_distribution_config(Id=name)
seen["Distribution"] = [lost(config, read["DistributionConfig"]), made["ETag"] == read["ETag"]]
seen["tags"] = client.list_tags_for_resource(Resource=arn)["Tags"]["Items"]
client.tag_resource(Resource=arn, Tags={"Items": [{"Key": "b", "Value": "1"}]})
client.untag_resource(Resource=arn, TagKeys={"Items": ["team"]})
seen["tags later"] = client.list_tags_for_resource(Resource=arn)["Tags"]["Items"]
summaries = [one for page in client.get_paginator("list_distributions").paginate() for one in page["DistributionList"].get("Items", [])]
seen["listed"] = [one["Comment"] for one in summaries if one["Id"] == name]
seen["users"] = client.list_distributions_by_cache_policy_id(CachePolicyId=ids["cache_policy"])["DistributionIdList"]["Items"] == [name]
managed = [one["CachePolicy"]["CachePolicyConfig"]["Name"] for one in client.list_cache_policies(Type="managed")["CachePolicyList"]["Items"]]
seen["managed"] = "Managed-CachingDisabled" in managed
seen["in use"] = fault(client.delete_cache_policy, Id=ids["cache_policy"], IfMatch=client.get_cache_policy(Id=ids["cache_policy"])["ETag"])
seen["old"] = fault(client.update_distribution, Id=name, IfMatch="EOLD", DistributionConfig=read["DistributionConfig"])
seen["enabled"] = fault(client.delete_distribution, Id=name, IfMatch=read["ETag"])
whole = read["DistributionConfig"]
whole["Enabled"] = False
off = client.update_distribution(Id=name, IfMatch=read["ETag"], DistributionConfig=whole)
client.delete_distribution(Id=name, IfMatch=off["ETag"])
seen["gone"] = fault(client.get_distribution, Id=name)
client.delete_key_group(Id=group, IfMatch=client.get_key_group(Id=group)["ETag"])
for call in KINDS:
    etag = getattr(client, f"get_{call}")(Id=ids[call])["ETag"]
    getattr(client, f"delete_{call}")(Id=ids[call], IfMatch=etag)
seen["left"] = client.list_public_keys()["PublicKeyList"]["Quantity"]
print(json.dumps(seen))
