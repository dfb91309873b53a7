#!/usr/bin/env python3
"""An origin that opens the sealed fields of forms with the AWS Encryption SDK.

  python tests/aws/fields.py PRIVATE_KEY.pem PROVIDER KEY_NAME

Prints the port it listens on, and ends with its standard input. It answers each form with what it came as, and with what the SDK
says of each field: under its default policy, under FORBID_ENCRYPT_ALLOW_DECRYPT, and for another provider or another name of the key.
"""

import base64
import json
import logging
import pathlib
import sys
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from aws_encryption_sdk import CommitmentPolicy, EncryptionSDKClient
from aws_encryption_sdk.identifiers import EncryptionKeyType, WrappingAlgorithm
from aws_encryption_sdk.internal.crypto.wrapping_keys import WrappingKey
from aws_encryption_sdk.key_providers.raw import RawMasterKeyProvider

PEM = pathlib.Path(sys.argv[1]).read_bytes()
PROVIDER, NAME = sys.argv[2:4]
logging.disable(logging.CRITICAL)


def keys(provider, name):
    class Provider(RawMasterKeyProvider):
        provider_id = provider

        def _get_raw_key(self, key_id):
            return WrappingKey(WrappingAlgorithm.RSA_OAEP_SHA256_MGF1, PEM, EncryptionKeyType.PRIVATE)

    made = Provider()
    made.add_master_key(name)
    return made


def opened(message, client, provider=PROVIDER, name=NAME):
    try:
        return client.decrypt(source=message, key_provider=keys(provider, name))[0].decode()
    except Exception:  # Whatever kind it is: it does not open.
        return None


USUAL, FORBID = EncryptionSDKClient(), EncryptionSDKClient(commitment_policy=CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT)


def told(value):
    try:
        message = base64.b64decode(value, validate=True)
    except ValueError:
        message = b""
    return {
        "usual": opened(message, USUAL),
        "forbid": opened(message, FORBID),
        "other_provider": opened(message, FORBID, provider=PROVIDER + "x"),
        "other_name": opened(message, FORBID, name=NAME + "x"),
    }


class Form(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        pairs = urllib.parse.parse_qsl(body, keep_blank_values=True)
        answer = json.dumps({"body": body, "fields": {name: told(value) for name, value in pairs}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Form)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(json.dumps({"port": server.server_address[1]}), flush=True)
sys.stdin.read()
