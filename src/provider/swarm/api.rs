//! What a manager's API answers, as the words of the core: only the fields that matter, in the forms that Docker 20.10 and
//! later have them in.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;

use crate::core::swarm::{Attachment, Life, Node, Port, Service, Snapshot, Task};

/// What is asked for, in this order: who is asked later may know more, not less.
pub(super) const INFO: &str = "/info";
/// All services.
pub(super) const SERVICES: &str = "/services";
/// Tasks that are meant to run now or soon. Those that have ended are missing, and are many.
pub(super) const TASKS: &str = "/tasks?filters=%7B%22desired-state%22%3A%5B%22ready%22%2C%22running%22%5D%7D";
/// All nodes.
pub(super) const NODES: &str = "/nodes";
/// Changes of services and nodes, as they happen. Tasks have none.
pub(super) const EVENTS: &str = "/events?filters=%7B%22type%22%3A%5B%22service%22%2C%22node%22%5D%7D";

/// What one manager has answered.
#[derive(Debug, Default)]
pub(super) struct Answers {
    pub(super) info: Vec<u8>,
    pub(super) services: Vec<u8>,
    pub(super) tasks: Vec<u8>,
    pub(super) nodes: Vec<u8>,
}

impl Answers {
    /// In the words of the core.
    ///
    /// # Errors
    /// Which answer can't be read, and why.
    pub(super) fn read(&self) -> Result<Snapshot, String> {
        let info: RawInfo = parse("/info", &self.info)?;
        let services: Vec<RawService> = parse(SERVICES, &self.services)?;
        let tasks: Vec<RawTask> = parse("/tasks", &self.tasks)?;
        let nodes: Vec<RawNode> = parse(NODES, &self.nodes)?;
        if !info.swarm.control_available {
            return Err("it is no manager; name managers only".to_owned());
        }
        Ok(Snapshot {
            cluster: info.swarm.cluster.map(|cluster| cluster.id).filter(|id| !id.is_empty()),
            error: info.swarm.error,
            services: services.into_iter().map(RawService::into_words).collect(),
            tasks: tasks.into_iter().map(RawTask::into_words).collect(),
            nodes: nodes.into_iter().map(RawNode::into_words).collect(),
        })
    }
}

/// What the API says beside a status that is not 200.
pub(super) fn message(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Said {
        message: String,
    }
    serde_json::from_slice(body).map_or_else(|_| String::new(), |said: Said| said.message)
}

fn parse<'a, T: Deserialize<'a>>(what: &str, body: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| format!("{what}: its answer can't be read: {error}"))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawInfo {
    #[serde(default)]
    swarm: RawSwarm,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RawSwarm {
    control_available: bool,
    error: String,
    cluster: Option<RawCluster>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawCluster {
    #[serde(rename = "ID")]
    id: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RawVersion {
    index: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawService {
    #[serde(rename = "ID")]
    id: String,
    version: RawVersion,
    #[serde(default)]
    created_at: String,
    spec: RawSpec,
    previous_spec: Option<RawSpec>,
    update_status: Option<RawUpdate>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawSpec {
    #[serde(default)]
    name: String,
    labels: Option<BTreeMap<String, String>>,
    endpoint_spec: Option<RawPorts>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RawUpdate {
    state: String,
}

impl RawService {
    fn into_words(self) -> Service {
        let update = self.update_status.unwrap_or_default().state;
        let mut ports = into_ports(self.spec.endpoint_spec);
        if let Some(previous) = self.previous_spec {
            let before = into_ports(previous.endpoint_spec);
            ports.retain(|port| before.contains(port));
        }
        Service {
            id: self.id,
            index: self.version.index,
            created: instant(&self.created_at),
            name: self.spec.name,
            labels: self.spec.labels.unwrap_or_default(),
            updating: matches!(update.as_str(), "updating" | "rollback_started"),
            ports,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawTask {
    #[serde(rename = "ID")]
    id: String,
    version: RawVersion,
    #[serde(default)]
    created_at: String,
    #[serde(rename = "ServiceID", default)]
    service_id: String,
    #[serde(default)]
    slot: u64,
    #[serde(rename = "NodeID", default)]
    node_id: String,
    #[serde(default)]
    status: RawTaskStatus,
    #[serde(default)]
    desired_state: String,
    networks_attachments: Option<Vec<RawAttachment>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RawTaskStatus {
    state: String,
    port_status: Option<RawPorts>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RawPorts {
    ports: Option<Vec<RawPort>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RawPort {
    protocol: String,
    target_port: u16,
    published_port: u16,
    publish_mode: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RawAttachment {
    network: RawNetwork,
    addresses: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RawNetwork {
    spec: RawNetworkSpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RawNetworkSpec {
    name: String,
    ingress: bool,
}

impl RawTask {
    fn into_words(self) -> Task {
        let attachment = |raw: RawAttachment| Attachment {
            network: raw.network.spec.name,
            ingress: raw.network.spec.ingress,
            addresses: raw.addresses.iter().flatten().filter_map(|address| ip(address)).collect(),
        };
        Task {
            id: self.id,
            index: self.version.index,
            created: instant(&self.created_at),
            service: self.service_id,
            slot: self.slot,
            node: self.node_id,
            wanted: life(&self.desired_state),
            seen: life(&self.status.state),
            networks: self.networks_attachments.into_iter().flatten().map(attachment).collect(),
            ports: into_ports(self.status.port_status),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawNode {
    #[serde(rename = "ID")]
    id: String,
    version: RawVersion,
    #[serde(default)]
    status: RawNodeStatus,
    manager_status: Option<RawManagerStatus>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RawNodeStatus {
    state: String,
    addr: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RawManagerStatus {
    reachability: String,
    addr: String,
}

impl RawNode {
    fn into_words(self) -> Node {
        // Of itself, a manager may say 0.0.0.0.
        let of_manager = self.manager_status.as_ref().and_then(|manager| manager.addr.rsplit_once(':'));
        let address = ip(&self.status.addr).or_else(|| ip(of_manager?.0.trim_matches(['[', ']'])));
        Node {
            id: self.id,
            index: self.version.index,
            address,
            manager: self.manager_status.map(|manager| manager.reachability == "reachable"),
            down: self.status.state == "down",
        }
    }
}

/// Those of a node that lead to a task on it.
fn into_ports(raw: Option<RawPorts>) -> Vec<Port> {
    let port = |raw: RawPort| {
        let is_ours = raw.publish_mode == "host" && raw.protocol == "tcp" && raw.published_port > 0;
        is_ours.then_some(Port { target: raw.target_port, published: raw.published_port })
    };
    raw.and_then(|raw| raw.ports).unwrap_or_default().into_iter().filter_map(port).collect()
}

/// `10.0.1.3/24`, or the same without its network.
fn ip(text: &str) -> Option<IpAddr> {
    let address: IpAddr = text.split('/').next()?.parse().ok()?;
    (!address.is_unspecified()).then_some(address)
}

fn life(state: &str) -> Life {
    match state {
        "running" => Life::Running,
        "complete" | "shutdown" | "failed" | "rejected" | "remove" | "orphaned" => Life::Over,
        // Also what a later Docker may come up with: it is no candidate before it runs.
        _ => Life::Coming,
    }
}

/// Go leaves out the zeros at the end of a fraction, and `.1Z` would come after `.12Z`.
fn instant(text: &str) -> String {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    format!("{seconds}.{fraction:0<9}Z")
}

#[cfg(test)]
mod tests;
