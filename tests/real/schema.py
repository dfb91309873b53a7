"""Has the tools that editors use read the schema: taplo, and a validator of JSON Schema. Every configuration of config/
must fit; each mistake below must be refused by both, and by `foreshore check`, which is what the schema speaks for.
No part of the test command; by hand:

    pip install taplo==0.9.3 check-jsonschema==0.39.0
    python tests/real/schema.py [--edge PATH]

Where they are not there it says so and ends well."""

import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
SCHEMA = TOP / "config/foreshore.schema.json"
BEHAVIOR = '[[distribution]]\nid = "E1"\nhosts = ["*"]\n[[distribution.origin]]\nid = "o"\nurl = "http://127.0.0.1:1"\n' \
    '[[distribution.behavior]]\npath = "*"\norigin = "o"\n'

# What an operator gets wrong: a word too many, a kind, a unit, a choice, a literal where a reference stands.
WRONG = [
    'lisen = 1', '[lisen]\nhttp = []', '[listen]\nhttp = "127.0.0.1:80"', '[listen]\nworkers = "two"', '[listen]\nworkers = -1',
    '[listen]\nunknown_sni = "drop"', '[admin]\ntoken = "a literal"', '[admin]\ndashboard = true', '[limits]\ndrain = 5',
    '[limits]\ndrain = "5 seconds"', '[store]\nmemory = "64 megabytes"', '[metrics]\nby = "host"', '[process]\ncore_dumps = true',
    '[cache_policy.c]\nttl = { mni = "1s" }', '[cache_policy.c]\nttl = { min = 1 }', '[cache_policy.c]\nsemantics = "rfc2616"',
    BEHAVIOR + 'viewer_protocol = "https"', BEHAVIOR + 'methods = 7', BEHAVIOR + 'colour = "blue"',
    BEHAVIOR.replace('hosts = ["*"]', 'hosts = "*"'),
]


def edge():
    given = sys.argv[sys.argv.index("--edge") + 1] if "--edge" in sys.argv else TOP / "target/release/foreshore"
    return Path(given).resolve()


def fits(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60)
    return done.returncode == 0, done.stdout + done.stderr


def main():
    for tool in ("taplo", "check-jsonschema"):
        if not shutil.which(tool):
            print(f"skipped: pip install {tool}")
            return
    tools = {"taplo": ("taplo", "lint", "--schema", SCHEMA.as_uri()),
             "check-jsonschema": ("check-jsonschema", "--schemafile", SCHEMA)}
    assert fits("check-jsonschema", "--check-metaschema", SCHEMA)[0], "it is no schema of draft 7"
    samples = sorted((TOP / "config").rglob("*.toml"))
    for name, tool in tools.items():
        for sample in samples:
            good, said = fits(*tool, sample)
            assert good, f"{name} refuses {sample}:\n{said}"
    told = {}
    with tempfile.TemporaryDirectory() as folder:
        for text in WRONG:
            path = Path(folder) / "wrong.toml"
            path.write_text(text + "\n")
            for name, tool in {**tools, "foreshore": (edge(), "check", "--config")}.items():
                if fits(*tool, path)[0]:
                    told.setdefault(text, []).append(name)
    for text, names in told.items():
        print(f"{', '.join(names)}: taken, and should not be:\n{text}")
    print(f"{len(samples)} configurations fit, {len(WRONG) - len(told)} of {len(WRONG)} mistakes are refused by all")
    sys.exit(bool(told))


# Ended by a limit of time it removes its folder, too, and ends what runs in it.
signal.signal(signal.SIGTERM, signal.default_int_handler)
main()
