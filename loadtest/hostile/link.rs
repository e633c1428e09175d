//! One connection of an attacker: nothing of it waits for the other side longer than it has to.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::{ClientConfig, ClientConnection};
use rustls_pki_types::ServerName;
use socket2::{Domain, Protocol, Socket, Type};

/// How long a connection and its handshake may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long is waited for a full socket before another look.
const FULL: Duration = Duration::from_millis(1);

pub struct Link {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    /// What has come and was not looked at.
    pub inbox: Vec<u8>,
    /// The other side has ended it.
    pub has_ended: bool,
}

impl Link {
    /// In clear text, from this address; with so little room for what comes, if it is said.
    pub fn open(to: SocketAddr, from: Ipv4Addr, room: Option<usize>) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        if let Some(room) = room {
            socket.set_recv_buffer_size(room)?;
        }
        socket.bind(&SocketAddr::from((from, 0)).into())?;
        socket.connect_timeout(&to.into(), PATIENCE)?;
        socket.set_tcp_nodelay(true)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket: socket.into(), tls: None, inbox: Vec::new(), has_ended: false })
    }

    /// Over TLS: makes the handshake.
    pub fn secure(mut self, config: &Arc<ClientConfig>, host: &str) -> io::Result<Self> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let mut tls = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
        self.socket.set_nonblocking(false)?;
        self.socket.set_read_timeout(Some(PATIENCE))?;
        while tls.is_handshaking() {
            tls.complete_io(&mut self.socket)?;
        }
        self.socket.set_nonblocking(true)?;
        self.tls = Some(Box::new(tls));
        Ok(self)
    }

    /// Sends all of it, if the other side takes it before `until`. Meanwhile whatever comes is read, lest both wait.
    pub fn send(&mut self, bytes: &[u8], until: Instant) -> bool {
        let mut left = bytes;
        while !self.has_ended {
            match self.write(left) {
                Ok(written) => left = &left[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => self.has_ended = true,
            }
            if left.is_empty() && !self.owes() {
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            self.receive();
            thread::sleep(FULL);
        }
        false
    }

    fn owes(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.socket.write(bytes) };
        let written = tls.writer().write(bytes)?;
        while tls.wants_write() {
            match tls.write_tls(&mut self.socket) {
                Ok(_) => {}
                // rustls keeps it, and has room for little more.
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }

    /// Reads what has come, without waiting.
    pub fn receive(&mut self) {
        let mut space = [0; 16 * 1024];
        while !self.has_ended {
            let read = match &mut self.tls {
                None => self.socket.read(&mut space),
                Some(tls) => read_tls(tls, &mut self.socket, &mut space),
            };
            match read {
                Ok(0) => self.has_ended = true,
                Ok(read) => self.inbox.extend_from_slice(&space[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.has_ended = true,
            }
        }
    }
}

fn read_tls(tls: &mut ClientConnection, socket: &mut TcpStream, space: &mut [u8]) -> io::Result<usize> {
    loop {
        match tls.reader().read(space) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            read => return read,
        }
        tls.read_tls(socket)?;
        tls.process_new_packets().map_err(io::Error::other)?;
    }
}
