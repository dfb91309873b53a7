"""Calls gRPC through an edge with Google's library `grpcio` on both sides, over TLS: the four kinds of calls, messages that go
back and forth one by one, deadlines, cancels, statuses, an origin that is killed, and many unary calls with the edge's resident
memory. No part of the test command; by hand:

    cargo build --release && target/tools/python/bin/python tests/real/grpc.py [--edge PATH]

Where the library is not there it says so and ends well. `--direct` leaves the edge out, to see what the library costs.
`--calls 100000` is the long run."""

import argparse
import asyncio
import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

# Beside this file, which has its name, stands no library.
sys.path = [entry for entry in sys.path if pathlib.Path(entry or ".").resolve() != pathlib.Path(__file__).parent.resolve()]
try:
    import grpc
except ImportError:
    print("skipped: pip install grpcio")
    sys.exit(0)

SERVICE = "t.T"
# What the many calls may cost beyond the first thousand.
BUDGET_KIB = 32 << 10
LARGEST = {"grpc.max_receive_message_length": 64 << 20, "grpc.max_send_message_length": 64 << 20}
OPTIONS = [*LARGEST.items(), ("grpc.enable_retries", 0)]

CONFIG = """
data = "data"
[listen]
http = ["127.0.0.1:0"]
https = ["127.0.0.1:0"]
workers = 2
[admin]
listen = "127.0.0.1:0"
[[certificate]]
chain = "tls/localhost.pem"
key = "tls/localhost.key"
[[distribution]]
id = "E1"
hosts = ["*"]
[[distribution.origin]]
id = "o"
url = "https://localhost:{port}"
http_version = "http2"
attempts = 1
timeouts = {{ connect = "2s", response = "10s" }}
tls = {{ ca = "tls/ca.pem" }}
[[distribution.behavior]]
path = "/t.T/Denied"
origin = "o"
methods = "all"
grpc = true
deny_from = ["127.0.0.0/8"]
[[distribution.behavior]]
path = "*"
origin = "o"
methods = "all"
cache_policy = "CachingDisabled"
origin_request_policy = "AllViewerExceptHostHeader"
grpc = true
"""


class Edge:
    """A running edge, in a folder that holds certificates already."""

    def __init__(self, binary, folder, port):
        config = folder / "edge.toml"
        config.write_text(CONFIG.format(port=port))
        self.log = folder / "edge.log"
        self.process = subprocess.Popen(
            [binary, "run", "--quiet", "--config", config], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=open(self.log, "wb"),
        )

    async def port(self):
        """The port it listens on for viewers over TLS, once it does."""
        for _ in range(400):
            found = re.search(r"address=127\.0\.0\.1:(\d+) .*speaks=\"https\"", self.log.read_text())
            if found:
                return int(found[1])
            if self.process.poll() is not None:
                break
            await asyncio.sleep(0.05)
        sys.exit(f"the edge did not start:\n{self.log.read_text()}")

    def memory(self):
        """Resident memory in KiB."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1])

    def stop(self):
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.wait(40)
        self.process.kill()
        return self.process.wait()


class Service(grpc.GenericRpcHandler):
    """Handlers of octets: no descriptions, no generated code."""

    def __init__(self):
        self.cancelled = 0
        self.methods = {
            "Echo": grpc.unary_unary_rpc_method_handler(self.echo),
            "Sum": grpc.stream_unary_rpc_method_handler(self.sum),
            "Count": grpc.unary_stream_rpc_method_handler(self.count),
            "Chat": grpc.stream_stream_rpc_method_handler(self.chat),
            "Flood": grpc.stream_stream_rpc_method_handler(self.flood),
            "Fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "Silent": grpc.unary_unary_rpc_method_handler(self.silent),
            "Endless": grpc.unary_stream_rpc_method_handler(self.endless),
            "Denied": grpc.unary_unary_rpc_method_handler(self.echo),
        }

    def service(self, details):
        return self.methods.get(details.method.removeprefix(f"/{SERVICE}/"))

    async def echo(self, request, context):
        said = dict(context.invocation_metadata())
        context.set_trailing_metadata((("x-saw", said.get("x-meta", "-")), ("x-trail-bin", b"\0\xff")))
        return request

    async def sum(self, requests, context):
        return str(sum([len(request) async for request in requests])).encode()

    async def count(self, request, context):
        for number in range(int(request)):
            yield str(number).encode()

    async def chat(self, requests, context):
        await context.send_initial_metadata((("x-early", "yes"),))
        async for request in requests:
            yield b"re " + request

    async def flood(self, requests, context):
        """Sends more than any window has room for while it takes what it is told, and then says how much that was."""

        async def drain():
            return sum([len(request) async for request in requests])

        draining = asyncio.create_task(drain())
        for _ in range(64):
            await context.write(bytes(1 << 16))
        await context.write(str(await draining).encode())

    async def fail(self, request, context):
        await context.abort(grpc.StatusCode.NOT_FOUND, "nicht da: äöü 100%")

    async def silent(self, request, context):
        await self.until_cancelled()

    async def endless(self, request, context):
        yield b"one"
        await self.until_cancelled()

    async def until_cancelled(self):
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


async def server(folder):
    service = Service()
    made = grpc.aio.server(options=OPTIONS)
    made.add_generic_rpc_handlers((service,))
    key, chain = [(folder / "tls" / name).read_bytes() for name in ("localhost.key", "localhost.pem")]
    port = made.add_secure_port("localhost:0", grpc.ssl_server_credentials([(key, chain)]))
    await made.start()
    return made, service, port


def timed(what, began, more=""):
    print(f"{what:<44} {time.monotonic() - began:8.3f} s{more}")


async def until(what, holds):
    for _ in range(200):
        if holds():
            return
        await asyncio.sleep(0.05)
    sys.exit(f"{what} did not come to hold")


async def fails(call, code):
    """The error of a call that is to fail so."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        assert error.code() == code, error
        return error
    sys.exit(f"a call that was to fail with {code} did not")


async def kinds(channel):
    began = time.monotonic()
    call = channel.unary_unary(f"/{SERVICE}/Echo")(b"hello", metadata=(("x-meta", "m"),), timeout=20)
    assert await call == b"hello"
    trailing = dict(await call.trailing_metadata())
    assert (trailing["x-saw"], trailing["x-trail-bin"]) == ("m", b"\0\xff"), trailing
    timed("unary, metadata both ways", began)

    began = time.monotonic()

    async def thousand():
        for _ in range(1000):
            yield bytes(1000)

    assert await channel.stream_unary(f"/{SERVICE}/Sum")(thousand()) == b"1000000"
    timed("1000 messages up", began)

    began = time.monotonic()
    down = [answer async for answer in channel.unary_stream(f"/{SERVICE}/Count")(b"1000")]
    assert down == [str(number).encode() for number in range(1000)]
    timed("1000 messages down", began)

    began = time.monotonic()
    chat = channel.stream_stream(f"/{SERVICE}/Chat")()
    assert dict(await chat.initial_metadata())["x-early"] == "yes"
    for number in range(1000):
        await chat.write(str(number).encode())
        assert await chat.read() == b"re " + str(number).encode()
    await chat.done_writing()
    assert await chat.read() is grpc.aio.EOF and await chat.code() == grpc.StatusCode.OK
    timed("1000 messages, each waiting for the other's", began)

    # All is said before anything of the answer is taken.
    began = time.monotonic()
    flood = channel.stream_stream(f"/{SERVICE}/Flood")()
    for _ in range(256):
        await asyncio.wait_for(flood.write(bytes(1 << 16)), 20)
    await flood.done_writing()
    told = [answer async for answer in flood]
    assert (len(told), told[-1]) == (65, b"16777216"), (len(told), told[-1])
    timed("16 MiB up before 4 MiB down are taken", began)

    for size in (1 << 20, 32 << 20):
        began = time.monotonic()
        sent = os.urandom(size)
        assert await channel.unary_unary(f"/{SERVICE}/Echo")(sent) == sent
        timed(f"echo of {size} octets", began)


async def ends(channel, service, is_direct):
    error = await fails(channel.unary_unary(f"/{SERVICE}/Fail")(b""), grpc.StatusCode.NOT_FOUND)
    assert error.details() == "nicht da: äöü 100%", error
    await fails(channel.unary_unary(f"/{SERVICE}/Nowhere")(b""), grpc.StatusCode.UNIMPLEMENTED)
    began = time.monotonic()
    await fails(channel.unary_unary(f"/{SERVICE}/Silent")(b"", timeout=0.5), grpc.StatusCode.DEADLINE_EXCEEDED)
    timed("deadline of half a second", began)
    await until("the server hears of the deadline", lambda: service.cancelled == 1)
    endless = channel.unary_stream(f"/{SERVICE}/Endless")(b"")
    assert await endless.read() == b"one"
    began = time.monotonic()
    endless.cancel()
    await until("the server hears of the cancel", lambda: service.cancelled == 2)
    timed("cancel heard by the server", began)
    if not is_direct:
        error = await fails(channel.unary_unary(f"/{SERVICE}/Denied")(b""), grpc.StatusCode.PERMISSION_DENIED)
        print(f"denied: {error.details()}")


async def many(channel, calls, memory):
    echo, began, before = channel.unary_unary(f"/{SERVICE}/Echo"), time.monotonic(), 0

    async def caller(count):
        for _ in range(count):
            assert await echo(b"x" * 100) == b"x" * 100

    first = min(1000, calls)
    await asyncio.gather(*(caller(first // 20) for _ in range(20)))
    before = memory()
    await asyncio.gather(*(caller((calls - first) // 20) for _ in range(20)))
    took, held = time.monotonic() - began, memory()
    print(f"{calls} unary calls, 20 at a time: {calls / took:.0f} a second; {held} KiB resident, {before} KiB after the first {first}")
    return held - before


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edge", default="target/release/foreshore", help="the program")
    parser.add_argument("--calls", type=int, default=5000, help="how many unary calls")
    parser.add_argument("--direct", action="store_true", help="without an edge")
    args = parser.parse_args()
    if not os.access(args.edge, os.X_OK):
        sys.exit(f"{args.edge} is not there: cargo build --release")
    binary = pathlib.Path(args.edge).resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        subprocess.run([binary, "certs", "dev", "--out", "tls", "localhost"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        made, service, port = await server(folder)
        edge = None if args.direct else Edge(binary, folder, port)
        try:
            trust = grpc.ssl_channel_credentials((folder / "tls/ca.pem").read_bytes())
            target = f"localhost:{port if edge is None else await edge.port()}"
            async with grpc.aio.secure_channel(target, trust, options=OPTIONS) as channel:
                await kinds(channel)
                await ends(channel, service, args.direct)
                grown = await many(channel, args.calls, edge.memory if edge else lambda: 0)
                assert grown < BUDGET_KIB, f"{grown} KiB more"
                # An origin that is gone in mid-call: a status, not a broken connection.
                endless = channel.unary_stream(f"/{SERVICE}/Endless")(b"")
                assert await endless.read() == b"one"
                await made.stop(None)
                code = await endless.code()
                print(f"origin stopped in mid-call: {code}")
                if edge:
                    error = await fails(channel.unary_unary(f"/{SERVICE}/Echo")(b""), grpc.StatusCode.UNAVAILABLE)
                    print(f"origin gone: {error.details()}")
            if edge:
                print(f"drained, exit {edge.stop()}")
        finally:
            if edge and edge.process.poll() is None:
                edge.process.kill()


# Ended by a limit of time it removes its folder, too, and ends what runs in it.
signal.signal(signal.SIGTERM, signal.default_int_handler)
asyncio.run(main())
