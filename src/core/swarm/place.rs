//! Where a task is to be reached.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::words::{Node, Port, Service, Task};

/// The label that names the port inside the container.
pub const PORT: &str = "ghostpin.port";
/// The label that names the network of tasks that are on several.
pub const NETWORK: &str = "ghostpin.network";
/// The network of a task that shares that of its node.
const OF_THE_NODE: &str = "host";

/// What a service says of where its tasks are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Way {
    port: u16,
    network: Option<String>,
    /// Of the task's node, by what the service says.
    published: Option<u16>,
}

/// A label that is no good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLabel {
    /// Which one.
    pub label: String,
    /// What is wrong, and what to do.
    pub why: String,
}

impl BadLabel {
    /// What is wrong with it.
    pub fn new(label: &str, why: impl Into<String>) -> Self {
        Self { label: label.to_owned(), why: why.into() }
    }
}

impl std::fmt::Display for BadLabel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "label {}: {}", self.label, self.why)
    }
}

impl Way {
    pub(super) fn of(service: &Service) -> Result<Self, BadLabel> {
        let Some(port) = service.labels.get(PORT) else {
            let why = "is missing; add the port that the application listens on in its container: ghostpin.port=2368, say";
            return Err(BadLabel::new(PORT, why));
        };
        let number: Option<u16> = port.parse().ok().filter(|port| *port > 0);
        let Some(port) = number.filter(|_| port.bytes().all(|byte| byte.is_ascii_digit())) else {
            return Err(BadLabel::new(PORT, format!("`{port}` is no port; write a number from 1 to 65535")));
        };
        let published = published(&service.ports, port);
        Ok(Self { port, network: service.labels.get(NETWORK).cloned(), published })
    }

    /// The address of a task, or what is to be done so that there is one.
    pub(super) fn to(&self, task: &Task, nodes: &BTreeMap<&str, &Node>) -> Result<SocketAddr, BadLabel> {
        let of_node = || nodes.get(task.node.as_str()).and_then(|node| node.address);
        if let Some(wanted) = &self.network {
            let on = task.networks.iter().find(|on| on.network == *wanted);
            let address = on.and_then(|on| on.addresses.first());
            return address.map(|ip| SocketAddr::new(*ip, self.port)).ok_or_else(|| {
                let why =
                    format!("task {} is not on the network `{wanted}`; it is on {}", task.id, listed(task));
                BadLabel::new(NETWORK, why)
            });
        }
        if let Some(port) = published(&task.ports, self.port).or(self.published) {
            return of_node().map(|ip| SocketAddr::new(ip, port)).ok_or_else(|| self.lost(task));
        }
        let mut on = task.networks.iter().filter(|on| !on.ingress && !on.addresses.is_empty());
        match (on.next(), on.next()) {
            (Some(on), None) => Ok(SocketAddr::new(on.addresses[0], self.port)),
            (Some(_), Some(_)) => {
                let why = format!("is missing; task {} is on {}: say which is meant", task.id, listed(task));
                Err(BadLabel::new(NETWORK, why))
            }
            (None, _) if task.networks.iter().any(|on| on.network == OF_THE_NODE) => {
                of_node().map(|ip| SocketAddr::new(ip, self.port)).ok_or_else(|| self.lost(task))
            }
            (None, _) => {
                let port = self.port;
                let why = format!(
                    "task {} can't be reached; put the service on an overlay network that ghostpin is on, or publish \
                     port {port} of its node: --publish mode=host,target={port},published={port}",
                    task.id
                );
                Err(BadLabel::new(PORT, why))
            }
        }
    }

    fn lost(&self, task: &Task) -> BadLabel {
        let why = format!("task {} is on node {}, whose address no manager tells", task.id, task.node);
        BadLabel::new(PORT, why)
    }
}

/// The port of the node that leads to this one.
fn published(ports: &[Port], target: u16) -> Option<u16> {
    ports.iter().find(|port| port.target == target).map(|port| port.published)
}

fn listed(task: &Task) -> String {
    let names: Vec<String> =
        task.networks.iter().filter(|on| !on.ingress).map(|on| format!("`{}`", on.network)).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
