//! One order, from its beginning (or from where a former life left it) to a certificate on the disk.
//!
//! Each step has a deadline. What could be lost by dying in between is written down first: the order's address and the key
//! that it will be for, as soon as there is an order.

use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeStatus, ChallengeType, Error, Identifier,
    NewOrder, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};
use zeroize::{Zeroize, Zeroizing};

use super::ca::{Ca, kind, problem, with_a_good_nonce};
use super::challenges::{Answering, Challenges};
use super::http::TurnedAway;
use super::pem;
use super::store::{Store, Unfinished};
use crate::config::acme::Challenge;
use crate::core::orders::{Ended, Failure, Order, Time, Window};

/// One order with all its steps. What is still unfinished then is taken up again later.
const ORDER_TIMEOUT: Duration = Duration::from_secs(300);
/// How long an authority may take to look at a challenge.
const PROVE_TIMEOUT: Duration = Duration::from_secs(120);
/// How long it may take to issue.
const ISSUE_TIMEOUT: Duration = Duration::from_secs(90);
/// The suggestion for a renewal is nice to have.
const WINDOW_TIMEOUT: Duration = Duration::from_secs(10);

/// What went wrong, for the planner and for people.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) failure: Failure,
    pub(super) why: String,
}

/// What an order needs.
#[derive(Clone, Copy)]
pub(super) struct Means<'a> {
    pub(super) ca: &'a Ca,
    pub(super) store: &'a Store,
    pub(super) challenges: &'a Challenges,
    /// How names are proved, in the order of preference.
    pub(super) kinds: &'a [Challenge],
}

/// Carries an order out. The certificate is on the disk when it was issued.
pub(super) async fn carry_out(order: &Order, means: Means<'_>) -> Result<Ended, Trouble> {
    let late =
        |_| Err(Trouble { failure: Failure::Silent, why: format!("it took longer than {ORDER_TIMEOUT:?}") });
    let result = tokio::time::timeout(ORDER_TIMEOUT, steps(order, means)).await.unwrap_or_else(late);
    let Err(Trouble { failure: failure @ (Failure::Unavailable | Failure::Silent), why }) = result else {
        return result;
    };
    // Perhaps it has moved: its directory is read anew.
    means.ca.look_again().await;
    // If it answers, only this order is stuck, and no other name has to wait for that.
    let failure = match failure == Failure::Silent && account(means).await.is_err() {
        true => Failure::Unavailable,
        false => failure,
    };
    Err(Trouble { failure, why })
}

async fn steps(order: &Order, means: Means<'_>) -> Result<Ended, Trouble> {
    let name = &*order.name;
    let mut account = account(means).await?;
    let begun = means.store.unfinished(name);
    let begun = begun.filter(|begun| begun.directory == means.ca.directory() && !order.anew);
    let taken_up = begun.is_some();
    let (mut ordered, unfinished) = match begun {
        Some(unfinished) => (take_up(&account, &unfinished, means).await.map_err(of_this_order)?, unfinished),
        None => begin(order, &mut account, means).await?,
    };
    let result = finish(name, order.attempt, &mut ordered, &unfinished, &account, means).await;
    result.map_err(|trouble| match trouble.failure {
        // While the process was gone, nobody answered the challenge.
        Failure::Challenge | Failure::Refused if taken_up => Trouble { failure: Failure::Lapsed, ..trouble },
        _ => of_this_order(trouble),
    })
}

/// What came of asking about an order that the authority has taken: perhaps the rest of it is well.
fn of_this_order(trouble: Trouble) -> Trouble {
    match trouble.failure {
        Failure::Unavailable => Trouble { failure: Failure::Silent, ..trouble },
        _ => trouble,
    }
}

/// Whatever is wrong with our account is wrong for all names.
async fn account(means: Means<'_>) -> Result<Account, Trouble> {
    means.ca.account(means.store).await.map_err(|error| match trouble(&error) {
        limited @ Trouble { failure: Failure::RateLimited { .. }, .. } => limited,
        Trouble { why, .. } => Trouble { failure: Failure::Unavailable, why: format!("our account: {why}") },
    })
}

async fn take_up(
    account: &Account,
    unfinished: &Unfinished,
    means: Means<'_>,
) -> Result<instant_acme::Order, Trouble> {
    let fetched = async { with_a_good_nonce!(account.order(unfinished.url.clone())) };
    let error = match fetched.await {
        Ok(ordered) => return Ok(ordered),
        Err(error) => error,
    };
    let gone = problem(&error) == "accountDoesNotExist";
    if gone {
        means.ca.forget_account(account, means.store).await;
    }
    Err(match trouble(&error) {
        // Orders are forgotten after some days; or the whole authority was made anew.
        Trouble { failure, why } if gone || matches!(failure, Failure::Refused | Failure::Challenge) => {
            Trouble { failure: Failure::Lapsed, why: format!("the order is gone: {why}") }
        }
        trouble => trouble,
    })
}

async fn begin(
    order: &Order,
    account: &mut Account,
    means: Means<'_>,
) -> Result<(instant_acme::Order, Unfinished), Trouble> {
    let name = &*order.name;
    let identifiers = [Identifier::Dns(name.to_owned())];
    let plain = NewOrder::new(&identifiers);
    let replaced = if order.renewal { replaced(name, means) } else { None };
    let replacing = replaced.map(|replaced| NewOrder::new(&identifiers).replaces(replaced));
    let mut ordered = match &replacing {
        Some(new) => async { with_a_good_nonce!(account.new_order(new)) }.await,
        None => Err(Error::Unsupported("")),
    };
    // That it replaces another only lets it through limits: an authority that doesn't want to hear so is not told.
    let unheard = match &ordered {
        Err(Error::Unsupported(_)) => true,
        Err(Error::Api(_)) => !matches!(problem_of(&ordered), "rateLimited" | "accountDoesNotExist"),
        Err(Error::Other(other)) => other.to_string().starts_with("replaces field mismatch"),
        _ => false,
    };
    if unheard {
        ordered = async { with_a_good_nonce!(account.new_order(&plain)) }.await;
    }
    if problem_of(&ordered) == "accountDoesNotExist" {
        means.ca.forget_account(account, means.store).await;
        *account = self::account(means).await?;
        ordered = async { with_a_good_nonce!(account.new_order(&plain)) }.await;
    }
    let ordered = ordered.map_err(|error| trouble(&error))?;
    let mut key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|error| ours(&error))?;
    let unfinished = Unfinished {
        directory: means.ca.directory().to_owned(),
        url: ordered.url().to_owned(),
        key: Zeroizing::new(key.serialize_pem()),
    };
    key.zeroize();
    means.store.begun(name, &unfinished).map_err(|error| ours(&error))?;
    Ok((ordered, unfinished))
}

fn problem_of<T>(result: &Result<T, Error>) -> &str {
    result.as_ref().err().map(problem).unwrap_or_default()
}

/// The certificate that a renewal replaces.
fn replaced(name: &str, means: Means<'_>) -> Option<CertificateIdentifier<'static>> {
    let leaf = pem::leaf(&means.store.certificate(name)?).ok()?;
    let identifier: CertificateIdentifier<'_> = (&leaf).try_into().ok()?;
    Some(identifier.into_owned())
}

async fn finish(
    name: &str,
    attempt: u32,
    ordered: &mut instant_acme::Order,
    unfinished: &Unfinished,
    account: &Account,
    means: Means<'_>,
) -> Result<Ended, Trouble> {
    if ordered.state().status == OrderStatus::Pending {
        let answering = async { with_a_good_nonce!(answer_challenges(name, attempt, ordered, means)) }.await;
        let answering = answering.map_err(|error| trouble(&error))?;
        let policy =
            RetryPolicy::new().initial_delay(Duration::from_millis(250)).backoff(1.5).timeout(PROVE_TIMEOUT);
        let proved = async { with_a_good_nonce!(ordered.poll_ready(&policy)) }.await;
        drop(answering);
        if let Err(error) = &proved
            && ordered.state().status != OrderStatus::Invalid
        {
            return Err(trouble(error));
        }
    }
    if ordered.state().status == OrderStatus::Invalid {
        return Err(why_invalid(ordered).await);
    }
    if ordered.state().status == OrderStatus::Ready {
        let csr = signing_request(name, &unfinished.key)?;
        async { with_a_good_nonce!(ordered.finalize_csr(&csr)) }.await.map_err(|error| trouble(&error))?;
    }
    let policy =
        RetryPolicy::new().initial_delay(Duration::from_millis(250)).backoff(1.5).timeout(ISSUE_TIMEOUT);
    let chain = match ordered.state().status {
        OrderStatus::Valid => {
            async { with_a_good_nonce!(ordered.certificate()) }.await.map_err(|error| trouble(&error))?
        }
        _ => None,
    };
    let chain = match chain {
        Some(chain) => chain,
        None => async { with_a_good_nonce!(ordered.poll_certificate(&policy)) }
            .await
            .map_err(|error| trouble(&error))?,
    };
    let text = Zeroizing::new(format!("{}\n{}", chain.trim_end(), unfinished.key.as_str()));
    let facts = pem::check(name, &text).map_err(|why| Trouble {
        failure: Failure::Refused,
        why: format!("what the authority has issued can't be used: {why}"),
    })?;
    means.store.keep_certificate(name, &text).map_err(|error| ours(&error))?;
    let window = window(account, &text).await.map(|(window, _)| window);
    Ok(Ended::Issued { not_before: facts.not_before, not_after: facts.not_after, window })
}

/// Puts the answers where the authority will look for them, and asks it to look. They stay until the result is dropped.
async fn answer_challenges(
    name: &str,
    attempt: u32,
    ordered: &mut instant_acme::Order,
    means: Means<'_>,
) -> Result<Vec<Answering>, Error> {
    let mut answering = Vec::new();
    let mut authorizations = ordered.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        match authorization.status {
            AuthorizationStatus::Pending => {}
            AuthorizationStatus::Valid => continue,
            // The order is bad then; its state says so soon.
            _ => continue,
        }
        let offered: Vec<Challenge> = means
            .kinds
            .iter()
            .copied()
            .filter(|kind| {
                authorization.challenges.iter().any(|challenge| challenge.r#type == type_of(*kind))
            })
            .collect();
        if offered.is_empty() {
            return Err(Error::Unsupported("any of acme.challenges"));
        }
        // The authority looks at one that was begun before; another can't be chosen any more.
        let begun = offered.iter().copied().find(|kind| {
            let same = |challenge: &&instant_acme::Challenge| challenge.r#type == type_of(*kind);
            let challenge = authorization.challenges.iter().find(same);
            challenge.is_some_and(|challenge| challenge.status == ChallengeStatus::Processing)
        });
        let kind = begun.unwrap_or(offered[attempt as usize % offered.len()]);
        let mut challenge = authorization.challenge(type_of(kind)).expect("it is offered");
        let answer = challenge.key_authorization();
        answering.push(match kind {
            Challenge::Http01 => means.challenges.answer_http01(&challenge.token, answer.as_str()),
            Challenge::TlsAlpn01 => means
                .challenges
                .answer_tls_alpn01(name, answer.digest().as_ref())
                .map_err(|why| Error::Other(why.into()))?,
        });
        if begun.is_none() {
            challenge.set_ready().await?;
        }
    }
    Ok(answering)
}

fn type_of(kind: Challenge) -> ChallengeType {
    match kind {
        Challenge::Http01 => ChallengeType::Http01,
        Challenge::TlsAlpn01 => ChallengeType::TlsAlpn01,
    }
}

/// Why an order has gone bad: what the authority says of it, or of the challenge.
async fn why_invalid(ordered: &mut instant_acme::Order) -> Trouble {
    let mut found = ordered.state().error.clone();
    let mut authorizations = ordered.authorizations();
    while let Some(Ok(authorization)) = authorizations.next().await {
        let failed = authorization.challenges.iter().find_map(|challenge| challenge.error.clone());
        found = failed.or(found);
    }
    match found {
        Some(error) => trouble(&Error::Api(error)),
        None => Trouble {
            failure: Failure::Challenge,
            why: "the authority has made it invalid and doesn't say why".into(),
        },
    }
}

fn signing_request(name: &str, key: &str) -> Result<Vec<u8>, Trouble> {
    let mut key = KeyPair::from_pem(key).map_err(|error| ours(&error))?;
    let mut params = CertificateParams::new([name.to_owned()]).map_err(|error| ours(&error))?;
    params.distinguished_name = DistinguishedName::new();
    let csr = params.serialize_request(&key).map(|csr| csr.der().to_vec());
    key.zeroize();
    csr.map_err(|error| ours(&error))
}

/// When the authority suggests to renew a certificate (RFC 9773), and in how many seconds to ask again; `None` if it makes
/// no suggestions, or not now.
pub(super) async fn window(account: &Account, pem: &str) -> Option<(Window, u64)> {
    let leaf = pem::leaf(pem).ok()?;
    let identifier: CertificateIdentifier<'_> = (&leaf).try_into().ok()?;
    let asked = tokio::time::timeout(WINDOW_TIMEOUT, account.renewal_info(&identifier)).await.ok()?;
    let (info, again_in) = asked.ok()?;
    let time = |at: i64| Time(u64::try_from(at).unwrap_or_default());
    let window = info.suggested_window;
    Some(((time(window.start.unix_timestamp()), time(window.end.unix_timestamp())), again_in.as_secs()))
}

fn ours(error: &dyn std::fmt::Display) -> Trouble {
    Trouble { failure: Failure::Ours, why: error.to_string() }
}

/// What an error means for the next order.
fn trouble(error: &Error) -> Trouble {
    let failure = match error {
        Error::Api(problem) => match kind(problem) {
            "rateLimited" => Failure::RateLimited { retry_after: None },
            "serverInternal"
            | "badNonce"
            | "accountDoesNotExist"
            | "userActionRequired"
            | "externalAccountRequired" => Failure::Unavailable,
            "rejectedIdentifier"
            | "unsupportedIdentifier"
            | "caa"
            | "malformed"
            | "badCSR"
            | "orderNotReady"
            | "unsupportedContact"
            | "invalidContact" => Failure::Refused,
            _ => Failure::Challenge,
        },
        Error::Crypto | Error::KeyRejected => Failure::Ours,
        Error::Unsupported(_) => Failure::Refused,
        Error::Other(other) => match other.downcast_ref::<TurnedAway>() {
            Some(TurnedAway { retry_after, status, .. })
                if retry_after.is_some() || status.as_u16() == 429 =>
            {
                Failure::RateLimited { retry_after: *retry_after }
            }
            _ => Failure::Unavailable,
        },
        _ => Failure::Unavailable,
    };
    Trouble { failure, why: error.to_string() }
}
