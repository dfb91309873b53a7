"""What boto3 makes, publishes, tries and removes of CloudFront Functions at an edge, told as JSON: functions.py ENDPOINT PORT."""

import json
import sys

from calls import client_of, fault, many

endpoint, port = sys.argv[1], int(sys.argv[2])
client = client_of(endpoint)
CODE = b"""function handler(event) {
    console.log('saw ' + event.request.uri);
    event.request.uri = '/one';
    return event.request;
}"""


def summary(answer):
    of = answer["FunctionSummary"]
    return [of["Name"], of["Status"], of["FunctionMetadata"]["Stage"], of["FunctionConfig"]["Comment"]]


config = {"Comment": "a & <b>", "Runtime": "cloudfront-js-2.0"}
made = client.create_function(Name="index", FunctionConfig=config, FunctionCode=CODE)
seen = {
    "made": summary(made),
    "location": made["Location"].split("/")[-1],
    "again": fault(client.create_function, Name="index", FunctionConfig=config, FunctionCode=CODE),
    "unpublished": fault(client.describe_function, Name="index", Stage="LIVE"),
    "bad": fault(client.create_function, Name="bad", FunctionConfig=config, FunctionCode=b"let {a} = b;"),
    "large": fault(client.create_function, Name="large", FunctionConfig=config, FunctionCode=CODE + b" " * 10240),
}
event = json.dumps({"version": "1.0", "viewer": {"ip": "1.2.3.4"}, "request": {"method": "GET", "uri": "/a", "querystring": {}, "headers": {}, "cookies": {}}})
tried = client.test_function(Name="index", IfMatch=made["ETag"], Stage="DEVELOPMENT", EventObject=event.encode())["TestResult"]
seen["tried"] = [
    json.loads(tried["FunctionOutput"])["request"]["uri"], tried["FunctionExecutionLogs"], tried["FunctionErrorMessage"],
    tried["ComputeUtilization"].isdigit(),
]
seen["no event"] = fault(client.test_function, Name="index", IfMatch=made["ETag"], EventObject=b"[]")
updated = client.update_function(
    Name="index", IfMatch=made["ETag"], FunctionConfig={**config, "Comment": "second"}, FunctionCode=CODE.replace(b"/one", b"/two")
)
described = client.describe_function(Name="index")
seen["updated"] = [summary(described), updated["ETag"] == described["ETag"], updated["ETag"] == made["ETag"]]
seen["stale"] = fault(client.publish_function, Name="index", IfMatch=made["ETag"])
seen["published"] = summary(client.publish_function(Name="index", IfMatch=updated["ETag"]))
got = client.get_function(Name="index", Stage="LIVE")
seen["code"] = [got["FunctionCode"].read().decode().count("/two"), got["ContentType"]]
arn = client.describe_function(Name="index", Stage="LIVE")["FunctionSummary"]["FunctionMetadata"]["FunctionARN"]
distribution = {
    "CallerReference": "boto", "Comment": "", "Enabled": True,
    "Origins": many({"Id": "o", "DomainName": "127.0.0.1", "CustomOriginConfig": {
        "HTTPPort": port, "HTTPSPort": 443, "OriginProtocolPolicy": "http-only"}}),
    "DefaultCacheBehavior": {
        "TargetOriginId": "o", "ViewerProtocolPolicy": "allow-all", "CachePolicyId": "658327ea-f89d-4fab-a63d-7e88639e58f6",
        "FunctionAssociations": many({"FunctionARN": arn, "EventType": "viewer-request"})},
}
whole = client.create_distribution(DistributionConfig=distribution)
seen["domain"] = whole["Distribution"]["DomainName"]
read = client.get_distribution_config(Id=whole["Distribution"]["Id"])
seen["associated"] = read["DistributionConfig"]["DefaultCacheBehavior"]["FunctionAssociations"]["Items"][0]["FunctionARN"] == arn
seen["deployed"] = summary(client.describe_function(Name="index", Stage="LIVE"))
listed = client.list_functions(MaxItems="1")["FunctionList"]
rest = client.list_functions(Marker=listed["NextMarker"])["FunctionList"]
seen["listed"] = [[one["FunctionMetadata"]["Stage"] for one in page["Items"]] for page in (listed, rest)]
seen["in use"] = fault(client.delete_function, Name="index", IfMatch=updated["ETag"])
spare = client.create_function(Name="spare", FunctionConfig=config, FunctionCode=CODE)
client.delete_function(Name="spare", IfMatch=spare["ETag"])
seen["gone"] = fault(client.get_function, Name="spare")
print(json.dumps(seen))
