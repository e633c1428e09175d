"""Servers that are measured, or asked by those: each on certain cores, and ready before anything is asked of it."""

import copy
import http.client
import ssl
import subprocess
import sys
import time
from pathlib import Path

import loads
import servers
from proxies import HOST
from servers import REPO, fail

READY_SECONDS = 20


class Process(servers.Server):
    """A server, bound to some cores."""

    def __init__(self, name, configure, cores, port, scheme="http", size=None, secure=None):
        super().__init__(name, configure, cores)
        self.port, self.scheme, self.secure_port = port, scheme, secure
        self.sizes = {"1k": loads.SIZES["1k"], "32k": loads.SIZES["32k"]} if size is None else size

    def secure(self):
        """The same, where it speaks TLS besides."""
        same = copy.copy(self)
        same.port, same.scheme = self.secure_port, "https"
        return same

    def wait_until_it_answers(self):
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                for name, size in self.sizes.items():
                    status, length = fetch(self.scheme, self.port, name)
                    if (status, length) != (200, size):
                        raise ConnectionError(f"/{name} answered {status} with {length} bytes")
                return
            except OSError as error:
                if self.child.poll() is not None:
                    fail(f"{self.name} ended with {self.child.returncode}:\n{self.tail()}")
                if time.monotonic() > deadline:
                    fail(f"{self.name} was not ready in {READY_SECONDS} s: {error}\n{self.tail()}")
                time.sleep(0.05)


def fetch(scheme, port, name):
    if scheme == "https":
        unverified = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection(HOST, port, timeout=2, context=unverified)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", f"/{name}", headers={"Host": HOST})
        answer = connection.getresponse()
        return answer.status, len(answer.read())
    except http.client.HTTPException as error:
        raise ConnectionError(repr(error)) from error
    finally:
        connection.close()


def backend(port, cores):
    def configure(folder):
        loads.backend_files(folder)
        return servers.nginx(folder, f"""
    sendfile on;
    tcp_nopush on;
    open_file_cache max=16 inactive=1h;
    open_file_cache_valid 1h;
    client_max_body_size 0;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        root {folder};
        # Read to its end before it is answered, as an application would.
        location /upload {{
            client_body_buffer_size 2m;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
            proxy_method GET;
            proxy_pass http://127.0.0.1:{port}/taken;
        }}
        location /taken {{ return 200 taken; }}
    }}
""", connections=4096)
    return Process("backend", configure, cores, port)


def build(names, ghostpin):
    """Builds ghostpin, if it is one of these and not there, and what makes some of the loads."""
    if "ghostpin" in names and not Path(ghostpin).exists() or not loads.PACE.exists():
        subprocess.run(["cargo", "build", "--release", "--locked", "-p", "ghostpin", "-p", "ghostpin-loadtest", "--bin", "ghostpin",
                        "--bin", "pace"], cwd=REPO, check=True, stdout=sys.stderr)
