//! The processes of a run: a proxy and its stand-in applications, with their addresses, files and signals.
//!
//! Each is ended by its own process id when it is dropped, at the latest. Nothing else is ever signalled.

use std::fs::{DirBuilder, File};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use http::StatusCode;
pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::client;
use super::deeds::Deeds;

/// How long a process may take to start, and to stop when asked to.
const START: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(10);

/// A folder of this run's own, removed when dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// A new, empty folder that only this user may look into.
    ///
    /// # Errors
    /// If it can't be created.
    pub fn new() -> io::Result<Self> {
        // Its id is not enough: in a namespace of its own, a process has the same one each time.
        let name = RandomState::new().hash_one(std::process::id());
        let path = std::env::temp_dir().join(format!("ghostpin-run-{name:016x}"));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    /// A path inside the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An address that is kept for a process that is yet to start, or to start again.
///
/// Nobody listens there, so connections are refused; but no other process is given the port meanwhile, and no
/// connection is made from it, which would answer itself.
#[derive(Debug)]
pub struct Reserved {
    _socket: Socket,
    /// The address.
    pub address: SocketAddr,
}

impl Reserved {
    /// A free address on 127.0.0.1.
    ///
    /// # Errors
    /// If there is none.
    pub fn any() -> io::Result<Self> {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// This address if it is free, otherwise another port.
    ///
    /// # Errors
    /// If there is no other port either.
    pub fn prefer(address: SocketAddr) -> io::Result<Self> {
        let free = std::net::TcpListener::bind(address).is_ok();
        Self::at(if free { address } else { SocketAddr::new(address.ip(), 0) })
    }

    fn at(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // Both, so that the process may listen there whichever of them it uses.
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        socket.bind(&address.into())?;
        let address =
            socket.local_addr()?.as_socket().ok_or_else(|| io::Error::other("not an IP address"))?;
        Ok(Self { _socket: socket, address })
    }
}

/// Sends a signal to a child that has not been waited for.
///
/// # Errors
/// If it has ended.
pub fn signal(child: &Child, signal: Signal) -> io::Result<()> {
    let gone = || io::Error::new(io::ErrorKind::NotFound, "the process has ended");
    let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed())).ok_or_else(gone)?;
    Ok(kill_process(pid, signal)?)
}

/// Starts a program of its own process group, so that Ctrl-C reaches only the one who has to tidy up.
///
/// # Errors
/// If it can't be started.
pub fn start(command: &mut Command) -> io::Result<Child> {
    command.process_group(0).kill_on_drop(true).stdin(Stdio::null()).spawn()
}

/// A stand-in application.
#[derive(Debug)]
pub struct StandIn {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    account: PathBuf,
}

impl StandIn {
    /// Starts an instance called `name` and waits until it listens. `program` is a ghostpin; with an account,
    /// the instance writes down what it does.
    ///
    /// # Errors
    /// If it does not come to listen.
    pub async fn start(
        program: &Path,
        name: &str,
        listen: SocketAddr,
        account: Option<&Path>,
        more: &[&str],
    ) -> io::Result<Self> {
        let mut command = Command::new(program);
        command.args(["stand-in", "--name", name, "--listen", &listen.to_string()]).args(more);
        if let Some(account) = account {
            command.arg("--record").arg(account);
        }
        let mut child = start(command.stdout(Stdio::piped()))?;
        let stdout = child.stdout.take().ok_or_else(|| io::Error::other("no standard output"))?;
        let mut line = String::new();
        tokio::time::timeout(START, BufReader::new(stdout).read_line(&mut line)).await??;
        let address = line.strip_prefix("listening on ").and_then(|address| address.trim().parse().ok());
        let address = address.ok_or_else(|| io::Error::other(format!("stand-in {name} did not start")))?;
        Ok(Self { child, address, account: account.map(Path::to_owned).unwrap_or_default() })
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// If it has ended.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        self::signal(&self.child, signal)
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    ///
    /// # Errors
    /// If it had ended before.
    pub async fn kill(mut self) -> io::Result<()> {
        self.child.kill().await
    }

    /// What it has written down, with what earlier instances wrote to the same file.
    ///
    /// # Errors
    /// If it keeps no account, or it can't be read.
    pub fn deeds(&self) -> io::Result<Deeds> {
        Deeds::read(&self.account)
    }
}

/// A ghostpin under its own configuration file.
#[derive(Debug)]
pub struct Proxy {
    child: Child,
    /// Its admin API.
    pub admin: SocketAddr,
}

impl Proxy {
    /// Starts `program run --config FILE` and waits until it says that it is ready. Its log goes to the end of
    /// `log`.
    ///
    /// # Errors
    /// If it does not get ready; with the end of its log.
    pub async fn start(program: &Path, config: &Path, admin: SocketAddr, log: &Path) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(log)?;
        let mut command = Command::new(program);
        command.arg("run").arg("--config").arg(config).stdout(file.try_clone()?).stderr(file);
        let mut child = start(&mut command)?;
        let ready = async {
            loop {
                if let Some(status) = child.try_wait()? {
                    return Err(io::Error::other(format!("the proxy ended: {status}")));
                }
                if client::get(admin, &admin.to_string(), "/readyz")
                    .await
                    .is_ok_and(|r| r.status == StatusCode::OK)
                {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let ready = tokio::time::timeout(START, ready).await;
        let ready = ready.unwrap_or_else(|_| Err(io::Error::other("the proxy was not ready in time")));
        ready.map_err(|error| io::Error::other(format!("{error}\n{}", tail(log))))?;
        Ok(Self { child, admin })
    }

    /// Its process id; none after its end.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// If it has ended.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        self::signal(&self.child, signal)
    }

    /// Asks its admin API about a site.
    ///
    /// # Errors
    /// If it does not tell.
    pub async fn site(&self, name: &str) -> io::Result<client::SiteView> {
        client::site(self.admin, name).await
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    ///
    /// # Errors
    /// If it had ended before.
    pub async fn kill(mut self) -> io::Result<()> {
        self.child.kill().await
    }

    /// Asks it to stop (SIGTERM), and kills it if it does not.
    ///
    /// # Errors
    /// If it had ended before, or had to be killed.
    pub async fn stop(mut self) -> io::Result<()> {
        self.signal(Signal::TERM)?;
        if tokio::time::timeout(STOP, self.child.wait()).await.is_err() {
            self.child.kill().await?;
            return Err(io::Error::other("the proxy did not stop in time and was killed"));
        }
        Ok(())
    }
}

/// The last lines of a log.
pub fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserved_address_refuses_until_its_process_listens() {
        let reserved = Reserved::any().unwrap();
        let error = std::net::TcpStream::connect(reserved.address).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let listener = std::net::TcpListener::bind(reserved.address).unwrap();
        assert!(std::net::TcpStream::connect(reserved.address).is_ok());
        drop(listener);
    }

    #[test]
    fn a_taken_address_gives_way_to_another_port() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let wanted = taken.local_addr().unwrap();
        let reserved = Reserved::prefer(wanted).unwrap();
        assert_eq!(reserved.address.ip(), wanted.ip());
        assert_ne!(reserved.address.port(), wanted.port());
    }

    #[test]
    fn a_scratch_folder_is_gone_after_its_run() {
        let scratch = Scratch::new().unwrap();
        let file = scratch.path("file");
        std::fs::write(&file, "x").unwrap();
        drop(scratch);
        assert!(!file.exists());
    }
}
