"""Continuous deployment, aliases and listings by boto3, told as JSON."""

import json
import sys

from calls import client_of, fault, many

endpoint, port = sys.argv[1], int(sys.argv[2])
client = client_of(endpoint)


def put(name, **changes):
    read = client.get_distribution_config(Id=name)
    return client.update_distribution(Id=name, IfMatch=read["ETag"], DistributionConfig=read["DistributionConfig"] | changes)


def etag(name):
    return client.get_distribution(Id=name)["ETag"]


seen = {}
made = client.create_distribution(DistributionConfig={
    "CallerReference": "primary", "Comment": "old", "Enabled": True,
    "Origins": many({"Id": "o", "DomainName": "127.0.0.1", "CustomOriginConfig": {
        "HTTPPort": port, "HTTPSPort": 443, "OriginProtocolPolicy": "http-only"}}),
    "DefaultCacheBehavior": {
        "TargetOriginId": "o", "ViewerProtocolPolicy": "allow-all", "CachePolicyId": "658327ea-f89d-4fab-a63d-7e88639e58f6"},
})
primary = made["Distribution"]["Id"]
copied = client.copy_distribution(PrimaryDistributionId=primary, Staging=True, IfMatch=made["ETag"], CallerReference="copy")
staging = copied["Distribution"]["Id"]
seen["copy"] = [copied["Distribution"]["DistributionConfig"][key] for key in ("Staging", "Comment", "Enabled")]
config = {
    "StagingDistributionDnsNames": many(copied["Distribution"]["DomainName"]), "Enabled": True,
    "TrafficConfig": {"Type": "SingleWeight", "SingleWeightConfig": {
        "Weight": 0.05, "SessionStickinessConfig": {"IdleTTL": 300, "MaximumTTL": 600}}},
}
policy = client.create_continuous_deployment_policy(ContinuousDeploymentPolicyConfig=config)
name = policy["ContinuousDeploymentPolicy"]["Id"]
read = client.get_continuous_deployment_policy_config(Id=name)
seen["policy"] = [read["ContinuousDeploymentPolicyConfig"] == config, read["ETag"] == policy["ETag"]]
listed = client.list_continuous_deployment_policies()["ContinuousDeploymentPolicyList"]["Items"]
seen["listed"] = [one["ContinuousDeploymentPolicy"]["Id"] for one in listed] == [name]
put(primary, ContinuousDeploymentPolicyId=name)
put(staging, Comment="new")
seen["in use"] = fault(client.delete_continuous_deployment_policy, Id=name, IfMatch=policy["ETag"])
promoted = client.update_distribution_with_staging_config(
    Id=primary, StagingDistributionId=staging, IfMatch=f"{etag(primary)}, {etag(staging)}")
told = promoted["Distribution"]["DistributionConfig"]
seen["promoted"] = [told["Comment"], told["Staging"], told["ContinuousDeploymentPolicyId"] == name, promoted["ETag"] == etag(primary)]
off = client.get_continuous_deployment_policy(Id=name)
seen["off"] = off["ContinuousDeploymentPolicy"]["ContinuousDeploymentPolicyConfig"]["Enabled"]
client.associate_alias(TargetDistributionId=primary, Alias="www.example.com")
conflicts = client.list_conflicting_aliases(DistributionId=staging, Alias="*.example.com")["ConflictingAliasesList"]
seen["conflicts"] = [[one["Alias"], one["DistributionId"] == primary] for one in conflicts["Items"]]
without = client.list_distributions_by_web_acl_id(WebACLId="null")["DistributionList"]
seen["without a web ACL"] = sorted(one["Id"] for one in without["Items"]) == sorted([primary, staging])
seen["vpc"] = client.list_distributions_by_vpc_origin_id(VpcOriginId="vo_1")["DistributionIdList"]["Quantity"]
seen["managed"] = fault(client.get_managed_certificate_details, Identifier="x")
config = {"MonitoringSubscription": {"RealtimeMetricsSubscriptionConfig": {"RealtimeMetricsSubscriptionStatus": "Enabled"}}}
client.create_monitoring_subscription(DistributionId=primary, **config)
again = client.get_monitoring_subscription(DistributionId=primary)
seen["monitoring"] = again["MonitoringSubscription"] == config["MonitoringSubscription"]
seen["monitored twice"] = fault(client.create_monitoring_subscription, DistributionId=primary, **config)
client.delete_monitoring_subscription(DistributionId=primary)
seen["unmonitored"] = fault(client.get_monitoring_subscription, DistributionId=primary)
put(primary, ContinuousDeploymentPolicyId="", Enabled=False)
client.delete_continuous_deployment_policy(Id=name, IfMatch=off["ETag"])
for one in (staging, primary):
    put(one, Enabled=False)
    client.delete_distribution(Id=one, IfMatch=etag(one))
seen["left"] = client.list_distributions()["DistributionList"]["Quantity"]
print(json.dumps(seen))
