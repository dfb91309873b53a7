"""What boto3 makes, reads, changes and removes of field-level encryption at an edge, told as JSON."""

import json
import sys

from calls import client_of, fault, many

endpoint, pem = sys.argv[1], open(sys.argv[2]).read()
client = client_of(endpoint)


def profile_of(key, *patterns, name="cards"):
    entities = many({"PublicKeyId": key, "ProviderId": "shop", "FieldPatterns": many(*patterns)})
    return {"Name": name, "CallerReference": name, "Comment": "c", "EncryptionEntities": entities}


def config_of(profile, *queries, name="checkout"):
    return {
        "CallerReference": name, "Comment": "c",
        "QueryArgProfileConfig": {"ForwardWhenQueryArgProfileIsUnknown": True, "QueryArgProfiles": many(*queries)},
        "ContentTypeProfileConfig": {"ForwardWhenContentTypeIsUnknown": False, "ContentTypeProfiles": many({
            "Format": "URLEncoded", "ProfileId": profile, "ContentType": "application/x-www-form-urlencoded"})},
    }


seen = {}
key = client.create_public_key(PublicKeyConfig={"CallerReference": "k", "Name": "cards", "EncodedKey": pem})["PublicKey"]["Id"]
made = client.create_field_level_encryption_profile(FieldLevelEncryptionProfileConfig=profile_of(key, "card*", "cvc"))
profile = made["FieldLevelEncryptionProfile"]["Id"]
read = client.get_field_level_encryption_profile(Id=profile)
seen["profile"] = [read["FieldLevelEncryptionProfile"]["FieldLevelEncryptionProfileConfig"] == profile_of(key, "card*", "cvc"), read["ETag"] == made["ETag"]]
express = {"QueryArg": "express", "ProfileId": profile}
made = client.create_field_level_encryption_config(FieldLevelEncryptionConfig=config_of(profile, express))
config = made["FieldLevelEncryption"]["Id"]
read = client.get_field_level_encryption(Id=config)
seen["config"] = [read["FieldLevelEncryption"]["FieldLevelEncryptionConfig"] == config_of(profile, express), read["ETag"] == made["ETag"]]
seen["only"] = client.get_field_level_encryption_config(Id=config)["FieldLevelEncryptionConfig"]["Comment"]
listed = client.list_field_level_encryption_profiles()["FieldLevelEncryptionProfileList"]["Items"]
seen["profiles"] = [[one["Name"], one["EncryptionEntities"]["Items"][0]["ProviderId"]] for one in listed]
listed = client.list_field_level_encryption_configs()["FieldLevelEncryptionList"]["Items"]
seen["configs"] = [[one["Comment"], one["QueryArgProfileConfig"]["QueryArgProfiles"]["Quantity"]] for one in listed]

update = dict(Id=profile, FieldLevelEncryptionProfileConfig=profile_of(key, "card*", "cvc", "iban"))
seen["stale"] = fault(client.update_field_level_encryption_profile, IfMatch="EOLD", **update)
etag = client.get_field_level_encryption_profile_config(Id=profile)["ETag"]
changed = client.update_field_level_encryption_profile(IfMatch=etag, **update)
seen["updated"] = changed["ETag"] != etag
update = dict(Id=config, IfMatch=made["ETag"], FieldLevelEncryptionConfig=config_of(profile))
seen["other reference"] = fault(client.update_field_level_encryption_config, **{**update, "FieldLevelEncryptionConfig": config_of(profile, name="x")})
newest = client.update_field_level_encryption_config(**update)["ETag"]

make_profile = lambda *of, **how: fault(
    client.create_field_level_encryption_profile, FieldLevelEncryptionProfileConfig=profile_of(*of, **how))
make_config = lambda *of, **how: fault(client.create_field_level_encryption_config, FieldLevelEncryptionConfig=config_of(*of, **how))
seen["no key"] = make_profile("KNONE", "a", name="b")
seen["twice"] = make_profile(key, "a")
seen["many patterns"] = make_profile(key, *[f"f{at}" for at in range(11)], name="b")
seen["overlap"] = make_profile(key, "a*", "ab", name="b")
seen["no profile"] = make_config("PNONE", name="b")
seen["config twice"] = make_config(profile)
seen["many arguments"] = make_config(profile, *[{"QueryArg": str(at), "ProfileId": profile} for at in range(6)], name="b")
seen["empty argument"] = make_config(profile, {"QueryArg": "a", "ProfileId": ""}, name="b")


def distribution(encryption, viewers="https-only", origins="https-only", methods=("GET", "HEAD", "OPTIONS", "PUT", "PATCH", "POST", "DELETE")):
    return {
        "CallerReference": "d", "Comment": "", "Enabled": True,
        "Origins": many({"Id": "o", "DomainName": "o.example.com", "CustomOriginConfig": {
            "HTTPPort": 80, "HTTPSPort": 443, "OriginProtocolPolicy": origins}}),
        "DefaultCacheBehavior": {
            "TargetOriginId": "o", "ViewerProtocolPolicy": viewers, "CachePolicyId": "4135ea2d-6df8-44a3-9df3-4b5a84be39ad",
            "AllowedMethods": many(*methods), "FieldLevelEncryptionId": encryption},
    }


make = lambda *of, **how: fault(client.create_distribution, DistributionConfig=distribution(*of, **how))
seen["no config"] = make("CNONE")
seen["clear viewers"] = make(config, viewers="allow-all")
seen["clear origin"] = make(config, origins="http-only")
seen["no post"] = make(config, methods=("GET", "HEAD"))
made = client.create_distribution(DistributionConfig=distribution(config))["Distribution"]
seen["id"] = made["DistributionConfig"]["DefaultCacheBehavior"]["FieldLevelEncryptionId"] == config
seen["domain"], seen["profile id"] = made["DomainName"], profile

etags = {"profile": changed["ETag"], "config": newest}
seen["config in use"] = fault(client.delete_field_level_encryption_config, Id=config, IfMatch=newest)
seen["profile in use"] = fault(client.delete_field_level_encryption_profile, Id=profile, IfMatch=changed["ETag"])
seen["key in use"] = fault(client.delete_public_key, Id=key, IfMatch=client.get_public_key(Id=key)["ETag"])
print(json.dumps(seen), flush=True)
