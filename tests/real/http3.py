"""Asks an edge over HTTP/3 by clients that are not ours: pycurl (ngtcp2 on OpenSSL), curl_cffi (ngtcp2 on BoringSSL), aioquic and
Debian's gtlsclient (ngtcp2 on GnuTLS). GET, a hit, POST, 1 MiB, a range, many streams at once, Alt-Svc that takes a viewer from HTTP/2
to HTTP/3, viewers that change their port or address in mid-answer, a network that loses, repeats and reorders datagrams, and an edge
that leaves with an answer under way. No part of the test command; by hand:

    pip install pycurl curl_cffi aioquic; apt-get install ngtcp2-client
    cargo build --release && python tests/real/http3.py [--edge PATH] [--seed N]

A client that is not there is said to be skipped."""

import argparse
import asyncio
import contextlib
import functools
import hashlib
import http.server
import io
import heapq
import pathlib
import random
import re
import selectors
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

LARGE = hashlib.shake_256(b"large").digest(1 << 20)
HUGE = LARGE * 16
# What of all datagrams is lost, sent twice, held back, and for how long at most.
LOST, TWICE, LATE, LATE_SECONDS = 0.02, 0.02, 0.05, 0.02
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
    slow = threading.Event()

    def answer(self, body, keep):
        self.send_response(200)
        self.send_header("Cache-Control", keep)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/slow":
            Origin.slow.set()
            time.sleep(1)
            self.answer(b"late", "no-store")
        else:
            self.answer({"/large": LARGE, "/huge": HUGE}.get(self.path, b"hello"), "max-age=60")

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


class Relay(threading.Thread):
    """Passes datagrams on to a port and back, as a bad network does; one seed has the same dice fall."""

    def __init__(self, port, seed):
        super().__init__(daemon=True)
        self.dice, self.to, self.waiting, self.is_over, self.count = random.Random(seed), ("127.0.0.1", port), [], False, 0
        self.front = self.socket()
        self.port, self.ways, self.select = self.front.getsockname()[1], {}, selectors.DefaultSelector()
        self.select.register(self.front, selectors.EVENT_READ)

    @staticmethod
    def socket():
        made = socket.socket(type=socket.SOCK_DGRAM)
        made.bind(("127.0.0.1", 0))
        made.setblocking(False)
        return made

    def run(self):
        while not self.is_over:
            due = self.waiting[0][0] - time.monotonic() if self.waiting else 0.05
            for key, _ in self.select.select(max(0, due)):
                with contextlib.suppress(BlockingIOError, ConnectionError):
                    while True:
                        self.pass_on(key.fileobj, *key.fileobj.recvfrom(65536))
            while self.waiting and self.waiting[0][0] <= time.monotonic():
                _, _, by, octets, to = heapq.heappop(self.waiting)
                with contextlib.suppress(BlockingIOError, ConnectionError):
                    by.sendto(octets, to)

    def pass_on(self, by, octets, peer):
        by, to = self.way(by, peer)
        thrown = self.dice.random()
        for _ in range(0 if thrown < LOST else 2 if thrown < LOST + TWICE else 1):
            late = self.dice.random() * LATE_SECONDS if self.dice.random() < LATE else 0
            self.count += 1
            heapq.heappush(self.waiting, (time.monotonic() + late, self.count, by, octets, to))

    def way(self, by, peer):
        if by is not self.front:
            return self.front, self.select.get_key(by).data
        if peer not in self.ways:
            self.ways[peer] = self.socket()
            self.select.register(self.ways[peer], selectors.EVENT_READ, peer)
        return self.ways[peer], self.to


class Forgetful(Relay):
    """Gives a viewer another port after so many octets of answers; nothing comes by the port before. One datagram of the viewer leaves
    from there, so many of the edge to it are lost, and until one came through the viewer is as silent as one that only reads."""

    def __init__(self, port, octets, lost):
        super().__init__(port, 1)
        self.left, self.lost, self.before, self.has_said, self.has_heard = octets, lost, None, False, False

    def pass_on(self, by, octets, peer):
        if by is self.front:
            if self.left <= 0 and not self.before:
                self.before = self.ways.pop(peer)
            is_lost = self.has_said and not self.has_heard
            self.has_said |= self.before is not None
        else:
            is_lost = by is self.before or self.before is not None and self.lost > 0
            self.left -= len(octets)
            self.lost -= self.before is not None and by is not self.before
            self.has_heard |= self.before is not None and not is_lost
        if not is_lost:
            by, to = self.way(by, peer)
            with contextlib.suppress(BlockingIOError, ConnectionError):
                by.sendto(octets, to)


def check(what, held, told=""):
    print("ok  " if held else "FAIL", what, "" if held else told)
    if not held:
        sys.exit(1)


def pycurl_ask(port, ca):
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
        curl.setopt(pycurl.TIMEOUT, 60)
        curl.setopt(pycurl.WRITEFUNCTION, body.write)
        curl.setopt(pycurl.HEADERFUNCTION, field)
        for name, value in options.items():
            curl.setopt(getattr(pycurl, name), value)
        curl.perform()
        told = (curl.getinfo(pycurl.RESPONSE_CODE), curl.getinfo(pycurl.INFO_HTTP_VERSION), body.getvalue(), fields)
        curl.close()
        return told

    return ask


def pycurl_asks(port, ca):
    import pycurl

    ask = pycurl_ask(port, ca)
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
    part = session.get(f"{url}/large", headers={"Range": "bytes=1000-99999"})
    check("curl_cffi: a range", (part.status_code, part.content) == (206, LARGE[1000:100000]), part.status_code)
    head = session.head(f"{url}/large")
    check("curl_cffi: HEAD", (head.headers["content-length"], head.content) == (str(1 << 20), b""), head.headers)
    posted = session.post(f"{url}/post", data=LARGE)
    check("curl_cffi: POST", posted.text == hashlib.sha256(LARGE).hexdigest(), posted.text[:80])


def aioquic_viewer(port, ca):
    """Settings, and what a connection of aioquic is made with."""
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

        async def rebind(self):
            """Goes on from another port, as behind a router that forgot the one before."""
            sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            sock.bind(("::", 0, 0, 0))
            before = self._transport
            await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, sock=sock)
            before.abort()

    settings = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, server_name="localhost", verify_mode=ssl.CERT_REQUIRED)
    settings.load_verify_locations(str(ca))
    return settings, Viewer


def aioquic_asks(port, ca):
    from aioquic.asyncio.client import connect

    async def run():
        settings, made = aioquic_viewer(port, ca)
        async with connect("127.0.0.1", port, configuration=settings, create_protocol=made) as viewer:
            check("aioquic: GET", (await viewer.ask("/a"))["body"] == b"hello")
            many = await asyncio.gather(*(viewer.ask("/large", more=[("range", f"bytes={at}-{at + 9999}")]) for at in range(200)))
            check("aioquic: 200 streams", all(one["body"] == LARGE[at : at + 10000] for at, one in enumerate(many)))
            posted = await viewer.ask("/post", "POST", LARGE)
            check("aioquic: POST", posted["body"].decode() == hashlib.sha256(LARGE).hexdigest(), posted["fields"])
            viewer.change_connection_id()
            viewer.request_key_update()
            check("aioquic: another id and key", (await viewer.ask("/large"))["body"] == LARGE)
            for _ in range(8):
                asked = asyncio.create_task(viewer.ask("/large"))
                while not any(0 < len(one["body"]) < len(LARGE) for one in viewer.answers.values() if not one["done"].done()):
                    await asyncio.sleep(0)
                await viewer.rebind()
                check("aioquic: another port in mid-answer", (await asked)["body"] == LARGE)

    asyncio.run(run())


def aioquic_acknowledges_what_was_not_sent(port, ca):
    """Who says that more arrived than was sent wants it sent faster than its network takes it (RFC 9000 §21.4)."""
    from aioquic.asyncio.client import connect
    from aioquic.tls import Epoch

    async def run():
        settings, made = aioquic_viewer(port, ca)
        async with connect("127.0.0.1", port, configuration=settings, create_protocol=made) as viewer:
            await viewer.ask("/a")
            space = viewer._quic._spaces[Epoch.ONE_RTT]
            space.ack_queue.add(0, 5_000)
            space.ack_at = 0
            with contextlib.suppress(ConnectionError, TimeoutError, asyncio.TimeoutError):
                await asyncio.wait_for(viewer.ping(), 5)
            ended = viewer._quic._close_event
            check("aioquic: PROTOCOL_VIOLATION for acknowledgements of what was not sent", ended and ended.error_code == 10, ended)

    asyncio.run(run())


def aioquic_sees_it_leave(port, ca, process):
    from aioquic.asyncio.client import connect

    async def run():
        settings, made = aioquic_viewer(port, ca)
        async with connect("127.0.0.1", port, configuration=settings, create_protocol=made) as viewer:
            asked = asyncio.create_task(viewer.ask("/slow"))
            await asyncio.get_running_loop().run_in_executor(None, Origin.slow.wait, 20)
            process.terminate()
            check("aioquic: an answer that was under way", (await asked)["body"] == b"late")
            await asyncio.wait_for(viewer.wait_closed(), 20)
            ended = viewer._quic._close_event
            check("aioquic: H3_NO_ERROR at the end", ended and ended.error_code == 0x100, ended)

    asyncio.run(run())


def gtlsclient_asks(port, _):
    program = shutil.which("gtlsclient")
    if program is None:
        raise ImportError("gtlsclient is not installed")

    def ask(*options, path="/large"):
        with tempfile.TemporaryDirectory() as folder:
            command = [program, "--quiet", "--no-http-dump", "--exit-on-all-streams-close", "--timeout=20s", f"--download={folder}", *options]
            told = subprocess.run([*command, "127.0.0.1", str(port), f"https://localhost:{port}{path}"], capture_output=True, timeout=60, check=False)
            name = pathlib.Path(folder) / path.strip("/")
            return name.read_bytes() if name.exists() else b"", (told.stdout + told.stderr)[-500:]

    body, said = ask(path="/a")
    check("gtlsclient: GET", body == b"hello", said)
    body, said = ask(path="/huge")
    check("gtlsclient: 16 MiB", body == HUGE, (len(body), said))
    # Not its --nat-rebinding: from the new port it says nothing but NEW_CONNECTION_ID again and again, which makes no path (RFC 9000
    # §9.1), and hears nothing of what comes to the old one. Ports that change unsaid are aioquic's above.
    for _ in range(4):
        body, said = ask("--change-local-addr=20ms", path="/huge")
        check("gtlsclient: another address", body == HUGE, (len(body), said))
    body, said = ask("--rx-loss=0.05", "--tx-loss=0.05")
    check("gtlsclient: losing a twentieth", body == LARGE, (len(body), said))


def over_a_bad_network(port, ca, seed):
    """The same octets whatever becomes of datagrams."""
    from aioquic.asyncio.client import connect

    for one in range(seed, seed + 4):
        relay = Relay(port, one)
        relay.start()
        ask = pycurl_ask(relay.port, ca)
        import pycurl

        only = getattr(pycurl, "CURL_HTTP_VERSION_3ONLY", 31)
        check(f"seed {one}: pycurl, 1 MiB", ask("/large", only)[2] == LARGE)
        status, _, body, _ = ask("/post", only, POSTFIELDS=LARGE)
        check(f"seed {one}: pycurl, POST", body.decode() == hashlib.sha256(LARGE).hexdigest(), (status, body[:80]))

        async def many(relay=relay):
            settings, made = aioquic_viewer(relay.port, ca)
            async with connect("127.0.0.1", relay.port, configuration=settings, create_protocol=made) as viewer:
                parts = (viewer.ask("/large", more=[("range", f"bytes={at}-{at + 9999}")]) for at in range(50))
                return await asyncio.gather(*parts)

        told = asyncio.run(many())
        check(f"seed {one}: aioquic, 50 streams", all(part["body"] == LARGE[at : at + 10000] for at, part in enumerate(told)))
        relay.is_over = True
        relay.join()


def behind_a_forgetful_router(port, ca):
    """What the edge says first to a new port is lost, and a viewer that only reads says nothing until it hears something."""
    from aioquic.asyncio.client import connect

    async def run(relay):
        settings, made = aioquic_viewer(relay.port, ca)
        # So large that it never has to be opened: then there is nothing to say but what has come.
        settings.max_data = settings.max_stream_data = 1 << 24
        async with connect("127.0.0.1", relay.port, configuration=settings, create_protocol=made) as viewer:
            with contextlib.suppress(TimeoutError, asyncio.TimeoutError, ConnectionError):
                return (await viewer.ask("/large"))["body"]

    for lost in (0, 1, 3):
        relay = Forgetful(port, 600_000, lost)
        relay.start()
        body = asyncio.run(run(relay))
        check(f"aioquic: another port, where {lost} datagrams are lost", body == LARGE and relay.before, len(body or b""))
        relay.is_over = True
        relay.join()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--edge", default="target/release/foreshore", type=pathlib.Path)
    parser.add_argument("--seed", default=1, type=int, help="the first of four")
    args = parser.parse_args()
    edge = args.edge.resolve()
    origin = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Origin)
    threading.Thread(target=origin.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "edge.toml").write_text(CONFIG.format(port=origin.server_port))
        log = folder / "edge.log"
        process = subprocess.Popen([edge, "run", "--quiet", "--config", folder / "edge.toml"],
                                   stdout=subprocess.DEVNULL, stderr=open(log, "wb"))
        try:
            found, until = None, time.monotonic() + 20
            while not found and time.monotonic() < until and process.poll() is None:
                found = re.search(r"address=127\.0\.0\.1:(\d+) .*speaks=\"https\"", log.read_text())
                threading.Event().wait(0.05)
            check("the edge starts", found, log.read_text())
            port, ca = int(found[1]), folder / "tls" / "ca.pem"
            network = functools.partial(over_a_bad_network, seed=args.seed)
            leaving = functools.partial(aioquic_sees_it_leave, process=process)
            for asks in (pycurl_asks, curl_cffi_asks, aioquic_asks, aioquic_acknowledges_what_was_not_sent, gtlsclient_asks, network,
                         behind_a_forgetful_router, leaving):
                try:
                    asks(port, ca)
                except ImportError as error:
                    print("skipped:", error)
            process.terminate()
            check("the edge leaves", process.wait(40) == 0, log.read_text())
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()


# Ended by a limit of time it removes its folder, too, and ends what runs in it.
signal.signal(signal.SIGTERM, signal.default_int_handler)
main()
