# A private bucket of moto's: a second opinion on our signatures, which botocore's own signer gives.
# Prints where it listens and a key that may use it, and ends with its standard input.
import json
import os
import sys

# So many calls need no signature; from then on each is checked.
os.environ["INITIAL_NO_AUTH_ACTION_COUNT"] = "4"

import boto3
from moto.moto_server.threaded_moto_server import ThreadedMotoServer

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
made = dict(
    endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1", aws_access_key_id="none", aws_secret_access_key="none"
)
iam, s3 = boto3.client("iam", **made), boto3.client("s3", **made)
iam.create_user(UserName="edge")
everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
iam.put_user_policy(UserName="edge", PolicyName="all", PolicyDocument=json.dumps(everything))
key = iam.create_access_key(UserName="edge")["AccessKey"]
s3.create_bucket(Bucket="private")
print(json.dumps({"port": port, "id": key["AccessKeyId"], "secret": key["SecretAccessKey"]}), flush=True)
sys.stdin.read()
server.stop()
