//! What readers see of it: the certificate of a handshake that nobody had before.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use ghostpin::acme::CHALLENGE_PATH;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::rig::{Manners, Rig, until};
use super::{AHEAD, PATIENCE, hosts};

/// The certificate that is shown for a name.
fn shown(at: SocketAddr, name: &str) -> Result<Vec<u8>, String> {
    let mut stream = TcpStream::connect(at).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ForTheName(provider)))
        .with_no_client_auth();
    let server = ServerName::try_from(name.to_owned()).expect("a name");
    let mut connection = ClientConnection::new(Arc::new(config), server).expect("a connection");
    while connection.is_handshaking() {
        connection.complete_io(&mut stream).map_err(|error| error.to_string())?;
    }
    Ok(connection.peer_certificates().expect("a certificate")[0].to_vec())
}

/// Takes what is for the name, whoever has signed it: the authority's root is another one each time.
#[derive(Debug)]
struct ForTheName(Arc<CryptoProvider>);

impl ServerCertVerifier for ForTheName {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let certificate = rustls::server::ParsedCertificate::try_from(certificate)?;
        rustls::client::verify_server_name(&certificate, name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.3 was offered".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[test]
fn the_first_handshakes_for_a_name_wait_for_its_certificate_and_share_one_order() {
    let rig = Rig::new();
    let pebble = rig.pebble("pebble", 0, &Manners::default());
    let listen = format!("http = []\nhttps = [\"{}\"]", rig.here);
    let acme = rig.acme(&[&pebble], "challenges = [\"tls-alpn-01\"]");
    let mut ghostpin = rig.ghostpin_at(&listen, &acme, &hosts(2));
    let seen: Vec<_> = std::thread::scope(|scope| {
        let ask = |_| scope.spawn(|| shown(rig.here, "n000.example"));
        let asking: Vec<_> = (0..20).map(ask).collect();
        asking.into_iter().map(|one| one.join().expect("no panic").expect("a certificate")).collect()
    });
    assert!(seen.iter().all(|one| *one == seen[0]));
    let stranger = shown(rig.here, "stranger.example").expect_err("no site has it");
    assert!(stranger.contains("UnrecognisedName"), "{stranger}");
    assert_eq!((pebble.orders(), pebble.issued()), (1, 1));

    // It outlives both: who is down can't take away what it has given.
    drop(pebble);
    ghostpin.kill();
    let _ghostpin = rig.ghostpin_at(&listen, &acme, &hosts(2));
    assert_eq!(shown(rig.here, "n000.example").as_ref(), Ok(&seen[0]));
}

#[test]
fn a_host_that_is_seen_in_clear_text_gets_a_certificate_and_is_sent_to_tls_from_then_on() {
    let rig = Rig::new();
    let pebble = rig.pebble("pebble", 0, &Manners::default());
    let free = TcpListener::bind((rig.here.ip(), 0)).expect("a port").local_addr().expect("an address");
    let listen = format!("http = [\"{}\"]\nhttps = [\"{free}\"]", rig.here);
    let acme = rig.acme(&[&pebble], "challenges = [\"http-01\"]");
    let _ghostpin = rig.ghostpin_at(&listen, &acme, &hosts(2));
    let get = |path: &str| {
        let mut stream = TcpStream::connect(rig.here).expect("it listens");
        let request = format!("GET {path} HTTP/1.1\r\nhost: n001.example\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("written");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    };
    let moved =
        until("the host is sent to TLS", || Some(get("/page")).filter(|answer| answer.contains(" 301 ")));
    assert!(moved.contains(&format!("location: https://n001.example:{}/page\r\n", free.port())), "{moved}");
    shown(free, "n001.example").expect("a certificate");
    assert_eq!((pebble.orders(), pebble.issued()), (1, 1));
    assert!(get(&format!("{CHALLENGE_PATH}unknown")).contains(" 503 "), "that is for the site to answer");
}

#[test]
fn certificates_that_were_made_ahead_of_need_are_shown_at_once() {
    let rig = Rig::new();
    let pebble = rig.pebble("pebble", 0, &Manners::default());
    let free = TcpListener::bind((rig.here.ip(), 0)).expect("a port").local_addr().expect("an address");
    let listen = format!("http = [\"{}\"]\nhttps = [\"{free}\"]", rig.here);
    let _ghostpin = rig.ghostpin_at(&listen, &rig.acme(&[&pebble], AHEAD), &hosts(3));
    until("all are issued", || (pebble.issued() == 3).then_some(()));
    for host in hosts(3) {
        shown(free, &host).expect("a certificate");
    }
    assert_eq!(pebble.orders(), 3);
}
