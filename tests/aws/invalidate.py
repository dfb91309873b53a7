"""Invalidates through CloudFront's API with boto3: invalidate.py ENDPOINT DISTRIBUTION. Prints what it saw as JSON."""

import json
import sys

import boto3
from botocore.config import Config

endpoint, distribution = sys.argv[1:]
client = boto3.client(
    "cloudfront", endpoint_url=endpoint, region_name="us-east-1", config=Config(retries={"max_attempts": 0})
)


def batch(reference, paths):
    return {"CallerReference": reference, "Paths": {"Quantity": len(paths), "Items": paths}}


def attempt(call, **about):
    try:
        return call(**about)["Invalidation"]["Id"]
    except client.exceptions.ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        return [status, error.response["Error"]["Code"]]


create = lambda reference, paths, where=distribution: attempt(
    client.create_invalidation, DistributionId=where, InvalidationBatch=batch(reference, paths)
)
seen = {"first": create("one", ["/a b/é", "#Tag:1"])}
seen["again"] = create("one", ["/a b/é", "#Tag:1"])
seen["other"] = create("one", ["/b"])
seen["second"] = create("two", ["/c*"])
seen["third"] = create("three", ["/d?x=1&y=<2>"])
seen["nowhere"] = create("four", ["/a"], "ENONE")
seen["bad"] = create("five", ["no/slash"])
seen["missing"] = attempt(client.get_invalidation, DistributionId=distribution, Id="INONE")
one = client.get_invalidation(DistributionId=distribution, Id=seen["first"])["Invalidation"]
seen["one"] = [one["Status"], one["InvalidationBatch"]["Paths"]["Items"], one["InvalidationBatch"]["CallerReference"]]
pages = client.get_paginator("list_invalidations").paginate(DistributionId=distribution, PaginationConfig={"PageSize": 2})
seen["pages"] = [[item["Id"] for item in page["InvalidationList"].get("Items", [])] for page in pages]
client.get_waiter("invalidation_completed").wait(DistributionId=distribution, Id=seen["third"], WaiterConfig={"MaxAttempts": 1})
old = boto3.client("cloudfront", api_version="2018-11-05", endpoint_url=endpoint, region_name="us-east-1")
made = old.create_invalidation(DistributionId=distribution, InvalidationBatch=batch("old", ["/e*"]))["Invalidation"]["Id"]
told = old.get_invalidation(DistributionId=distribution, Id=made)["Invalidation"]
listed = old.list_invalidations(DistributionId=distribution)["InvalidationList"]
seen["old"] = [told["Status"], told["InvalidationBatch"]["Paths"]["Items"], listed["Items"][0]["Id"] == made]
try:
    old.get_distribution(Id=distribution)
except old.exceptions.ClientError as error:
    seen["other shapes"] = [error.response["Error"]["Code"], "2018-11-05" in error.response["Error"]["Message"]]
print(json.dumps(seen))
