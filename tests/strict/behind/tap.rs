//! Between ghostpin and a real server: passes bytes on both ways, untouched, and writes down what ghostpin sends.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use socket2::Socket;

/// Where a server listens, and how it is told which connection of the tap it has been given.
#[derive(Clone, Debug)]
pub(crate) enum To {
    /// It sees the port.
    Tcp(SocketAddr),
    /// It is told a number in the place of a port, by a line of the PROXY protocol.
    Unix(PathBuf),
}

/// What was passed on over one connection.
#[derive(Debug)]
pub(crate) struct Passed {
    /// What the server calls it.
    pub(crate) number: u16,
    pub(crate) bytes: Vec<u8>,
}

/// The running tap.
pub(crate) struct Tap {
    pub(crate) address: SocketAddr,
    stopping: Arc<AtomicBool>,
    accepting: JoinHandle<Vec<JoinHandle<Passed>>>,
}

impl Tap {
    pub(crate) fn start(to: To) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let stopping = Arc::new(AtomicBool::new(false));
        let for_thread = stopping.clone();
        let accepting = std::thread::spawn(move || {
            let mut connections = Vec::new();
            for stream in listener.incoming() {
                if for_thread.load(Ordering::SeqCst) {
                    break;
                }
                if let Ok(stream) = stream {
                    let (to, count) = (to.clone(), connections.len() + 1);
                    connections.push(std::thread::spawn(move || {
                        let (server, number) = connect(&to, count);
                        pass(stream, server, number)
                    }));
                }
            }
            connections
        });
        Self { address, stopping, accepting }
    }

    /// What was passed on over each connection. Waits for their ends at both sides: the proxy must be gone, and the
    /// server has read all there was when it closes.
    pub(crate) fn finish(self) -> Vec<Passed> {
        self.stopping.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        let connections = self.accepting.join().expect("the accepting thread");
        connections.into_iter().map(|connection| connection.join().expect("a passing thread")).collect()
    }
}

fn connect(to: &To, count: usize) -> (Socket, u16) {
    match to {
        To::Tcp(address) => {
            let stream = TcpStream::connect(address).expect("the server listens");
            stream.set_nodelay(true).expect("a socket option");
            let number = stream.local_addr().expect("an address").port();
            (stream.into(), number)
        }
        To::Unix(path) => {
            let mut stream = UnixStream::connect(path).expect("the server listens");
            let number = u16::try_from(count).expect("a number that a port may have");
            // In one write: nginx refuses a line that comes in pieces.
            let line = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {number} 1\r\n");
            stream.write_all(line.as_bytes()).expect("the server reads");
            (stream.into(), number)
        }
    }
}

fn pass(from: TcpStream, server: Socket, number: u16) -> Passed {
    let _ = from.set_nodelay(true);
    let from = Socket::from(from);
    let (back_from, back_to) = (server.try_clone().expect("a socket"), from.try_clone().expect("a socket"));
    let back = std::thread::spawn(move || copy(back_from, back_to));
    let bytes = copy(from, server);
    let _ = back.join();
    Passed { number, bytes }
}

/// Copies to the end, whichever side makes it, and returns what was read.
fn copy(mut from: Socket, mut to: Socket) -> Vec<u8> {
    let (mut all, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        all.extend_from_slice(&buffer[..read]);
        // A server that has had enough may close early; what was sent to it all the same is to be seen.
        let _ = to.write_all(&buffer[..read]);
    }
    let _ = to.shutdown(Shutdown::Write);
    all
}
