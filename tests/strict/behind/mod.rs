//! Real servers as backends: Node as it serves Ghost, and nginx as it stands before many an application. Between them and
//! ghostpin is a tap that writes down every byte. What the server says it was asked must be what a strict reader finds in
//! those bytes, connection by connection: not a request more, and none with another meaning.

mod nginx;
mod node;
mod tap;

use std::path::Path;
use std::process::{Child, Command};

use super::case::Behind;
use super::parse::{Request, values};
use super::recorder::{Item, Recorder, items_of};

/// What a server has understood of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Understood {
    pub(crate) method: Vec<u8>,
    pub(crate) target: Vec<u8>,
    pub(crate) hosts: Vec<Vec<u8>>,
    pub(crate) body: Vec<u8>,
}

impl Understood {
    pub(crate) fn of(request: &Request) -> Self {
        let mut words = request.line.split(|byte| *byte == b' ').map(<[u8]>::to_vec);
        Self {
            method: words.next().unwrap_or_default(),
            target: words.next().unwrap_or_default(),
            hosts: values(&request.fields, "host").map(<[u8]>::to_vec).collect(),
            body: request.body.clone(),
        }
    }
}

/// One connection of ghostpin to its backend.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    /// What a strict reader finds in the bytes.
    pub(crate) items: Vec<Item>,
    /// What the server says it was asked; `None` where nobody but the strict reader has read it.
    pub(crate) understood: Option<Vec<Understood>>,
}

impl Connection {
    /// All in which the server and the strict reader differ. `may_refuse` knows the requests that the server may refuse
    /// without having understood them.
    pub(crate) fn differences(&self, may_refuse: impl Fn(&Item) -> bool) -> Vec<String> {
        let Some(understood) = &self.understood else { return Vec::new() };
        let (mut differences, mut left) = (Vec::new(), understood.as_slice());
        for item in &self.items {
            // The others are no whole requests, and so must not be understood as one.
            let Item::Whole(request) = item else { continue };
            match left.split_first() {
                Some((first, rest)) if *first == Understood::of(request) => left = rest,
                _ if may_refuse(item) => {}
                first => {
                    let understood = first.map_or("nothing".into(), |(first, _)| shown(first));
                    let sent = request.raw.escape_ascii();
                    differences.push(format!("the backend understood {understood}\n    sent {sent}"));
                    return differences;
                }
            }
        }
        differences
            .extend(left.iter().map(|one| format!("the backend understood in addition {}", shown(one))));
        differences
    }
}

fn shown(one: &Understood) -> String {
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    let hosts: Vec<String> = one.hosts.iter().map(|host| text(host)).collect();
    let (method, target, body) = (text(&one.method), text(&one.target), text(&one.body));
    format!("{method} {target} for {hosts:?} with the body {body:?}")
}

/// A backend that runs.
pub(crate) enum Backend {
    Recorder(Recorder),
    Node(node::Node),
    Nginx(nginx::Nginx),
}

impl Backend {
    pub(crate) fn start(which: Behind) -> Self {
        match which {
            Behind::Recorder => Self::Recorder(Recorder::start()),
            Behind::Node => Self::Node(node::Node::start()),
            Behind::Nginx => Self::Nginx(nginx::Nginx::start()),
        }
    }

    pub(crate) fn address(&self) -> std::net::SocketAddr {
        match self {
            Self::Recorder(recorder) => recorder.address,
            Self::Node(node) => node.tap.address,
            Self::Nginx(nginx) => nginx.tap.address,
        }
    }

    /// What came over each connection. The proxy must be gone.
    pub(crate) fn finish(self) -> Vec<Connection> {
        match self {
            Self::Recorder(recorder) => {
                let connections = recorder.finish();
                connections.into_iter().map(|items| Connection { items, understood: None }).collect()
            }
            Self::Node(node) => node.finish(),
            Self::Nginx(nginx) => nginx.finish(),
        }
    }
}

fn connections(passed: Vec<tap::Passed>, mut of: impl FnMut(u16) -> Vec<Understood>) -> Vec<Connection> {
    let connection =
        |one: tap::Passed| Connection { items: items_of(&one.bytes), understood: Some(of(one.number)) };
    passed.into_iter().map(connection).collect()
}

/// A program of this machine. Without it nothing is tested, which must not look like success.
fn program(name: &str, package: &str) -> Command {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&folders).chain([Path::new("/usr/sbin").into()]);
    let found = folders.map(|folder| folder.join(name)).find(|path| path.is_file());
    Command::new(found.unwrap_or_else(|| {
        panic!("no {name} on this machine: install the Debian package {package}, or let scripts/test do it")
    }))
}

/// A process that doesn't outlive the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
