//! A client whose every byte is written by hand.

use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::SockRef;

use super::{Head, PATIENCE, Reader};

/// One connection to the proxy.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    pub(crate) reader: Reader<TcpStream>,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) head: Head,
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
}

impl Response {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.field(name)
    }
}

impl Client {
    pub(crate) fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the proxy listens");
        stream.set_nodelay(true).expect("a socket option");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket option");
        stream.set_write_timeout(Some(PATIENCE)).expect("a socket option");
        let reader = Reader::new(stream.try_clone().expect("a file descriptor"));
        Self { stream, reader }
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the proxy reads");
    }

    /// Sends as much as the proxy takes; says whether it took all.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Asks, without a body.
    #[track_caller]
    pub(crate) fn ask(&mut self, method: &str, host: &str, path: &str) {
        self.send(format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    }

    #[track_caller]
    pub(crate) fn head(&mut self) -> Head {
        self.reader.head().expect("a head in time").expect("a head before the end")
    }

    /// The whole answer to a request that was not a HEAD.
    #[track_caller]
    pub(crate) fn response(&mut self) -> Response {
        let head = self.head();
        let status = status_of(&head);
        let (body, trailers) = if matches!(status, 100..=199 | 204 | 304) {
            Default::default()
        } else if head.is_chunked() {
            self.reader.chunked().expect("a whole body")
        } else if let Some(length) = head.length() {
            (self.reader.exactly(length).expect("a whole body"), Vec::new())
        } else {
            (self.reader.rest(), Vec::new())
        };
        Response { head, status, body, trailers }
    }

    /// Asks and reads the whole answer.
    #[track_caller]
    pub(crate) fn get(&mut self, host: &str, path: &str) -> Response {
        self.ask("GET", host, path);
        self.response()
    }

    /// Sends a whole POST.
    #[track_caller]
    pub(crate) fn post(&mut self, host: &str, path: &str, body: &str) {
        let length = body.len();
        self.send(format!("POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n{body}"));
    }

    /// Leaves at once, with a reset: what was not sent yet is never sent.
    pub(crate) fn leave_abruptly(self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("a socket option");
    }

    /// Leaves in good order.
    pub(crate) fn leave(self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Whether the proxy has closed the connection and sent nothing more.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.reader.rest().is_empty()
    }
}

pub(crate) fn status_of(head: &Head) -> u16 {
    head.line.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line")
}
