//! Asking for the addresses of a name: the hosts file first, then the DNS.
//!
//! It remembers no answer: whoever asks has a reason to ask anew. And it goes on to the next name of a search list
//! only if there is no such name, for a server that fails must not lead to another host.

use std::cell::RefCell;
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, TokioResolver, lookup::Lookup, system_conf};

use crate::config;
use crate::core::names::{Looked, TTL_MIN};

const HOSTS_FILE: &str = "/etc/hosts";
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Queries under way over one connection to a server.
const QUERIES_MAX: usize = 1024;
/// IPv6 counts only if there is no IPv4 address: a host with one of each is one instance.
const KINDS: [RecordType; 2] = [RecordType::A, RecordType::AAAA];

/// Whom to ask, as the configuration or the system says.
#[derive(Debug)]
pub struct Resolver {
    config: RefCell<config::Resolver>,
    sources: RefCell<Option<Rc<Sources>>>,
}

/// What the system's files said when they were read last.
#[derive(Debug)]
struct Sources {
    stamps: [Stamp; 2],
    hosts: Hosts,
    /// The error says why nobody can be asked.
    dns: Result<Dns, String>,
}

#[derive(Debug)]
struct Dns {
    resolver: TokioResolver,
    search: Vec<Name>,
    ndots: usize,
}

/// Tells one version of a file from the next.
type Stamp = Option<(SystemTime, u64)>;

impl Resolver {
    /// Nobody is asked yet.
    pub fn new(config: config::Resolver) -> Self {
        Self { config: config.into(), sources: None.into() }
    }

    /// From now on, this holds.
    pub fn configure(&self, config: &config::Resolver) {
        if *self.config.borrow() != *config {
            *self.config.borrow_mut() = config.clone();
            *self.sources.borrow_mut() = None;
        }
    }

    /// Asks for the addresses of `host`.
    pub async fn look(&self, host: &str) -> Looked {
        let timeout = self.config.borrow().timeout;
        let sources = self.sources();
        let looked = tokio::time::timeout(timeout, sources.look(host)).await;
        looked.unwrap_or_else(|_| Looked::Failed(format!("no answer within {timeout:?}")))
    }

    /// The files as they are now: who changes them doesn't tell.
    fn sources(&self) -> Rc<Sources> {
        let stamps = [stamp(HOSTS_FILE), stamp(RESOLV_CONF)];
        let mut sources = self.sources.borrow_mut();
        match &*sources {
            Some(current) if current.stamps == stamps => current.clone(),
            _ => sources.insert(Rc::new(Sources::read(&self.config.borrow(), stamps))).clone(),
        }
    }
}

fn stamp(path: impl AsRef<Path>) -> Stamp {
    let meta = fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

impl Sources {
    fn read(config: &config::Resolver, stamps: [Stamp; 2]) -> Self {
        let hosts = Hosts::from_system().unwrap_or_default();
        Self { stamps, hosts, dns: Dns::new(config) }
    }

    async fn look(&self, host: &str) -> Looked {
        let Ok(name) = Name::from_ascii(host) else {
            return Looked::Failed("not a name that could be asked for".to_owned());
        };
        let in_file = |kind| self.hosts.lookup_static_host(&Query::query(name.clone(), kind));
        if let Some(looked) = KINDS.into_iter().filter_map(in_file).find_map(|lookup| found(&lookup)) {
            return match looked {
                // The file has no time to live, but it is cheap to look into.
                Looked::Found { addresses, .. } => Looked::Found { addresses, ttl: TTL_MIN },
                failed @ Looked::Failed(_) => failed,
            };
        }
        match &self.dns {
            Ok(dns) => dns.look(name).await,
            Err(why) => Looked::Failed(why.clone()),
        }
    }
}

impl Dns {
    fn new(config: &config::Resolver) -> Result<Self, String> {
        let (whom, mut options) = if config.servers.is_empty() {
            system_conf::read_system_conf().map_err(|error| format!("{RESOLV_CONF}: {error}"))?
        } else {
            let servers = config.servers.iter().map(|address| {
                let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
                connections.iter_mut().for_each(|connection| connection.port = address.port());
                NameServerConfig::new(address.ip(), true, connections)
            });
            (ResolverConfig::from_parts(None, Vec::new(), servers.collect()), ResolverOpts::default())
        };
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        options.timeout = config.timeout;
        options.max_active_requests = QUERIES_MAX;
        let (ndots, search) = (options.ndots, whom.search().to_vec());
        let search = if search.is_empty() { whom.domain().cloned().into_iter().collect() } else { search };
        let resolver = TokioResolver::builder_with_config(whom, TokioRuntimeProvider::default())
            .with_options(options)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self { resolver, search, ndots })
    }

    async fn look(&self, name: Name) -> Looked {
        for name in in_full(&name, &self.search, self.ndots) {
            for kind in KINDS {
                match self.resolver.lookup(name.clone(), kind).await {
                    Ok(lookup) => {
                        if let Some(looked) = found(&lookup) {
                            return looked;
                        }
                    }
                    Err(error) if error.is_no_records_found() => {}
                    Err(error) => return Looked::Failed(error.to_string()),
                }
            }
        }
        Looked::Failed("no such name".to_owned())
    }
}

/// The names that `name` may be short for, in the order in which they are asked for.
fn in_full(name: &Name, search: &[Name], ndots: usize) -> Vec<Name> {
    let mut as_it_is = name.clone();
    as_it_is.set_fqdn(true);
    let mut names: Vec<Name> =
        search.iter().filter_map(|domain| name.clone().append_domain(domain).ok()).collect();
    names.iter_mut().for_each(|name| name.set_fqdn(true));
    let dots = usize::from(name.num_labels()).saturating_sub(1);
    let place = if dots >= ndots || name.is_localhost() { 0 } else { names.len() };
    names.insert(place, as_it_is);
    names
}

/// The addresses of an answer, if it has any.
fn found(lookup: &Lookup) -> Option<Looked> {
    let records = lookup.answers();
    let addresses: Vec<IpAddr> = records.iter().filter_map(|record| record.data.ip_addr()).collect();
    let ttl = records.iter().map(|record| record.ttl).min().unwrap_or(0);
    let ttl = Duration::from_secs(ttl.into());
    (!addresses.is_empty()).then_some(Looked::Found { addresses, ttl })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(name: &str, search: &[&str], ndots: usize) -> Vec<String> {
        let parse = |name: &str| Name::from_ascii(name).unwrap();
        let search: Vec<Name> = search.iter().copied().map(parse).collect();
        in_full(&parse(name), &search, ndots).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_short_name_is_completed_as_the_system_would() {
        assert_eq!(names("ghost-a", &[], 1), ["ghost-a."]);
        assert_eq!(names("ghost-a", &["lan"], 1), ["ghost-a.lan.", "ghost-a."]);
        assert_eq!(names("ghost-a", &["lan"], 0), ["ghost-a.", "ghost-a.lan."]);
        assert_eq!(names("a.b", &["lan", "corp"], 1), ["a.b.", "a.b.lan.", "a.b.corp."]);
        assert_eq!(names("localhost", &["lan"], 5), ["localhost.", "localhost.lan."]);
    }

    #[tokio::test]
    async fn localhost_needs_no_server() {
        let nobody = "127.0.0.1:1".parse().unwrap();
        let config = config::Resolver { servers: vec![nobody], timeout: Duration::from_secs(5) };
        let looked = Resolver::new(config).look("localhost").await;
        let Looked::Found { addresses, .. } = looked else { panic!("{looked:?}") };
        assert_eq!(addresses, [IpAddr::from([127, 0, 0, 1])]);
    }
}
