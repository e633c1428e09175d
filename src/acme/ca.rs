//! One certificate authority, and our account there.

use instant_acme::{Account, AccountCredentials, Error, ExternalAccountKey, NewAccount};
use tokio::sync::Mutex;

use super::http::Http;
use super::store::Store;
use crate::config::acme::CertificateAuthority;

/// Tries after the nonce of a request was refused; the crate makes three of each.
const NONCE_TRIES: u32 = 10;

/// See the [module](self).
pub(super) struct Ca {
    config: CertificateAuthority,
    contact: Vec<String>,
    account: Mutex<Option<Account>>,
}

impl Ca {
    pub(super) fn new(config: CertificateAuthority, contact: Vec<String>) -> Self {
        Self { config, contact, account: Mutex::default() }
    }

    pub(super) fn directory(&self) -> &str {
        &self.config.directory
    }

    /// Our account: the one in memory, the one on the disk, or a new one.
    pub(super) async fn account(&self, store: &Store) -> Result<Account, Error> {
        // Held while it is made, so that ten orders don't make ten accounts.
        let mut account = self.account.lock().await;
        if let Some(account) = &*account {
            return Ok(account.clone());
        }
        let made = match self.stored(store).await? {
            Some(account) => account,
            None => self.create(store).await?,
        };
        *account = Some(made.clone());
        Ok(made)
    }

    /// The authority doesn't know this account of ours any more: the next order makes another.
    pub(super) async fn forget_account(&self, gone: &Account, store: &Store) {
        let mut account = self.account.lock().await;
        // Of ten orders that find out, the first makes a new one for all.
        if account.as_ref().is_some_and(|account| account.id() != gone.id()) {
            return;
        }
        tracing::warn!(
            directory = self.config.directory,
            "the authority has forgotten our account; making a new one"
        );
        *account = None;
        if let Err(error) = store.forget_account(&self.config.directory) {
            tracing::error!(%error, "its key could not be removed");
        }
    }

    /// The next order reads the directory anew.
    pub(super) async fn look_again(&self) {
        *self.account.lock().await = None;
    }

    async fn stored(&self, store: &Store) -> Result<Option<Account>, Error> {
        let Some(text) = store.account(&self.config.directory) else { return Ok(None) };
        let credentials: AccountCredentials = match serde_json::from_str(&text) {
            Ok(credentials) => credentials,
            Err(error) => {
                tracing::error!(directory = self.config.directory, %error, "the key of our account is unreadable; making a new account");
                return Ok(None);
            }
        };
        let builder = Account::builder_with_http(Box::new(self.http()?));
        builder.from_credentials(credentials).await.map(Some)
    }

    async fn create(&self, store: &Store) -> Result<Account, Error> {
        let contact: Vec<&str> = self.contact.iter().map(String::as_str).collect();
        let new =
            NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let binding = self.config.external_account.as_ref();
        let binding =
            binding.map(|account| ExternalAccountKey::new(account.id.clone(), &account.key_bytes()));
        let mut tries = 0;
        let (account, credentials) = loop {
            let builder = Account::builder_with_http(Box::new(self.http()?));
            match builder.create(&new, self.config.directory.clone(), binding.as_ref()).await {
                Err(error) if is_bad_nonce(&error) && tries < NONCE_TRIES => tries += 1,
                result => break result?,
            }
        };
        let text = zeroize::Zeroizing::new(serde_json::to_string(&credentials)?);
        store.keep_account(&self.config.directory, &text).map_err(|error| Error::Other(Box::new(error)))?;
        tracing::info!(directory = self.config.directory, account = account.id(), "a new account");
        Ok(account)
    }

    fn http(&self) -> Result<Http, Error> {
        Http::new(self.config.roots.as_deref()).map_err(|why| Error::Other(why.into()))
    }
}

/// Whether the authority wants the same request once more, with another nonce.
pub(super) fn is_bad_nonce(error: &Error) -> bool {
    problem(error) == "badNonce"
}

/// The last part of the kind of problem that the authority has; empty if it is none of its own.
pub(super) fn problem(error: &Error) -> &str {
    match error {
        Error::Api(problem) => kind(problem),
        _ => "",
    }
}

pub(super) fn kind(problem: &instant_acme::Problem) -> &str {
    problem.r#type.as_deref().and_then(|kind| kind.rsplit(':').next()).unwrap_or_default()
}

/// Does a step again, as long as only its nonce is refused.
macro_rules! with_a_good_nonce {
    ($step:expr) => {{
        let mut tries = 0;
        loop {
            match $step.await {
                Err(error) if $crate::acme::ca::is_bad_nonce(&error) && tries < $crate::acme::ca::tries() => {
                    tries += 1
                }
                result => break result,
            }
        }
    }};
}
pub(super) use with_a_good_nonce;

pub(super) fn tries() -> u32 {
    NONCE_TRIES
}
