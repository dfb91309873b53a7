"""The application of config/members.toml: checks a password and answers with CloudFront's signed cookies.

Nothing but the standard library; it has `foreshore sign cookies` sign. PORT, SITE and SIGNER in the environment say otherwise
what is said here.
"""

import os
import subprocess
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs

HERE = Path(__file__).resolve().parent
PORT = int(os.environ.get("PORT", "9300"))
# What the browser has in its address bar: signatures are over that.
SITE = os.environ.get("SITE", "http://127.0.0.1:8080")
SIGNER = os.environ.get("SIGNER", str(HERE.parent.parent / "tests/vectors/ecdsa-p256-TEST-ONLY-private.pem"))
FORESHORE = os.environ.get("FORESHORE", "foreshore")

FORM = b"""<!doctype html><title>Members</title>
<form method="post"><input name="name"><input name="password" type="password"><button>Log in</button></form>"""


def cookies():
    """Set-Cookie values that open everything below /members/ for an hour."""
    command = [FORESHORE, "sign", "cookies", SITE + "/", "--resource", SITE + "/members/*"]
    command += ["--key-id", "KMEMBERS", "--key", SIGNER, "--expires-in", "1h"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [line.removeprefix("Set-Cookie: ") for line in lines]


class Login(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200, FORM)

    def do_POST(self):
        length = min(int(self.headers.get("Content-Length", 0)), 4096)
        said = parse_qs(self.rfile.read(length).decode(errors="replace"))
        if (said.get("name"), said.get("password")) == (["demo"], ["demo"]):
            self.answer(200, b"Welcome. /members/picture.svg is yours for an hour.\n", cookies())
        else:
            self.answer(403, b"That was not it.\n")

    def answer(self, status, body, cookies=()):
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        for cookie in cookies:
            self.send_header("Set-Cookie", cookie)
        self.end_headers()
        self.wfile.write(body)


HTTPServer(("127.0.0.1", PORT), Login).serve_forever()
