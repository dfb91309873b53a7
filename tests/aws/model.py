#!/usr/bin/env python3
"""Writes src/cloudfront/model.rs out of the API model that botocore brings along.

  python tests/aws/model.py > src/cloudfront/model.rs && rustfmt --edition 2024 src/cloudfront/model.rs
"""

import gzip
import json
import pathlib
import re

import botocore

CALLS = [
    "CreateDistribution", "CreateDistributionWithTags", "GetDistribution", "GetDistributionConfig", "UpdateDistribution", "DeleteDistribution",
    "ListDistributions", "TagResource", "UntagResource", "ListTagsForResource", "ListDistributionsByCachePolicyId",
    "ListDistributionsByOriginRequestPolicyId", "ListDistributionsByResponseHeadersPolicyId", "ListDistributionsByKeyGroup",
    "ListDistributionsByWebACLId", "ListDistributionsByVpcOriginId", "ListDistributionsByAnycastIpListId", "ListDistributionsByConnectionMode",
    "ListDistributionsByOwnedResource", "ListDistributionsByTrustStore", "ListConflictingAliases", "AssociateAlias", "CopyDistribution",
    "UpdateDistributionWithStagingConfig", "GetManagedCertificateDetails",
    "CreateMonitoringSubscription", "GetMonitoringSubscription", "DeleteMonitoringSubscription",
    "CreateRealtimeLogConfig", "GetRealtimeLogConfig", "UpdateRealtimeLogConfig", "DeleteRealtimeLogConfig", "ListRealtimeLogConfigs",
    "ListDistributionsByRealtimeLogConfig",
    "CreateTrustStore", "GetTrustStore", "UpdateTrustStore", "DeleteTrustStore", "ListTrustStores",
]
for one, many in [
    ("CachePolicy", "CachePolicies"), ("OriginRequestPolicy", "OriginRequestPolicies"), ("ResponseHeadersPolicy", "ResponseHeadersPolicies"),
    ("OriginAccessControl", "OriginAccessControls"), ("CloudFrontOriginAccessIdentity", "CloudFrontOriginAccessIdentities"),
    ("PublicKey", "PublicKeys"), ("KeyGroup", "KeyGroups"), ("FieldLevelEncryptionProfile", "FieldLevelEncryptionProfiles"),
    ("ContinuousDeploymentPolicy", "ContinuousDeploymentPolicies"),
]:
    CALLS += [f"Create{one}", f"Get{one}", f"Get{one}Config", f"Update{one}", f"Delete{one}", f"List{many}"]
# Of this kind, the one and its configuration have names of their own.
CALLS += [
    "CreateFieldLevelEncryptionConfig", "GetFieldLevelEncryption", "GetFieldLevelEncryptionConfig", "UpdateFieldLevelEncryptionConfig",
    "DeleteFieldLevelEncryptionConfig", "ListFieldLevelEncryptionConfigs",
]

folder = pathlib.Path(botocore.__file__).parent / "data/cloudfront/2020-05-31"
model = json.load(gzip.open(folder / "service-2.json.gz"))
shapes, operations = model["shapes"], model["operations"]


def constant(name):
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).upper()


seen, order = set(), []


def shape(name):
    of = shapes[name]
    kind = of["type"]
    if kind == "string":
        if "enum" in of:
            return "&Shape::Word(&[" + ", ".join(json.dumps(word) for word in of["enum"]) + "])"
        return "&Shape::Text"
    plain = {"boolean": "Truth", "integer": "Whole", "long": "Whole", "double": "Fraction", "float": "Fraction", "timestamp": "Text"}
    if kind in plain:
        return "&Shape::" + plain[kind]
    if kind == "list":
        return f'&Shape::List({json.dumps(of["member"].get("locationName", "member"))}, {shape(of["member"]["shape"])})'
    visit(name)
    return "&" + constant(name)


def visit(name):
    if name in seen:
        return
    seen.add(name)
    of = shapes[name]
    needed = of.get("required", [])
    lines = [
        f'    Member {{ name: {json.dumps(member)}, needed: Needed::{"Always" if member in needed else "Maybe"}, shape: {shape(what["shape"])} }},'
        for member, what in of["members"].items()
    ]
    order.append(f"/// `{name}`.\npub static {constant(name)}: Shape = Shape::Record(&[\n" + "\n".join(lines) + "\n]);\n")


faults = set()
for call in CALLS:
    of = operations[call]
    faults |= {error["shape"] for error in of.get("errors", [])}
    for name in [of[way]["shape"] for way in ("input", "output") if way in of]:
        members = shapes[name].get("members", {})
        if shapes[name].get("payload"):
            visit(members[shapes[name]["payload"]]["shape"])
        elif members and not any("location" in member for member in members.values()):
            # The body is all of it.
            visit(name)

print("""//! Pure: the shapes of the API's documents, and the statuses of its faults. Written by
//! `tests/aws/model.py` out of the model that AWS publishes; not to be changed by hand.

use super::shape::{Member, Needed, Shape};
""")
print("\n".join(order))
print("/// Each fault with its status.")
rows = [(code, shapes[code].get("error", {}).get("httpStatusCode", 400)) for code in sorted(faults)]
print(f"pub const FAULTS: [(&str, u16); {len(rows)}] = [")
print("\n".join(f"    ({json.dumps(code)}, {status})," for code, status in rows))
print("];\n")
print("/// The calls that are answered.")
print(f"pub const CALLS: [&str; {len(CALLS)}] = [")
print("\n".join(f"    {json.dumps(call)}," for call in CALLS))
print("];")
