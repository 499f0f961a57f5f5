//! Keeps what is old from piling up: one replica at a time removes it in the background, as far as
//! the settings say so.
//!
//! It works in small batches and rests at least twice as long as each took, so that ingest and
//! deliveries notice nothing of it.

use crate::config;
use crate::store::{Cutoff, NamedLeases, Removal, Retention, SWEPT_AT_ONCE, StoreError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How the work is spread over time.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The time between two looks whether anything is due.
    pub look_every: Duration,
    /// The time between two rounds through all events.
    pub round_every: Duration,
    /// The shortest rest between two batches.
    pub rest: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            look_every: Duration::from_mins(1),
            round_every: Duration::from_hours(1),
            rest: Duration::from_millis(200),
        }
    }
}

/// How long after its last word a process is taken to be at it no more.
const HOLD: Duration = Duration::from_mins(2);

/// Removes what is old until told to stop; where nothing is to be removed, it returns at once.
pub async fn keep(
    leases: NamedLeases,
    retention: Retention,
    settings: config::Retention,
    pace: Pace,
    stop: CancellationToken,
) {
    let chores = [
        ("remove old payloads", Removal::Payloads, settings.payloads),
        ("remove old events", Removal::Rows, settings.rows),
    ];
    if chores.iter().all(|(_, _, age)| age.is_none()) {
        return;
    }
    while stop.run_until_cancelled(tokio::time::sleep(pace.look_every)).await.is_some() {
        for (name, removal, age) in chores {
            let Some(age) = age else { continue };
            let round =
                Round { leases: &leases, retention: &retention, name, removal, age, pace, stop: &stop };
            if let Err(error) = round.run().await {
                warn!(%error, chore = name, "old data could not be removed; it is tried again");
            }
        }
    }
}

/// One round through all events, or what another process left of one.
struct Round<'a> {
    leases: &'a NamedLeases,
    retention: &'a Retention,
    name: &'static str,
    removal: Removal,
    age: Duration,
    pace: Pace,
    stop: &'a CancellationToken,
}

impl Round<'_> {
    async fn run(&self) -> Result<(), StoreError> {
        let Some(mut position) = self.leases.take_chore(self.name, HOLD).await? else {
            return Ok(());
        };
        let mut removed = 0;
        let mut at_once = SWEPT_AT_ONCE;
        loop {
            let began = Instant::now();
            let swept =
                self.retention.sweep(self.removal, Cutoff::Age(self.age), position, at_once, false).await;
            let swept = match swept {
                // The same batch would take as long for ever; a smaller one gets on.
                Err(StoreError::TimedOut) if at_once > 1 => {
                    at_once /= 2;
                    warn!(
                        chore = self.name,
                        events = at_once,
                        "a batch took too long; a smaller one is tried"
                    );
                    if self.rest_at(position, began).await? {
                        continue;
                    }
                    return Ok(());
                }
                swept => swept?,
            };
            at_once = at_once.saturating_mul(2).min(SWEPT_AT_ONCE);
            removed += swept.removed;
            position = swept.position;
            if swept.is_last {
                if self.removal == Removal::Rows {
                    self.retention.regroup_lost_failures().await?;
                    self.retention.remove_idle_groups(Cutoff::Age(self.age), false).await?;
                }
                self.leases.move_chore(self.name, 0, self.pace.round_every).await?;
                if removed > 0 {
                    info!(chore = self.name, removed, "removed what is older than the settings keep");
                }
                return Ok(());
            }
            if !self.rest_at(position, began).await? {
                return Ok(());
            }
        }
    }

    /// Writes down how far the work has come, and rests for as long as the last batch wants. `false`
    /// where it is to stop.
    async fn rest_at(&self, position: i64, began: Instant) -> Result<bool, StoreError> {
        let rest = self.pace.rest.max(began.elapsed() * 2).min(HOLD / 2);
        self.leases.move_chore(self.name, position, HOLD).await?;
        if self.stop.run_until_cancelled(tokio::time::sleep(rest)).await.is_some() {
            return Ok(true);
        }
        // Another process may go on at once.
        self.leases.move_chore(self.name, position, Duration::ZERO).await?;
        Ok(false)
    }
}
