//! Node, running `node.mjs`.

use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{ChildStdout, Stdio};

use serde::Deserialize;

use super::tap::{Tap, To};
use super::{Connection, Process, Understood, connections, program};

/// The running server. It ends when this side of its input does.
pub(crate) struct Node {
    process: Process,
    output: BufReader<ChildStdout>,
    pub(super) tap: Tap,
}

/// As `node.mjs` tells it: bytes in hexadecimal.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    connection: u16,
    method: String,
    target: String,
    /// Names and values by turns.
    fields: Vec<String>,
    body: String,
    is_whole: bool,
}

impl Node {
    pub(super) fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/strict/behind/node.mjs");
        let mut command = program("node", "nodejs");
        command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Process(command.spawn().expect("node starts"));
        let mut output = BufReader::new(process.0.stdout.take().expect("its output"));
        let mut line = String::new();
        output.read_line(&mut line).expect("node says its port");
        let port: u16 = line.trim().parse().expect("a port");
        let tap = Tap::start(To::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port))));
        Self { process, output, tap }
    }

    pub(super) fn finish(self) -> Vec<Connection> {
        let Self { mut process, mut output, tap } = self;
        let passed = tap.finish();
        drop(process.0.stdin.take());
        let mut text = String::new();
        output.read_to_string(&mut text).expect("node tells what it was asked");
        assert!(process.0.wait().expect("node ends").success(), "node has failed");
        let asked: Vec<Asked> = serde_json::from_str(&text).expect("what node tells");
        connections(passed, |number| {
            let whole = asked.iter().filter(|one| one.connection == number && one.is_whole);
            whole.map(Asked::understood).filter_map(|(one, is_probe)| (!is_probe).then_some(one)).collect()
        })
    }
}

impl Asked {
    /// And whether it was ghostpin itself that asked.
    fn understood(&self) -> (Understood, bool) {
        let fields: Vec<Vec<u8>> = self.fields.iter().map(|text| bytes(text)).collect();
        let values = |wanted: &str| {
            let pairs = fields.chunks_exact(2).map(|pair| (&pair[0], &pair[1]));
            let found = pairs.filter(|(name, _)| name.eq_ignore_ascii_case(wanted.as_bytes()));
            found.map(|(_, value)| value.clone()).collect::<Vec<_>>()
        };
        let is_probe = values("user-agent").iter().any(|agent| agent.ends_with(b"(probe)"));
        let (method, target) = (bytes(&self.method), bytes(&self.target));
        (Understood { method, target, hosts: values("host"), body: bytes(&self.body) }, is_probe)
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal digits");
    (0..hex.len()).step_by(2).map(byte).collect()
}
