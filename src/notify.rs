//! What whoever supervises this process is told: the protocol of systemd's `sd_notify`, which is one datagram of text. The
//! crate that speaks it knows no abstract addresses, and our own [supervisor](crate::supervise) has nothing else in a container
//! whose files can't be written.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The environment variable that says where.
pub const SOCKET: &str = "NOTIFY_SOCKET";
/// Stands before the number of the process that is supervised from now on.
pub const MAIN_PID: &str = "MAINPID=";

/// Something to be told.
#[derive(Clone, Copy, Debug)]
pub enum Told {
    /// This process serves.
    Ready,
    /// It is about to end.
    Stopping,
    /// Another process serves, and this one ends.
    MainPid(u32),
}

/// Tells it, if anybody wants to know.
pub fn tell(told: Told) {
    let Some(socket) = std::env::var_os(SOCKET) else { return };
    let text = match told {
        Told::Ready => "READY=1".to_owned(),
        Told::Stopping => "STOPPING=1".to_owned(),
        Told::MainPid(pid) => format!("{MAIN_PID}{pid}"),
    };
    let sent =
        address(&socket).and_then(|address| UnixDatagram::unbound()?.send_to_addr(text.as_bytes(), &address));
    if let Err(error) = sent {
        tracing::warn!(%error, ?told, ?socket, "whoever supervises this process can't be told");
    }
}

/// A path, or a name that no file has, with an `@` before it.
fn address(socket: &OsStr) -> std::io::Result<SocketAddr> {
    match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(socket),
    }
}
