//! An etcd with certificates and passwords, and an edge.

use std::fs::{self, File};
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use rustix::process::{Pid, Signal, kill_process};

const GHOSTPIN: &str = env!("CARGO_BIN_EXE_ghostpin");
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Looks again and again until there is something to see.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A process that ends with the test.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    /// Waits until it has ended by itself; says whether it was content.
    pub(crate) fn ended(&mut self) -> bool {
        until("it has ended", || self.0.try_wait().unwrap()).success()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What an edge is given to be known by, and to know etcd by.
pub(crate) struct Given {
    pub(crate) ca: &'static str,
    pub(crate) identity: bool,
    pub(crate) password: &'static str,
}

impl Default for Given {
    fn default() -> Self {
        Self { ca: "root.pem", identity: true, password: "secret" }
    }
}

/// Certificates, an address of its own, and two instances that take connections; nothing else runs yet.
pub(crate) struct Rig {
    folder: tempfile::TempDir,
    ip: Ipv4Addr,
    instances: [TcpListener; 2],
}

/// A running edge.
pub(crate) struct Edge {
    pub(crate) process: Process,
    /// Those that have taken its place, one after the other.
    pub(crate) heirs: Vec<Pid>,
    front: PathBuf,
    admin: PathBuf,
    log: PathBuf,
    pub(crate) config: PathBuf,
    /// Where it keeps what it has seen.
    pub(crate) state: PathBuf,
    /// All that stands in its file above the sites.
    tables: String,
}

impl Rig {
    pub(crate) fn new() -> Self {
        // An address of its own for each test: etcd can't tell which port it was given.
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let process = std::process::id();
        let ip = Ipv4Addr::new(
            127,
            (process >> 8) as u8 | 0x80,
            process as u8,
            NEXT.fetch_add(1, Ordering::SeqCst),
        );
        let folder = tempfile::tempdir().unwrap();
        certificates(folder.path(), ip);
        let instances = [(); 2].map(|()| instance(ip));
        Self { folder, ip, instances }
    }

    /// A file of this test's.
    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn backends(&self) -> [String; 2] {
        self.instances.each_ref().map(|instance| instance.local_addr().unwrap().to_string())
    }

    /// An address that is this test's alone.
    pub(crate) fn ip(&self) -> Ipv4Addr {
        self.ip
    }

    fn url(&self) -> String {
        format!("https://{}:2379", self.ip)
    }

    /// Starts etcd, with what it knew before.
    pub(crate) fn etcd(&self) -> Process {
        let peers = format!("http://{}:2380", self.ip);
        let log = File::options().create(true).append(true).open(self.path("etcd.log")).unwrap();
        let child = Command::new("etcd")
            .args(["--name", "m0", "--data-dir", &self.path("etcd"), "--log-level", "warn"])
            .args(["--listen-client-urls", &self.url(), "--advertise-client-urls", &self.url()])
            .args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers])
            .args(["--initial-cluster", &format!("m0={peers}")])
            .args(["--cert-file", &self.path("server.pem"), "--key-file", &self.path("server.key")])
            .args(["--client-cert-auth", "--trusted-ca-file", &self.path("root.pem")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let process = Process(child);
        let is_up = || self.etcdctl(&["get", "nothing"]).status.success();
        // Once passwords are asked for, a name is needed for that.
        let is_up_for_root = || self.as_root(&["get", "nothing"]).status.success();
        until("etcd answers", || (is_up() || is_up_for_root()).then_some(()));
        process
    }

    fn etcdctl(&self, arguments: &[&str]) -> Output {
        Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &self.url(), "--cacert", &self.path("root.pem")])
            .args(["--cert", &self.path("edge.pem"), "--key", &self.path("edge.key")])
            .args(["--command-timeout", "2s"])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// What the one who may do everything has etcd do.
    pub(crate) fn as_root(&self, arguments: &[&str]) -> Output {
        self.etcdctl(&[&["--user", "root:root"], arguments].concat())
    }

    /// Only users with a password get in from now on, and ghostpin's may touch its own keys alone.
    fn ask_for_passwords(&self) {
        for arguments in [
            &["user", "add", "root:root"][..],
            &["user", "grant-role", "root", "root"],
            &["role", "add", "fleet"],
            &["role", "grant-permission", "fleet", "--prefix=true", "readwrite", "/ghostpin/"],
            &["user", "add", "ghostpin:secret"],
            &["user", "grant-role", "ghostpin", "fleet"],
            &["auth", "enable"],
        ] {
            let output = self.etcdctl(arguments);
            // The role of that name may be there from the beginning.
            assert!(output.status.success(), "{arguments:?}: {output:?}");
        }
    }

    /// What stands there of the edges that live.
    pub(crate) fn edges(&self) -> Vec<String> {
        self.keys().into_iter().filter(|key| key.starts_with("/ghostpin/edges/")).collect()
    }

    /// The fleet's keys.
    pub(crate) fn keys(&self) -> Vec<String> {
        let output = self.as_root(&["get", "--prefix", "/ghostpin/", "--keys-only"]);
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    /// What stands there.
    pub(crate) fn value(&self, key: &str) -> String {
        let output = self.as_root(&["get", "--print-value-only", key]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Starts etcd, which asks for passwords from now on.
    pub(crate) fn etcd_with_passwords(&self) -> Process {
        let etcd = self.etcd();
        self.ask_for_passwords();
        etcd
    }

    /// All of it: etcd, and an edge that serves.
    pub(crate) fn serving() -> (Self, Process, Edge) {
        let rig = Self::new();
        let etcd = rig.etcd_with_passwords();
        let edge = rig.edge(&Given::default());
        until("the edge serves", || edge.serves().then_some(()));
        (rig, etcd, edge)
    }

    /// Starts an edge.
    pub(crate) fn edge(&self, given: &Given) -> Edge {
        self.edge_of("edge-1", given, "", &self.site("blog", ""))
    }

    /// A site, with these keys as well.
    pub(crate) fn site(&self, name: &str, more: &str) -> String {
        format!(
            "[[site]]\nname = {name:?}\nhosts = [\"{name}.example\"]\nbackends = {:?}\napp = \"generic\"\n{more}\n",
            self.backends()
        )
    }

    /// Starts an edge with this name, these tables and these sites.
    pub(crate) fn edge_of(&self, name: &str, given: &Given, tables: &str, sites: &str) -> Edge {
        fs::write(self.path("password"), given.password).unwrap();
        let identity = match given.identity {
            true => format!("cert = {:?}, key = {:?},", self.path("edge.pem"), self.path("edge.key")),
            false => String::new(),
        };
        let [front, admin, log, config, state] = ["front", "admin", "log", "toml", "state"]
            .map(|what| self.folder.path().join(format!("{name}.{what}")));
        let tables = format!(
            "[server]\nstate = {state:?}\nshutdown_timeout = \"1h\"\nupgrade_probation = \"0s\"\n\
             upgrade_timeout = \"5s\"\n[listen]\nhttp = [{front:?}]\n[admin]\nlisten = {admin:?}\n\
             [cluster]\netcd = [{:?}]\nname = {name:?}\ntls = {{ {identity} ca = {:?} }}\n\
             user = \"ghostpin\"\npassword_file = {:?}\n{tables}\n",
            self.url(),
            self.path(given.ca),
            self.path("password"),
        );
        fs::write(&config, format!("{tables}{sites}")).unwrap();
        let out = File::create(&log).unwrap();
        let child = Command::new(GHOSTPIN)
            .args(["run", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap();
        Edge { process: Process(child), heirs: Vec::new(), config, state, tables, front, admin, log }
    }
}

impl Edge {
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// A thread of its own writes the log: a line may come after the answer to what it is about.
    pub(crate) fn until_logged(&self, said: &str) {
        until(&format!("the log says: {said}"), || self.log().contains(said).then_some(()));
    }

    /// What ghostpin's command line says of it.
    pub(crate) fn says(&self, arguments: &[&str]) -> Output {
        let admin = self.admin.to_str().unwrap();
        Command::new(GHOSTPIN).args(arguments).args(["--admin", admin]).stdin(Stdio::null()).output().unwrap()
    }

    /// Has a new process take its place, by what the file says now. The error is what was said of it.
    pub(crate) fn upgrade(&mut self) -> Result<(), String> {
        self.heirs.push(self.try_upgrade()?);
        Ok(())
    }

    /// The same, where the new process is not expected to serve.
    pub(crate) fn try_upgrade(&self) -> Result<Pid, String> {
        let config = self.config.to_str().unwrap();
        let output = Command::new(GHOSTPIN).args(["upgrade", "--json", "--config", config]).output().unwrap();
        if !output.status.success() {
            return Err(String::from_utf8(output.stderr).unwrap());
        }
        let done: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let pid = done["serves"]["pid"].as_i64().unwrap();
        Ok(Pid::from_raw(pid as i32).unwrap())
    }

    /// Posts a body of one byte, which is still to come.
    pub(crate) fn begin_to_post(&self) -> UnixStream {
        let mut reader = UnixStream::connect(&self.front).unwrap();
        reader.set_read_timeout(Some(PATIENCE)).unwrap();
        reader
            .write_all(
                b"POST / HTTP/1.1\r\nHost: blog.example\r\nContent-Length: 1\r\nConnection: close\r\n\r\n",
            )
            .unwrap();
        reader
    }

    /// Gives it a file with these sites, and has it read that.
    pub(crate) fn reload(&self, sites: &str) -> Output {
        fs::write(&self.config, format!("{}{sites}", self.tables)).unwrap();
        self.says(&["reload"])
    }

    /// What it says of itself.
    pub(crate) fn status(&self) -> serde_json::Value {
        let output = self.says(&["status", "--json"]);
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// Whether it is the controller, and knows it.
    pub(crate) fn leads(&self) -> bool {
        self.status()["fleet"]["controller"] == true
    }

    /// Asks it for the site's page, and hands back what it is answered with on.
    pub(crate) fn ask(&self) -> UnixStream {
        let mut reader = UnixStream::connect(&self.front).unwrap();
        reader.set_read_timeout(Some(PATIENCE)).unwrap();
        reader.write_all(b"GET / HTTP/1.1\r\nHost: blog.example\r\nConnection: close\r\n\r\n").unwrap();
        reader
    }

    /// Whether it lets in requests for the site.
    pub(crate) fn serves(&self) -> bool {
        let site = self.site();
        site["open"] == true && site["phase"] == "serving"
    }

    /// Waits until it lets nobody in: what the controller has decided comes to its gate by way of etcd.
    pub(crate) fn until_shut(&self) {
        until("its gate is shut", || (self.site()["open"] == false).then_some(()));
    }

    /// What it says of the site.
    pub(crate) fn site(&self) -> serde_json::Value {
        let output = self.says(&["site", "blog", "--json"]);
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        // Those that were upgraded themselves may have ended.
        for heir in &self.heirs {
            let _ = kill_process(*heir, Signal::KILL);
        }
    }
}

/// Answers whatever it is asked, a POST when its body of one byte is there.
fn instance(ip: Ipv4Addr) -> TcpListener {
    let listener = TcpListener::bind((ip, 0)).unwrap();
    let accepting = listener.try_clone().unwrap();
    thread::spawn(move || {
        use std::io::{Read, Write};
        for mut stream in accepting.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let (mut said, mut some) = (Vec::new(), [0; 4096]);
                let is_whole = |said: &[u8]| match said.starts_with(b"POST") {
                    true => said.ends_with(b"x"),
                    false => said.ends_with(b"\r\n\r\n"),
                };
                while !is_whole(&said)
                    && let Ok(size @ 1..) = stream.read(&mut some)
                {
                    said.extend(&some[..size]);
                }
                if is_whole(&said) {
                    let _ = stream
                        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
                }
            });
        }
    });
    listener
}

/// An authority with a certificate for etcd and one for the edge, and another authority.
fn certificates(folder: &Path, ip: Ipv4Addr) {
    let authority = || {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    };
    let (root, other) = (authority(), authority());
    let signed = |names: Vec<String>, name: &str, use_: ExtendedKeyUsagePurpose| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        // etcd's gateway is a client of its own server, with the server's certificate.
        params.extended_key_usages = vec![use_, ExtendedKeyUsagePurpose::ClientAuth];
        (params.signed_by(&key, &root).unwrap().pem(), key.serialize_pem())
    };
    let server = signed(vec![ip.to_string()], "etcd", ExtendedKeyUsagePurpose::ServerAuth);
    let edge = signed(Vec::new(), "edge-1", ExtendedKeyUsagePurpose::ClientAuth);
    for (name, text) in [
        ("root.pem", root.pem()),
        ("other.pem", other.pem()),
        ("server.pem", server.0),
        ("server.key", server.1),
        ("edge.pem", edge.0),
        ("edge.key", edge.1),
    ] {
        fs::write(folder.join(name), text).unwrap();
    }
}
