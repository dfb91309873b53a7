"""API Gateway's cache from outside: gateway.py ADMIN VIEWER. Flushes stages with boto3, and replaces what is stored by requests
that botocore signs for execute-api. Prints what it saw as JSON."""

import json
import sys
import urllib.error
import urllib.request

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.exceptions import ClientError

admin, viewer = sys.argv[1:3]
session = boto3.Session()
client = session.client("apigateway", endpoint_url=admin, config=Config(retries={"max_attempts": 1}))


def ask(method, path, fields, body=None, service=None, secret=None):
    """Status, outcome, warning and body of a request, signed where a service is named."""
    if service:
        keys = session.get_credentials()
        if secret:
            keys.secret_key = secret
        request = AWSRequest(method, viewer + path, headers=fields, data=body)
        SigV4Auth(keys, service, "eu-central-1").add_auth(request)
        fields = dict(request.headers)
    request = urllib.request.Request(viewer + path, method=method, headers=fields, data=body)
    try:
        answer = urllib.request.urlopen(request)
    except urllib.error.HTTPError as error:
        answer = error
    return [answer.status, answer.headers.get("x-cache", "").split(" ")[0], answer.headers.get("warning", "")[:3], answer.read().decode()]


def flush(call, api, stage):
    try:
        return [call(restApiId=api, stageName=stage)["ResponseMetadata"]["HTTPStatusCode"], ""]
    except ClientError as error:
        return [error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"]]


anew, seen = {"Cache-Control": "max-age=0"}, {}
for path in ("/prod/a", "/else/a"):
    ask("GET", path, {})
seen["flushed"] = flush(client.flush_stage_cache, "a1b2c3", "prod")
seen["after"] = [ask("GET", path, {})[1] for path in ("/prod/a", "/else/a")]
seen["authorizers"] = flush(client.flush_stage_authorizers_cache, "a1b2c3", "prod")
seen["kept"] = ask("GET", "/prod/a", {})[1]
seen["no stage"] = flush(client.flush_stage_cache, "a1b2c3", "beta")
seen["no api"] = flush(client.flush_stage_cache, "zzz", "prod")

odd = "/prod/b%20c/%C3%A9?b=2&a=%2F1&a=0&flag"
before = ask("GET", odd, {})
seen["unsigned"] = ask("GET", odd, anew)[:3]
seen["wrong secret"] = ask("GET", odd, anew, service="execute-api", secret="x")[:3]
session = boto3.Session()
seen["wrong service"] = ask("GET", odd, anew, service="cloudfront")[:3]
seen["signed"] = ask("GET", odd, anew, service="execute-api")[:3]
seen["signed, not asked"] = ask("GET", odd, {}, service="execute-api")[:3]
seen["HEAD"] = ask("HEAD", odd, anew, service="execute-api")[:3]
print(json.dumps(seen))
