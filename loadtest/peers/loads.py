"""What is asked of a proxy, and by whom. Each load says how much was done: requests, messages or megabytes."""

import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from proxies import HOST
from servers import REPO, fail

PACE = REPO / "target/release/pace"
SIZES = {"1k": 1024, "32k": 32 * 1024, "10m": 10 * 1024 * 1024}
UPLOAD = 1024 * 1024
# A request that uploads, for wrk.
UPLOADS = f"""
wrk.method = "POST"
wrk.path = "/upload"
wrk.body = string.rep("x", {UPLOAD})
"""


@dataclass
class Load:
    """A load: what it is called, what is counted, how it is made, and what a proxy must be able to do for it."""

    name: str
    unit: str
    make: object
    needs: frozenset = frozenset()


def wrk(name, connections, *more):
    """Requests answered; anything but a 2xx ends the run."""
    def make(process, seconds, options):
        script = ["-s", str(process.folder / "upload.lua")] if name == "upload" else []
        if script:
            (process.folder / "upload.lua").write_text(UPLOADS)
        output = generate(
            ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s", "-H", f"Host: {HOST}", *more, *script,
             f"{process.scheme}://{HOST}:{process.port}/{name}"], seconds, options)
        if "Non-2xx" in output or "Socket errors" in output:
            fail(f"{process.name}: not every request was answered well:\n{output}")
        return int(re.search(r"(\d+) requests in", output)[1])
    return make


def h2load(connections, streams, name="1k", *more):
    def make(process, seconds, options):
        output = generate(
            ["h2load", "-t1", f"-c{connections}", f"-m{streams}", f"-D{seconds}", *more,
             f"{process.scheme}://{HOST}:{process.port}/{name}"], seconds, options)
        done = re.search(r"requests: \d+ total, \d+ started, (\d+) done, (\d+) succeeded, (\d+) failed", output)
        if not done or done[1] != done[2] or done[3] != "0":
            fail(f"{process.name}: not every request was answered well:\n{output}")
        return int(done[1])
    return make


def messages(process, seconds, options):
    output = generate([PACE, "messages", f"127.0.0.1:{process.port}", "--host", HOST, f"--seconds={seconds}"],
                      seconds, options)
    return json.loads(output)["messages"]


def steady(process, rate, seconds, options, connections=None, in_turn=False):
    """What readers wait who come at this rate, whatever happens."""
    output = generate(
        [PACE, "steady", f"127.0.0.1:{process.port}", "--host", HOST, "--path", "/1k", f"--rate={rate}",
         f"--connections={connections or options.connections}", f"--seconds={seconds}", *["--in-turn"] * in_turn],
        seconds + 10, options)
    return json.loads(output)


def generate(command, seconds, options):
    done = subprocess.run(
        command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=seconds + 60, check=False,
        preexec_fn=lambda: os.sched_setaffinity(0, options.load_cores))
    if done.returncode != 0:
        fail(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return done.stdout


def all_of(options):
    """All loads, in the order in which they are told."""
    kept, tls, upgrade = options.connections, frozenset({"tls"}), frozenset({"upgrade"})
    return [
        Load("1 KB", "request", wrk("1k", kept)),
        Load("32 KB", "request", wrk("32k", kept)),
        Load("10 MB", "request", wrk("10m", 8)),
        Load("an upload of 1 MB", "request", wrk("upload", 16)),
        Load("1 KB, a new connection for each", "request", wrk("1k", kept, "-H", "Connection: close")),
        Load("WebSocket, 1 KB there and back", "message", messages, upgrade),
        Load("1 KB over TLS", "request", wrk("1k", kept), tls),
        Load("1 KB over TLS, a new connection for each", "request", wrk("1k", kept, "-H", "Connection: close"), tls),
        Load("1 KB over HTTP/2, 8 connections with 16 streams", "request", h2load(8, 16), tls),
        Load("1 KB over HTTP/2, 64 connections with 1 stream", "request", h2load(64, 1), tls),
    ]


def backend_files(folder):
    for name, size in SIZES.items():
        (Path(folder) / name).write_bytes(b"x" * size)
