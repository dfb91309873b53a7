"""Makes, fills and deletes a key value store with boto3: kv.py PORT. Prints what it saw as JSON.

The SDK puts the account before the endpoint's host: 000000000177.0.0.1 is 127.0.0.1, its first number in octal.
"""

import json
import sys

import boto3
from botocore.config import Config

port = sys.argv[1]
config = Config(retries={"max_attempts": 0})
control = boto3.client("cloudfront", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1", config=config)
data = boto3.client(
    "cloudfront-keyvaluestore", endpoint_url=f"http://0.0.1:{port}", region_name="us-east-1", config=config
)


def attempt(call, **about):
    try:
        return call(**about)
    except (control.exceptions.ClientError, data.exceptions.ClientError) as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        return [status, error.response["Error"]["Code"]]


made = control.create_key_value_store(Name="flags-made", Comment="first")
arn, etag = made["KeyValueStore"]["ARN"], made["ETag"]
seen = {
    "made": [made["KeyValueStore"]["Name"], made["KeyValueStore"]["Status"], made["Location"].split("/")[-1]],
    "again": attempt(control.create_key_value_store, Name="flags-made"),
    "s3": attempt(
        control.create_key_value_store, Name="other", ImportSource={"SourceType": "S3", "SourceARN": "arn:aws:s3:::b/k"}
    ),
    "stale": attempt(control.update_key_value_store, Name="flags-made", Comment="x", IfMatch="E0"),
}
updated = control.update_key_value_store(Name="flags-made", Comment="second", IfMatch=etag)
described = control.describe_key_value_store(Name="flags-made")
seen["comment"] = described["KeyValueStore"]["Comment"]
seen["etags"] = [described["ETag"] == updated["ETag"], described["ETag"] == etag]
seen["listed"] = [store["Name"] for store in control.list_key_value_stores()["KeyValueStoreList"]["Items"]]

store = data.describe_key_value_store(KvsARN=arn)
seen["empty"] = [store["ItemCount"], store["TotalSizeInBytes"], store["KvsARN"] == arn, store["Status"]]
put = data.put_key(KvsARN=arn, Key="/a b/é%2F", Value='v "1"', IfMatch=store["ETag"])
seen["conflict"] = attempt(data.put_key, KvsARN=arn, Key="k", Value="v", IfMatch=store["ETag"])
got = data.get_key(KvsARN=arn, Key="/a b/é%2F")
seen["got"] = [got["Key"], got["Value"], got["ItemCount"], got["TotalSizeInBytes"]]
puts = [{"Key": f"k{at:02}", "Value": str(at)} for at in range(25)]
changed = data.update_keys(KvsARN=arn, IfMatch=put["ETag"], Puts=puts, Deletes=[{"Key": "/a b/é%2F"}])
half = attempt(
    data.update_keys, KvsARN=arn, IfMatch=changed["ETag"], Puts=[{"Key": "n", "Value": "1"}], Deletes=[{"Key": "none"}]
)
seen["half"] = [half, data.describe_key_value_store(KvsARN=arn)["ETag"] == changed["ETag"]]
many = [{"Key": f"m{at}", "Value": ""} for at in range(51)]
seen["many"] = attempt(data.update_keys, KvsARN=arn, IfMatch=changed["ETag"], Puts=many)
long = attempt(data.put_key, KvsARN=arn, Key="k" * 513, Value="", IfMatch=changed["ETag"])
seen["long"] = long
seen["missing"] = attempt(data.get_key, KvsARN=arn, Key="none")
pages = list(data.get_paginator("list_keys").paginate(KvsARN=arn))
seen["pages"] = [len(page["Items"]) for page in pages]
seen["first"] = pages[0]["Items"][0]
gone = data.delete_key(KvsARN=arn, Key="k00", IfMatch=changed["ETag"])
seen["count"] = gone["ItemCount"]
seen["other"] = attempt(data.describe_key_value_store, KvsARN=arn[:-1] + ("0" if arn[-1] != "0" else "1"))
seen["kept"] = attempt(control.delete_key_value_store, Name="flags-made", IfMatch="E0")
control.delete_key_value_store(Name="flags-made", IfMatch=described["ETag"])
seen["named"] = attempt(control.delete_key_value_store, Name="flags", IfMatch="E0")
seen["deleted"] = attempt(control.describe_key_value_store, Name="flags-made")
print(json.dumps(seen))
