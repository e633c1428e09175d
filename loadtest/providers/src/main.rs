//! What a server pays for TLS with each of rustls's crypto providers: CPU of a full handshake with a P-256 certificate,
//! and of 1 KB and 16 KB answers. Both sides are in memory, and only the server's side is timed.
//!
//!     cargo run --release --manifest-path loadtest/providers/Cargo.toml

use std::hint::black_box;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::crypto::{CryptoProvider, aws_lc_rs, ring};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use rustix::time::{ClockId, clock_gettime};

const HANDSHAKES: u32 = 2000;
const ANSWERS: u32 = 200_000;
const ROUNDS: usize = 5;

fn main() {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).expect("a root");
    // The clients are the same for both.
    let client = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut client = client;
    client.resumption = rustls::client::Resumption::disabled();
    let client = Arc::new(client);
    let providers = [("aws-lc-rs", aws_lc_rs::default_provider()), ("ring", ring::default_provider())];
    let servers = providers.map(|(name, provider): (_, CryptoProvider)| {
        let mut server = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], signing_key.serialize_der().try_into().expect("a key"))
            .expect("a pair");
        server.send_tls13_tickets = 0;
        (name, Arc::new(server))
    });
    println!("| provider | handshake, us | 1 KB answer, us | 16 KB answer, us |\n|---|---|---|---|");
    let mut results = [const { Vec::new() }; 2];
    for _ in 0..ROUNDS {
        for (result, (_, server)) in results.iter_mut().zip(&servers) {
            result.push([
                per(HANDSHAKES, handshakes(server, &client)),
                per(ANSWERS, answers(server, &client, 1024)),
                per(ANSWERS / 8, answers(server, &client, 16 * 1024)),
            ]);
        }
    }
    for (result, (name, _)) in results.iter_mut().zip(&servers) {
        let median = |column: usize| {
            let mut all: Vec<f64> = result.iter().map(|row| row[column]).collect();
            all.sort_by(f64::total_cmp);
            all[ROUNDS / 2]
        };
        println!("| {name} | {:.1} | {:.2} | {:.2} |", median(0), median(1), median(2));
    }
}

fn per(count: u32, took: Duration) -> f64 {
    took.as_secs_f64() * 1e6 / f64::from(count)
}

/// CPU time of this thread.
fn cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

struct Pair {
    server: ServerConnection,
    client: ClientConnection,
    spent: Duration,
}

impl Pair {
    fn new(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> Self {
        let began = cpu();
        let server = ServerConnection::new(server.clone()).expect("a server");
        let spent = cpu() - began;
        let name = ServerName::try_from("localhost").expect("a name");
        Self { server, client: ClientConnection::new(client.clone(), name).expect("a client"), spent }
    }

    fn shake_hands(&mut self) {
        while self.client.is_handshaking() || self.server.is_handshaking() {
            let mut there = Vec::new();
            while self.client.wants_write() {
                self.client.write_tls(&mut there).expect("written");
            }
            let began = cpu();
            let mut rest = &there[..];
            while !rest.is_empty() {
                self.server.read_tls(&mut rest).expect("read");
                self.server.process_new_packets().expect("understood");
            }
            let mut back = Vec::new();
            while self.server.wants_write() {
                self.server.write_tls(&mut back).expect("written");
            }
            self.spent += cpu() - began;
            let mut rest = &back[..];
            while !rest.is_empty() {
                self.client.read_tls(&mut rest).expect("read");
                self.client.process_new_packets().expect("understood");
            }
        }
    }
}

fn handshakes(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> Duration {
    let mut spent = Duration::ZERO;
    for _ in 0..HANDSHAKES {
        let mut pair = Pair::new(server, client);
        pair.shake_hands();
        spent += pair.spent;
    }
    spent
}

fn answers(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>, bytes: usize) -> Duration {
    let mut pair = Pair::new(server, client);
    pair.shake_hands();
    let body = vec![b'x'; bytes];
    let mut out = Vec::with_capacity(2 * bytes);
    let began = cpu();
    for _ in 0..if bytes > 1024 { ANSWERS / 8 } else { ANSWERS } {
        out.clear();
        pair.server.writer().write_all(&body).expect("written");
        pair.server.write_tls(&mut out).expect("written");
        black_box(&out);
    }
    let spent = cpu() - began;
    // That they were answers is seen by the last one, which the client can't read without those before.
    let _ = pair.client.reader().read(&mut [0]);
    spent
}
