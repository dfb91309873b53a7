"""Speaks WebSocket through an edge with the library `websockets` on both sides: messages of 1 octet to 64 MiB, echoed,
and thousands of idle sockets, with the edge's resident memory. No part of the test command; by hand:

    cargo build --release && target/tools/python/bin/python tests/real/websockets.py [--edge PATH]

Where the library is not there it says so and ends well. `--direct` leaves the edge out, to see what the library costs."""

import argparse
import asyncio
import contextlib
import hashlib
import os
import pathlib
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time

# Beside this file, which has its name, stands no library.
sys.path = [entry for entry in sys.path if pathlib.Path(entry or ".").resolve() != pathlib.Path(__file__).parent.resolve()]
try:
    from websockets.asyncio.client import connect
    from websockets.asyncio.server import serve
except ImportError:
    print("skipped: pip install websockets")
    sys.exit(0)

LARGEST = 64 << 20
# What 5,000 idle sockets may cost.
BUDGET_KIB = 200 << 10
PLAIN = {"compression": None, "max_size": None, "ping_interval": None}

CONFIG = """
data = "data"
[listen]
http = ["127.0.0.1:0"]
workers = 2
[admin]
listen = "127.0.0.1:0"
[limits]
tunnels = {places}
drain = "5s"
[[distribution]]
id = "E1"
hosts = ["*"]
[[distribution.origin]]
id = "o"
url = "http://127.0.0.1:{port}"
connections = {places}
[[distribution.behavior]]
path = "*"
origin = "o"
origin_request_policy = "AllViewer"
"""


class Edge:
    """A running edge, in a folder of its own."""

    def __init__(self, binary, port, places):
        self.folder = tempfile.TemporaryDirectory()
        config = pathlib.Path(self.folder.name) / "edge.toml"
        config.write_text(CONFIG.format(port=port, places=places))
        self.process = subprocess.Popen(
            [binary, "run", "--quiet", "--config", config], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=open(config.with_name("edge.log"), "wb"),
        )
        self.log = config.with_name("edge.log")

    async def port(self):
        """The port it listens on for viewers, once it does."""
        for _ in range(400):
            found = re.search(r"address=127\.0\.0\.1:(\d+) .*speaks=\"http\"", self.log.read_text())
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
            return self.process.wait(10)
        self.process.kill()
        return self.process.wait()


async def echo(socket):
    async for message in socket:
        await socket.send(message)


def octets(length):
    seed = hashlib.sha256(str(length).encode()).digest()
    return (seed * (length // len(seed) + 1))[:length]


async def echoes(url, largest):
    lengths = [0, 1, 125, 126, 65_535, 65_536, 1 << 20, 16 << 20, largest]
    async with connect(url, **PLAIN) as socket:
        for length in [length for length in lengths if length <= largest]:
            sent, began = octets(length), time.monotonic()
            await socket.send(sent)
            if await socket.recv() != sent:
                sys.exit(f"{length} octets came back as others")
            print(f"echo of {length:>9} octets: {time.monotonic() - began:7.3f} s")
        await socket.send("text, too: äöü")
        assert await socket.recv() == "text, too: äöü"
    print(f"closed with {socket.close_code}")
    assert socket.close_code == 1000


async def idle(url, count, memory):
    before, sockets = memory(), []
    for start in range(0, count, 100):
        batch = [connect(url, **PLAIN).__aenter__() for _ in range(min(100, count - start))]
        sockets += await asyncio.gather(*batch)
    # Each has carried something.
    for socket in sockets:
        await socket.send("x")
        assert await socket.recv() == "x"
    await asyncio.sleep(2)
    held = memory()
    print(f"{count} idle sockets: {held} KiB resident, {before} KiB before; {(held - before) / count:.1f} KiB each")
    return sockets, held


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edge", default="target/release/foreshore", help="the program")
    parser.add_argument("--sockets", type=int, default=5000, help="how many are idle at once")
    parser.add_argument("--largest", type=int, default=LARGEST, help="octets of the largest message")
    parser.add_argument("--direct", action="store_true", help="without an edge")
    args = parser.parse_args()
    if not (args.direct or os.access(args.edge, os.X_OK)):
        sys.exit(f"{args.edge} is not there: cargo build --release")
    # The edge inherits it: two descriptors for each socket, there and here.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if most != resource.RLIM_INFINITY and most < 2 * args.sockets + 500:
        sys.exit(f"only {most} files may be open: ulimit -n {2 * args.sockets + 500}")
    async with serve(echo, "127.0.0.1", 0, **PLAIN) as server:
        port = server.sockets[0].getsockname()[1]
        edge = None if args.direct else Edge(args.edge, port, args.sockets + 100)
        try:
            url = f"ws://127.0.0.1:{port if edge is None else await edge.port()}/ws"
            await echoes(url, args.largest)
            sockets, held = await idle(url, args.sockets, edge.memory if edge else lambda: 0)
            if edge is None:
                await asyncio.gather(*(socket.close() for socket in sockets))
                return
            # A drain says 1001 to all of them.
            loop = asyncio.get_running_loop()
            stopping = loop.run_in_executor(None, edge.stop)
            await asyncio.gather(*(socket.wait_closed() for socket in sockets))
            codes = {code: sum(socket.close_code == code for socket in sockets) for code in {s.close_code for s in sockets}}
            print(f"drained, exit {await stopping}; close codes: {codes}")
            assert set(codes) == {1001}, codes
            if args.sockets == 5000:
                assert held < BUDGET_KIB, f"{held} KiB"
        finally:
            if edge and edge.process.poll() is None:
                edge.process.kill()


# Ended by a limit of time it removes its folder, too, and ends what runs in it.
signal.signal(signal.SIGTERM, signal.default_int_handler)
asyncio.run(main())
