//! Fills the index by which events are found, and groups failures that have no group yet, in the
//! background.
//!
//! One process of all replicas is at it, under a lease that ends with it. All it does can be done
//! twice without harm. After each batch it rests four times as long as that took, so that a long
//! backlog takes no more than a fifth of one connection from what matters more.

use crate::domain::event::EventKey;
use crate::domain::search::Findings;
use crate::store::{Indexed, Store, StoreError, Unindexed};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};
use uuid::Uuid;

/// How long the lease lasts that each round renews.
const LEASE: Duration = Duration::from_secs(20);

/// How long to wait before asking whether there is something new, or nobody at it.
const IDLE: Duration = Duration::from_millis(500);

/// How long to wait while another process is at it.
const OTHERS_TURN: Duration = Duration::from_secs(5);

/// The shortest rest after a batch.
const REST_MIN: Duration = Duration::from_millis(5);

/// How much longer than a batch the rest after it is. Taking events in costs less than indexing them, so
/// with shorter rests a burst would be taken in at half its speed only to be found some seconds sooner.
const REST_SHARE: u32 = 4;

/// The most events of a batch, and the most bytes of bodies.
const EVENTS_MAX: u32 = 200;
const BYTES_MAX: u32 = 4 * 1024 * 1024;

/// The most events at once that were committed late; there are few.
const MISSED_MAX: u32 = 16;

/// Indexes events until told to stop.
pub async fn index(store: Store, stop: CancellationToken) {
    let process = Uuid::new_v4();
    let working = async {
        loop {
            let began = Instant::now();
            let rest = match round(&store, process).await {
                Ok(Round::OthersTurn) => OTHERS_TURN,
                Ok(Round::Idle) => IDLE,
                Ok(Round::Worked) => (began.elapsed() * REST_SHARE).max(REST_MIN),
                Err(error) => {
                    warn!(%error, "could not index events; trying again");
                    OTHERS_TURN
                }
            };
            tokio::time::sleep(rest).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = working => {}
    }
    if let Err(error) = store.leave_indexing(process).await {
        warn!(%error, "could not leave the indexing to others; they take it on in a while");
    }
}

/// What a round came to.
enum Round {
    /// Another process is at it.
    OthersTurn,
    /// There was nothing to do.
    Idle,
    /// Something was indexed, and there may be more.
    Worked,
}

async fn round(store: &Store, process: Uuid) -> Result<Round, StoreError> {
    let Some(indexed) = store.hold_indexing(process, LEASE).await? else { return Ok(Round::OthersTurn) };
    let seen = index_unseen(store, indexed).await?;
    let settled = index_missed(store, indexed).await?;
    let grouped = store.group_failures().await? > 0;
    Ok(if seen || settled || grouped { Round::Worked } else { Round::Idle })
}

async fn index_unseen(store: &Store, indexed: Indexed) -> Result<bool, StoreError> {
    let events = store.unseen_events(indexed, EVENTS_MAX, BYTES_MAX).await?;
    let Some(last) = events.last().map(|event| event.key) else { return Ok(false) };
    add(store, events).await?;
    store.set_seen(last).await?;
    Ok(true)
}

async fn index_missed(store: &Store, indexed: Indexed) -> Result<bool, StoreError> {
    let Some((events, end)) = store.missed_events(indexed, MISSED_MAX).await? else {
        store.set_mark().await?;
        return Ok(false);
    };
    add(store, events).await?;
    store.set_settled(end).await?;
    Ok(true)
}

/// Reads the events and adds them; where the database refuses the batch, one by one, and a refused one
/// as if its body told nothing.
async fn add(store: &Store, events: Vec<Unindexed>) -> Result<(), StoreError> {
    if events.is_empty() {
        return Ok(());
    }
    let found: Vec<(EventKey, Findings)> = events.iter().map(|event| (event.key, read(event))).collect();
    match store.index(&found).await {
        Err(StoreError::Refused(refusal)) => error!(error = %refusal, "the database refuses an index entry"),
        done => return done,
    }
    for single in found {
        let key = single.0;
        match store.index(&[single]).await {
            Err(StoreError::Refused(_)) => store.index(&[(key, Findings::default())]).await?,
            done => done?,
        }
    }
    Ok(())
}

/// What an event tells; nothing where reading it breaks, so that one event keeps no other out.
fn read(event: &Unindexed) -> Findings {
    catch_unwind(AssertUnwindSafe(|| Findings::read(&event.facts, &event.payload))).unwrap_or_else(|_panic| {
        error!(event_key = event.key.0, "the body of an event could not be read for the index");
        Findings::default()
    })
}
