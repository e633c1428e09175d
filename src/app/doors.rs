//! The sockets that are listened on: bound, or handed over by the process before or by systemd, and kept to be handed over
//! again.

use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::admin;
use crate::config::{Config, Listen, ListenAddress};
use crate::proxy::listener::{self, Bound, Kind, Listener};
use crate::upgrade::{Door, Named, request};

/// A list of addresses, as the configuration names it.
fn key(door: Door) -> &'static str {
    match door {
        Door::Http => "[listen] http",
        Door::Https => "[listen] https",
        Door::Edges => "[cluster] detour",
        Door::Admin => "[admin] listen",
        Door::Requests => "[server] state",
    }
}

fn kind(door: Door) -> Option<Kind> {
    match door {
        Door::Http => Some(Kind::Http),
        Door::Https => Some(Kind::Https),
        Door::Edges => Some(Kind::Edges),
        Door::Admin | Door::Requests => None,
    }
}

/// Sockets that somebody else has bound.
#[derive(Debug, Default)]
pub(super) struct Inherited(pub(super) Vec<(Named, OwnedFd)>);

impl Inherited {
    /// What systemd listens on for this process (socket activation), as far as the configuration names the same address.
    pub(super) fn of_systemd(config: &Config) -> Self {
        let mut handed = listenfd::ListenFd::from_env();
        let mut inherited = Self::default();
        for number in 0..handed.len() {
            // Each says no to a socket of another kind.
            let taken = match (handed.take_tcp_listener(number), handed.take_unix_listener(number)) {
                (Ok(Some(listener)), _) => of(&Bound::Tcp(listener)),
                (_, Ok(Some(listener))) => of(&Bound::Unix(listener)),
                _ => None,
            };
            let named = taken.as_ref().and_then(|(address, _)| named(config, address));
            match (named, taken) {
                (Some(named), Some((_, socket))) => inherited.0.push((named, socket)),
                (_, taken) => {
                    let address = taken.map(|(address, _)| address.to_string());
                    tracing::warn!(
                        number,
                        address,
                        "systemd has handed over a socket that the configuration doesn't name"
                    );
                }
            }
        }
        inherited
    }

    /// Those for this address.
    fn take(&mut self, named: &Named) -> Vec<OwnedFd> {
        let is_it = |of: &Named| of.door == named.door && are_same(&of.configured, &named.configured);
        let taken = self.0.extract_if(.., |(of, _)| is_it(of));
        taken.map(|(_, socket)| socket).collect()
    }
}

/// Whether two addresses as they are [named](Named) are the same one: a file may have several paths.
fn are_same(one: &str, other: &str) -> bool {
    let file = |address: &str| {
        let found = std::fs::metadata(address.strip_prefix("unix:")?).ok()?;
        Some((found.dev(), found.ino()))
    };
    one == other || file(one).is_some_and(|one| file(other) == Some(one))
}

/// The address of a socket, and the socket without a blocking mode.
fn of(bound: &Bound) -> Option<(ListenAddress, OwnedFd)> {
    let address = match bound {
        Bound::Tcp(listener) => {
            listener.set_nonblocking(true).ok()?;
            ListenAddress::Tcp(listener.local_addr().ok()?)
        }
        Bound::Unix(listener) => {
            listener.set_nonblocking(true).ok()?;
            ListenAddress::Unix(listener.local_addr().ok()?.as_pathname()?.to_owned())
        }
    };
    Some((address, bound.as_fd().try_clone_to_owned().ok()?))
}

/// Where the configuration has this address.
fn named(config: &Config, address: &ListenAddress) -> Option<Named> {
    let Listen { http, https, edges, .. } = &config.listen;
    let listed =
        [(Door::Http, http.as_slice()), (Door::Https, https.as_slice()), (Door::Edges, edges.as_slice())];
    let listed =
        listed.iter().flat_map(|(door, list)| list.iter().map(|listener| (*door, &listener.address)));
    let text = address.to_string();
    let (door, address) = listed
        .chain([(Door::Admin, &config.admin.listen)])
        .find(|(_, configured)| are_same(&configured.to_string(), &text))?;
    Some(Named { door, configured: address.to_string() })
}

struct Opened {
    named: Named,
    address: ListenAddress,
    sockets: Vec<Bound>,
}

/// See the module's text.
pub(super) struct Doors(Vec<Opened>);

impl Doors {
    /// Takes what was handed over, and binds the rest, which has yet to [listen](Self::listen).
    ///
    /// # Errors
    /// An address can't be had.
    pub(super) fn open(config: &Config, inherited: &mut Inherited) -> Result<Self> {
        let Listen { http, https, edges, .. } = &config.listen;
        let mut opened = Vec::new();
        for (door, list) in
            [(Door::Http, http.as_slice()), (Door::Https, https.as_slice()), (Door::Edges, edges.as_slice())]
        {
            for listener in list {
                opened.push(Opened::new(door, &listener.address, config.server.threads, inherited)?);
            }
        }
        opened.push(Opened::new(Door::Admin, &config.admin.listen, 1, inherited)?);
        Ok(Self(opened))
    }

    /// Takes or binds the socket by which upgrades are asked for. Without it there is still SIGUSR2.
    pub(super) fn open_to_requests(&mut self, config: &Config, inherited: &mut Inherited) {
        let address = ListenAddress::Unix(request::socket_in(&config.server.state));
        match Opened::new(Door::Requests, &address, 1, inherited) {
            Ok(opened) => self.0.push(opened),
            Err(error) => tracing::warn!("`ghostpin upgrade` can't ask here, only SIGUSR2 can: {error:#}"),
        }
    }

    /// From now on, connections come to all of them, and somebody has to accept them.
    ///
    /// # Errors
    /// Another process listens there.
    pub(super) fn listen(&self) -> Result<()> {
        for Opened { named, address, sockets } in &self.0 {
            for socket in sockets {
                socket.listen().with_context(|| in_vain(named.door, address))?;
            }
        }
        Ok(())
    }

    /// Where readers and other edges come in, in the order of the configuration.
    pub(super) fn addresses(&self) -> Vec<ListenAddress> {
        self.public().map(|opened| opened.address.clone()).collect()
    }

    /// For each of so many workers its listeners.
    ///
    /// # Errors
    /// There are no file descriptors to be had.
    pub(super) fn for_workers(&self, count: usize) -> Result<Vec<Vec<Listener>>> {
        let mut workers: Vec<Vec<Listener>> = Vec::new();
        workers.resize_with(count, Vec::new);
        for (number, opened) in self.public().enumerate() {
            let Some(kind) = kind(opened.named.door) else { continue };
            // Of those that others have bound there may be more than workers: none may be left without somebody who accepts.
            for place in 0..count.max(opened.sockets.len()) {
                let bound = opened.sockets[place % opened.sockets.len()].another()?;
                workers[place % count].push(Listener { bound, number, kind });
            }
        }
        Ok(workers)
    }

    /// The one of the admin API.
    ///
    /// # Errors
    /// See [`Self::for_workers`].
    pub(super) fn admin(&self) -> Result<admin::Bound> {
        let opened = self.0.iter().find(|opened| opened.named.door == Door::Admin);
        match opened.context("there is always an admin address")?.sockets[0].another()? {
            Bound::Tcp(listener) => Ok(admin::Bound::Tcp(listener)),
            Bound::Unix(listener) => Ok(admin::Bound::Unix(listener)),
        }
    }

    /// Where upgrades are asked for, if there is such a place.
    ///
    /// # Errors
    /// See [`Self::for_workers`].
    pub(super) fn requests(&self) -> Result<Option<tokio::net::UnixListener>> {
        let opened = self.0.iter().find(|opened| opened.named.door == Door::Requests);
        match opened.map(|opened| opened.sockets[0].another()).transpose()? {
            Some(Bound::Unix(listener)) => Ok(Some(tokio::net::UnixListener::from_std(listener)?)),
            _ => Ok(None),
        }
    }

    /// All of them, to be handed over.
    ///
    /// # Errors
    /// See [`Self::for_workers`].
    pub(super) fn to_hand_over(&self) -> std::io::Result<Vec<(Named, OwnedFd)>> {
        let all = self.0.iter().flat_map(|opened| opened.sockets.iter().map(|bound| (&opened.named, bound)));
        all.map(|(named, bound)| Ok((named.clone(), bound.as_fd().try_clone_to_owned()?))).collect()
    }

    /// Closes them, as far as it is up to this process, and says which files some of them have.
    pub(super) fn close(self) -> Vec<PathBuf> {
        let addresses = self.0.into_iter().map(|opened| opened.address);
        let files = addresses.filter_map(|address| match address {
            ListenAddress::Unix(path) => Some(path),
            ListenAddress::Tcp(_) => None,
        });
        files.collect()
    }

    fn public(&self) -> impl Iterator<Item = &Opened> {
        self.0.iter().filter(|opened| kind(opened.named.door).is_some())
    }
}

fn in_vain(door: Door, address: &ListenAddress) -> String {
    format!("{}: can't listen on {address}", key(door))
}

impl Opened {
    fn new(door: Door, address: &ListenAddress, count: usize, inherited: &mut Inherited) -> Result<Self> {
        let named = Named { door, configured: address.to_string() };
        let taken = inherited.take(&named);
        if taken.is_empty() {
            let bound = match door {
                // What operators ask must not go to another ghostpin now and then.
                Door::Admin => listener::bind_alone(address).map(|bound| (address.clone(), vec![bound])),
                _ => listener::bind(address, count),
            };
            let (address, sockets) = bound.with_context(|| in_vain(door, address))?;
            return Ok(Self { named, address, sockets });
        }
        let sockets = taken.into_iter().map(|socket| match address {
            ListenAddress::Tcp(_) => Bound::Tcp(TcpListener::from(socket)),
            ListenAddress::Unix(_) => Bound::Unix(UnixListener::from(socket)),
        });
        let sockets: Vec<Bound> = sockets.collect();
        let address = match &sockets[0] {
            Bound::Tcp(listener) => ListenAddress::Tcp(listener.local_addr().with_context(|| {
                format!("{}: what was handed over for {address} does not listen", key(door))
            })?),
            Bound::Unix(_) => address.clone(),
        };
        Ok(Self { named, address, sockets })
    }
}
