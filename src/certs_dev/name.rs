//! A name that a certificate is made for: a host, `*.domain` or an IP address.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use rcgen::SanType;
use rustls_pki_types::ServerName;

use crate::config::host;

/// What a certificate is made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// A host, or `*.domain`; lower case.
    Host(String),
    /// An address, for clients that use no name.
    Address(IpAddr),
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        let host = host(text)?;
        if host.strip_prefix("*.").is_some_and(|domain| !domain.contains('.')) {
            return Err(format!(
                "`{text}`: clients believe a `*` only before two labels or more; take `*.blog{}` instead",
                &host[1..]
            ));
        }
        if ServerName::try_from(host.replacen('*', "a", 1)).is_err() {
            return Err(format!("`{text}` is no name that a certificate can have"));
        }
        Ok(Self::Host(host))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host) => f.write_str(host),
            Self::Address(address) => address.fmt(f),
        }
    }
}

impl Name {
    /// What its files are called: `_` stands for `*`, which shells would take for something else.
    pub fn file_stem(&self) -> String {
        self.to_string().replacen('*', "_", 1)
    }

    /// What the certificate says it is for. `localhost` is the addresses of loopback as well: whoever asks for these
    /// sends no name, and is given the certificate of whatever stands first.
    pub(super) fn alternatives(&self) -> Result<Vec<SanType>, rcgen::Error> {
        let mut all = match self {
            Self::Host(host) => vec![SanType::DnsName(host.as_str().try_into()?)],
            Self::Address(address) => vec![SanType::IpAddress(*address)],
        };
        if self.to_string() == "localhost" {
            all.push(SanType::IpAddress(Ipv4Addr::LOCALHOST.into()));
            all.push(SanType::IpAddress(Ipv6Addr::LOCALHOST.into()));
        }
        Ok(all)
    }

    /// A server that a client could ask for by this name.
    pub(super) fn server(&self) -> ServerName<'static> {
        match self {
            Self::Host(host) => {
                ServerName::try_from(host.replacen('*', "a", 1)).expect("it was tried when the name was read")
            }
            Self::Address(address) => ServerName::IpAddress((*address).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_no_client_would_believe_are_refused() {
        for (text, stem) in [
            ("Blog.Example", "blog.example"),
            ("*.blog.example", "_.blog.example"),
            ("::1", "::1"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(text.parse::<Name>().unwrap().file_stem(), stem);
        }
        for (text, why) in [
            ("*.localhost", "take `*.blog.localhost` instead"),
            ("*.*.blog.example", "`*` stands for the first labels only"),
            ("https://blog.example/", "blog.example"),
            ("../secret", "../secret"),
            ("", "must not be empty"),
        ] {
            let error = text.parse::<Name>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
