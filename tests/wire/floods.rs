//! Clients of HTTP/2 who mean ill, frame by frame: each costs a bounded amount of memory and of the backend's time, and
//! nobody else notices.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::harness::{Backend, Config, PATIENCE, Proxy, until};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// GET http://a.test/, in HPACK.
const GET: &[u8] = b"\x82\x86\x84\x41\x06a.test";
/// Memory that one flood may cost, in KiB.
const COST_KIB_MAX: u64 = 24 * 1024;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A connection that has said hello.
fn connect(proxy: &Proxy) -> TcpStream {
    let mut stream = TcpStream::connect(proxy.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).unwrap();
    stream
}

/// Sends frame after frame while another thread reads what comes back, until the other side has had enough. Returns how
/// many frames it took, and the error code of its GOAWAY.
fn flood(proxy: &Proxy, most: u32, next: impl FnMut(u32) -> Vec<u8>) -> (u32, Option<u32>) {
    let (sent, ends) = flood_until(proxy, most, next);
    (sent, ends.into_iter().find_map(|(kind, code)| (kind == GOAWAY).then_some(code)))
}

/// The same, with the kind and the error code of each frame that ended something, in their order.
fn flood_until(proxy: &Proxy, most: u32, mut next: impl FnMut(u32) -> Vec<u8>) -> (u32, Vec<(u8, u32)>) {
    let mut stream = connect(proxy);
    let mut reader = stream.try_clone().unwrap();
    let reading = std::thread::spawn(move || ends(&mut reader));
    let mut sent = 0;
    while sent < most && !reading.is_finished() {
        if stream.write_all(&next(sent)).is_err() {
            break;
        }
        sent += 1;
    }
    // Who was not sent away may leave.
    let _ = stream.shutdown(Shutdown::Write);
    (sent, reading.join().unwrap())
}

/// Reads to the end, and returns what ended a stream, or the connection.
fn ends(stream: &mut TcpStream) -> Vec<(u8, u32)> {
    let mut ends = Vec::new();
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).is_err() {
            return ends;
        }
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        if stream.read_exact(&mut payload).is_err() {
            return ends;
        }
        let code = match head[3] {
            GOAWAY => &payload[4..8],
            RST_STREAM => &payload[..],
            _ => continue,
        };
        ends.push((head[3], u32::from_be_bytes(code.try_into().unwrap())));
    }
}

/// Nobody else has noticed, and it was cheap.
fn unharmed(proxy: &Proxy, memory_before: u64) {
    assert_eq!(proxy.get("/").status, 200);
    let memory = proxy.resident_kib();
    assert!(memory < memory_before + COST_KIB_MAX, "{memory_before} KiB before, {memory} KiB after");
    until("no lease is left", || proxy.in_flight() == 0);
}

fn start() -> (Backend, Proxy, u64) {
    let backend = Backend::named("A");
    let proxy = Proxy::start(&Config::of(&[&backend]).limits("head_timeout = '1s'"));
    assert_eq!(proxy.get("/").status, 200);
    let memory = proxy.resident_kib();
    (backend, proxy, memory)
}

#[test]
fn streams_that_are_reset_as_fast_as_they_are_opened_end_the_connection() {
    let (backend, proxy, memory) = start();
    let (sent, code) = flood(&proxy, 50_000, |number| {
        let stream = 2 * number + 1;
        let mut frames = frame(HEADERS, END_STREAM | END_HEADERS, stream, GET);
        frames.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
        frames
    });
    assert_eq!(code, Some(11), "ENHANCE_YOUR_CALM after {sent} streams");
    assert!(backend.count() < 5_000, "{} requests reached the backend", backend.count());
    unharmed(&proxy, memory);
}

#[test]
fn streams_that_the_server_is_made_to_reset_end_the_connection() {
    let (backend, proxy, memory) = start();
    let (sent, code) = flood(&proxy, 50_000, |number| {
        let stream = 2 * number + 1;
        let mut frames = frame(HEADERS, END_STREAM | END_HEADERS, stream, GET);
        // An increment of 0 is an error of the stream.
        frames.extend(frame(WINDOW_UPDATE, 0, stream, &[0; 4]));
        frames
    });
    assert!(code.is_some_and(|code| code != 0), "after {sent} streams");
    assert!(backend.count() < 5_000, "{} requests reached the backend", backend.count());
    unharmed(&proxy, memory);
}

#[test]
fn a_head_that_never_ends_is_not_collected() {
    let (_backend, proxy, memory) = start();
    let field = [b"\x40\x01x\x7f\x80\x3e".as_slice(), &[b'x'; 8_000]].concat();
    let (sent, code) = flood(&proxy, 10_000, |number| match number {
        0 => frame(HEADERS, END_STREAM, 1, GET),
        _ => frame(CONTINUATION, 0, 1, &field),
    });
    assert!(sent < 10_000 && code.is_some_and(|code| code != 0), "{code:?} after {sent} frames");
    unharmed(&proxy, memory);
}

#[test]
fn empty_continuations_end_the_connection() {
    let (_backend, proxy, memory) = start();
    let (sent, code) = flood(&proxy, 100_000, |number| match number {
        0 => frame(HEADERS, END_STREAM, 1, GET),
        _ => frame(CONTINUATION, 0, 1, &[]),
    });
    assert!(sent < 100_000 && code.is_some_and(|code| code != 0), "{code:?} after {sent} frames");
    unharmed(&proxy, memory);
}

#[test]
fn pings_and_settings_cost_nothing_that_stays() {
    let (_backend, proxy, memory) = start();
    let settings = [0, 4, 0, 1, 0, 0];
    let (pings, _) = flood(&proxy, 20_000, |number| frame(PING, 0, 0, &u64::from(number).to_be_bytes()));
    unharmed(&proxy, memory);
    let (changes, _) = flood(&proxy, 20_000, |_| frame(SETTINGS, 0, 0, &settings));
    unharmed(&proxy, memory);
    assert!(pings > 0 && changes > 0);
}

#[test]
fn answers_that_nobody_reads_are_not_collected() {
    let (_backend, proxy, memory) = start();
    let mut stream = connect(&proxy);
    // Answers to these are owed, and nobody takes them: at some point nothing more is read either.
    let ping = frame(PING, 0, 0, &[7; 8]).repeat(1_000);
    stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let sent = (0..20_000).take_while(|_| stream.write_all(&ping).is_ok()).count();
    assert!(sent < 20_000, "{} MiB of pings were taken", (sent * ping.len()) >> 20);
    unharmed(&proxy, memory);
}

/// The stream ends at once. What still comes for it is thrown away, and given back to the window of the connection; if more
/// of it comes than that has, the connection ends too. Which of it happens depends on who is quicker.
#[test]
fn bodies_beyond_the_window_end_the_stream_and_are_not_collected() {
    let (_backend, proxy, memory) = start();
    proxy.hold();
    // POST, and then more of its body than anybody has asked for.
    let post = b"\x83\x86\x84\x41\x06a.test";
    let (sent, ends) = flood_until(&proxy, 10_000, |number| match number {
        0 => frame(HEADERS, END_HEADERS, 1, post),
        _ => frame(DATA, 0, 1, &[b'x'; 16_384]),
    });
    const FLOW_CONTROL_ERROR: u32 = 3;
    assert!(!ends.is_empty(), "{sent} frames were taken");
    assert!(ends.iter().all(|(_, code)| *code == FLOW_CONTROL_ERROR), "{ends:?} after {sent} frames");
    assert_eq!(proxy.held(), 0, "the request goes with its stream");
    proxy.release();
    unharmed(&proxy, memory);
}
