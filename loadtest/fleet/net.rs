//! A network of our own: every node in a network namespace, all of them on one bridge. Who has readers has a second line,
//! on which only they are.
//!
//! The tool starts itself again in namespaces for network, mounts and processes, so that nothing of it touches the
//! machine, and all of it goes with the process, however that ends.

use std::io;
use std::net::Ipv4Addr;
use std::process::{Command, ExitCode, Stdio};

use tokio::signal::unix::{SignalKind, signal};

/// Says that this process is in its namespaces already.
const INSIDE: &str = "GHOSTPIN_FLEET_INSIDE";

/// Runs `inside` in namespaces of its own.
pub fn apart(inside: impl FnOnce() -> ExitCode) -> io::Result<ExitCode> {
    if std::env::var_os(INSIDE).is_some() {
        for command in [
            "mount -t tmpfs tmpfs /run",
            "mkdir -p /run/netns",
            "ip link set lo up",
            "ip link add hub type bridge",
            "ip addr add 10.77.0.254/24 dev hub",
            "ip link set hub up",
            "ip link add street type bridge",
            "ip addr add 10.78.0.254/24 dev street",
            "ip link set street up",
        ] {
            sh(command)?;
        }
        // What goes over the bridge needs no firewall's look; where that can't be said, it has one.
        let _ = std::fs::write("/proc/sys/net/bridge/bridge-nf-call-iptables", "0");
        return Ok(inside());
    }
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    command.arg(std::env::current_exe()?).args(std::env::args_os().skip(1)).env(INSIDE, "1");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn()?;
        let mut terminated = signal(SignalKind::terminate())?;
        let mut interrupted = signal(SignalKind::interrupt())?;
        let status = tokio::select! {
            status = child.wait() => status?,
            // `unshare` ignores both of them while it waits; everything in the namespaces goes with it.
            _ = terminated.recv() => return child.kill().await.map(|()| ExitCode::from(2)),
            _ = interrupted.recv() => return child.kill().await.map(|()| ExitCode::from(2)),
        };
        Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(2)))
    })
}

/// Runs one command, and says which one failed.
fn sh(command: &str) -> io::Result<()> {
    let mut words = command.split(' ');
    let program = words.next().unwrap_or_default();
    let output = Command::new(program).args(words).stdin(Stdio::null()).output();
    let output = output.map_err(|error| io::Error::other(format!("{program}: {error}")))?;
    match output.status.success() {
        true => Ok(()),
        false => {
            Err(io::Error::other(format!("{command}: {}", String::from_utf8_lossy(&output.stderr).trim())))
        }
    }
}

/// The line on which the machines talk to each other.
const BACK: &str = "eth0";
/// The line to the readers.
const FRONT: &str = "eth1";

/// One place in the network. It is gone when this is dropped.
#[derive(Debug)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its address among the machines.
    pub ip: Ipv4Addr,
    /// Its address for readers; `None` if it has no line to them.
    pub front: Option<Ipv4Addr>,
}

impl Node {
    /// Joins it to the other machines.
    pub fn new(name: &str, number: u8) -> io::Result<Self> {
        sh(&format!("ip netns add {name}"))?;
        let node = Self { name: name.to_owned(), ip: Ipv4Addr::new(10, 77, 0, number), front: None };
        sh(&format!("ip -n {name} link set lo up"))?;
        node.join("hub", BACK, node.ip)?;
        Ok(node)
    }

    /// The same, with a line to the readers.
    pub fn with_readers(name: &str, number: u8) -> io::Result<Self> {
        let (mut node, front) = (Self::new(name, number)?, Ipv4Addr::new(10, 78, 0, number));
        node.join("street", FRONT, front)?;
        node.front = Some(front);
        Ok(node)
    }

    fn join(&self, bridge: &str, line: &str, ip: Ipv4Addr) -> io::Result<()> {
        let name = &self.name;
        for command in [
            format!("ip link add {line}-{name} type veth peer name {line} netns {name}"),
            format!("ip link set {line}-{name} master {bridge} up"),
            format!("ip -n {name} addr add {ip}/24 dev {line}"),
            format!("ip -n {name} link set {line} up"),
        ] {
            sh(&command)?;
        }
        Ok(())
    }

    /// A command that runs here. It is replaced by its program, so that its process is the program's.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> tokio::process::Command {
        let mut command = tokio::process::Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.name)).arg(program);
        command
    }

    /// What `other` sends doesn't arrive here any more: silence, and no error anywhere.
    pub fn stop_hearing(&self, other: &Node) -> io::Result<()> {
        sh(&format!("nsenter --net=/run/netns/{} iptables -w -A INPUT -s {} -j DROP", self.name, other.ip))
    }

    /// What `other` sends is refused here: nobody seems to listen.
    pub fn refuse(&self, other: &Node) -> io::Result<()> {
        let rule = format!("-A INPUT -s {} -p tcp -j REJECT --reject-with tcp-reset", other.ip);
        sh(&format!("nsenter --net=/run/netns/{} iptables -w {rule}", self.name))
    }

    /// Everything arrives again.
    pub fn hear_all(&self) -> io::Result<()> {
        sh(&format!("nsenter --net=/run/netns/{} iptables -w -F INPUT", self.name))
    }

    /// What is sent to other machines, and to readers if those are meant too, is late, for the lines are slow, and some
    /// of what comes is lost. (Not every kernel has netem.)
    pub fn spoil(&self, kilobits: u32, lost_of_100: u32, readers_too: bool) -> io::Result<()> {
        let (name, part) = (&self.name, f64::from(lost_of_100) / 100.0);
        for line in self.lines().filter(|line| readers_too || *line == BACK) {
            sh(&format!(
                "tc -n {name} qdisc replace dev {line} root tbf rate {kilobits}kbit burst 4kb latency 300ms"
            ))?;
            sh(&format!(
                "nsenter --net=/run/netns/{name} iptables -w -A INPUT -i {line} -m statistic --mode random --probability {part} -j DROP"
            ))?;
        }
        Ok(())
    }

    /// And no more.
    pub fn unspoil(&self) -> io::Result<()> {
        for line in self.lines() {
            sh(&format!("tc -n {} qdisc replace dev {line} root pfifo", self.name))?;
        }
        self.hear_all()
    }

    fn lines(&self) -> impl Iterator<Item = &'static str> {
        [BACK].into_iter().chain(self.front.map(|_| FRONT))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // What can't be taken away goes with this process.
        for line in self.lines() {
            let _ = sh(&format!("ip link del {line}-{}", self.name));
        }
        let _ = sh(&format!("ip netns del {}", self.name));
    }
}

/// Neither hears the other any more.
pub fn part(one: &Node, other: &Node) -> io::Result<()> {
    one.stop_hearing(other)?;
    other.stop_hearing(one)
}
