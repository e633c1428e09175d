"""What each worker of a server has, as the kernel tells it: connections, and time of a core.

A worker is a process in nginx and a thread in the others, but each has an epoll of its own, and the kernel names the sockets
that an epoll watches.
"""

import contextlib
import re
from pathlib import Path

from servers import TICK, tree

ESTABLISHED = "01"


def connections(pid, port):
    """How many of the connections to this port each worker has; workers with none are left out."""
    clients = established(pid, port)
    # A process may have an epoll open twice.
    epolls = set()
    for one in tree(pid):
        for info in Path(f"/proc/{one}/fdinfo").iterdir():
            # One that was closed just now is no epoll with clients.
            with contextlib.suppress(FileNotFoundError):
                watched = {int(inode, 16) for inode in re.findall(r"^tfd:.* ino:([0-9a-f]+)", info.read_text(), re.MULTILINE)}
                epolls.add(frozenset(watched & clients))
    return [len(watched) for watched in epolls if watched]


def established(pid, port):
    """Inodes of the sockets that have a connection to this port."""
    inodes = set()
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == ESTABLISHED and int(fields[1].rpartition(":")[2], 16) == port:
            inodes.add(int(fields[9]))
    return inodes


def seconds(pid):
    """Seconds of a core that each thread has had, by its number."""
    taken = {}
    for one in tree(pid):
        for thread in Path(f"/proc/{one}/task").iterdir():
            with contextlib.suppress(FileNotFoundError):
                fields = (thread / "stat").read_text().rpartition(")")[2].split()
                taken[thread.name] = (int(fields[11]) + int(fields[12])) / TICK
    return taken


def busiest(shares):
    """The part that the busiest has of what all have."""
    return max(shares, default=0) / (sum(shares) or 1)
