//! `ghostpin certs-dev` as a developer meets it: the real program, and TLS handshakes with what it wrote.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use ghostpin::certs_dev::DEFAULT_NAMES;
use ghostpin::config::Config;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// A folder to write to, which is not there yet.
struct Desk {
    _folder: tempfile::TempDir,
    out: PathBuf,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { out: folder.path().join("dev"), _folder: folder }
    }

    /// What the program said, if it succeeded; or why it did not.
    fn make(&self, names: &[&str]) -> Result<String, String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ghostpin"));
        let output = command.arg("certs-dev").arg("--out").arg(&self.out).args(names).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        match output.status.code() {
            Some(0) => Ok(text(output.stdout)),
            code => Err(format!("{code:?} {}", text(output.stderr))),
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.out.join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap()
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.file(name).parent().unwrap()).unwrap();
        fs::write(self.file(name), text).unwrap();
    }

    /// All files below the folder, by their names there.
    fn files(&self) -> BTreeSet<String> {
        let mut files = BTreeSet::new();
        let mut folders = vec![self.out.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => {
                        assert!(files.insert(path.strip_prefix(&self.out).unwrap().display().to_string()))
                    }
                }
            }
        }
        files
    }

    /// A server with the files of `stem`, and a client that trusts `ca.crt` and asks for `server`.
    fn handshake(&self, stem: &str, server: &str) -> Result<(), String> {
        let (crt, key) = (format!("certificates/{stem}.crt"), format!("certificates/{stem}.key"));
        let provider = Arc::new(aws_lc_rs::default_provider());
        let certificate = |name: &str| CertificateDer::from_pem_file(self.file(name)).unwrap();
        let ours = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate(&crt)], PrivateKeyDer::from_pem_file(self.file(&key)).unwrap())
            .unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate("ca.crt")).unwrap();
        let theirs = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let server = ServerName::try_from(server.to_owned()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (near, far) = tokio::io::duplex(64 * 1024);
            let (client, _) = tokio::join!(
                TlsConnector::from(Arc::new(theirs)).connect(server, near),
                TlsAcceptor::from(Arc::new(ours)).accept(far)
            );
            client.map(|_| ()).map_err(|error| error.to_string())
        })
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_page_of_the_folder_has_the_commands_that_the_program_prints() {
    let desk = Desk::new();
    let said = desk.make(&["localhost"]).unwrap().replace(desk.out.to_str().unwrap(), "certs-dev");
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/certs-dev/README.md")).unwrap();
    let (_, clients) = said.split_once("Clients that are to trust it:\n").unwrap();
    let commands = ["curl --cacert", "store=", "certutil", "sudo cp"];
    for command in commands {
        let at = clients.find(command).unwrap_or_else(|| panic!("no {command} in {clients}"));
        let line = clients[at..].lines().next().unwrap();
        // What follows after more than one space is a remark.
        let line = line.split("   ").next().unwrap();
        assert!(page.lines().any(|of_page| of_page == line), "certs-dev/README.md lacks: {line}");
    }
}

#[test]
fn a_client_that_trusts_the_authority_accepts_every_name() {
    let desk = Desk::new();
    let said = desk.make(&[]).unwrap();
    assert!(said.contains("a new authority") && said.contains("curl --cacert"), "{said}");
    for name in DEFAULT_NAMES {
        desk.handshake(&name.replace('*', "_"), &name.replace('*', "any")).unwrap();
    }
    desk.handshake("localhost", "127.0.0.1").unwrap();
    desk.handshake("localhost", "::1").unwrap();
    let error = desk.handshake("blog.example", "tracker.example").unwrap_err();
    assert!(error.contains("not valid for name"), "{error}");
}

#[test]
fn names_of_ones_own_are_as_good() {
    let desk = Desk::new();
    desk.make(&["*.Dev.my-blog.org", "my-blog.org", "192.168.7.9", "203.0.113.7", "fd00::7"]).unwrap();
    desk.handshake("_.dev.my-blog.org", "a.dev.my-blog.org").unwrap();
    for name in ["my-blog.org", "192.168.7.9", "203.0.113.7", "fd00::7"] {
        desk.handshake(name, name).unwrap();
    }
}

#[test]
fn every_host_of_the_configuration_has_a_certificate_by_default() {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/ghostpin.toml");
    for site in Config::load(&config).unwrap().sites {
        for host in &site.hosts {
            assert!(DEFAULT_NAMES.contains(&host.to_string().as_str()), "{host}");
        }
    }
}

#[test]
fn keys_are_for_their_owner_alone_and_nothing_else_is_left_behind() {
    let desk = Desk::new();
    desk.make(&["localhost"]).unwrap();
    desk.make(&["localhost"]).unwrap();
    let expected =
        [".gitignore", "ca.crt", "ca.key", "certificates/localhost.crt", "certificates/localhost.key"];
    assert_eq!(desk.files(), expected.map(str::to_owned).into());
    assert_eq!(desk.read(".gitignore"), "*\n");
    for key in ["ca.key", "certificates/localhost.key"] {
        assert_eq!(mode(&desk.file(key)), 0o600, "{key}");
    }
}

#[test]
fn a_second_run_keeps_the_authority_and_renews_certificates() {
    let desk = Desk::new();
    desk.make(&["blog.example"]).unwrap();
    let all = ["ca.crt", "ca.key", "certificates/blog.example.key", "certificates/blog.example.crt"];
    let before = all.map(|name| desk.read(name));
    let said = desk.make(&["blog.example", "tracker.example"]).unwrap();
    assert!(said.contains("used again"), "{said}");
    let after = all.map(|name| desk.read(name));
    assert_eq!(before[..3], after[..3]);
    assert_ne!(before[3], after[3]);
    desk.handshake("blog.example", "blog.example").unwrap();
    desk.handshake("tracker.example", "tracker.example").unwrap();
}

#[test]
fn a_file_that_it_did_not_make_is_left_alone() {
    let (desk, other) = (Desk::new(), Desk::new());
    desk.make(&["blog.example"]).unwrap();
    other.make(&["blog.example"]).unwrap();
    let mine = desk.read("ca.key");
    let refused = |name: &str, text: &str, why: &[&str]| {
        let before = desk.read(name);
        desk.write(name, text);
        let error = desk.make(&["blog.example"]).unwrap_err();
        assert!(error.starts_with("Some(1) ghostpin: ") && error.contains(name), "{error}");
        for why in why {
            assert!(error.contains(why), "{error}");
        }
        assert_eq!(desk.read(name), text);
        desk.write(name, &before);
    };
    let theirs = other.read("certificates/blog.example.crt");
    refused("certificates/blog.example.crt", &theirs, &["was not issued by", "ca.crt", "--out"]);
    refused("certificates/blog.example.crt", "my notes", &["was not issued by"]);
    refused("certificates/blog.example.key", "my notes", &["can't be read as a key", "move it away"]);
    refused("ca.key", "my notes", &["can't be read as a key", "to begin anew, remove ca.crt, ca.key"]);
    refused("ca.crt", &other.read("ca.crt"), &["belongs to another key", "to begin anew"]);
    refused("ca.crt", "my notes", &["can't be read as a certificate"]);

    fs::set_permissions(desk.file("ca.key"), fs::Permissions::from_mode(0o644)).unwrap();
    let error = desk.make(&[]).unwrap_err();
    assert!(error.contains("is open to others (mode 0644); close it with `chmod 600 "), "{error}");
    fs::remove_file(desk.file("ca.key")).unwrap();
    let error = desk.make(&[]).unwrap_err();
    assert!(error.contains("ca.key: is missing beside") && error.contains("put it back"), "{error}");
    assert!(!desk.file("ca.key").exists());

    desk.write("ca.key", &mine);
    fs::set_permissions(desk.file("ca.key"), fs::Permissions::from_mode(0o600)).unwrap();
    desk.make(&["blog.example"]).unwrap();
}

#[test]
fn a_stolen_authority_opens_no_other_site() {
    let desk = Desk::new();
    desk.make(&["my-blog.org"]).unwrap();
    let error = desk.make(&["bank.com"]).unwrap_err();
    assert!(
        error.contains("ca.crt: gives no certificate for bank.com") && error.contains("--out"),
        "{error}"
    );
    let error = desk.make(&["198.51.100.1"]).unwrap_err();
    assert!(error.contains("gives no certificate for 198.51.100.1"), "{error}");
    desk.make(&["deeper.my-blog.org"]).unwrap();
    assert!(!desk.files().iter().any(|name| name.contains("bank") || name.contains("198")));
}

#[test]
fn a_name_that_no_client_would_believe_is_a_mistake_on_the_command_line() {
    let desk = Desk::new();
    let error = desk.make(&["*.localhost"]).unwrap_err();
    assert!(error.starts_with("Some(2)") && error.contains("take `*.blog.localhost` instead"), "{error}");
    assert!(!desk.out.exists());
}
