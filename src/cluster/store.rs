//! The way to etcd: which member is asked, how long it may take, and what is asked of it.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::time::Duration;

use etcd_client::{
    Certificate, Client, Compare, CompareOp, ConnectOptions, GetOptions, Identity, KeyValue, PutOptions,
    TlsOptions, Txn, TxnOp, WatchOptions, WatchStream,
};
use tokio::time::{sleep, timeout};

use super::refusals::{Asking, Refusals};
use crate::broken::{Rule, breaks};
use crate::config::Cluster;
use crate::core::fleet::{LeaseId, Revision};

/// How long a member may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// How long it may take to be connected to.
pub const CONNECT_MAX: Duration = Duration::from_millis(500);
/// A member that is silent for so long is asked whether it is there, and has as long to say so.
pub const SILENCE_MAX: Duration = Duration::from_secs(1);
/// Wait before the next member is asked; doubled each time, up to the second figure.
const AGAIN_AFTER: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));
/// Keys that are read at a time.
const PAGE: i64 = 5_000;
/// gRPC's word for: etcd does not have that revision, nor will it ever.
const OUT_OF_RANGE: i32 = 11;
/// The same for a lease that is not there.
const NOT_FOUND: i32 = 5;

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// etcd says no, or could not be reached.
    #[error("etcd: {0}")]
    Etcd(#[from] etcd_client::Error),
    /// Somebody else has written meanwhile.
    #[error("the fleet's store was written by somebody else meanwhile: try again")]
    Busy,
    /// It did not answer.
    #[error("etcd at {0} does not answer")]
    Silent(String),
}

/// How a member is connected to.
type Connect = Box<dyn Fn(&str, ConnectOptions) -> Pin<Box<dyn Future<Output = Connected>>>>;
type Connected = Result<Client, etcd_client::Error>;

/// See the module's text.
pub struct Store {
    config: Cluster,
    connect: Connect,
    /// One for each member, made when it is first asked.
    clients: Vec<RefCell<Option<Client>>>,
    /// The one that answered last.
    current: Cell<usize>,
    refusals: Refusals,
}

/// A key and what stands there.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The key, without the prefix and the folder.
    pub name: String,
    /// The value.
    pub value: Vec<u8>,
    /// When it was written.
    pub at: Revision,
}

/// One write of a transaction.
#[derive(Clone, Debug)]
pub struct Put {
    /// The key, without the prefix.
    pub key: String,
    /// The value.
    pub value: Vec<u8>,
    /// The revision of what it replaces; 0 if there is nothing.
    pub guard: Revision,
    /// The lease that it goes with.
    pub lease: Option<LeaseId>,
}

impl Store {
    /// Nothing is connected to yet.
    pub fn new(config: Cluster) -> Self {
        Self::connected_by(config, |url, options| {
            let url = url.to_owned();
            async move { Client::connect([url], Some(options)).await }
        })
    }

    /// The same, and members are connected to in another way than by their URLs.
    pub fn connected_by<F>(config: Cluster, connect: impl Fn(&str, ConnectOptions) -> F + 'static) -> Self
    where
        F: Future<Output = Connected> + 'static,
    {
        let clients = config.etcd.iter().map(|_| RefCell::default()).collect();
        let connect: Connect = Box::new(move |url, options| Box::pin(connect(url, options)));
        Self { config, connect, clients, current: Cell::new(0), refusals: Refusals::default() }
    }

    /// What it is configured by.
    pub fn config(&self) -> &Cluster {
        &self.config
    }

    /// What it goes on being refused.
    pub fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// To be told how it goes: for what is asked until it goes, and not by [`Self::until_answered`], which does so itself.
    pub fn asking<'a>(&'a self, what: &'a str) -> Asking<'a> {
        self.refusals.asking(what)
    }

    /// The whole key.
    pub fn key(&self, rest: &str) -> String {
        format!("{}/{rest}", self.config.prefix)
    }

    /// A key's part after the prefix.
    pub fn rest<'a>(&self, key: &'a [u8]) -> Option<&'a str> {
        std::str::from_utf8(key).ok()?.strip_prefix(&self.config.prefix)?.strip_prefix('/')
    }

    /// A client of the member that answered last, and its URL.
    pub async fn client(&self) -> Result<(Client, &str), StoreError> {
        let at = self.current.get();
        let url = self.config.etcd[at].as_str();
        if let Some(client) = &*self.clients[at].borrow() {
            return Ok((client.clone(), url));
        }
        let connecting = (self.connect)(url, self.options());
        let client =
            timeout(ANSWER_MAX, connecting).await.map_err(|_| StoreError::Silent(url.to_owned()))??;
        *self.clients[at].borrow_mut() = Some(client.clone());
        Ok((client, url))
    }

    /// Another member is to be asked from now on.
    pub fn turn_away(&self) {
        let at = self.current.get();
        // A broken connection is not used again.
        self.clients[at].take();
        self.current.set((at + 1) % self.clients.len());
    }

    fn options(&self) -> ConnectOptions {
        let silence = if breaks(Rule::WaitsForTheAnswer) { self.config.lease_ttl } else { SILENCE_MAX };
        let mut options = ConnectOptions::new()
            .with_connect_timeout(CONNECT_MAX)
            .with_keep_alive(silence, silence)
            .with_keep_alive_while_idle(true)
            .with_require_leader(true)
            .with_auto_token_refresh(true);
        if let Some((user, password)) = &self.config.user {
            options = options.with_user(user, password.expose());
        }
        if self.config.etcd.iter().any(|url| url.starts_with("https:")) {
            let mut tls = TlsOptions::new();
            let given = self.config.tls.as_ref();
            tls = match given.and_then(|tls| tls.ca.as_ref()) {
                Some(ca) => tls.ca_certificate(Certificate::from_pem(ca.as_bytes())),
                None => tls.with_native_roots(),
            };
            if let Some((cert, key)) = given.and_then(|tls| tls.identity.as_ref()) {
                tls = tls.identity(Identity::from_pem(cert.as_bytes(), key.expose().as_bytes()));
            }
            options = options.with_tls(tls);
        }
        options
    }

    /// Asks once, one member.
    ///
    /// # Errors
    /// What became of it. It is unknown then whether something was written.
    pub async fn once<T, F>(&self, ask: impl FnOnce(Client) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let done = async {
            let (client, url) = self.client().await?;
            let answer = timeout(ANSWER_MAX, ask(client)).await;
            answer.map_err(|_| StoreError::Silent(url.to_owned()))?.map_err(StoreError::from)
        };
        let done = done.await;
        if let Err(error) = &done {
            tracing::debug!(%error, "a member is turned away from");
            self.turn_away();
        }
        done
    }

    /// Asks until there is an answer, one member after the other. For what may be asked twice.
    pub async fn until_answered<T, F>(&self, what: &str, mut ask: impl FnMut(Client) -> F) -> T
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let (mut wait, mut asking) = (AGAIN_AFTER.0, self.asking(what));
        loop {
            match self.once(&mut ask).await {
                Ok(answer) => {
                    asking.went();
                    return answer;
                }
                Err(error) => {
                    tracing::debug!(%error, "{what}: asked again");
                    asking.failed(&error);
                }
            }
            sleep(wait).await;
            wait = (wait * 2).min(AGAIN_AFTER.1);
        }
    }

    /// Writes a key that goes with this lease, whatever stands there.
    pub async fn put_until_answered(&self, what: &str, key: &str, value: Vec<u8>, lease: LeaseId) {
        let key = self.key(key);
        self.until_answered(what, |mut client| {
            let (key, value) = (key.clone(), value.clone());
            let options = PutOptions::new().with_lease(lease.0);
            async move { client.put(key, value, Some(options)).await }
        })
        .await;
    }

    /// All keys of some folders, as of one revision: that of now, and not from a member that lags.
    pub async fn list<const N: usize>(&self, folders: [&str; N]) -> (Revision, [Vec<Stored>; N]) {
        'anew: loop {
            let (mut at, mut all) = (None, [const { Vec::new() }; N]);
            for (folder, found) in folders.iter().zip(&mut all) {
                match self.list_one(folder, at).await {
                    Some((revision, stored)) => {
                        at = Some(revision);
                        *found = stored;
                    }
                    None => {
                        tracing::debug!(folder, "the store was compacted meanwhile: all is read anew");
                        continue 'anew;
                    }
                }
            }
            return (at.unwrap_or_default(), all);
        }
    }

    /// All keys of a folder, as of `at`, or now; `None` if that is not to be had any more, for the store was compacted.
    async fn list_one(&self, folder: &str, at: Option<Revision>) -> Option<(Revision, Vec<Stored>)> {
        let (mut at, mut found) = (at, Vec::new());
        let begin = self.key(folder);
        let end = after_all(&begin);
        let mut from = begin.clone().into_bytes();
        loop {
            let mut answer = self
                .until_answered("reading keys", |mut client| {
                    let mut options = GetOptions::new().with_range(end.clone()).with_limit(PAGE);
                    if breaks(Rule::ListsFromALaggard) {
                        options = options.with_serializable();
                    }
                    if let Some(Revision(at)) = at {
                        options = options.with_revision(at as i64);
                    }
                    let from = from.clone();
                    async move {
                        match client.get(from, Some(options)).await {
                            Err(error) if at.is_some() && has_code(&error, OUT_OF_RANGE) => Ok(None),
                            answer => answer.map(Some),
                        }
                    }
                })
                .await?;
            let revision = answer.header().map_or(0, |header| header.revision() as u64);
            let at = *at.get_or_insert(Revision(revision));
            let more = answer.more();
            let page = answer.take_kvs();
            if let Some(last) = page.last() {
                from = last.key().to_vec();
                from.push(0);
            }
            let known = page.iter().filter_map(|kv| self.stored(kv));
            found.extend(
                known.map(|(rest, stored)| Stored { name: rest[folder.len()..].to_owned(), ..stored }),
            );
            if !more {
                return Some((at, found));
            }
        }
    }

    /// What a key says; the name is all that follows the prefix.
    pub fn stored(&self, kv: &KeyValue) -> Option<(String, Stored)> {
        let rest = self.rest(kv.key())?.to_owned();
        let at = Revision(kv.mod_revision() as u64);
        Some((rest.clone(), Stored { name: rest, value: kv.value().to_vec(), at }))
    }

    /// One key.
    pub async fn read(&self, key: &str) -> Option<Stored> {
        let whole = self.key(key);
        let mut answer = self
            .until_answered("reading a key", |mut client| {
                let whole = whole.clone();
                async move { client.get(whole, None).await }
            })
            .await;
        let kv = answer.take_kvs().into_iter().next()?;
        self.stored(&kv).map(|(_, stored)| stored)
    }

    /// Watches a folder from a revision on.
    ///
    /// # Errors
    /// Like [`Self::once`].
    pub async fn watch(&self, folder: &str, from: Revision) -> Result<WatchStream, StoreError> {
        let begin = self.key(folder);
        let options = WatchOptions::new().with_prefix().with_start_revision(from.0 as i64);
        self.once(|mut client| async move { client.watch(begin, Some(options)).await }).await
    }

    /// Writes all of these in one step, or none of them: `None` if a guard says no.
    ///
    /// # Errors
    /// Like [`Self::once`].
    pub async fn write(&self, puts: &[Put], also: Option<Compare>) -> Result<Option<Revision>, StoreError> {
        let guarded = puts.iter().filter(|put| put.lease.is_some() || !breaks(Rule::NoGuard));
        let compares = guarded
            .map(|put| Compare::mod_revision(self.key(&put.key), CompareOp::Equal, put.guard.0 as i64));
        let writes = puts.iter().map(|put| {
            let key = self.key(&put.key);
            if breaks(Rule::ForgetsTheEpoch) && put.value.ends_with(br#""phase":"gone"}"#) {
                return TxnOp::delete(key, None);
            }
            let options = put.lease.map(|lease| PutOptions::new().with_lease(lease.0));
            TxnOp::put(key, put.value.clone(), options)
        });
        let txn =
            Txn::new().when(compares.chain(also).collect::<Vec<_>>()).and_then(writes.collect::<Vec<_>>());
        let answer = self.once(|mut client| async move { client.txn(txn).await }).await?;
        let revision = answer.header().map_or(0, |header| header.revision() as u64);
        Ok(answer.succeeded().then_some(Revision(revision)))
    }

    /// Has a lease forgotten, and all that goes with it; returns when that is so.
    pub async fn revoke(&self, lease: LeaseId) {
        self.until_answered("giving the lease back", |mut client| async move {
            match client.lease_revoke(lease.0).await {
                // By itself, or by what was asked before and not heard of.
                Err(error) if has_code(&error, NOT_FOUND) => Ok(()),
                answer => answer.map(drop),
            }
        })
        .await;
    }
}

fn has_code(error: &etcd_client::Error, code: i32) -> bool {
    matches!(error, etcd_client::Error::GRpcStatus(status) if status.code() as i32 == code)
}

/// The first key after all that begin with this one, which ends with `/`.
fn after_all(folder: &str) -> Vec<u8> {
    let mut end = folder.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}
