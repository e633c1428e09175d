//! A DNS server with one answer, which the test changes.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::PATIENCE;

const A: u16 = 1;

/// What every name is answered with.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// These addresses below 127.0.0.0/24.
    At(Vec<u8>),
    Silent,
    ServFail,
    NoSuchName,
}

impl Answer {
    pub(crate) fn at(last: &[u8]) -> Self {
        Self::At(last.to_vec())
    }
}

pub(crate) struct Dns {
    pub(crate) address: SocketAddr,
    answer: Arc<Mutex<Answer>>,
    asked: Arc<AtomicUsize>,
}

impl Dns {
    pub(crate) fn start(first: Answer, ttl: u32) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let dns = Self {
            address: socket.local_addr().unwrap(),
            answer: Arc::new(Mutex::new(first)),
            asked: Arc::default(),
        };
        let (answer, asked) = (dns.answer.clone(), dns.asked.clone());
        std::thread::spawn(move || {
            let mut query = [0; 1500];
            while let Ok((size, peer)) = socket.recv_from(&mut query) {
                let answer = answer.lock().unwrap().clone();
                asked.fetch_add(1, Ordering::SeqCst);
                if let Some(response) = respond(&query[..size], &answer, ttl) {
                    let _ = socket.send_to(&response, peer);
                }
            }
        });
        dns
    }

    pub(crate) fn answer(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Returns when that many more queries have come in.
    pub(crate) fn until_asked_again(&self, times: usize) {
        let (goal, began) = (self.asked() + times, Instant::now());
        while self.asked() < goal {
            assert!(began.elapsed() < PATIENCE, "nobody asks");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The response to a query with one question, or none.
fn respond(query: &[u8], answer: &Answer, ttl: u32) -> Option<Vec<u8>> {
    let name_length = query.get(12..)?.iter().position(|byte| *byte == 0)? + 1;
    let question = query.get(12..12 + name_length + 4)?;
    let kind = u16::from_be_bytes([question[name_length], question[name_length + 1]]);
    let none = Vec::new();
    let (code, addresses) = match answer {
        Answer::At(addresses) if kind == A => (0, addresses),
        Answer::At(_) => (0, &none),
        Answer::Silent => return None,
        Answer::ServFail => (2, &none),
        Answer::NoSuchName => (3, &none),
    };
    let mut response = query[..2].to_vec();
    // A response with recursion; one question, and the answers.
    response.extend([0x81, 0x80 | code, 0, 1, 0, addresses.len() as u8, 0, 0, 0, 0]);
    response.extend(question);
    for last in addresses {
        // The name of the question, A, IN.
        response.extend([0xc0, 12, 0, 1, 0, 1]);
        response.extend(ttl.to_be_bytes());
        response.extend([0, 4, 127, 0, 0, *last]);
    }
    Some(response)
}
