//! A backend that writes down what it is given, byte by byte, and reads it with [`super::parse`]. It answers 200 to
//! what is a request, and says in `x-saw` to which; it never closes a connection, so nothing is sent to it twice.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::parse::{self, Request, Stop};

/// Something that came over a connection.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    Whole(Request),
    /// What no strict reader takes for a request, and all that came after it.
    Broken {
        why: String,
        raw: Vec<u8>,
    },
    /// The beginning of a request whose connection then ended.
    Cut {
        raw: Vec<u8>,
    },
}

impl Item {
    pub(crate) fn raw(&self) -> &[u8] {
        match self {
            Self::Whole(request) => &request.raw,
            Self::Broken { raw, .. } | Self::Cut { raw } => raw,
        }
    }
}

/// The running backend.
pub(crate) struct Recorder {
    pub(crate) address: SocketAddr,
    stopping: Arc<AtomicBool>,
    accepting: JoinHandle<Vec<JoinHandle<Vec<Item>>>>,
}

impl Recorder {
    pub(crate) fn start() -> Self {
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
                    connections.push(std::thread::spawn(move || record(stream)));
                }
            }
            connections
        });
        Self { address, stopping, accepting }
    }

    /// What came over each connection. Waits for their ends, so the proxy must be gone: then nothing is still on its
    /// way, and "nothing came" is known and not guessed.
    pub(crate) fn finish(self) -> Vec<Vec<Item>> {
        self.stopping.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        let connections = self.accepting.join().expect("the accepting thread");
        connections.into_iter().map(|connection| connection.join().expect("a recording thread")).collect()
    }
}

/// What a strict reader finds in all that came over a connection, but for the requests that ghostpin makes by itself.
pub(crate) fn items_of(mut bytes: &[u8]) -> Vec<Item> {
    let mut items = Vec::new();
    while !bytes.is_empty() {
        match parse::request(bytes) {
            Ok(request) => {
                bytes = &bytes[request.raw.len()..];
                if !is_probe(&request) {
                    items.push(Item::Whole(request));
                }
            }
            Err(stop) => {
                let raw = bytes.to_vec();
                items.push(match stop {
                    Stop::More => Item::Cut { raw },
                    Stop::Broken(why) => Item::Broken { why, raw },
                });
                break;
            }
        }
    }
    items
}

fn record(mut stream: TcpStream) -> Vec<Item> {
    let _ = stream.set_nodelay(true);
    let (mut items, mut ahead, mut buffer) = (Vec::new(), Vec::new(), vec![0; 64 * 1024]);
    let mut why_broken = None;
    loop {
        match stream.read(&mut buffer) {
            Ok(read) if read > 0 => ahead.extend_from_slice(&buffer[..read]),
            // The proxy is killed in the end, with whatever that does to its connections.
            _ => break,
        }
        while why_broken.is_none() && !ahead.is_empty() {
            match parse::request(&ahead) {
                Ok(request) => {
                    ahead.drain(..request.raw.len());
                    let _ = stream.write_all(&answer_to(&request));
                    if !is_probe(&request) {
                        items.push(Item::Whole(request));
                    }
                }
                Err(Stop::More) => break,
                Err(Stop::Broken(why)) => {
                    // An own status, so that the case isn't left to wait, and a reader sees where it came from. What
                    // else comes over this connection is never answered, so no other case may use it.
                    let _ = stream
                        .write_all(b"HTTP/1.1 599 Broken\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                    why_broken = Some(why);
                }
            }
        }
    }
    match why_broken {
        Some(why) => items.push(Item::Broken { why, raw: ahead }),
        None if !ahead.is_empty() => items.push(Item::Cut { raw: ahead }),
        None => {}
    }
    items
}

/// ghostpin asks by itself how its backends are.
fn is_probe(request: &Request) -> bool {
    parse::values(&request.fields, "user-agent").any(|agent| agent.ends_with(b"(probe)"))
}

/// The method and the target, as `x-saw` gives them back.
pub(crate) fn asked(line: &[u8]) -> String {
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').take(2).collect();
    let text: String = words.join(&b' ').escape_ascii().to_string();
    text.chars().take(200).collect()
}

/// Says in a field and in the body what was asked: not every answer has a body, and not every reader reads fields.
fn answer_to(request: &Request) -> Vec<u8> {
    let saw = asked(&request.line);
    let body = if request.line.starts_with(b"HEAD ") { "" } else { saw.as_str() };
    let length = saw.len();
    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nx-saw: {saw}\r\n\r\n{body}").into_bytes()
}
