//! A manager's API on a Unix socket, or over TLS, which hangs, fails and goes stale when it is told to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::world::World;

/// How it behaves.
#[derive(Clone, Debug)]
pub(crate) enum Mode {
    /// It tells the world as it is.
    Well,
    /// It takes the connection, and that is all.
    Hang,
    /// Every request gets this status and message.
    Fail(u16, &'static str),
    /// It tells this world, whatever has become of it.
    Stale(Box<World>),
}

/// What all managers share.
#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) world: Mutex<World>,
    /// Events so far.
    events: Mutex<usize>,
    happened: Condvar,
    /// Rounds of questions: how often `/tasks` was asked for.
    pub(crate) asked: AtomicUsize,
}

impl Shared {
    /// Managers tell that something has happened to a service.
    pub(crate) fn event(&self) {
        *self.events.lock().unwrap() += 1;
        self.happened.notify_all();
    }
}

pub(crate) struct Manager {
    pub(crate) address: String,
    mode: Arc<Mutex<Mode>>,
}

impl Manager {
    /// At this path.
    pub(crate) fn at(path: PathBuf, shared: Arc<Shared>) -> Self {
        let listener = UnixListener::bind(&path).unwrap();
        let mode = Arc::new(Mutex::new(Mode::Well));
        let of_all = mode.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (mode, shared) = (of_all.clone(), shared.clone());
                thread::spawn(move || serve(stream, &mode, &shared));
            }
        });
        Self { address: format!("unix://{}", path.display()), mode }
    }

    /// On loopback, for clients with a certificate of the authority in this folder only.
    pub(crate) fn over_tls(folder: &Path, shared: Arc<Shared>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let config = Arc::new(server(folder));
        let mode = Arc::new(Mutex::new(Mode::Well));
        let of_all = mode.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (mode, shared) = (of_all.clone(), shared.clone());
                let session = rustls::ServerConnection::new(config.clone()).unwrap();
                thread::spawn(move || serve(rustls::StreamOwned::new(session, stream), &mode, &shared));
            }
        });
        Self { address: format!("tcp://localhost:{port}"), mode }
    }

    pub(crate) fn is(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }
}

/// A port on which nobody listens.
pub(crate) fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn server(folder: &Path) -> rustls::ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let certificate = |name: &str| CertificateDer::from_pem_file(folder.join(name)).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate("ca.pem")).unwrap();
    let clients =
        rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients.build().unwrap())
        .with_single_cert(
            vec![certificate("server.pem")],
            PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap(),
        )
        .unwrap()
}

fn serve(stream: impl Read + Write, mode: &Mutex<Mode>, shared: &Shared) {
    let mut stream = BufReader::new(stream);
    while let Some(path) = request(&mut stream) {
        if path.starts_with("/tasks") {
            shared.asked.fetch_add(1, Ordering::SeqCst);
        }
        let mode = mode.lock().unwrap().clone();
        let (status, body) = match mode {
            _ if path.starts_with("/events") => return events(stream.get_mut(), shared),
            // As long as the other side has patience.
            Mode::Hang => return drop(stream.read(&mut [0])),
            Mode::Fail(status, message) => (status, serde_json::json!({"message": message}).to_string()),
            Mode::Stale(world) => (200, world.answer(&path).to_string()),
            Mode::Well => (200, shared.world.lock().unwrap().answer(&path).to_string()),
        };
        let head = format!(
            "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        if stream.get_mut().write_all((head + &body).as_bytes()).is_err() || stream.get_mut().flush().is_err()
        {
            return;
        }
    }
}

/// The path that is asked for.
fn request(stream: &mut impl BufRead) -> Option<String> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            return head.first().and_then(|first: &String| first.split(' ').nth(1)).map(str::to_owned);
        }
        head.push(line);
    }
}

/// Each event is a chunk of an answer that doesn't end.
fn events(stream: &mut impl Write, shared: &Shared) {
    let mut told = *shared.events.lock().unwrap();
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
    let _ = stream.flush();
    loop {
        let events = shared.happened.wait_while(shared.events.lock().unwrap(), |events| *events == told);
        told = *events.unwrap();
        let event = "{\"Type\":\"service\",\"Action\":\"update\"}\n";
        let chunk = format!("{:x}\r\n{event}\r\n", event.len());
        if stream.write_all(chunk.as_bytes()).is_err() || stream.flush().is_err() {
            return;
        }
    }
}
