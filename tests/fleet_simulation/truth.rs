//! What etcd's members agree on: keys, their history, and leases. It has no clock; it is told what time it is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::grpc::Status;
use super::messages::{Compare, Compared, Event, EventKind, KeyValue, PutRequest};

const NO_LEASE: Status = Status(5, "etcdserver: requested lease not found");
const COMPACTED: Status = Status(11, "etcdserver: mvcc: required revision has been compacted");
const FUTURE: Status = Status(11, "etcdserver: mvcc: required revision is a future revision");

/// A lease, and when it may end.
#[derive(Clone, Copy, Debug)]
struct Lease {
    ttl: Duration,
    until: Duration,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    revision: i64,
    compacted: i64,
    keys: BTreeMap<Vec<u8>, KeyValue>,
    log: Vec<Event>,
    leases: BTreeMap<i64, Lease>,
    granted: i64,
}

/// Keys from one to before another; one key alone if that is empty.
#[derive(Clone, Debug)]
pub(crate) struct Range {
    from: Vec<u8>,
    to: Vec<u8>,
}

impl Range {
    pub(crate) fn new(from: Vec<u8>, to: Vec<u8>) -> Self {
        Self { from, to }
    }

    fn has(&self, key: &[u8]) -> bool {
        if self.to.is_empty() { key == self.from } else { key >= &self.from[..] && key < &self.to[..] }
    }
}

/// Whose event it is.
pub(crate) fn kv(event: &Event) -> &KeyValue {
    event.kv.as_ref().expect("each event is about a key")
}

impl Truth {
    pub(crate) fn revision(&self) -> i64 {
        self.revision
    }

    pub(crate) fn compacted(&self) -> i64 {
        self.compacted
    }

    /// What was before is no more to be had.
    pub(crate) fn compact(&mut self, revision: i64) {
        self.compacted = self.compacted.max(revision.min(self.revision));
    }

    /// What there was as of a revision, by key; 0 stands for now.
    pub(crate) fn range(&self, range: &Range, at: i64) -> Result<Vec<KeyValue>, Status> {
        if at > self.revision {
            return Err(FUTURE);
        }
        if at != 0 && at < self.compacted {
            return Err(COMPACTED);
        }
        if at == 0 {
            let all = self.keys.iter().filter(|(key, _)| range.has(key));
            return Ok(all.map(|(_, kv)| kv.clone()).collect());
        }
        let mut keys: BTreeMap<&[u8], &KeyValue> = BTreeMap::new();
        for event in self.log.iter().take_while(|event| kv(event).mod_revision <= at) {
            match EventKind::try_from(event.kind) {
                Ok(EventKind::Put) if range.has(&kv(event).key) => keys.insert(&kv(event).key, kv(event)),
                _ => keys.remove(&kv(event).key[..]),
            };
        }
        Ok(keys.into_values().cloned().collect())
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&KeyValue> {
        self.keys.get(key)
    }

    /// What was written after one revision, up to another.
    pub(crate) fn events(&self, range: &Range, after: i64, up_to: i64) -> Vec<Event> {
        let begin = self.log.partition_point(|event| kv(event).mod_revision <= after);
        let within = self.log[begin..].iter().take_while(|event| kv(event).mod_revision <= up_to);
        within.filter(|event| range.has(&kv(event).key)).cloned().collect()
    }

    /// Writes all of these in one revision.
    pub(crate) fn put(&mut self, puts: &[PutRequest]) -> Result<(), Status> {
        if puts.iter().any(|put| put.lease != 0 && !self.leases.contains_key(&put.lease)) {
            return Err(NO_LEASE);
        }
        self.revision += 1;
        for put in puts {
            let before = self.keys.get(&put.key);
            let kv = KeyValue {
                key: put.key.clone(),
                create_revision: before.map_or(self.revision, |kv| kv.create_revision),
                mod_revision: self.revision,
                version: before.map_or(0, |kv| kv.version) + 1,
                value: put.value.clone(),
                lease: put.lease,
            };
            self.keys.insert(put.key.clone(), kv.clone());
            self.log.push(Event { kind: EventKind::Put.into(), kv: Some(kv) });
        }
        Ok(())
    }

    /// Deletes all of these in one revision; nothing is written if there are none.
    pub(crate) fn delete(&mut self, is_meant: impl Fn(&KeyValue) -> bool) {
        let gone: Vec<Vec<u8>> =
            self.keys.values().filter(|kv| is_meant(kv)).map(|kv| kv.key.clone()).collect();
        if gone.is_empty() {
            return;
        }
        self.revision += 1;
        for key in gone {
            self.keys.remove(&key);
            let kv = KeyValue { key, mod_revision: self.revision, ..KeyValue::default() };
            self.log.push(Event { kind: EventKind::Delete.into(), kv: Some(kv) });
        }
    }

    pub(crate) fn delete_range(&mut self, range: &Range) {
        self.delete(|kv| range.has(&kv.key));
    }

    pub(crate) fn holds(&self, compare: &Compare) -> bool {
        assert_eq!(compare.result, 0, "the client compares for equality only");
        let kv = self.keys.get(&compare.key);
        match compare.with.as_ref().expect("the client compares revisions") {
            Compared::CreateRevision(at) => kv.map_or(0, |kv| kv.create_revision) == *at,
            Compared::ModRevision(at) => kv.map_or(0, |kv| kv.mod_revision) == *at,
        }
    }

    pub(crate) fn grant(&mut self, now: Duration, ttl: i64) -> i64 {
        self.granted += 1;
        // In hexadecimal digits they look like etcd's, and none is the beginning of another.
        let id = 0x5eed_0000_0000 + self.granted;
        let ttl = Duration::from_secs(ttl.unsigned_abs());
        self.leases.insert(id, Lease { ttl, until: now + ttl });
        id
    }

    /// The time that it has again, in seconds; 0 if there is none. One that is answered by a leader who leads no more
    /// is not `counted`.
    pub(crate) fn keep_alive(&mut self, now: Duration, id: i64, counted: bool) -> i64 {
        let Some(lease) = self.leases.get_mut(&id) else { return 0 };
        if counted {
            lease.until = lease.until.max(now + lease.ttl);
        }
        lease.ttl.as_secs() as i64
    }

    pub(crate) fn revoke(&mut self, id: i64) -> Result<(), Status> {
        self.leases.remove(&id).ok_or(NO_LEASE)?;
        self.delete(|kv| kv.lease == id);
        Ok(())
    }

    /// A new leader gives each lease all of its time again.
    pub(crate) fn extend_all(&mut self, now: Duration) {
        self.leases.values_mut().for_each(|lease| lease.until = lease.until.max(now + lease.ttl));
    }

    /// Leases that may end now.
    pub(crate) fn overdue(&self, now: Duration) -> BTreeSet<i64> {
        let over = self.leases.iter().filter(|(_, lease)| lease.until <= now);
        over.map(|(id, _)| *id).collect()
    }
}
