"""What runs side by side have in common: servers in folders of their own, what they take, and how they are installed.

It measures nothing by itself, and knows no scenario.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
PROGRAM = Path(sys.argv[0]).resolve().parent.name
TICK = os.sysconf("SC_CLK_TCK")
PACKAGES = {"nginx": "nginx-light", "haproxy": "haproxy", "caddy": "caddy", "wrk": "wrk", "cmake": "cmake",
            "h2load": "nghttp2-client", "openssl": "openssl",
            "valgrind": "valgrind", "strace": "strace", "perf": "linux-perf"}
SERVICES = {"nginx", "haproxy", "caddy"}
USER = "user root;" if os.geteuid() == 0 else ""


def fail(why):
    sys.exit(f"{PROGRAM}: {why}")


class Server:
    """A server in a folder of its own, on certain cores; gone at the end of the block.

    `configure` writes what it needs to the folder and returns the command that starts it."""

    def __init__(self, name, configure, cores, environment=None):
        self.name, self.configure, self.cores = name, configure, cores
        self.environment = environment or {}

    def __enter__(self):
        self.folder = Path(tempfile.mkdtemp(prefix=f"{PROGRAM}-{self.name}-"))
        self.log = open(self.folder / "log", "wb")
        command = self.configure(self.folder)
        self.began = time.monotonic()
        self.child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
            env={**os.environ, **self.environment}, preexec_fn=lambda: os.sched_setaffinity(0, self.cores))
        try:
            self.wait_until_it_answers()
        except BaseException:
            self.__exit__()
            raise
        return self

    def wait_until_it_answers(self):
        """Returns when the server is ready."""

    def tail(self):
        return (self.folder / "log").read_text(errors="replace")[-2000:]

    def cpu(self):
        """User and system seconds of the process and all that it started, all threads, those that have ended among them."""
        user = system = 0
        for pid in tree(self.child.pid):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            user, system = user + int(fields[11]) + int(fields[13]), system + int(fields[12]) + int(fields[14])
        return user / TICK, system / TICK

    def __exit__(self, *_):
        self.child.terminate()
        try:
            self.child.wait(5)
        except subprocess.TimeoutExpired:
            # Those that it started, too: they would go on without it.
            for pid in reversed(tree(self.child.pid)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.child.wait()
        self.log.close()
        shutil.rmtree(self.folder)


def tree(pid):
    pids = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            pids += tree(int(child))
    return pids


def memory(pid):
    """Bytes that a process and all that it started take of the machine's memory, shared ones by their share."""
    total = 0
    for one in tree(pid):
        for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


def busy(core):
    """Seconds that a core has worked, for anyone."""
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith(f"cpu{core} "):
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, line.split()[1:9])
            return (user + nice + system + irq + softirq + steal) / TICK
    fail(f"there is no core {core}")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def nginx(folder, body, workers=1, connections=1024):
    """Writes the configuration of an nginx that stays in the foreground, and returns the command that starts it."""
    conf = folder / "nginx.conf"
    conf.write_text(f"""
{USER}
daemon off;
worker_processes {workers};
pid {folder}/pid;
error_log stderr crit;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {body}
}}
""")
    return ["nginx", "-e", "stderr", "-p", str(folder), "-c", str(conf)]


def install(wanted):
    """Installs what is missing with apt, and leaves no service running that wasn't there before."""
    missing = [program for program in wanted if not shutil.which(program)]
    if not missing:
        return
    sudo = [] if os.geteuid() == 0 else ["sudo"]
    if not shutil.which("apt-get") or (sudo and not shutil.which("sudo")):
        fail(f"please install {', '.join(missing)}")
    environment = ["env", "DEBIAN_FRONTEND=noninteractive"]
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends"]
    subprocess.run([*sudo, *environment, "apt-get", "update", "-qq"], check=True, stdout=sys.stderr)
    subprocess.run([*sudo, *environment, *command, *(PACKAGES[name] for name in missing)],
                   check=True, stdout=sys.stderr)
    for service in SERVICES & set(missing):
        if shutil.which("systemctl"):
            subprocess.run([*sudo, "systemctl", "disable", "--now", service],
                           check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def install_venv():
    """Installs what Python's own environments need, if it is missing."""
    if subprocess.run([sys.executable, "-c", "import ensurepip"], check=False, stderr=subprocess.DEVNULL).returncode != 0:
        sudo = [] if os.geteuid() == 0 else ["sudo"]
        subprocess.run([*sudo, "apt-get", "install", "-y", "-qq", "python3-venv"], check=True, stdout=sys.stderr)


def version(command):
    result = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    found = re.search(r"\d+\.\d+(\.\d+)?", result.stdout)
    return found[0] if found else "?"
