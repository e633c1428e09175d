//! A proxy as this tool knows it: a file that says how it is configured, started and switched. Whoever writes such a file
//! for another one can have it tried in the same way.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use ghostpin::certs_dev::{self, Name};
use ghostpin::demo::client;
use ghostpin::demo::processes::{Reserved, Scratch, start};
use ghostpin::demo::stand_in::INSTANCE;
use ghostpin_loadtest::harness::HOST;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use tokio::process::{Child, Command};
use tokio::time::sleep;

/// How long one may take until it passes an answer on.
const PATIENCE: Duration = Duration::from_secs(20);

/// The file. In its texts, what stands between two `@` is filled in; see [`Places`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adapter {
    pub name: String,
    /// How it is set up, in a line.
    pub about: String,
    /// Prints its version.
    version: Vec<String>,
    /// Starts it. It must not go into the background.
    command: Vec<String>,
    /// It has no order of its servers: which one it takes hangs on their addresses.
    #[serde(default)]
    pub chooses_by_address: bool,
    /// What it needs beside it, once for all that stand side by side.
    #[serde(default)]
    beside: Vec<Vec<String>>,
    /// Its files, by their paths in its folder.
    files: BTreeMap<String, String>,
    switch: Switch,
    /// Scenarios that it is not made for, and why.
    #[serde(default)]
    pub unfit: BTreeMap<String, String>,
}

/// How an operator moves the site: the files are written again with the instances exchanged, and this is run.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Switch {
    command: Vec<String>,
}

impl Adapter {
    /// One of those beside this tool, by its name, or any other by its file.
    pub fn read(name: &str) -> io::Result<Self> {
        let file = match name.contains(['/', '.']) {
            true => PathBuf::from(name),
            false => Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("adapters/{name}.toml")),
        };
        let told = |error: String| io::Error::other(format!("{}: {error}", file.display()));
        let text = std::fs::read_to_string(&file).map_err(|error| told(error.to_string()))?;
        toml::from_str(&text).map_err(|error| told(error.to_string()))
    }

    /// The first number with dots that it says of itself.
    pub async fn version(&self, ghostpin: &Path) -> io::Result<String> {
        let command: Vec<String> =
            self.version.iter().map(|word| word.replace("@ghostpin@", &ghostpin.to_string_lossy())).collect();
        let output = program(&command)?.output().await.map_err(|error| named(&command[0], &error))?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        let mut words = text.split(|letter: char| letter.is_whitespace() || letter == '/');
        let is_version = |word: &&str| {
            let word = word.trim_start_matches('v');
            word.starts_with(|letter: char| letter.is_ascii_digit()) && word.matches('.').count() >= 2
        };
        Ok(words.find(is_version).unwrap_or_default().to_owned())
    }
}

/// What several of the same kind share: their neighbours, and addresses for them.
#[derive(Debug)]
pub struct Ground {
    adapter: Adapter,
    ghostpin: PathBuf,
    scratch: Scratch,
    addresses: BTreeMap<String, Reserved>,
    neighbours: Vec<Running>,
    certificate: Certificate,
}

/// What the site's name is proved by over TLS, in each form that a proxy may ask for.
#[derive(Debug)]
struct Certificate {
    /// Of who has issued it (PEM).
    authority: String,
    certificate: PathBuf,
    key: PathBuf,
    /// Both in one file.
    both: PathBuf,
}

impl Ground {
    /// Starts what is needed beside them.
    pub fn new(adapter: &Adapter, ghostpin: &Path) -> io::Result<Self> {
        let scratch = Scratch::new()?;
        let mut ground = Self {
            adapter: adapter.clone(),
            ghostpin: ghostpin.to_owned(),
            certificate: Certificate::new(&scratch)?,
            scratch,
            addresses: BTreeMap::new(),
            neighbours: Vec::new(),
        };
        for command in &adapter.beside {
            let command: io::Result<Vec<String>> =
                command.iter().map(|word| fill(word, |name| ground.of_all(name))).collect();
            let command = command?;
            ground.neighbours.push(Running::start(&command, &ground.scratch.path("neighbour.log"))?);
        }
        Ok(ground)
    }

    /// Whom readers trust (PEM).
    pub fn authority(&self) -> &str {
        &self.certificate.authority
    }

    /// `@shared@` is a folder, `@shared:NAME@` an address, the same one each time.
    fn of_all(&mut self, name: &str) -> io::Result<Option<String>> {
        if name == "shared" {
            return Ok(Some(self.scratch.path("shared").display().to_string()));
        }
        name.strip_prefix("shared:").map(|name| address(&mut self.addresses, name)).transpose()
    }
}

impl Certificate {
    fn new(scratch: &Scratch) -> io::Result<Self> {
        let name: Name = HOST.parse().map_err(io::Error::other)?;
        let made = certs_dev::make(&scratch.path("tls"), &[name]).map_err(io::Error::other)?;
        let [certificate] = made.certificates.as_slice() else {
            return Err(io::Error::other("one name has one certificate"));
        };
        let (certificate, key, both) =
            (certificate.clone(), certificate.with_extension("key"), scratch.path("tls/both.pem"));
        std::fs::write(&both, [std::fs::read(&certificate)?, std::fs::read(&key)?].concat())?;
        Ok(Self { authority: std::fs::read_to_string(made.authority)?, certificate, key, both })
    }
}

/// One proxy, with its files and addresses.
#[derive(Debug)]
pub struct Front {
    number: usize,
    scratch: Scratch,
    listen: Reserved,
    tls: Reserved,
    addresses: BTreeMap<String, Reserved>,
    instances: [SocketAddr; 2],
    running: Option<Running>,
}

impl Front {
    /// Starts it in front of the instances, of which the first must be running, and waits until it passes an answer on.
    pub async fn start(ground: &mut Ground, number: usize, instances: [SocketAddr; 2]) -> io::Result<Self> {
        let mut front = Self {
            number,
            scratch: Scratch::new()?,
            listen: Reserved::any()?,
            tls: Reserved::any()?,
            addresses: BTreeMap::new(),
            instances,
            running: None,
        };
        front.write(ground)?;
        front.begin(ground).await?;
        Ok(front)
    }

    /// Where readers come in.
    pub fn http(&self) -> SocketAddr {
        self.listen.address
    }

    /// The same, over TLS.
    pub fn https(&self) -> SocketAddr {
        self.tls.address
    }

    /// Whether its readers are answered by the instance of this name.
    pub async fn is_answered_by(&self, name: &str) -> bool {
        let reply = client::get(self.http(), HOST, "/").await;
        reply.is_ok_and(|reply| reply.headers.get(INSTANCE).is_some_and(|instance| instance == name))
    }

    /// Starts the process, or starts it again.
    pub async fn begin(&mut self, ground: &mut Ground) -> io::Result<()> {
        let command = self.command(ground, |adapter| &adapter.command)?;
        self.running = Some(Running::start(&command, &self.scratch.path("log"))?);
        let passes = async {
            while !client::get(self.http(), HOST, "/").await.is_ok_and(|reply| reply.status.is_success()) {
                sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, passes).await.map_err(|_| {
            let log = ghostpin::demo::processes::tail(&self.scratch.path("log"));
            io::Error::other(format!("{} passes nothing on; its log ends with\n{log}", ground.adapter.name))
        })
    }

    /// The site is moved to the other instance, as an operator would do it.
    pub async fn switch(&mut self, ground: &mut Ground) -> io::Result<()> {
        self.instances.reverse();
        self.write(ground)?;
        let command = self.command(ground, |adapter| &adapter.switch.command)?;
        let output = program(&command)?.output().await.map_err(|error| named(&command[0], &error))?;
        match output.status.success() {
            true => Ok(()),
            false => Err(io::Error::other(format!(
                "{command:?}: {}",
                String::from_utf8_lossy(&[output.stdout, output.stderr].concat())
            ))),
        }
    }

    /// kill -9, all that belongs to it.
    pub async fn kill(&mut self) -> io::Result<()> {
        match self.running.take() {
            Some(running) => running.kill().await,
            None => Err(io::Error::other("the proxy is not running")),
        }
    }

    fn command(&mut self, ground: &mut Ground, of: fn(&Adapter) -> &Vec<String>) -> io::Result<Vec<String>> {
        let words = of(&ground.adapter).clone();
        words.iter().map(|word| fill(word, |name| self.place(ground, name))).collect()
    }

    /// Its files, each put in the place of the former one in one step.
    fn write(&mut self, ground: &mut Ground) -> io::Result<()> {
        for (name, text) in ground.adapter.files.clone() {
            let (file, new) = (self.scratch.path(&name), self.scratch.path("new"));
            if let Some(folder) = file.parent() {
                std::fs::create_dir_all(folder)?;
            }
            std::fs::write(&new, fill(&text, |name| self.place(ground, name))?)?;
            std::fs::rename(new, file)?;
        }
        Ok(())
    }

    /// What a name between two `@` stands for.
    fn place(&mut self, ground: &mut Ground, name: &str) -> io::Result<Option<String>> {
        let [first, second] = self.instances;
        Ok(Some(match name {
            "listen" => self.listen.address.to_string(),
            "port" => self.listen.address.port().to_string(),
            "tls" => self.tls.address.to_string(),
            "tls_port" => self.tls.address.port().to_string(),
            "certificate" => ground.certificate.certificate.display().to_string(),
            "key" => ground.certificate.key.display().to_string(),
            "certificate_and_key" => ground.certificate.both.display().to_string(),
            "first" => first.to_string(),
            "second" => second.to_string(),
            "first_port" => first.port().to_string(),
            "second_port" => second.port().to_string(),
            "folder" => self.scratch.path("").display().to_string().trim_end_matches('/').to_owned(),
            "number" => self.number.to_string(),
            "ghostpin" => ground.ghostpin.display().to_string(),
            "pid" => {
                self.running.as_ref().and_then(Running::id).map_or_else(String::new, |id| id.to_string())
            }
            _ => match name.strip_prefix("own:") {
                Some(name) => address(&mut self.addresses, name)?,
                None => return ground.of_all(name),
            },
        }))
    }
}

fn address(known: &mut BTreeMap<String, Reserved>, name: &str) -> io::Result<String> {
    if !known.contains_key(name) {
        known.insert(name.to_owned(), Reserved::any()?);
    }
    Ok(known[name].address.to_string())
}

/// Fills in what stands between two `@`. What is none of the known names stays as it is.
fn fill(text: &str, mut place: impl FnMut(&str) -> io::Result<Option<String>>) -> io::Result<String> {
    let (mut filled, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, after)) = rest.split_once('@') {
        filled.push_str(before);
        let named = match after.split_once('@') {
            Some((name, after)) => place(name)?.map(|value| (value, after)),
            None => None,
        };
        match named {
            Some((value, after)) => {
                filled.push_str(&value);
                rest = after;
            }
            None => {
                filled.push('@');
                rest = after;
            }
        }
    }
    filled.push_str(rest);
    Ok(filled)
}

/// A process with all that it starts.
#[derive(Debug)]
struct Running(Child);

impl Running {
    fn start(command: &[String], log: &Path) -> io::Result<Self> {
        let log = std::fs::File::options().create(true).append(true).open(log)?;
        let mut process = program(command)?;
        process.stdout(log.try_clone()?).stderr(log);
        start(&mut process).map(Self).map_err(|error| named(&command[0], &error))
    }

    fn id(&self) -> Option<u32> {
        self.0.id()
    }

    async fn kill(mut self) -> io::Result<()> {
        self.end();
        self.0.wait().await.map(drop)
    }

    /// The group is its own: `start` has made it.
    fn end(&self) {
        if let Some(group) = self.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// Looked for where the peers' packages are put, and where Debian puts servers, too.
fn program(command: &[String]) -> io::Result<Command> {
    let (name, arguments) = command.split_first().ok_or_else(|| io::Error::other("an empty command"))?;
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target").display().to_string();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(name);
    command.env("PATH", format!("{path}:/usr/sbin:/sbin:{target}/peers-venv/bin:{target}/peers-pingap/bin"));
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    Ok(command)
}

fn named(program: &str, error: &io::Error) -> io::Error {
    io::Error::other(format!("{program}: {error}; loadtest/failover/run installs the peers"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_filled_in_and_all_else_stays() {
        let place = |name: &str| Ok((name == "listen").then(|| "127.0.0.1:1".to_owned()));
        let filled = fill("a@b listen @listen@; @unknown@ \"@type\": x @", place).unwrap();
        assert_eq!(filled, "a@b listen 127.0.0.1:1; @unknown@ \"@type\": x @");
    }

    #[test]
    fn every_adapter_can_be_read_and_names_only_what_is_known() {
        for file in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("adapters")).unwrap() {
            let path = file.unwrap().path();
            let adapter = Adapter::read(&path.to_string_lossy()).unwrap();
            assert_eq!(path.file_stem().unwrap().to_string_lossy(), adapter.name);
            for scenario in adapter.unfit.keys() {
                assert!(crate::scenarios::ALL.iter().any(|one| one.name == scenario), "{scenario}");
            }
        }
    }
}
