//! The fleet, as the reconciler sees it: what this edge may do, what it decides while it is the controller, and the way to
//! the store.
//!
//! The reconciler owns both cores; who speaks to the store takes [`Command`]s and sends [`News`]. Neither waits for the
//! other.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::detours::Detours;
use super::{Wanted, WishError};
use crate::core::canary::Says;
use crate::core::fleet::doubts::{Doubts, Reached};
use crate::core::fleet::edge::{self, Edge, Terms};
use crate::core::fleet::ledger::{Change, EdgeSays, Ledger, Written};
use crate::core::fleet::{LeaseId, Record, Revision};
use crate::core::{Backend, Epoch, Pin, SiteName};
use crate::detour::Detour;
use crate::lifeline::Lifeline;

/// What is to be done with the store.
#[derive(Debug)]
pub enum Command {
    /// What an edge does for its own life: see [`edge::Effect`], of which only what concerns the store is sent.
    Edge(edge::Effect),
    /// Say what is seen from here.
    See {
        /// By which life.
        lease: LeaseId,
        /// That.
        seen: Seen,
    },
    /// As the canary: say what is in force here, and what comes of it; nothing any more if this is `None`.
    SayTried {
        /// By which life.
        lease: LeaseId,
        /// That.
        says: Option<Says>,
    },
    /// As the controller: ask all edges whether they can reach these backends.
    Ask(BTreeMap<SiteName, Backend>),
    /// As the controller: write this record in the place of the one at revision `guard`.
    Write {
        /// Whose.
        site: SiteName,
        /// What.
        record: Record,
        /// See [`crate::core::fleet::ledger::Effect::Write`].
        guard: Revision,
    },
    /// Somebody else may be the controller: give it up, and stand for it again.
    Resign,
    /// The same, and never stand for it again.
    Retire,
    /// Put a wish before whoever is the controller.
    Wish {
        /// The site.
        site: SiteName,
        /// What is wished.
        wish: Wanted,
        /// Who wishes it.
        by: String,
        /// Goes back.
        answer: oneshot::Sender<Result<Option<Pin>, WishError>>,
    },
    /// As the controller: this became of the wish that was put before it under this name.
    Answer {
        /// The name of the wish.
        id: String,
        /// What became of it.
        result: Result<Option<Pin>, WishError>,
    },
    /// Tell them that the fleet is left, as soon as the store has heard of it, or the lease is over without that.
    SayLeft(Vec<oneshot::Sender<Option<HasLeft>>>),
    /// Read who is there.
    Look(oneshot::Sender<Result<FleetView, String>>),
}

/// How this edge has left, so that nobody waits for it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HasLeft {
    /// The store knows.
    Told,
    /// The store could not be told, and by this edge's clock the lease has run out.
    RanOut,
}

/// What the store says.
#[derive(Debug)]
pub enum News {
    /// About the life of this edge.
    Edge(edge::Input),
    /// This edge is the controller, and this is all that stands in the store.
    Elected {
        /// In this life.
        lease: LeaseId,
        /// As of when.
        revision: Revision,
        /// All sites, and since when each stands so.
        sites: Vec<(SiteName, Record, Revision)>,
        /// All edges.
        edges: Vec<(LeaseId, EdgeSays)>,
    },
    /// It is the controller no more.
    Deposed,
    /// As the controller: what was written since.
    Changed {
        /// Up to here.
        revision: Revision,
        /// What.
        changes: Vec<Change>,
    },
    /// As the controller: what became of writes.
    Written(Vec<(SiteName, Written)>),
    /// As the controller: what an edge sees; `None` if it is gone.
    Seen(LeaseId, Option<Seen>),
    /// The controller asks whether these backends can be reached from here.
    Asked(BTreeMap<SiteName, Backend>),
    /// What the store goes on refusing, or leaves without an answer; `None` as soon as that is over.
    Refused(Option<String>),
    /// Edges that take requests for others; this one is not among them.
    Detours(Vec<Arc<Detour>>),
    /// Edges that try updates before others do, and what they say; this one may be among them.
    Canaries(Vec<Says>),
    /// As the controller: an edge was asked for this.
    Wished {
        /// The name of the wish.
        id: String,
        /// The site.
        site: SiteName,
        /// What is wished.
        wish: Wanted,
        /// Who wishes it.
        by: String,
    },
}

/// What one edge sees of backends, and knows of pins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Sites whose backend refuses connections there, and the epoch of each.
    pub suspicions: BTreeMap<SiteName, Epoch>,
    /// Backends that it was asked about, and whether it reaches them.
    pub reached: Reached,
    /// Pins that are newer than what the store says.
    pub knows: BTreeMap<SiteName, Pin>,
}

/// Who is there.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct FleetView {
    /// Name of the controller; empty if there is none now.
    pub controller: String,
    /// The edges, by name.
    pub edges: Vec<EdgeView>,
    /// Sites that no edge may serve now, by name.
    pub fenced: Vec<FencedView>,
}

/// A site that is fenced: in a handoff, or on hold.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FencedView {
    /// Its name.
    pub site: String,
    /// Its newest epoch, which is the one that is fenced.
    pub epoch: u64,
    /// Since which revision.
    pub revision: u64,
    /// What the edges are called that have not applied that yet, or still have requests of that epoch.
    pub waits_for: Vec<String>,
}

impl FleetView {
    /// The fleet, with what each site that is fenced waits for: `fenced` is their epochs, and since which revisions.
    pub fn new(edges: Vec<EdgeView>, fenced: impl IntoIterator<Item = (SiteName, Epoch, Revision)>) -> Self {
        let controller = edges.iter().find(|edge| edge.controller);
        let controller = controller.map(|edge| edge.name.clone()).unwrap_or_default();
        let fenced = fenced.into_iter().map(|(site, epoch, revision)| {
            let holds = |edge: &&EdgeView| {
                edge.watermark < revision.0 || edge.pending.iter().any(|pending| site.as_str() == pending)
            };
            let waits_for = edges.iter().filter(holds).map(|edge| edge.called(&edges)).collect();
            FencedView { site: site.to_string(), epoch: epoch.0, revision: revision.0, waits_for }
        });
        Self { controller, fenced: fenced.collect(), edges }
    }
}

/// One edge, as the store knows it.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct EdgeView {
    /// Its name.
    pub name: String,
    /// Its version; empty if it doesn't say.
    #[serde(default)]
    pub version: String,
    /// Its lease, in hexadecimal digits as etcd's own tools write it.
    pub lease: String,
    /// Everything up to this revision is applied there,
    pub watermark: u64,
    /// but for these sites: they have requests of an epoch that is fenced.
    pub pending: Vec<String>,
    /// It is the controller.
    pub controller: bool,
    /// It is the edge that was asked.
    pub this: bool,
}

impl EdgeView {
    /// Its name; in an upgrade, while two processes have the same one, with its lease.
    pub fn called(&self, all: &[Self]) -> String {
        let is_alone = all.iter().filter(|other| other.name == self.name).count() < 2;
        if is_alone { self.name.clone() } else { format!("{} (lease {})", self.name, self.lease) }
    }
}

/// What a fleet's reconciler is made from.
#[derive(Debug)]
pub struct FleetParts {
    /// How long things may take.
    pub terms: Terms,
    /// The way to the store.
    pub commands: mpsc::UnboundedSender<Command>,
    /// Shared with all gates.
    pub lifeline: Arc<Lifeline>,
}

/// See the module's text.
#[derive(Debug)]
pub struct Fleet {
    /// This edge.
    pub edge: Edge,
    /// What the controller knows; there while this edge is the controller.
    pub ledger: Option<Ledger>,
    /// The life in which it became the controller: it is not the controller of another.
    pub elected_in: Option<LeaseId>,
    /// The newest pins that this edge knows, those of sites that are not configured too.
    pub known: BTreeMap<SiteName, Pin>,
    /// What this edge sees, and what of it the store was told.
    pub seen: Seen,
    /// See above.
    pub told: Seen,
    /// Something of it has changed,
    pub seen_due: bool,
    /// and when the store was told last.
    pub told_at: Instant,
    /// What the store refuses, or leaves without an answer.
    pub refused: Option<String>,
    /// What this edge was asked about.
    pub asked: BTreeMap<SiteName, Backend>,
    /// Through whom requests can go where it is of no use to ask from here.
    pub detours: Detours,
    /// As the controller: what it can't reach,
    pub doubts: Doubts,
    /// and what the others see.
    pub seen_by: BTreeMap<LeaseId, Seen>,
    /// Told when the fleet is joined,
    pub joining: Vec<oneshot::Sender<()>>,
    /// and when it is left.
    pub leaving: Vec<oneshot::Sender<Option<HasLeft>>>,
    /// Another process has taken this one's place: it is never the controller again.
    pub retired: bool,
    commands: mpsc::UnboundedSender<Command>,
    lifeline: Arc<Lifeline>,
}

impl Fleet {
    /// An edge that has not begun to live.
    pub fn new(parts: FleetParts, known: BTreeMap<SiteName, Pin>) -> Self {
        Self {
            edge: Edge::new(parts.terms),
            ledger: None,
            elected_in: None,
            known,
            seen: Seen::default(),
            told: Seen::default(),
            seen_due: false,
            told_at: Instant::now(),
            refused: None,
            asked: BTreeMap::new(),
            detours: Detours::default(),
            doubts: Doubts::default(),
            seen_by: BTreeMap::new(),
            joining: Vec::new(),
            leaving: Vec::new(),
            retired: false,
            commands: parts.commands,
            lifeline: parts.lifeline,
        }
    }

    /// Has something done with the store.
    pub fn tell(&self, command: Command) {
        // The other end lives as long as the process.
        let _ = self.commands.send(command);
    }

    /// The way to the store, for those who have something to say later.
    pub fn commands(&self) -> mpsc::UnboundedSender<Command> {
        self.commands.clone()
    }

    /// The clock that all gates look at.
    pub fn lifeline(&self) -> &Arc<Lifeline> {
        &self.lifeline
    }
}
