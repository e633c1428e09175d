//! Who means well, and is measured: requests at fixed moments, whatever happens.
//!
//! Each kept connection has a thread and a pace of its own, half of them over TLS. A wait is counted from the moment at
//! which a request was meant to be sent. Beside them come readers who are new: a connection for each, handshake and all.
//!
//! A line for each answer: the moment at which it was meant to be asked (microseconds since 1970), the wait
//! (microseconds), `kept` or `new`, and the status, 0 for none.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustls::{ClientConfig, ClientConnection, StreamOwned};
use rustls_pki_types::ServerName;

use crate::Target;

/// Kept connections; with the pace of each, 200 requests a second.
const KEPT: u32 = 8;
const PACE: Duration = Duration::from_millis(40);
/// Of those who are new: ten a second, half of them over TLS.
const PACE_OF_NEW: Duration = Duration::from_millis(200);
/// An answer that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(5);

struct Line {
    meant: SystemTime,
    wait: Duration,
    kind: &'static str,
    status: u16,
}

/// Goes on until its process is ended.
pub fn run(target: &Target, tls: Arc<ClientConfig>) -> io::Result<()> {
    let (lines, all) = channel();
    let asker = |number: u32, pace: Duration, of: u32, is_kept: bool| {
        let is_tls = number % 2 == 1;
        let way = Way {
            to: if is_tls { target.https } else { target.http },
            host: target.host.clone(),
            tls: is_tls.then(|| tls.clone()),
        };
        let (lines, first) = (lines.clone(), pace * number / of);
        thread::spawn(move || ask(&way, first, pace, is_kept, &lines));
    };
    (0..KEPT).for_each(|number| asker(number, PACE, KEPT, true));
    (0..2).for_each(|number| asker(number, PACE_OF_NEW, 2, false));
    let mut out = io::stdout().lock();
    for Line { meant, wait, kind, status } in all {
        let meant = meant.duration_since(UNIX_EPOCH).map_err(io::Error::other)?.as_micros();
        writeln!(out, "{meant} {} {kind} {status}", wait.as_micros())?;
        out.flush()?;
    }
    Ok(())
}

fn ask(way: &Way, first: Duration, pace: Duration, is_kept: bool, lines: &Sender<Line>) {
    let (mut due, mut meant) = (Instant::now() + first, SystemTime::now() + first);
    let mut kept = None;
    loop {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let status = way.ask(&mut kept).unwrap_or(0);
        if !is_kept || status == 0 {
            kept = None;
        }
        let kind = if is_kept { "kept" } else { "new" };
        if lines.send(Line { meant, wait: due.elapsed(), kind, status }).is_err() {
            return;
        }
        (due, meant) = (due + pace, meant + pace);
    }
}

struct Way {
    to: SocketAddr,
    host: String,
    tls: Option<Arc<ClientConfig>>,
}

trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

impl Way {
    /// Asks, and reads the answer to its end.
    fn ask(&self, kept: &mut Option<Box<dyn Stream>>) -> io::Result<u16> {
        let stream = match kept {
            Some(stream) => stream,
            None => kept.insert(self.connect()?),
        };
        stream.write_all(format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", self.host).as_bytes())?;
        let (mut answer, mut space) = (Vec::new(), [0; 8 * 1024]);
        loop {
            let read = stream.read(&mut space)?;
            if read == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            answer.extend_from_slice(&space[..read]);
            let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length: usize =
                length.and_then(|text| text.trim().parse().ok()).ok_or(ErrorKind::InvalidData)?;
            if answer.len() >= end + 4 + length {
                let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
                return Ok(status.ok_or(ErrorKind::InvalidData)?);
            }
        }
    }

    fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let socket = TcpStream::connect_timeout(&self.to, PATIENCE)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let Some(tls) = &self.tls else { return Ok(Box::new(socket)) };
        let name = ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
        let connection = ClientConnection::new(tls.clone(), name).map_err(io::Error::other)?;
        Ok(Box::new(StreamOwned::new(connection, socket)))
    }
}
