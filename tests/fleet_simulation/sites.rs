//! What the fleet serves, and how its edges are configured.

use std::net::SocketAddr;
use std::path::Path;

use ghostpin::config::Config;

/// etcd's members.
pub(crate) const MEMBERS: [&str; 3] = ["http://m0:2379", "http://m1:2379", "http://m2:2379"];
/// Sites that are there from the beginning.
pub(crate) const USUAL: usize = 3;
/// With the one that comes and goes.
pub(crate) const ALL: usize = USUAL + 1;
/// Machines that the instances are on.
pub(crate) const MACHINES: [&str; 3] = ["10.0.0.1", "10.0.0.2", "10.0.0.3"];

pub(crate) fn name(site: usize) -> String {
    format!("s{site}")
}

pub(crate) fn host(site: usize) -> String {
    format!("s{site}.example")
}

/// On two machines, so that the death of one takes several sites along.
pub(crate) fn backends(site: usize) -> [String; 2] {
    [0, 1].map(|which| format!("{}:{}", MACHINES[(site + which) % MACHINES.len()], 8000 + site))
}

/// Where an edge takes requests for others.
pub(crate) fn detour(edge: usize) -> SocketAddr {
    SocketAddr::from(([10, 1, 0, 0], 7000 + edge as u16))
}

/// Whose address that is.
pub(crate) fn edge_at(detour: SocketAddr) -> usize {
    usize::from(detour.port() - 7000)
}

/// As of an edge, with so many sites.
pub(crate) fn config(edge: usize, sites: usize) -> Config {
    // Each begins with another member.
    let members = [0, 1, 2].map(|step| MEMBERS[(edge + step) % MEMBERS.len()]);
    let mut text = format!(
        "[server]\nstate = \"/sim/{edge}\"\n[listen]\nhttp = [\"127.0.0.1:80\"]\n[admin]\nlisten = \"127.0.0.1:1\"\n\
         [handoff]\ndrain_timeout = \"1s\"\nprove_timeout = \"3s\"\n[hold]\ntimeout = \"8s\"\n\
         [cluster]\netcd = {members:?}\nname = \"edge-{edge}\"\nlease_ttl = \"5s\"\ndetour = \"{}\"\n",
        detour(edge)
    );
    for site in 0..sites {
        text += &format!(
            "[[site]]\nname = {:?}\nhosts = [{:?}]\nbackends = {:?}\napp = \"generic\"\n",
            name(site),
            host(site),
            backends(site)
        );
    }
    Config::parse(&text, Path::new("/sim/ghostpin.toml")).unwrap_or_else(|errors| panic!("{errors}\n{text}"))
}
