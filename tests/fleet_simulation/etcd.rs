//! A simulated etcd: several members in front of one truth, each of which may be down, cut off from the others, or late.
//!
//! What a member is asked is done as etcd does it: writes, reads and keep-alives need a leader, and wait for one; a watch
//! shows what that member has applied. A write goes on when who has asked for it is gone.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use tokio::io::DuplexStream;
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

use super::changing::Changing;
use super::dice::Dice;
use super::grpc::{self, Answers, Asked, Status};
use super::history::{History, What};
use super::messages::{
    AnyOperation, CampaignRequest, CampaignResponse, DeleteRequest, Done, EventKind, GrantRequest, Header,
    LeaderKey, LeaseRequest, LeaseResponse, PutRequest, RangeRequest, RangeResponse, ResignRequest,
    TxnRequest, TxnResponse, WatchRequest, WatchResponse,
};
use super::truth::{Range, Truth, kv};

/// What has no leader for so long is refused.
const LEADERLESS_MAX: Duration = Duration::from_secs(3);
/// Time between two looks for leases that are over.
const LEASE_LOOK: Duration = Duration::from_millis(500);
const UNAVAILABLE: Status = Status(14, "etcdserver: no leader");

/// One member.
struct Member {
    /// It takes connections.
    up: Changing<bool>,
    /// It hears of the others.
    joined: Changing<bool>,
    /// Everything up to this revision is known to it.
    applied: Changing<i64>,
    /// The most by which it is late, in milliseconds.
    lag: Cell<usize>,
}

/// See the module's text.
pub(crate) struct Etcd {
    truth: RefCell<Truth>,
    /// The newest revision.
    newest: Changing<i64>,
    leads: Changing<bool>,
    /// A leader that was left behind answers keep-alives which nobody counts.
    stale: Cell<Option<usize>>,
    members: Vec<Member>,
    dice: RefCell<Dice>,
    history: Rc<History>,
}

impl Etcd {
    /// Needs a `LocalSet`.
    pub(crate) fn start(members: usize, dice: Dice, history: Rc<History>) -> Rc<Self> {
        let member = || Member {
            up: Changing::new(true),
            joined: Changing::new(true),
            applied: Changing::new(0),
            lag: Cell::new(3),
        };
        let etcd = Rc::new(Self {
            truth: RefCell::default(),
            newest: Changing::new(0),
            leads: Changing::new(true),
            stale: Cell::new(None),
            members: (0..members).map(|_| member()).collect(),
            dice: RefCell::new(dice),
            history,
        });
        for number in 0..members {
            let etcd = etcd.clone();
            spawn_local(async move { etcd.apply(number).await });
        }
        let looking = etcd.clone();
        spawn_local(async move { looking.end_leases().await });
        etcd
    }

    // Faults.

    pub(crate) fn members(&self) -> usize {
        self.members.len()
    }

    /// Ends with the connections of a member that goes down.
    pub(crate) async fn goes_down(&self, member: usize) {
        self.members[member].up.until(|up| !up).await;
    }

    pub(crate) fn is_up(&self, member: usize) -> bool {
        self.members[member].up.get()
    }

    pub(crate) fn set_up(&self, member: usize, up: bool) {
        self.members[member].up.set(up);
        self.set_joined(member, up);
    }

    /// Whether it hears of the other members.
    pub(crate) fn set_joined(&self, member: usize, joined: bool) {
        self.members[member].joined.set(joined);
    }

    pub(crate) fn set_lag(&self, member: usize, milliseconds: usize) {
        self.members[member].lag.set(milliseconds);
    }

    /// Whether there is a leader. A new one gives all leases their time again.
    pub(crate) fn set_leads(&self, leads: bool) {
        if leads {
            self.truth.borrow_mut().extend_all(self.history.now());
        }
        self.leads.set(leads);
    }

    /// There is a new leader, and this member does not know it: it goes on answering keep-alives. `false` if there is
    /// such a one already.
    pub(crate) fn leave_behind(&self, member: usize) -> bool {
        if self.stale.get().is_some() {
            return false;
        }
        self.truth.borrow_mut().extend_all(self.history.now());
        self.stale.set(Some(member));
        true
    }

    pub(crate) fn know_again(&self) {
        self.stale.set(None);
    }

    /// The number of the edge that has won the election.
    pub(crate) fn elected(&self) -> Option<usize> {
        let folder = Range::new(b"/ghostpin/controller/".to_vec(), b"/ghostpin/controller0".to_vec());
        let standing = self.truth.borrow().range(&folder, 0).ok()?;
        let oldest = standing.iter().min_by_key(|kv| kv.create_revision)?;
        std::str::from_utf8(&oldest.value).ok()?.strip_prefix("edge-")?.parse().ok()
    }

    pub(crate) fn compact(&self, keep: i64) {
        let mut truth = self.truth.borrow_mut();
        let revision = truth.revision() - keep;
        truth.compact(revision);
    }

    /// Somebody else writes something.
    pub(crate) fn put(&self, key: &str) {
        let put = PutRequest { key: key.into(), ..PutRequest::default() };
        self.change(|truth| truth.put(&[put])).expect("no lease is needed for it");
    }

    // What goes on all the while.

    async fn apply(&self, number: usize) {
        let member = &self.members[number];
        loop {
            self.newest.differs_from(member.applied.get()).await;
            let newest = self.newest.get();
            let lag = self.dice.borrow_mut().roll(member.lag.get());
            sleep(Duration::from_millis(lag as u64)).await;
            member.joined.until(|joined| joined).await;
            member.applied.set(newest);
        }
    }

    /// A lease ends late, and never early.
    async fn end_leases(&self) {
        loop {
            sleep(LEASE_LOOK).await;
            if !self.leads.get() {
                continue;
            }
            let overdue = self.truth.borrow().overdue(self.history.now());
            for id in overdue {
                if !self.dice.borrow_mut().one_in(3) {
                    self.history.tell(None, What::LeaseOver(id));
                    // It was there a moment ago.
                    let _ = self.change(|truth| truth.revoke(id));
                }
            }
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Truth) -> T) -> T {
        let mut truth = self.truth.borrow_mut();
        let before = truth.revision();
        let result = change(&mut truth);
        let now = truth.revision();
        let all = Range::new(vec![0], vec![0xff]);
        for event in truth.events(&all, before, now) {
            let is_there = event.kind == i32::from(EventKind::Put);
            self.history.tell_written(&kv(&event).key, is_there.then_some(&kv(&event).value));
        }
        drop(truth);
        self.newest.set(now);
        result
    }

    // What a member is asked.

    /// Serves one connection.
    pub(crate) async fn serve(self: &Rc<Self>, member: usize, io: DuplexStream) {
        let etcd = self.clone();
        grpc::serve(io, move |path, asked, answers| {
            let etcd = etcd.clone();
            // A task of its own: what was begun goes on when the client has given it up.
            spawn_local(async move {
                if let Err(status) = etcd.answer(member, &path, asked, &answers).await {
                    answers.fail(status);
                }
            });
        })
        .await;
    }

    async fn answer(
        self: &Rc<Self>,
        member: usize,
        path: &str,
        mut asked: Asked,
        answers: &Answers,
    ) -> Result<(), Status> {
        const GARBLED: Status = Status(3, "no message");
        match path {
            "/etcdserverpb.Watch/Watch" => return self.watch(member, asked, answers).await,
            "/etcdserverpb.Lease/LeaseKeepAlive" => return self.keep_alive(member, asked, answers).await,
            "/v3electionpb.Election/Campaign" => {
                let request = asked.next().await.ok_or(GARBLED)?;
                return self.campaign(member, request, answers).await;
            }
            "/etcdserverpb.KV/Range" => {
                let RangeRequest { key, range_end, limit, revision } = asked.next().await.ok_or(GARBLED)?;
                self.with_leader(member).await?;
                // A member that is behind waits until it has caught up.
                let newest = self.newest.get();
                self.until_applied(member, newest).await?;
                let mut kvs = self.truth.borrow().range(&Range::new(key, range_end), revision)?;
                let count = kvs.len();
                if limit > 0 {
                    kvs.truncate(limit as usize);
                }
                let (more, header) = (kvs.len() < count, self.header(member));
                answers.say(&RangeResponse { header, kvs, more, count: count as i64 });
            }
            "/etcdserverpb.KV/Put" => {
                let put: PutRequest = asked.next().await.ok_or(GARBLED)?;
                self.propose(member, |truth| truth.put(&[put])).await??;
                answers.say(&Done { header: self.header(member) });
            }
            "/etcdserverpb.KV/DeleteRange" => {
                let DeleteRequest { key, range_end } = asked.next().await.ok_or(GARBLED)?;
                self.propose(member, |truth| truth.delete_range(&Range::new(key, range_end))).await?;
                answers.say(&Done { header: self.header(member) });
            }
            "/etcdserverpb.KV/Txn" => {
                let TxnRequest { compare, success } = asked.next().await.ok_or(GARBLED)?;
                let puts: Vec<PutRequest> = success
                    .into_iter()
                    .map(|operation| match operation.any {
                        Some(AnyOperation::Put(put)) => put,
                        None => panic!("the client only puts in a transaction"),
                    })
                    .collect();
                let write = |truth: &mut Truth| {
                    let holds = compare.iter().all(|compare| truth.holds(compare));
                    if holds {
                        truth.put(&puts)?
                    };
                    Ok::<_, Status>((holds, truth.revision()))
                };
                let (succeeded, revision) = self.propose(member, write).await??;
                let header = Some(Header { revision, ..self.header(member).unwrap_or_default() });
                answers.say(&TxnResponse { header, succeeded });
            }
            "/etcdserverpb.Lease/LeaseGrant" => {
                let GrantRequest { ttl } = asked.next().await.ok_or(GARBLED)?;
                let id = self.propose(member, |truth| truth.grant(self.history.now(), ttl)).await?;
                answers.say(&LeaseResponse { header: self.header(member), id, ttl });
            }
            "/etcdserverpb.Lease/LeaseRevoke" => {
                let LeaseRequest { id } = asked.next().await.ok_or(GARBLED)?;
                self.propose(member, |truth| truth.revoke(id)).await??;
                answers.say(&Done { header: self.header(member) });
            }
            "/v3electionpb.Election/Resign" => {
                let ResignRequest { leader } = asked.next().await.ok_or(GARBLED)?;
                let LeaderKey { key, rev, .. } = leader.ok_or(GARBLED)?;
                self.propose(member, |truth| {
                    truth.delete(|kv| kv.key == key && kv.create_revision == rev);
                })
                .await?;
                answers.say(&Done { header: self.header(member) });
            }
            _ => panic!("the client has never asked for {path} before: the simulation has to learn it"),
        }
        Ok(())
    }

    fn header(&self, member: usize) -> Option<Header> {
        let revision = self.members[member].applied.get();
        Some(Header { cluster_id: 1, member_id: member as u64 + 1, revision })
    }

    /// Waits until there is a leader whom the member hears of.
    async fn with_leader(&self, member: usize) -> Result<(), Status> {
        let joined = &self.members[member].joined;
        let both = async {
            while !(joined.get() && self.leads.get()) {
                joined.until(|joined| joined).await;
                self.leads.until(|leads| leads).await;
            }
        };
        timeout(LEADERLESS_MAX, both).await.map_err(|_| UNAVAILABLE)
    }

    async fn until_applied(&self, member: usize, revision: i64) -> Result<(), Status> {
        let caught_up = self.members[member].applied.until(|applied| applied >= revision);
        timeout(LEADERLESS_MAX, caught_up).await.map_err(|_| UNAVAILABLE)
    }

    /// Has all members agree on a change, and answers when this one has applied it.
    async fn propose<T>(&self, member: usize, change: impl FnOnce(&mut Truth) -> T) -> Result<T, Status> {
        self.with_leader(member).await?;
        let took = self.dice.borrow_mut().roll(4);
        sleep(Duration::from_millis(took as u64)).await;
        // Its leader may be gone meanwhile; then it is for the next one to find it in the log.
        self.with_leader(member).await?;
        let result = self.change(change);
        let revision = self.truth.borrow().revision();
        self.until_applied(member, revision).await?;
        Ok(result)
    }

    async fn keep_alive(&self, member: usize, mut asked: Asked, answers: &Answers) -> Result<(), Status> {
        while let Some(LeaseRequest { id }) = asked.next().await {
            let counted = self.stale.get() != Some(member);
            if counted {
                self.with_leader(member).await?;
            }
            let ttl = self.truth.borrow_mut().keep_alive(self.history.now(), id, counted);
            answers.say(&LeaseResponse { header: self.header(member), id, ttl });
        }
        Ok(())
    }

    async fn watch(&self, member: usize, mut asked: Asked, answers: &Answers) -> Result<(), Status> {
        let Some(WatchRequest { create: Some(create) }) = asked.next().await else { return Ok(()) };
        let range = Range::new(create.key, create.range_end);
        let answer = |answer| answers.say(&WatchResponse { header: self.header(member), ..answer });
        answer(WatchResponse { created: true, ..WatchResponse::default() });
        let mut next = match create.start_revision {
            0 => self.members[member].applied.get() + 1,
            start => start,
        };
        let Member { joined, applied, .. } = &self.members[member];
        let left_alone = async {
            loop {
                joined.until(|joined| !joined).await;
                if timeout(LEADERLESS_MAX, joined.until(|joined| joined)).await.is_err() {
                    return;
                }
            }
        };
        tokio::pin!(left_alone);
        loop {
            let compacted = self.truth.borrow().compacted();
            if next < compacted {
                let compact_revision = compacted;
                answer(WatchResponse { canceled: true, compact_revision, ..WatchResponse::default() });
                return Ok(());
            }
            let up_to = applied.get();
            let events = self.truth.borrow().events(&range, next - 1, up_to);
            if !events.is_empty() {
                answer(WatchResponse { events, ..WatchResponse::default() });
            }
            next = next.max(up_to + 1);
            tokio::select! {
                biased;
                () = answers.closed() => return Ok(()),
                () = &mut left_alone => return Err(UNAVAILABLE),
                () = applied.differs_from(up_to) => {}
            }
        }
    }

    /// etcd's election: the oldest key has won; who gives up takes its key back.
    async fn campaign(
        &self,
        member: usize,
        request: CampaignRequest,
        answers: &Answers,
    ) -> Result<(), Status> {
        let CampaignRequest { name, lease, value } = request;
        let key = [&name[..], format!("/{lease:x}").as_bytes()].concat();
        let put = PutRequest { key: key.clone(), value, lease };
        let stand = |truth: &mut Truth| {
            if truth.get(&key).is_none() {
                truth.put(&[put])?;
            }
            Ok::<_, Status>(truth.get(&key).map_or(0, |kv| kv.create_revision))
        };
        let rev = self.propose(member, stand).await??;
        let all = Range::new([&name[..], b"/"].concat(), [&name[..], b"0"].concat());
        let applied = &self.members[member].applied;
        loop {
            let seen = applied.get();
            let standing = self.truth.borrow().range(&all, 0)?;
            if !standing.iter().any(|kv| kv.create_revision < rev) {
                let leader = Some(LeaderKey { name, key, rev, lease });
                answers.say(&CampaignResponse { header: self.header(member), leader });
                return Ok(());
            }
            tokio::select! {
                biased;
                () = answers.closed() => {
                    return self.propose(member, |truth| {
                        truth.delete(|kv| kv.key == key && kv.create_revision == rev);
                    }).await;
                }
                () = applied.differs_from(seen) => {}
            }
        }
    }
}
