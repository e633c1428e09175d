//! How a request comes in: at which listener, with which certificate, and whether it is sent to TLS first.

use super::{Entrance, Explanation, Url};
use crate::certs::Wanted;
use crate::config::{Config, ListenAddress};
use crate::proxy::redirect;
use crate::published::PublishedSite;

/// Problems with certificates that are told for one host.
const PROBLEMS_MAX: usize = 3;

/// Where requests come in.
#[derive(Clone, Debug, Default)]
pub struct Doors {
    /// In clear text.
    http: Vec<ListenAddress>,
    /// Over TLS.
    https: Vec<ListenAddress>,
    /// The port at which clients reach TLS.
    public_port: u16,
    /// A certificate that isn't there is ordered, and a handshake waits for it.
    orders: bool,
}

impl Doors {
    /// Those of a configuration, whose listeners are bound to `addresses`.
    pub fn new(config: &Config, addresses: &[ListenAddress], public_port: u16) -> Self {
        let (http, others) = addresses.split_at(config.listen.http.len());
        Self {
            http: http.to_vec(),
            https: others[..config.listen.https.len()].to_vec(),
            public_port,
            orders: config.acme.is_some(),
        }
    }
}

impl Explanation {
    /// Says how it comes in. Whether it is sent to TLS before anything else.
    pub(super) fn come_in(
        &mut self,
        entrance: Entrance<'_>,
        url: &Url,
        site: Option<&PublishedSite>,
        told: &mut Vec<String>,
    ) -> bool {
        let doors = entrance.doors;
        let (open, how) =
            if url.is_secure { (&doors.https, "over TLS") } else { (&doors.http, "in clear text") };
        told.push(at_the_door(open, how, url));
        if url.is_secure {
            if !doors.https.is_empty() {
                self.show_certificate(entrance, url, told);
            }
            return false;
        }
        let Some((site, certificates)) = site.zip(entrance.certificates.filter(|_| !doors.https.is_empty()))
        else {
            return false;
        };
        let has_one = certificates.has(&url.host);
        let is_sent = site.config.https.redirect.unwrap_or(has_one) && redirect::is_for_readers(&url.path);
        if is_sent {
            let port =
                if doors.public_port == 443 { String::new() } else { format!(":{}", doors.public_port) };
            let to = format!("https://{}{port}{}", url.host, url.path);
            let why = match site.config.https.redirect {
                Some(_) => "`https.redirect` says so".to_owned(),
                None => format!("there is a certificate for `{}`", url.host),
            };
            told.push(format!("It is sent to {to} (301; 308 for a POST), for {why}; what follows is said of the request that comes back."));
            self.redirect = Some(to);
            self.show_certificate(entrance, url, told);
        }
        is_sent
    }

    fn show_certificate(&mut self, entrance: Entrance<'_>, url: &Url, told: &mut Vec<String>) {
        let Some(certificates) = entrance.certificates else { return };
        let host = &url.host;
        match certificates.shown_for(host) {
            Some(shown) if shown.serving => {
                let end = std::time::UNIX_EPOCH + std::time::Duration::from_millis(shown.not_after_ms);
                told.push(format!(
                    "It is shown the certificate in {}, which {} has signed for {}; it is valid until {}.",
                    shown.file,
                    shown.issuer,
                    shown.names.join(", "),
                    httpdate::fmt_http_date(end)
                ));
                self.certificate = Some(shown);
            }
            Some(unread) => {
                told.push(format!("Its certificate, in {}, is about to be read: the handshake waits for that.", unread.file));
                self.certificate = Some(unread);
            }
            None if entrance.doors.orders => told.push(format!(
                "There is no certificate for `{host}` yet: one is ordered if a site has this host, and the handshake waits for it as long as `acme.wait` says."
            )),
            None => told.push(format!(
                "There is no certificate for `{host}`: the handshake ends with the alert `unrecognized_name`. Put one into the folder of `[tls] certificates`, name it in the site's `certificate`, or have it ordered with [acme]."
            )),
        }
        let troubled = certificates.views(&Wanted { problems: true, host: Some(host.clone()) });
        for one in troubled.into_iter().take(PROBLEMS_MAX) {
            told.push(format!("TROUBLE: {}.", one.problem));
        }
    }
}

fn at_the_door(open: &[ListenAddress], how: &str, url: &Url) -> String {
    let Url { port, is_secure, .. } = url;
    if open.is_empty() {
        let key = if *is_secure { "https" } else { "http" };
        return format!(
            "Nothing listens for requests {how} (`[listen] {key}` is empty): it gets here only if something in front brings it."
        );
    }
    let addresses: Vec<String> = open.iter().map(ToString::to_string).collect();
    let addresses = addresses.join(", ");
    let port = port.unwrap_or(if *is_secure { 443 } else { 80 });
    let is_there =
        open.iter().any(|address| matches!(address, ListenAddress::Tcp(tcp) if tcp.port() == port));
    match is_there {
        true => format!("It comes in {how}, at {addresses}."),
        false => format!(
            "It comes in {how}, at {addresses}; nothing here listens on port {port}, so something in front has to bring it."
        ),
    }
}
