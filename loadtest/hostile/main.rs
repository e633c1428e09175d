//! What `loadtest/hostile/run` is made of: a neighbour who is measured, attacks that are bounded in number and time, and a
//! sink that takes an attack in place of ghostpin.
//!
//! Everything is on loopback. An attack ends at its time, tells what it did and saw, and keeps its connections until
//! its standard input is closed: whoever looks on can see whether the other side ends them.

mod attacks;
mod link;
mod neighbour;
mod sink;
mod wire;

use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use attacks::{Attack, Attacker};

/// A neighbour who is measured, and attacks.
#[derive(Parser)]
enum Arguments {
    /// Asks so many times a second, and writes a line about each answer.
    Neighbour(Target),
    /// Attacks for so long, and tells what came of it as JSON.
    Attack(AttackArguments),
    /// Takes what comes at a free port, which is printed, and throws it away.
    Sink,
}

#[derive(Args)]
struct Target {
    /// Where clear text is spoken.
    #[arg(long)]
    http: SocketAddr,
    /// Where TLS is spoken.
    #[arg(long)]
    https: SocketAddr,
    /// Who vouches for its certificate.
    #[arg(long)]
    ca: PathBuf,
    /// The host that is asked for.
    #[arg(long)]
    host: String,
}

#[derive(Args)]
struct AttackArguments {
    #[command(flatten)]
    target: Target,
    /// The address that it comes from.
    #[arg(long, default_value = "127.0.0.2")]
    from: Ipv4Addr,
    #[arg(long, default_value_t = 6)]
    seconds: u64,
    /// Over TLS, where it could be either.
    #[arg(long)]
    tls: bool,
    #[command(subcommand)]
    attack: Attack,
}

fn main() -> ExitCode {
    let done = match Arguments::parse() {
        Arguments::Neighbour(target) => {
            client(&target, "http/1.1").and_then(|tls| neighbour::run(&target, tls))
        }
        Arguments::Attack(arguments) => attack(&arguments),
        Arguments::Sink => sink::run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hostile: {error}");
            ExitCode::FAILURE
        }
    }
}

fn attack(arguments: &AttackArguments) -> io::Result<()> {
    raise_file_limit()?;
    let AttackArguments { target, attack, from, seconds, tls } = arguments;
    let protocol = if attack.is_http2() { "h2" } else { "http/1.1" };
    let config = client(target, protocol)?;
    let to = if *tls || attack.is_of_tls() { target.https } else { target.http };
    let tls = tls.then(|| config.clone());
    let mut attacker =
        Attacker::new(to, *from, target.host.clone(), tls, config, Duration::from_secs(*seconds));
    let kept = attack.run(&mut attacker);
    println!("{}", serde_json::to_string(&attacker.tally).map_err(io::Error::other)?);
    io::stdin().read_to_end(&mut Vec::new())?;
    drop(kept);
    Ok(())
}

/// Of a client that trusts the authority of the target and speaks this protocol.
fn client(target: &Target, protocol: &str) -> io::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&target.ca).map_err(io::Error::other)? {
        roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // A ticket would spare the other side most of a handshake.
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    Ok(Arc::new(config))
}

/// Connections by the thousand want as many file descriptors as the system allows.
fn raise_file_limit() -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?)
}
