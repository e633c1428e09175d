//! A backend that does exactly what a test tells it to, and remembers what it was given.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

use socket2::{Domain, Socket, Type};

use super::{Head, Reader, until};

type Handler = dyn Fn(&Head, &mut Conn) + Send + Sync;

/// An instance of an application.
pub(crate) struct Backend {
    /// What it answers by default, to be told from others.
    pub(crate) name: String,
    /// `127.0.0.1:port`, or `unix:/path`.
    pub(crate) address: String,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
    /// Its port while it does not listen there: who connects is refused, and no other test is given it.
    kept: Option<Socket>,
}

struct Shared {
    handler: Mutex<Arc<Handler>>,
    requests: Mutex<Vec<Head>>,
    open: Mutex<Vec<Stream>>,
    connections: AtomicUsize,
    stopping: AtomicBool,
    unwell: AtomicBool,
    /// Its page for proofs fails.
    broken: AtomicBool,
    /// The paths that it was probed by.
    probes: Mutex<Vec<String>>,
    frozen: Mutex<bool>,
    thawed: Condvar,
}

/// One connection to a backend, as its handler sees it.
pub(crate) struct Conn {
    /// The number of the connection, from 1.
    pub(crate) number: usize,
    pub(crate) reader: Reader<Stream>,
    stream: Stream,
    closed: bool,
}

/// Either kind of socket.
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Backend {
    /// One that answers every request with its name.
    pub(crate) fn named(name: &str) -> Self {
        let answer = format!("{name} ");
        Self::with(name, move |head, conn| {
            let body = conn.body(head);
            conn.answer(200, &format!("{answer}{} {}", head.method(), body.len()));
        })
    }

    /// One that does what `handler` does, but for probes, which it answers by itself.
    pub(crate) fn with(name: &str, handler: impl Fn(&Head, &mut Conn) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        Self::begin(name, address, Listener::Tcp(listener), Arc::new(handler))
    }

    /// One that listens at a Unix socket.
    pub(crate) fn at(name: &str, path: &Path) -> Self {
        let listener = UnixListener::bind(path).expect("a socket");
        let answer = name.to_owned();
        let address = format!("unix:{}", path.display());
        Self::begin(
            name,
            address,
            Listener::Unix(listener),
            Arc::new(move |_: &Head, conn: &mut Conn| conn.answer(200, &answer)),
        )
    }

    /// An address at which nobody listens, for a backend that is started later by [`Self::start`].
    pub(crate) fn absent(name: &str) -> Self {
        let mut backend = Self::named(name);
        backend.stop();
        backend
    }

    fn begin(name: &str, address: String, listener: Listener, handler: Arc<Handler>) -> Self {
        let shared = Arc::new(Shared {
            handler: Mutex::new(handler),
            requests: Mutex::default(),
            open: Mutex::default(),
            connections: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            unwell: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            probes: Mutex::default(),
            frozen: Mutex::new(false),
            thawed: Condvar::new(),
        });
        let for_thread = shared.clone();
        let accepting = std::thread::spawn(move || for_thread.accept(listener));
        Self { name: name.to_owned(), address, shared, accepting: Some(accepting), kept: None }
    }

    /// From now on it does this.
    pub(crate) fn does(&self, handler: impl Fn(&Head, &mut Conn) + Send + Sync + 'static) {
        *self.shared.handler.lock().unwrap() = Arc::new(handler);
    }

    /// It dies: its port refuses, and its connections end, some with bytes unread.
    pub(crate) fn stop(&mut self) {
        self.end();
        let Ok(address) = self.address.parse::<SocketAddr>() else { return };
        let port = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a socket");
        // Connections to the port may still be there.
        port.set_reuse_address(true).expect("an option of every socket");
        until("the backend's port is free", || port.bind(&address.into()).is_ok());
        self.kept = Some(port);
    }

    fn end(&mut self) {
        let Some(accepting) = self.accepting.take() else { return };
        self.shared.stopping.store(true, Ordering::SeqCst);
        match self.address.strip_prefix("unix:") {
            Some(path) => drop(UnixStream::connect(path)),
            None => drop(TcpStream::connect(&self.address)),
        }
        accepting.join().expect("the accepting thread");
        self.cut_connections();
    }

    /// It lives again, at the same address.
    pub(crate) fn start(&mut self) {
        assert!(self.accepting.is_none(), "it is running");
        self.shared.stopping.store(false, Ordering::SeqCst);
        let port = self.kept.take().expect("it was stopped, and has a port");
        port.listen(128).expect("it may be listened to");
        let for_thread = self.shared.clone();
        let listener = Listener::Tcp(port.into());
        self.accepting = Some(std::thread::spawn(move || for_thread.accept(listener)));
    }

    /// Ends all its connections.
    pub(crate) fn cut_connections(&self) {
        for stream in self.shared.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown();
        }
    }

    /// It answers nothing any more, not even probes; connections are still made, by the kernel.
    pub(crate) fn freeze(&self) {
        *self.shared.frozen.lock().unwrap() = true;
    }

    /// It goes on where it was.
    pub(crate) fn thaw(&self) {
        *self.shared.frozen.lock().unwrap() = false;
        self.shared.thawed.notify_all();
    }

    /// It answers probes with 500.
    pub(crate) fn be_unwell(&self, unwell: bool) {
        self.shared.unwell.store(unwell, Ordering::SeqCst);
    }

    /// It answers `/proof` with 500, and other probes as before.
    pub(crate) fn be_broken(&self) {
        self.shared.broken.store(true, Ordering::SeqCst);
    }

    /// The paths that it was probed by since this was asked last.
    pub(crate) fn new_probes(&self) -> Vec<String> {
        std::mem::take(&mut *self.shared.probes.lock().unwrap())
    }

    /// The requests that it was given, without probes.
    pub(crate) fn requests(&self) -> Vec<Head> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// How many there were.
    pub(crate) fn count(&self) -> usize {
        self.shared.requests.lock().unwrap().len()
    }

    /// The one request that it was given.
    #[track_caller]
    pub(crate) fn only_request(&self) -> Head {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests.into_iter().next().expect("one")
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.thaw();
        self.end();
    }
}

impl Shared {
    fn accept(self: Arc<Self>, listener: Listener) {
        loop {
            let stream = match &listener {
                Listener::Tcp(listener) => listener.accept().map(|(stream, _)| {
                    let _ = stream.set_nodelay(true);
                    Stream::Tcp(stream)
                }),
                Listener::Unix(listener) => listener.accept().map(|(stream, _)| Stream::Unix(stream)),
            };
            if self.stopping.load(Ordering::SeqCst) {
                return;
            }
            let Ok(stream) = stream else { continue };
            self.open.lock().unwrap().push(stream.clone());
            let shared = self.clone();
            std::thread::spawn(move || shared.serve(stream));
        }
    }

    fn serve(&self, stream: Stream) {
        let mut conn = Conn { number: 0, reader: Reader::new(stream.clone()), stream, closed: false };
        while let Ok(Some(head)) = conn.reader.head() {
            self.wait_while_frozen();
            if head.field("user-agent").is_some_and(|agent| agent.contains("(probe)")) {
                let fails = if head.path() == "/proof" { &self.broken } else { &self.unwell };
                self.probes.lock().unwrap().push(head.path().to_owned());
                conn.answer(if fails.load(Ordering::SeqCst) { 500 } else { 200 }, "probe");
                break;
            }
            if conn.number == 0 {
                conn.number = self.connections.fetch_add(1, Ordering::SeqCst) + 1;
            }
            self.requests.lock().unwrap().push(head.clone());
            let handler = self.handler.lock().unwrap().clone();
            handler(&head, &mut conn);
            if conn.closed {
                break;
            }
        }
        let _ = conn.stream.shutdown();
    }

    fn wait_while_frozen(&self) {
        let mut frozen = self.frozen.lock().unwrap();
        while *frozen {
            frozen = self.thawed.wait(frozen).unwrap();
        }
    }
}

impl Conn {
    /// Sends bytes as they are. A proxy that has closed is no failure of the test here.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// A whole answer with a length.
    pub(crate) fn answer(&mut self, status: u16, body: &str) {
        self.answer_with(status, "", body);
    }

    /// A whole answer with a length and further fields, each with its line end.
    pub(crate) fn answer_with(&mut self, status: u16, fields: &str, body: &str) {
        self.send(format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{fields}\r\n{body}", body.len()));
    }

    /// Reads the body of a request to its end, as its head says.
    pub(crate) fn body(&mut self, head: &Head) -> Vec<u8> {
        if head.is_chunked() {
            return self.reader.chunked().map(|(body, _)| body).unwrap_or_default();
        }
        self.reader.exactly(head.length().unwrap_or(0)).unwrap_or_default()
    }

    /// Ends the connection.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        let _ = self.stream.shutdown();
    }
}

impl Stream {
    fn shutdown(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Self::Unix(stream) => stream.shutdown(Shutdown::Both),
        }
    }
}

impl Clone for Stream {
    fn clone(&self) -> Self {
        match self {
            Self::Tcp(stream) => Self::Tcp(stream.try_clone().expect("a file descriptor")),
            Self::Unix(stream) => Self::Unix(stream.try_clone().expect("a file descriptor")),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
