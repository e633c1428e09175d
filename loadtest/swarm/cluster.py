"""A swarm on one machine: each engine in a network, process, mount and host-name namespace of its own, on one bridge.

All of it is inside namespaces that `run` has made for itself: nothing of the machine's own network is touched, and when `run`
ends, however it ends, the kernel ends everything in here. Left are a folder and empty control groups, which `run` removes.
"""
import http.client, io, json, os, shutil, signal, socket, subprocess, tarfile, time
from pathlib import Path

IMAGE = "127.0.0.1:1/site:1"
PORT = 8080

OVERLAY = "web"

# How often nodes that were left down are switched off and on before that is given up.
SWITCHED_MAX = 3

# Tells who it is. It says how long that is, as applications do: without a length, an answer ends when the connection does, and
# one that had arrived when its machine lost its power would still not be whole.
PAGE = """#!/bin/sh
printf 'Status: 200\\r\\nContent-Type: text/plain\\r\\nContent-Length: %s\\r\\n\\r\\n%s' "${#TASK}" "$TASK"
"""
ENTRY = """#!/bin/sh
trap 'exit 0' TERM
httpd -f -p 8080 -h /www &
wait $!
"""


class Trouble(Exception):
    """A run that could not be made."""


def sh(*command, **more):
    done = subprocess.run(command, capture_output=True, text=True, **more)
    if done.returncode != 0:
        raise Trouble(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def image():
    """A tarball with busybox, a page and who serves it."""
    busybox = shutil.which("busybox")
    if not busybox or b"INTERP" in sh("readelf", "-l", busybox).encode():
        raise Trouble("there is no static busybox; install Debian's package `busybox-static`")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        def add(name, content, mode=0o755):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
        add("bin/busybox", Path(busybox).read_bytes())
        for tool in ["sh", "httpd", "cat", "sleep", "printf"]:
            link = tarfile.TarInfo(f"bin/{tool}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        add("www/cgi-bin/index.cgi", PAGE.encode())
        add("entry", ENTRY.encode())
    return packed.getvalue()


class Unix(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path, timeout):
        super().__init__("docker", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Node:
    """One engine. Its folder outlives its power. With `usual_socket`, it listens at /var/run/docker.sock as well, on a machine of its own."""

    usual_socket = False

    def __init__(self, folder, number, name):
        self.name, self.number = name, number
        self.address = f"10.99.0.{10 + number}"
        self.folder = folder / name
        self.folder.mkdir()
        self.socket = str(self.folder / "docker.sock")
        self.process = None
        self.id = None

    def start(self):
        """Power on: namespaces, a cable to the bridge, and the engine."""
        for name in ["docker.sock", "docker.pid"]:
            (self.folder / name).unlink(missing_ok=True)
        shutil.rmtree(self.folder / "exec", ignore_errors=True)
        usual = ["mount -t tmpfs tmpfs /run;", "-H unix:///var/run/docker.sock"] if self.usual_socket else ["", ""]
        script = f"read go; hostname {self.name}; {usual[0]} exec dockerd {usual[1]} --data-root {self.folder}/data --exec-root {self.folder}/exec " \
                 f"--pidfile {self.folder}/docker.pid -H unix://{self.socket} --cgroup-parent /{self.folder.parent.name} " \
                 f"--log-level warn --default-shm-size 1m"
        log = open(self.folder / "log", "a")
        self.process = subprocess.Popen(
            ["unshare", "--net", "--fork", "--kill-child", "--pid", "--mount", "--uts", "--ipc", "--mount-proc", "sh", "-c", script],
            stdin=subprocess.PIPE, stdout=log, stderr=log, text=True)
        # unshare has made the network namespace when it has forked.
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        wait(10, "a node's namespaces", lambda: children.read_text().strip())
        inside = ["nsenter", "-t", str(self.process.pid), "--net"]
        sh("ip", "link", "add", f"v{self.number}", "type", "veth", "peer", "name", "eth0", "netns", str(self.process.pid))
        sh("ip", "link", "set", f"v{self.number}", "master", "lab", "up")
        for command in [f"addr add {self.address}/24 dev eth0", "link set eth0 up", "link set lo up"]:
            sh(*inside, "ip", *command.split())
        self.inside = inside
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def power_off(self):
        """The plug is pulled: no goodbye, to nobody."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        # The kernel takes the cable away with the namespace, in its own time.
        cable = ["ip", "link", "del", f"v{self.number}"]
        wait(10, f"the cable of {self.name} to be gone",
             lambda: "Cannot find device" in subprocess.run(cable, capture_output=True, text=True).stderr)

    def cable(self, state):
        sh("ip", "link", "set", f"v{self.number}", state)

    def lose(self, others, lost):
        """From now on, packets to these nodes are lost here; or no more."""
        for other in others:
            sh(*self.inside, "ip", "route", "add" if lost else "del", "blackhole", f"{other.address}/32")

    def api(self, method, path, body=None, timeout=10, raw=None):
        connection = Unix(self.socket, timeout)
        try:
            headers = {"Content-Type": "application/x-tar" if raw else "application/json"}
            connection.request(method, path, raw or (json.dumps(body) if body is not None else None), headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status >= 300:
            raise Trouble(f"{self.name}: {method} {path}: {answer.status} {text.decode(errors='replace').strip()}")
        return json.loads(text) if text.strip().startswith((b"{", b"[", b'"')) else text

    def load(self, image, tag):
        """Loads what scripts/image has made, as `ghostpin:TAG`; returns what the engine says of it."""
        said = self.api("POST", "/images/load?quiet=1", raw=image, timeout=60)
        name = said["stream"].split(": ", 1)[1].strip()
        self.api("POST", f"/images/{name}/tag?repo=ghostpin&tag={tag}")
        return self.api("GET", f"/images/ghostpin:{tag}/json")

    def derive(self, source, repo, tag, config):
        """Another image with the same content, and returns its id."""
        made = self.api("POST", "/containers/create", {"Image": source})["Id"]
        self.api("POST", f"/commit?container={made}&repo={repo}&tag={tag}", config)
        self.api("DELETE", f"/containers/{made}")
        return self.api("GET", f"/images/{repo}:{tag}/json")["Id"]

    def answers(self):
        try:
            return bool(self.api("GET", "/info", timeout=1))
        except (OSError, http.client.HTTPException, Trouble):
            return False


def wait(seconds, what, is_so, every=0.02):
    began = time.monotonic()
    while True:
        value = is_so()
        if value:
            return value
        if time.monotonic() - began > seconds:
            raise Trouble(f"waited {seconds} s for {what}")
        time.sleep(every)


class Swarm:
    """Three managers and two workers; sites run on workers only, unless `managers_work`. With an overlay network, there is one more node for those who
    are in front of them."""

    def __init__(self, folder, overlay, managers_work=False):
        self.managers_work = managers_work
        self.managers = [Node(folder, number, f"m{number}") for number in range(3)]
        self.workers = [Node(folder, 3 + number, f"w{number}") for number in range(2)]
        self.front = Node(folder, 5, "front") if overlay else None
        self.nodes = self.managers + self.workers + ([self.front] if overlay else [])

    def start(self):
        sh("ip", "link", "set", "lo", "up")
        sh("ip", "link", "add", "lab", "type", "bridge")
        # One of its own, or it has that of a node, and another one when that node is gone: nobody finds it then for a while.
        sh("ip", "link", "set", "lab", "address", "02:00:00:00:00:01", "up")
        sh("ip", "addr", "add", "10.99.0.1/24", "dev", "lab")
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            wait(30, f"{node.name} to start (see {node.folder}/log)", node.answers)
        first = self.managers[0]
        common = {"ListenAddr": "0.0.0.0:2377", "DataPathAddr": ""}
        spec = {"Dispatcher": {"HeartbeatPeriod": 1_000_000_000}, "Orchestration": {"TaskHistoryRetentionLimit": 5}}
        first.api("POST", "/swarm/init", {**common, "AdvertiseAddr": first.address, "Spec": spec})
        tokens = first.api("GET", "/swarm")["JoinTokens"]
        for node in self.nodes[1:]:
            token = tokens["Manager" if node in self.managers else "Worker"]
            node.api("POST", "/swarm/join", {**common, "AdvertiseAddr": node.address, "JoinToken": token,
                                              "RemoteAddrs": [f"{first.address}:2377"]}, timeout=30)
        for node in self.nodes:
            node.id = node.api("GET", "/info")["Swarm"]["NodeID"]
        # The heartbeat of `init` is ignored; an update is not.
        swarm = first.api("GET", "/swarm")
        swarm["Spec"]["Dispatcher"]["HeartbeatPeriod"] = 1_000_000_000
        first.api("POST", f"/swarm/update?version={swarm['Version']['Index']}", swarm["Spec"])
        for manager in [] if self.managers_work else self.managers:
            seen = first.api("GET", f"/nodes/{manager.id}")
            seen["Spec"]["Availability"] = "drain"
            first.api("POST", f"/nodes/{manager.id}/update?version={seen['Version']['Index']}", seen["Spec"])
        packed = image()
        for worker in self.workers + ([self.front] if self.front else []):
            worker.api("POST", f"/images/create?fromSrc=-&repo={IMAGE.rsplit(':', 1)[0]}&tag=1", raw=packed)
        self.settle()

    def unready(self):
        """The nodes that are not ready, each with what a manager says of it: its state, and whether it can be reached as a
        manager. All, with nothing, if no manager has a word."""
        told = {node["ID"]: node for node in self.ask("/nodes") or []}
        unready = {}
        for node in self.nodes:
            seen = told.get(node.id)
            said = (seen["Status"]["State"], seen.get("ManagerStatus", {}).get("Reachability")) if seen else None
            if not said or said[0] != "ready" or said[1] == "unreachable":
                unready[node] = said
        return unready

    def come_back(self, seconds=20):
        """As long as nodes take to be ready again; one that isn't then is `settle`'s business. Returns whether all are."""
        try:
            wait(seconds, "all nodes to be ready", lambda: not self.unready(), 0.1)
            return True
        except Trouble:
            return False

    def settle(self):
        """Until all nodes are ready and there is a leader."""
        wait(60, "a manager that has a word", lambda: self.ask("/nodes"), 0.1)
        for _ in range(SWITCHED_MAX):
            if self.come_back(30):
                return
            # After a change of leaders, a node that is well may stay `down` for good: switched off and on, it is not.
            left = [node for node, said in self.unready().items() if said and said[0] == "down"]
            # One manager at a time, or there is no majority.
            for node in [node for node in left if node not in self.managers] or left[:1]:
                print(f"({node.name} was left down by the swarm, and is switched off and on)", flush=True)
                node.power_off()
                node.start()
        if not self.come_back(60):
            said = {node.name: said for node, said in self.unready().items()}
            raise Trouble(f"waited for nodes to be ready, and these are not: {said}")

    def ask(self, path, timeout=1.5, of=None):
        """Of the first manager that has an answer; None if none has."""
        for manager in of or self.managers:
            try:
                return manager.api("GET", path, timeout=timeout)
            except (OSError, http.client.HTTPException, Trouble):
                continue
        return None

    def leader(self):
        for node in self.ask("/nodes"):
            if node.get("ManagerStatus", {}).get("Leader"):
                return next(manager for manager in self.managers if manager.id == node["ID"])
        raise Trouble("the swarm has no leader")

    def create(self, name, labels, ports=(PORT,), at_front=False):
        """A service; its tasks are found at their nodes, or on the overlay network if there is one."""
        where = f"node.hostname {'==' if at_front else '!='} front"
        spec = {
            "Name": name, "Labels": labels,
            "TaskTemplate": {
                "ContainerSpec": {"Image": IMAGE, "Command": ["/entry"], "Env": ["TASK={{.Task.ID}}", "PATH=/bin"],
                                  "StopGracePeriod": 3_000_000_000},
                "RestartPolicy": {"Condition": "any", "Delay": 0},
                "Placement": {"Constraints": [where]},
                "Networks": [{"Target": OVERLAY}] if self.front else [],
            },
            "Mode": {"Replicated": {"Replicas": 1}},
            "UpdateConfig": {"Parallelism": 1, "Order": "stop-first"},
            "EndpointSpec": {"Mode": "dnsrr", "Ports": [
                {"Protocol": "tcp", "TargetPort": port, "PublishedPort": port, "PublishMode": "host"} for port in ports]},
        }
        return self.managers[0].api("POST", "/services/create", spec)["ID"]

    def on_the_overlay(self, ports):
        """Starts a container on the overlay network, at whose node these ports are its own. Returns what to put before a
        command, so that it runs in the container's network."""
        self.managers[0].api("POST", "/networks/create", {"Name": OVERLAY, "Driver": "overlay"})
        service = self.create("front", {}, ports, at_front=True)
        wait(30, "the container in front", lambda: self.running(service))
        [container] = self.front.api("GET", "/containers/json")
        pid = self.front.api("GET", f"/containers/{container['Id']}/json")["State"]["Pid"]
        # Its number is that of the node's namespace of processes.
        init = Path(f"/proc/{self.front.process.pid}/task/{self.front.process.pid}/children").read_text().split()[0]
        return ["nsenter", "-t", init, "--pid", "--mount", "nsenter", "-t", str(pid), "--net"]

    def update(self, service, order):
        """What `docker service update --force` does."""
        seen = self.ask(f"/services/{service}")
        spec = seen["Spec"]
        spec["TaskTemplate"]["ForceUpdate"] = spec["TaskTemplate"].get("ForceUpdate", 0) + 1
        spec["UpdateConfig"]["Order"] = order
        self.managers[0].api("POST", f"/services/{service}/update?version={seen['Version']['Index']}", spec)

    def running(self, service, of=None):
        """Its tasks that are meant to run and do, by the first manager that says anything."""
        tasks = self.ask("/tasks", of=of) or []
        return [task for task in tasks if task.get("ServiceID") == service and task["DesiredState"] == "running"
                and task["Status"]["State"] == "running"]
