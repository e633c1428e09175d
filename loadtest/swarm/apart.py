"""Namespaces for a run, and what all runs with engines start beside them. When a run ends, however it ends, the kernel ends all of it."""
import os, shutil, signal, subprocess, sys
from pathlib import Path

from cluster import wait


def fail(name, why):
    print(f"{name}: {why}", file=sys.stderr)
    sys.exit(2)


def has_what_it_needs(name, programs):
    """`programs`: each with the package of Debian's that has it. Ends the run if one is missing, or if it is not root's."""
    if os.geteuid() != 0:
        fail(name, "namespaces need root")
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    for program, package in (pair.split(":") for pair in programs):
        if not shutil.which(program):
            fail(name, f"`{program}` is missing; install Debian's package `{package}`")


def program(name, path):
    """The path of a program that can be run; ends the run if it can't."""
    path = str(Path(path).resolve())
    if not os.access(path, os.X_OK):
        fail(name, f"there is no `{path}`; build it, or name another one")
    return path


def enter(script, *words):
    """Runs the script again, with `--inside`, in a network, mounts and processes of its own."""
    os.execvp("unshare", ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private",
                          sys.executable, script, "--inside", *words])


def start(folder, program, *words, inside=()):
    log = open(folder / f"{Path(program).name}.log", "a")
    return subprocess.Popen([*inside, program, *words], stdout=log, stderr=log)


def start_etcd(folder, address):
    url, peer = f"http://{address}:2379", f"http://{address}:2380"
    return url, start(folder, "etcd", "--data-dir", str(folder / "etcd"), "--log-level", "warn", "--listen-client-urls", url,
                      "--advertise-client-urls", url, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                      "--initial-cluster", f"default={peer}")


def clean(folder, nodes, keep):
    """Pulls all plugs and removes what is left: control groups, and the folder unless it is kept."""
    for node in nodes:
        if node.process:
            node.process.send_signal(signal.SIGKILL)
            node.process.wait()

    def empty(group):
        """Control groups can be removed when the last process in them has been reaped."""
        try:
            for below in sorted((path for path in group.rglob("*") if path.is_dir()), key=lambda path: -len(path.parts)):
                below.rmdir()
            group.rmdir()
            return True
        except OSError:
            return not group.exists()
    for group in Path("/sys/fs/cgroup").glob(f"*/{folder.name}"):
        wait(10, f"the end of all that was in {group}", lambda: empty(group))
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)
