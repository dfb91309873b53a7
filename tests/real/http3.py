"""Asks an edge over HTTP/3 by three libraries that are not ours: pycurl (ngtcp2 on OpenSSL), curl_cffi (ngtcp2 on BoringSSL) and
aioquic. GET, a hit, POST, 1 MiB, a range, many streams at once, and Alt-Svc that takes a viewer from HTTP/2 to HTTP/3. No part of
the test command; by hand:

    pip install pycurl curl_cffi aioquic
    cargo build --release && python tests/real/http3.py [--edge PATH]

A library that is not there is said to be skipped."""

import argparse
import asyncio
import contextlib
import hashlib
import http.server
import io
import pathlib
import re
import ssl
import subprocess
import sys
import tempfile
import threading
import time

LARGE = hashlib.shake_256(b"large").digest(1 << 20)
CONFIG = """
data = "data"
[listen]
https = ["127.0.0.1:0"]
http3 = true
workers = 2
[admin]
listen = "127.0.0.1:0"
[[certificate]]
chain = "tls/localhost.pem"
key = "tls/localhost.key"
make_for = ["localhost"]
[[distribution]]
id = "E1"
hosts = ["*"]
[[distribution.origin]]
id = "o"
url = "http://127.0.0.1:{port}"
[[distribution.behavior]]
path = "*"
origin = "o"
methods = "all"
"""


class Origin(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, body, keep):
        self.send_response(200)
        self.send_header("Cache-Control", keep)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(LARGE if self.path == "/large" else b"hello", "max-age=60")

    def do_POST(self):
        # Curl announces a length, aioquic does not.
        length = self.headers.get("Content-Length")
        if length is not None:
            body = self.rfile.read(int(length))
        else:
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        self.answer(hashlib.sha256(body).hexdigest().encode(), "no-store")

    def log_message(self, *_):
        pass


def check(what, held, told=""):
    print("ok  " if held else "FAIL", what, "" if held else told)
    if not held:
        sys.exit(1)


def pycurl_asks(port, ca):
    import pycurl

    def ask(path, version, **options):
        body, fields, curl = io.BytesIO(), {}, pycurl.Curl()

        def field(line):
            name, _, value = line.decode().partition(":")
            fields[name.strip().lower()] = value.strip()

        curl.setopt(pycurl.URL, f"https://localhost:{port}{path}")
        curl.setopt(pycurl.RESOLVE, [f"localhost:{port}:127.0.0.1"])
        curl.setopt(pycurl.CAINFO, str(ca))
        curl.setopt(pycurl.HTTP_VERSION, version)
        curl.setopt(pycurl.TIMEOUT, 20)
        curl.setopt(pycurl.WRITEFUNCTION, body.write)
        curl.setopt(pycurl.HEADERFUNCTION, field)
        for name, value in options.items():
            curl.setopt(getattr(pycurl, name), value)
        curl.perform()
        told = (curl.getinfo(pycurl.RESPONSE_CODE), curl.getinfo(pycurl.INFO_HTTP_VERSION), body.getvalue(), fields)
        curl.close()
        return told

    only = getattr(pycurl, "CURL_HTTP_VERSION_3ONLY", 31)
    status, version, body, fields = ask("/a", only)
    check("pycurl: a miss", (status, version, body) == (200, 30, b"hello"), (status, version, fields))
    status, _, body, fields = ask("/a", only)
    check("pycurl: a hit", "Hit" in fields.get("x-cache", "") and body == b"hello", fields)
    check("pycurl: 1 MiB", ask("/large", only)[2] == LARGE)
    status, _, body, _ = ask("/large", only, RANGE="1000-99999")
    check("pycurl: a range", (status, body) == (206, LARGE[1000:100000]))
    status, _, body, _ = ask("/post", only, POSTFIELDS=LARGE)
    check("pycurl: POST", body.decode() == hashlib.sha256(LARGE).hexdigest(), (status, body[:80]))
    _, version, _, fields = ask("/a", pycurl.CURL_HTTP_VERSION_2TLS)
    check("pycurl: HTTP/2 is told", fields.get("alt-svc") == f'h3=":{port}"; ma=86400', (version, fields))


def curl_cffi_asks(port, ca):
    from curl_cffi import CurlHttpVersion, requests

    session = requests.Session(verify=str(ca), http_version=CurlHttpVersion.V3ONLY, timeout=20)
    url = f"https://localhost:{port}"
    check("curl_cffi: GET", session.get(f"{url}/a").content == b"hello")
    check("curl_cffi: 1 MiB", session.get(f"{url}/large").content == LARGE)
    posted = session.post(f"{url}/post", data=LARGE)
    check("curl_cffi: POST", posted.text == hashlib.sha256(LARGE).hexdigest(), posted.text[:80])


def aioquic_asks(port, ca):
    from aioquic.asyncio.client import connect
    from aioquic.asyncio.protocol import QuicConnectionProtocol
    from aioquic.h3.connection import H3_ALPN, H3Connection
    from aioquic.h3.events import DataReceived, HeadersReceived
    from aioquic.quic.configuration import QuicConfiguration

    class Viewer(QuicConnectionProtocol):
        def __init__(self, *arguments, **more):
            super().__init__(*arguments, **more)
            self.http, self.answers = H3Connection(self._quic), {}

        def quic_event_received(self, event):
            for came in self.http.handle_event(event):
                answer = self.answers.get(came.stream_id)
                if answer is None:
                    continue
                if isinstance(came, HeadersReceived):
                    answer["fields"].update((n.decode(), v.decode()) for n, v in came.headers)
                elif isinstance(came, DataReceived):
                    answer["body"] += came.data
                if came.stream_ended and not answer["done"].done():
                    answer["done"].set_result(None)

        async def ask(self, path, method="GET", body=None, more=()):
            stream = self._quic.get_next_available_stream_id()
            done = asyncio.get_running_loop().create_future()
            self.answers[stream] = answer = {"fields": {}, "body": b"", "done": done}
            fields = [(":method", method), (":scheme", "https"), (":authority", f"localhost:{port}"), (":path", path), *more]
            self.http.send_headers(stream, [(n.encode(), v.encode()) for n, v in fields], end_stream=body is None)
            if body is not None:
                self.http.send_data(stream, body, end_stream=True)
            self.transmit()
            await asyncio.wait_for(done, 20)
            return answer

    async def run():
        settings = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, server_name="localhost", verify_mode=ssl.CERT_REQUIRED)
        settings.load_verify_locations(str(ca))
        async with connect("127.0.0.1", port, configuration=settings, create_protocol=Viewer) as viewer:
            check("aioquic: GET", (await viewer.ask("/a"))["body"] == b"hello")
            many = await asyncio.gather(*(viewer.ask("/large", more=[("range", f"bytes={at}-{at + 9999}")]) for at in range(200)))
            check("aioquic: 200 streams", all(one["body"] == LARGE[at : at + 10000] for at, one in enumerate(many)))
            posted = await viewer.ask("/post", "POST", LARGE)
            check("aioquic: POST", posted["body"].decode() == hashlib.sha256(LARGE).hexdigest(), posted["fields"])
            viewer.change_connection_id()
            viewer.request_key_update()
            check("aioquic: another id and key", (await viewer.ask("/large"))["body"] == LARGE)

    asyncio.run(run())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--edge", default="target/release/foreshore", type=pathlib.Path)
    edge = parser.parse_args().edge.resolve()
    origin = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Origin)
    threading.Thread(target=origin.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "edge.toml").write_text(CONFIG.format(port=origin.server_port))
        log = folder / "edge.log"
        process = subprocess.Popen([edge, "run", "--quiet", "--config", folder / "edge.toml"], stderr=open(log, "wb"))
        try:
            found, until = None, time.monotonic() + 20
            while not found and time.monotonic() < until and process.poll() is None:
                found = re.search(r"address=127\.0\.0\.1:(\d+) .*speaks=\"https\"", log.read_text())
                threading.Event().wait(0.05)
            check("the edge starts", found, log.read_text())
            port, ca = int(found[1]), folder / "tls" / "ca.pem"
            for asks in (pycurl_asks, curl_cffi_asks, aioquic_asks):
                try:
                    asks(port, ca)
                except ImportError as error:
                    print("skipped:", error)
            process.terminate()
            check("the edge leaves", process.wait(40) == 0, log.read_text())
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()


main()
