//! The line between elder and heir: packets over a pair of sockets, each a message, some with a file descriptor.
//!
//! Each end has two threads, so that nobody who decides ever waits for the other process to read.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, mpsc};
use std::thread;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, Shutdown, SocketFlags, SocketType,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc as asynchronous, oneshot};

/// No message is longer: the longest has two hundred names of sites.
pub(super) const BYTES_MAX: usize = 64 * 1024;

/// A message, and what comes with it.
#[derive(Debug)]
pub struct Packet<T> {
    /// The message.
    pub message: T,
    /// A listening socket.
    pub socket: Option<OwnedFd>,
}

/// Both ends of a new line. Neither is passed on to any process that is started.
///
/// # Errors
/// There are no sockets to be had.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// What can be said at this end. When the last one is dropped, and all was said, the line is closed for both.
#[derive(Debug)]
pub struct Mouth<T>(mpsc::Sender<Saying<T>>);

#[derive(Debug)]
enum Saying<T> {
    Packet(Packet<T>),
    /// All before it has been said: told so, or dropped if nobody is there.
    Asked(oneshot::Sender<()>),
}

impl<T> Clone for Mouth<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Mouth<T> {
    /// Says something. If nobody is there, [`Ear`] tells.
    pub fn say(&self, message: T) {
        let _ = self.0.send(Saying::Packet(Packet { message, socket: None }));
    }

    /// Hands over a socket.
    pub fn hand(&self, message: T, socket: OwnedFd) {
        let _ = self.0.send(Saying::Packet(Packet { message, socket: Some(socket) }));
    }

    /// Returns when all has been said, or nobody is there any more: for whoever ends then.
    pub async fn until_said(&self) {
        let (asked, answered) = oneshot::channel();
        let _ = self.0.send(Saying::Asked(asked));
        let _ = answered.await;
    }
}

/// What is heard at this end; closed when the other one is.
pub type Ear<T> = asynchronous::UnboundedReceiver<Packet<T>>;

/// Starts to talk at this end.
///
/// # Errors
/// There are no threads to be had.
pub fn talk<S, H>(end: OwnedFd) -> io::Result<(Mouth<S>, Ear<H>)>
where
    S: Serialize + Send + 'static,
    H: DeserializeOwned + Send + 'static,
{
    let end = Arc::new(end);
    let (says, said) = mpsc::channel::<Saying<S>>();
    let (hears, heard) = asynchronous::unbounded_channel();
    let reading = end.clone();
    thread::Builder::new().name("line-reader".to_owned()).spawn(move || {
        loop {
            match receive(&reading) {
                Ok(Some(packet)) => {
                    // Nobody may listen here any more, and the other end is not to wait for that.
                    let _ = hears.send(packet);
                }
                Ok(None) => return,
                Err(error) => return tracing::error!(%error, "the line between two processes is broken"),
            }
        }
    })?;
    thread::Builder::new().name("line-writer".to_owned()).spawn(move || {
        // Whoever can't be told is gone, and the reader hears of it.
        while let Ok(saying) = said.recv() {
            match saying {
                Saying::Packet(packet) if send(&end, &packet).is_err() => break,
                Saying::Packet(_) => {}
                Saying::Asked(asked) => drop(asked.send(())),
            }
        }
        // The reader has the socket as well.
        let _ = rustix::net::shutdown(&*end, Shutdown::Both);
    })?;
    Ok((Mouth(says), heard))
}

fn send<T: Serialize>(end: &OwnedFd, packet: &Packet<T>) -> io::Result<()> {
    let bytes = serde_json::to_vec(&packet.message)?;
    let sockets = packet.socket.as_ref().map(|socket| [socket.as_fd()]);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if let Some(sockets) = &sockets {
        control.push(SendAncillaryMessage::ScmRights(sockets));
    }
    let bytes = [IoSlice::new(&bytes)];
    rustix::io::retry_on_intr(|| rustix::net::sendmsg(end, &bytes, &mut control, SendFlags::NOSIGNAL))?;
    Ok(())
}

/// `None` at the end.
fn receive<T: DeserializeOwned>(end: &OwnedFd) -> io::Result<Option<Packet<T>>> {
    let mut bytes = vec![0; BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let mut into = [IoSliceMut::new(&mut bytes)];
        match rustix::net::recvmsg(end, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            // A process that dies with something unread leaves this.
            Err(Errno::CONNRESET) => return Ok(None),
            other => break other?,
        }
    };
    if received.bytes == 0 {
        return Ok(None);
    }
    if received.flags.contains(ReturnFlags::TRUNC) {
        return Err(io::Error::other(format!("a message is longer than {BYTES_MAX} bytes")));
    }
    let rights = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(sockets) => Some(sockets),
        _ => None,
    });
    let socket = rights.and_then(|mut sockets| sockets.next());
    Ok(Some(Packet { message: serde_json::from_slice(&bytes[..received.bytes])?, socket }))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn a_socket_that_is_handed_over_has_who_waits_in_its_queue() {
        let (elder, heir) = pair().unwrap();
        let (says, _hears) = talk::<u32, u32>(elder).unwrap();
        let (_says, mut heard) = talk::<u32, u32>(heir).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.write_all(b"x").unwrap();
        says.say(1);
        says.hand(2, listener.into());
        assert_eq!(heard.recv().await.unwrap().message, 1);
        let Packet { message: 2, socket: Some(socket) } = heard.recv().await.unwrap() else { panic!() };
        let (mut accepted, _) = TcpListener::from(socket).accept().unwrap();
        let mut byte = [0];
        accepted.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");
    }

    #[tokio::test]
    async fn what_was_said_is_heard_before_the_line_is_closed() {
        let (elder, heir) = pair().unwrap();
        let (says, mut hears) = talk::<String, String>(elder).unwrap();
        let (_answers, mut heard) = talk::<String, String>(heir).unwrap();
        for n in 0..1_000 {
            says.say(format!("{n}"));
        }
        drop(says);
        for n in 0..1_000 {
            assert_eq!(heard.recv().await.unwrap().message, format!("{n}"));
        }
        assert!(heard.recv().await.is_none());
        assert!(hears.recv().await.is_none(), "both hear of it");
    }
}
