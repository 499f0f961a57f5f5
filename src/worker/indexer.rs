//! Fills the index by which events are found, and groups failures that have no group yet, in the
//! background.
//!
//! One process of all replicas does this, under a named lease. All of it can be done twice without harm, so it
//! records its progress only once a second.
//! While there is a backlog, it rests after each batch for four times as long as the batch took. So a long
//! backlog takes at most a fifth of one connection. Otherwise it checks for events twice a second, so that
//! a few events are one batch and not a commit each.

use crate::domain::event::{BODY_BYTES_MAX, EventKey};
use crate::domain::search::IndexEntry;
use crate::sources::Registry;
use crate::store::{FailureGroups, Indexed, NamedLeases, SearchIndex, StoreError, Unindexed};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};
use uuid::Uuid;

/// The named lease of the process that indexes.
const LEASE: &str = "search index";

/// How long the lease lasts, and how old it is when it is renewed.
const LEASE_DURATION: Duration = Duration::from_secs(20);
const LEASE_RENEWED_AFTER: Duration = Duration::from_secs(5);

/// How often the progress is recorded. What a process that dies had not recorded is indexed again, which
/// changes nothing. Each record is a new version of one row; while Postgres cannot remove the old ones, every
/// look at it goes through all of them.
const RECORDED_EVERY: Duration = Duration::from_secs(1);

/// The rest if the index is up to date.
const IDLE: Duration = Duration::from_millis(500);

/// The rest while another process has the lease.
const LEASE_RETRY_DELAY: Duration = Duration::from_secs(5);

/// The shortest rest after a batch.
const REST_MIN: Duration = Duration::from_millis(5);

/// The rest after a batch, in multiples of the batch's duration. Accepting an event costs less than indexing
/// it: with shorter rests, a burst would be accepted at half the speed and be found only seconds sooner.
const REST_SHARE: u32 = 4;

/// The most events of a batch, and the most bytes of their bodies. With 200 events, webhooks that arrived
/// meanwhile waited 10 ms; with 50 they wait 5 ms.
const EVENTS_MAX: u32 = 50;
const BYTES_MAX: u32 = 4 * 1024 * 1024;

/// The most events of a batch that were committed late; there are few.
const MISSED_MAX: u32 = 16;

/// Indexes events until `stop` is cancelled.
pub async fn index(
    search_index: SearchIndex,
    failure_groups: FailureGroups,
    sources: Registry,
    leases: NamedLeases,
    stop: CancellationToken,
) {
    let mut indexer =
        Indexer { search_index, failure_groups, sources, leases, process: Uuid::new_v4(), turn: None };
    let working = async {
        loop {
            let began = Instant::now();
            let rest = match indexer.round().await {
                Ok(Round::OthersTurn) => LEASE_RETRY_DELAY,
                Ok(Round::UpToDate) => IDLE,
                Ok(Round::Behind) => (began.elapsed() * REST_SHARE).max(REST_MIN),
                Err(error) => {
                    warn!(%error, "indexing events failed; trying again");
                    LEASE_RETRY_DELAY
                }
            };
            tokio::time::sleep(rest).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = working => {}
    }
    indexer.end().await;
}

/// The result of a round.
enum Round {
    /// Another process has the lease.
    OthersTurn,
    /// The index is up to date.
    UpToDate,
    /// There is a backlog.
    Behind,
}

struct Indexer {
    search_index: SearchIndex,
    failure_groups: FailureGroups,
    sources: Registry,
    leases: NamedLeases,
    process: Uuid,
    /// Set while this process holds the lease.
    turn: Option<Turn>,
}

/// What the process that holds the lease knows.
struct Turn {
    renewed_at: Instant,
    recorded_at: Instant,
    /// As it is recorded, but for the events that were seen since.
    indexed: Indexed,
}

impl Indexer {
    async fn round(&mut self) -> Result<Round, StoreError> {
        let Some(turn) = self.take_turn().await? else { return Ok(Round::OthersTurn) };
        // Kept even if a stop ends the round here: what it had not noted is indexed again.
        let turn = self.turn.insert(turn);
        let more_unseen = index_unseen(&self.search_index, &self.sources, turn).await?;
        if turn.recorded_at.elapsed() >= RECORDED_EVERY {
            turn.indexed = self.search_index.record_seen(turn.indexed).await?;
            turn.recorded_at = Instant::now();
        }
        let more_missed = index_missed(&self.search_index, &self.sources, turn).await?;
        let more_ungrouped = self.failure_groups.group_failures().await? > 0;
        let is_behind = more_unseen || more_missed || more_ungrouped;
        Ok(if is_behind { Round::Behind } else { Round::UpToDate })
    }

    /// Acquires or renews the lease if it is time; `None` if another process holds it.
    async fn take_turn(&mut self) -> Result<Option<Turn>, StoreError> {
        let turn = self.turn.take();
        if turn.as_ref().is_some_and(|turn| turn.renewed_at.elapsed() < LEASE_RENEWED_AFTER) {
            return Ok(turn);
        }
        let renewed_at = Instant::now();
        if !self.leases.acquire(LEASE, self.process, LEASE_DURATION).await? {
            return Ok(None);
        }
        Ok(Some(match turn {
            Some(turn) => Turn { renewed_at, ..turn },
            None => {
                Turn { renewed_at, recorded_at: renewed_at, indexed: self.search_index.progress().await? }
            }
        }))
    }

    /// Records the progress and releases the lease.
    async fn end(self) {
        if let Some(turn) = &self.turn
            && let Err(error) = self.search_index.record_seen(turn.indexed).await
        {
            warn!(%error, "recording the progress of the index failed; the last events are indexed again");
        }
        if let Err(error) = self.leases.release(LEASE, self.process).await {
            warn!(%error, "releasing the index lease failed; it expires");
        }
    }
}

/// Indexes a batch of new events; returns whether there are more.
async fn index_unseen(
    search_index: &SearchIndex,
    sources: &Registry,
    turn: &mut Turn,
) -> Result<bool, StoreError> {
    let events = search_index.unseen_events(turn.indexed, EVENTS_MAX, BYTES_MAX).await?;
    let Some(last) = events.last().map(|event| event.key) else { return Ok(false) };
    let bytes: usize = events.iter().map(|event| event.payload.len()).sum();
    // A batch that its bytes limited is short by less than the largest body.
    let is_full = events.len() >= EVENTS_MAX as usize || bytes > BYTES_MAX as usize - BODY_BYTES_MAX;
    add(search_index, sources, events).await?;
    turn.indexed.see(last);
    Ok(is_full)
}

/// Indexes some of the events that were committed late; returns whether there may be more.
async fn index_missed(
    search_index: &SearchIndex,
    sources: &Registry,
    turn: &mut Turn,
) -> Result<bool, StoreError> {
    let Some((events, end)) = search_index.missed_events(turn.indexed, MISSED_MAX).await? else {
        if turn.indexed.is_settled() {
            turn.indexed = search_index.set_mark(turn.indexed).await?;
        }
        return Ok(false);
    };
    add(search_index, sources, events).await?;
    turn.indexed = search_index.set_settled(turn.indexed, end).await?;
    Ok(true)
}

/// Reads the events and adds them. If the database refuses the batch, they are added one by one, and a refused
/// one with an empty entry.
async fn add(
    search_index: &SearchIndex,
    sources: &Registry,
    events: Vec<Unindexed>,
) -> Result<(), StoreError> {
    if events.is_empty() {
        return Ok(());
    }
    let mut found: Vec<(EventKey, IndexEntry)> = Vec::with_capacity(events.len());
    for event in &events {
        found.push((event.key, read(sources, event)));
        // Let requests run in between: reading a batch takes milliseconds.
        tokio::task::yield_now().await;
    }
    match search_index.index(&found).await {
        Err(StoreError::Refused(refusal)) => error!(error = %refusal, "database refused index entries"),
        done => return done,
    }
    for single in found {
        let key = single.0;
        match search_index.index(&[single]).await {
            Err(StoreError::Refused(_)) => search_index.index(&[(key, IndexEntry::default())]).await?,
            done => done?,
        }
    }
    Ok(())
}

/// The index entry of an event. If reading its body panics, an empty one, so that one event does not keep
/// others out of the index.
fn read(sources: &Registry, event: &Unindexed) -> IndexEntry {
    catch_unwind(AssertUnwindSafe(|| sources.index_entry(&event.source, &event.facts, &event.payload)))
        .unwrap_or_else(|_panic| {
            error!(event_key = event.key.0, "reading an event for the index panicked");
            IndexEntry::default()
        })
}
