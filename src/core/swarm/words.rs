//! What a manager's API says, as far as anybody here wants to know it, and why an answer is not believed.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// All that one manager has answered in one turn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The identity of the swarm; `None` if the manager doesn't know.
    pub cluster: Option<String>,
    /// What the manager says is wrong with its swarm; empty if nothing is.
    pub error: String,
    /// All services.
    pub services: Vec<Service>,
    /// All tasks that are meant to run, and any number of others.
    pub tasks: Vec<Task>,
    /// All nodes.
    pub nodes: Vec<Node>,
}

/// A service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Its identity.
    pub id: String,
    /// The index of its last change.
    pub index: u64,
    /// When it was created: RFC 3339 in UTC with nine digits after the second, so that its order is that of time.
    pub created: String,
    /// Its name; unique in the swarm at a time.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// An update, or the way back from one, is under way.
    pub updating: bool,
    /// The ports of a task's node that lead to it, by what the service says now and said before its last change: a task may be
    /// of either time.
    pub ports: Vec<Port>,
}

/// A task: one container of a service, from its planning to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Task {
    /// Its identity; another container is another task.
    pub id: String,
    /// The index of its last change.
    pub index: u64,
    /// When it was created, in the form of [`Service::created`].
    pub created: String,
    /// Its service, by identity.
    pub service: String,
    /// Its number among the replicas, from 1; 0 for a service that has one task a node.
    pub slot: u64,
    /// Its node, by identity; empty if it has none yet.
    pub node: String,
    /// What the managers want of it.
    pub wanted: Life,
    /// What its node has last said of it. Of a node that is gone, that is not what it is.
    pub seen: Life,
    /// The networks that it is on.
    pub networks: Vec<Attachment>,
    /// The ports at which its node hands on to it. After a change of leaders, managers may have forgotten them.
    pub ports: Vec<Port>,
}

/// How far a task is in its life. It never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Life {
    /// It doesn't run yet.
    #[default]
    Coming,
    /// It runs.
    Running,
    /// It has ended in one way or another, or is to.
    Over,
}

/// A network that a task is on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attachment {
    /// Its name.
    pub network: String,
    /// It is that of the routing mesh, where a task can't be asked directly.
    pub ingress: bool,
    /// The task's addresses there.
    pub addresses: Vec<IpAddr>,
}

/// A port of a node that leads to a task on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// Inside the container.
    pub target: u16,
    /// On the node.
    pub published: u16,
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Its identity.
    pub id: String,
    /// The index of its last change.
    pub index: u64,
    /// Where it is.
    pub address: Option<IpAddr>,
    /// It is a manager, and whether the one who answers can reach it.
    pub manager: Option<bool>,
    /// The managers have not heard of it for so long that they have others run its tasks. They may be wrong: it may be
    /// cut off from them alone. (One that is `unknown`, as after a change of leaders, is not down.)
    pub down: bool,
}

/// Why an answer is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stale {
    /// The manager itself says that something is wrong.
    #[error("it says of its swarm: {0}")]
    Troubled(String),
    /// By its own list of nodes, it is alone.
    #[error("it reaches {reached} of {managers} managers, which is no majority: what it says may be old")]
    NoQuorum {
        /// Managers that it reaches, itself among them.
        reached: usize,
        /// All managers.
        managers: usize,
    },
    /// It is of another swarm than what was heard before.
    #[error("it speaks of another swarm, {0}")]
    OtherSwarm(String),
    /// Something was newer already.
    #[error("it is old: {object} is at index {index} there, and was seen at {seen}")]
    GoneBack {
        /// What.
        object: String,
        /// The index there.
        index: u64,
        /// The one that was seen.
        seen: u64,
    },
    /// It lists a task that has ended.
    #[error("it is old: task {0} runs there, and was seen shut down")]
    Returned(String),
    /// Nothing in it is as new as what was seen: it is old, or what was newest has been removed.
    #[error("it may be old: its newest index is {index}, and {seen} was seen")]
    Behind {
        /// The highest index there.
        index: u64,
        /// The highest one that was seen.
        seen: u64,
    },
}

impl Stale {
    /// Whether a manager that is well would not say so. A removal alone is no reason for an alarm.
    pub fn is_trouble(&self) -> bool {
        !matches!(self, Self::Behind { .. })
    }

    /// Whether time makes it true: no manager without a majority goes on for long, so what is said for long, and by
    /// nobody contradicted, is so.
    pub(super) fn may_come_true(&self) -> bool {
        !matches!(self, Self::Troubled(_) | Self::NoQuorum { .. })
    }
}

impl Task {
    /// It has ended, or is to end: nobody is sent there any more, ever.
    pub(super) fn is_over(&self) -> bool {
        self.wanted == Life::Over || self.seen == Life::Over
    }

    /// It is meant to run, and does. A task of a dead node is seen running for as long as the node is away.
    pub(super) fn runs(&self) -> bool {
        self.wanted == Life::Running && self.seen == Life::Running
    }

    /// Its place in the service: the number of the replica, or the node.
    pub(super) fn place(&self) -> String {
        if self.slot == 0 { self.node.clone() } else { self.slot.to_string() }
    }
}
