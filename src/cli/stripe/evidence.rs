//! Whether the running service accepts what an endpoint sends, and by which secret.
//!
//! Stripe never shows a secret again. What proves it: `stripe init` recorded a part of its hash at the endpoint; or
//! Stripe sends a ping to the endpoint, and the service stores it with the name of the secret that verified it. If the
//! service rejects the signature instead, no configured secret is the endpoint's. If Stripe sends no ping, what
//! arrived since the endpoint was created counts, unless other endpoints lead here too. Otherwise nothing is known.

use super::access::Access;
use crate::domain::rejection::StoredSample;
use crate::sources::stripe::NamedSecret;
use crate::sources::stripe::api::ErrorClass;
use crate::sources::stripe::endpoints::{Endpoint, Evidence};
use crate::store::{Store, StoreError};
use chrono::{DateTime, Utc};
use std::time::Duration;
use tokio::time::Instant;

/// How long a ping may take to arrive and to be stored.
const ARRIVES_WITHIN: Duration = Duration::from_secs(20);

/// How often to look for it.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// How long to look on after a rejection: it may be of another request.
const LOOK_ON: Duration = Duration::from_secs(3);

/// The check that rejects what no configured secret verifies.
const NO_MATCH: &str = "signature_no_match";

/// How an endpoint's secret may be found out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Means {
    /// Whether Stripe may send a ping.
    pub(super) may_ping: bool,
    /// Whether no other endpoint leads to the service, so that what arrives is what this one sends.
    pub(super) is_only_one: bool,
}

/// What is known of an endpoint's secret.
pub(super) async fn find(
    access: &Access,
    endpoint: &Endpoint,
    secrets: &[NamedSecret],
    means: Means,
) -> anyhow::Result<Evidence> {
    if let Some(known) = secrets.iter().find(|known| endpoint.has_secret(&known.secret)) {
        return Ok(Evidence::Verified { secret: known.name.clone() });
    }
    if !endpoint.is_enabled {
        return Ok(unknown("it is disabled, so Stripe sends nothing to it that would show its secret"));
    }
    let store = match &access.store {
        Ok(store) => store,
        Err(why) => return Ok(unknown(why)),
    };
    let why = if means.may_ping {
        match by_ping(access, store, endpoint).await? {
            Ok(evidence) => return Ok(evidence),
            Err(why) => why,
        }
    } else {
        "a dry run sends no ping".to_owned()
    };
    // Weaker: an earlier endpoint may have sent what arrived.
    let by_history = if means.is_only_one { by_history(access, store, endpoint).await? } else { None };
    Ok(by_history.unwrap_or_else(|| unknown(&why)))
}

/// Whether the service accepts what an endpoint sends whose secret has this name. The error is why it does not, as
/// far as is known.
pub(super) async fn accepts(
    access: &Access,
    endpoint: &Endpoint,
    secret: &str,
) -> anyhow::Result<Result<(), String>> {
    let store = match &access.store {
        Ok(store) => store,
        Err(why) => return Ok(Err(why.clone())),
    };
    let names = accepted_secrets(access, store, endpoint).await?;
    if names.iter().any(|name| name == secret) {
        return Ok(Ok(()));
    }
    Ok(match by_ping(access, store, endpoint).await? {
        Ok(Evidence::Verified { .. }) => Ok(()),
        Ok(Evidence::Rejected) => Err(format!("it does not know the secret {secret} yet")),
        Ok(Evidence::Unknown { why }) => Err(why),
        Err(why) => Err(format!("{why}, and it has accepted no event of it yet")),
    })
}

/// What a ping shows. The error is why Stripe sends none.
async fn by_ping(
    access: &Access,
    store: &Store,
    endpoint: &Endpoint,
) -> Result<Result<Evidence, String>, StoreError> {
    let began = store.reports.now().await?;
    match access.endpoints().ping(endpoint).await {
        Ok(ping) => until_arrived(access, store, &ping.event_id, began).await.map(Ok),
        Err(error) if error.class == ErrorClass::Gone => {
            Ok(Err("Stripe sends no ping to an endpoint of this kind".to_owned()))
        }
        Err(error) => Ok(Err(format!("Stripe sends no ping to it: {}", error.message))),
    }
}

/// What arrived since the endpoint was created, if it is the only one that sends here.
async fn by_history(
    access: &Access,
    store: &Store,
    endpoint: &Endpoint,
) -> Result<Option<Evidence>, StoreError> {
    let accepted = accepted_secrets(access, store, endpoint).await?;
    if let Some(secret) = accepted.into_iter().next() {
        return Ok(Some(Evidence::Verified { secret }));
    }
    let Some(created) = endpoint.created else { return Ok(None) };
    let rejections = store.rejections.rejections().await?;
    let is_rejected =
        rejections.iter().any(|one| is_unverified(access, one, created) && one.sample.by_sender);
    Ok(is_rejected.then_some(Evidence::Rejected))
}

/// The secrets that verified what arrived since the endpoint was created.
async fn accepted_secrets(
    access: &Access,
    store: &Store,
    endpoint: &Endpoint,
) -> Result<Vec<String>, StoreError> {
    let Some(created) = endpoint.created else { return Ok(Vec::new()) };
    store.endpoint_checks.secrets_since(&access.instance.name, access.is_live(), created).await
}

async fn until_arrived(
    access: &Access,
    store: &Store,
    event_id: &str,
    began: DateTime<Utc>,
) -> Result<Evidence, StoreError> {
    let mut deadline = Instant::now() + ARRIVES_WITHIN;
    let mut is_rejected = false;
    loop {
        let secret = store.endpoint_checks.secret_of(&access.instance.name, event_id).await?;
        if let Some(secret) = secret {
            return Ok(Evidence::Verified { secret });
        }
        if !is_rejected {
            let rejections = store.rejections.rejections().await?;
            is_rejected = rejections.iter().any(|one| is_unverified(access, one, began));
            if is_rejected {
                deadline = deadline.min(Instant::now() + LOOK_ON);
            }
        }
        if Instant::now() >= deadline {
            break;
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    Ok(if is_rejected {
        Evidence::Rejected
    } else {
        unknown(&format!(
            "Stripe sent a ping to it, and nothing arrived within {} s: the service does not run, or its address cannot be reached from outside",
            ARRIVES_WITHIN.as_secs()
        ))
    })
}

/// Whether a request was rejected since this time because no configured secret verifies it.
fn is_unverified(access: &Access, rejected: &StoredSample, since: DateTime<Utc>) -> bool {
    rejected.at >= since
        && rejected.sample.source == access.instance.name
        && rejected.sample.reason == NO_MATCH
}

fn unknown(why: &str) -> Evidence {
    Evidence::Unknown { why: why.to_owned() }
}
