"""A miss through an edge and its parent, its spans in a real collector: Rotel (PyPI `rotel`) prints what it received, and this
looks whether it is one trace whose spans hang together. Rotel's X-Ray exporter sends them on to a server here that stands for
X-Ray: these are segments of one trace under the id that the caller gave, with annotations to filter by. By hand, as no part of
the test command:

    cargo build --release && pip install rotel && python tests/real/traces.py [--edge PATH]

Where Rotel is not there it says so and ends well. `--show` prints all that Rotel printed."""

import argparse
import http.server
import importlib.util
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

# X-Ray's ids begin with the time.
CALLER = f"{int(time.time()):08x}" + "77b34da6a3ce929d0e0e4736"

COMMON = """
data = "data"
pop = "{pop}"
[listen]
http = ["127.0.0.1:{http}"]
{https}
workers = 1
[admin]
listen = "127.0.0.1:{admin}"
[log]
access = "access.log"
[traces]
endpoint = "http://127.0.0.1:{collector}"
rate = "100%"
trusted = ["127.0.0.0/8"]
propagate = ["w3c", "xray"]
service = "{service}"
{more}
[[distribution]]
id = "E1"
hosts = ["*"]
[[distribution.origin]]
id = "o"
url = "http://127.0.0.1:{origin}"
[[distribution.behavior]]
path = "*"
origin = "o"
"""
PARENT = """
[[certificate]]
chain = "tls/localhost.pem"
key = "tls/localhost.key"
make_for = ["localhost"]
[[trusted_edge]]
id = "e1"
token = {{ file = "token" }}
"""
EDGE = """
[region]
kind = "parent"
edge_id = "e1"
token = {{ file = "token" }}
ca = "{ca}"
[[region.parent]]
url = "https://localhost:{https}"
admin = "http://127.0.0.1:{admin}"
"""


def port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Origin(http.server.BaseHTTPRequestHandler):
    told = []

    def do_GET(self):
        Origin.told.append(dict(self.headers))
        self.send_response(200)
        self.send_header("Cache-Control", "max-age=60")
        self.send_header("Content-Length", "1")
        self.end_headers()
        self.wfile.write(b"x")

    def log_message(self, *_):
        pass


class XRay(http.server.BaseHTTPRequestHandler):
    """Takes segments as X-Ray's PutTraceSegments does; the credentials are made up and not looked at."""

    protocol_version = "HTTP/1.1"
    segments = []

    def do_POST(self):
        told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        XRay.segments.extend(json.loads(one) for one in told["TraceSegmentDocuments"])
        said = b'{"UnprocessedTraceSegments":[]}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_):
        pass


def wait_for(address, process, log):
    for _ in range(400):
        if process.poll() is not None:
            break
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", address)) == 0:
                return
        time.sleep(0.05)
    sys.exit(f"it did not start:\n{log.read_text(errors='replace')}")


def start(words, log, **more):
    return subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=open(log, "wb"), stderr=subprocess.STDOUT, env=dict(os.environ, **more)
    )


def serve(handler):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


def edge(binary, folder, listens, **settings):
    folder.mkdir()
    (folder / "token").write_text("between-us")
    (folder / "edge.toml").write_text(COMMON.format(**settings))
    process = start([binary, "run", "--quiet", "--config", folder / "edge.toml"], folder / "log")
    wait_for(listens, process, folder / "log")
    return process


def spans(text):
    """The spans that Rotel printed, as a dictionary each."""
    all = []
    for block in re.split(r"^Span #\d+$", text, flags=re.M)[1:]:
        field = lambda name: (re.search(rf"^\s*{name}\s*: ?(\S*.*)$", block, re.M) or ["", ""])[1].strip()
        told = dict(re.findall(r"-> ([\w.]+): \w+\((.*)\)$", block.split("Links:")[0], re.M))
        all.append({
            "trace": field("Trace ID"), "parent": field("Parent ID"), "id": field("ID"), "name": field("Name"),
            "kind": field("Kind"), "told": told,
        })
    return all


def check(found):
    """Says whether they are one trace that hangs together."""
    by_id = {span["id"]: span for span in found}
    names = sorted(span["name"] for span in found)
    assert all(span["trace"] == CALLER for span in found), names
    assert names.count("GET *") == 2, names
    for name in ("parent", "origin", "fill"):
        assert name in names, names
    [call] = [span for span in found if span["name"] == "parent"]
    [first] = [span for span in found if span["name"] == "GET *" and span["parent"] not in by_id]
    [second] = [span for span in found if span["name"] == "GET *" and span["parent"] == call["id"]]
    assert call["parent"] == first["id"]
    [origin] = [span for span in found if span["name"] == "origin"]
    assert origin["parent"] == second["id"]
    assert first["told"]["distribution"] == "E1", first
    return origin


def check_segments(found):
    """Says whether X-Ray was given each of the spans, and what its filters need."""
    by_id = {segment["id"]: segment for segment in XRay.segments}
    for span in found:
        segment = by_id[span["id"]]
        assert segment["trace_id"] == f"1-{CALLER[:8]}-{CALLER[8:]}", segment
        assert segment.get("parent_id", "") == span["parent"], (segment, span)
    for span in found:
        if span["name"] == "GET *":
            noted = by_id[span["id"]]["annotations"]
            assert noted == {"distribution": "E1", "behavior": "*", "result": span["told"]["result"]}, noted


def main():
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--edge", default="target/release/foreshore")
    words.add_argument("--show", action="store_true")
    words = words.parse_args()
    module = importlib.util.find_spec("rotel")
    if module is None:
        print("skipped: pip install rotel")
        return
    binary = pathlib.Path(words.edge).resolve()
    rotel = pathlib.Path(module.origin).parent / "rotel-agent"
    origin, xray = serve(Origin), serve(XRay)
    ports = [port() for _ in range(7)]
    collector, grpc, parent_http, parent_https, parent_admin, edge_http, edge_admin = ports
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        running = []
        try:
            printed = folder / "rotel.log"
            running.append(start([
                rotel, "start", "--exporter", "aws-xray", "--xray-exporter-custom-endpoint", f"http://127.0.0.1:{xray}",
                "--debug-log", "traces", "--debug-log-verbosity", "detailed",
                "--otlp-http-endpoint", f"127.0.0.1:{collector}", "--otlp-grpc-endpoint", f"127.0.0.1:{grpc}",
            ], printed, AWS_ACCESS_KEY_ID="AKIDEXAMPLE", AWS_SECRET_ACCESS_KEY="made-up"))
            wait_for(collector, running[-1], printed)
            common = {"collector": collector, "origin": origin}
            running.append(edge(
                binary, folder / "parent", parent_https, pop="FRA1-P1", http=parent_http, admin=parent_admin, service="parent",
                https=f'https = ["127.0.0.1:{parent_https}"]', more=PARENT.format(), **common,
            ))
            # Its ports are open before its certificate is made.
            until = time.monotonic() + 20
            while time.monotonic() < until and not (folder / "parent/tls/ca.pem").exists():
                time.sleep(0.05)
            more = EDGE.format(ca=folder / "parent/tls/ca.pem", https=parent_https, admin=parent_admin)
            running.append(edge(
                binary, folder / "edge", edge_http, pop="FRA1-C1", http=edge_http, admin=edge_admin, service="edge", https="",
                more=more, **common,
            ))
            asked = urllib.request.Request(
                f"http://127.0.0.1:{edge_http}/a", headers={"traceparent": f"00-{CALLER}-00f067aa0ba902b7-01"}
            )
            assert urllib.request.urlopen(asked, timeout=10).status == 200
            # A batch goes out once a second from each; Rotel prints as it receives.
            until = time.monotonic() + 20
            while time.monotonic() < until:
                found = spans(printed.read_text(errors="replace"))
                if sum(span["name"] == "GET *" for span in found) >= 2 and sum(span["name"] == "fill" for span in found) >= 2:
                    break
                time.sleep(0.2)
            if words.show:
                print(printed.read_text(errors="replace"))
            call = check(found)
            until = time.monotonic() + 20
            while time.monotonic() < until and not {span["id"] for span in found} <= {one["id"] for one in XRay.segments}:
                time.sleep(0.2)
            check_segments(found)
            told = {name.lower(): value for name, value in Origin.told[0].items()}
            assert told["traceparent"] == f"00-{CALLER}-{call['id']}-01", told
            assert told["x-amzn-trace-id"] == f"Root=1-{CALLER[:8]}-{CALLER[8:]};Parent={call['id']};Sampled=1", told
            for span in found:
                print(f"{span['name']:<10}{span['kind']:<22}{span['id']} in {span['parent'] or '-'}")
            print(f"one trace of {len(found)} spans, {CALLER}; X-Ray was given {len(XRay.segments)} segments")
        finally:
            for process in reversed(running):
                process.terminate()
            for process in running:
                process.wait(40)


if __name__ == "__main__":
    # Ended by a limit of time it removes its folder, too, and ends what runs in it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    main()
