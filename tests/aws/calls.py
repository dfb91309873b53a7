"""What the scripts beside this one share: a boto3 client of an edge's API, lists as the API has them, and what a call is refused with."""

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError


def client_of(endpoint):
    return boto3.client("cloudfront", endpoint_url=endpoint, config=Config(retries={"max_attempts": 1}))


def many(*items):
    return {"Quantity": len(items), "Items": list(items)}


def fault(call, **args):
    """Status and code of a refusal; 200 and no code where the call is taken."""
    try:
        call(**args)
    except ClientError as error:
        return [error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"]]
    return [200, ""]
