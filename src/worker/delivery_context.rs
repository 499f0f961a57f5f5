//! What the service does for a destination, done by the store.

use super::lease_registry::LeaseRegistry;
use super::rate_limit_backoff::RateLimitBackoff;
use crate::destinations::{DeliveryContext, Look, Rate};
use crate::domain::delivery::Failure;
use crate::store::{Fence, LookTurn, Slot, Store};
use async_trait::async_trait;
use serde_json::Value;
use std::collections::HashSet;
use std::time::{Duration, Instant};
use tracing::warn;

/// The longest wait for a slot while an execution is held; it is given back where it takes longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long to wait where the database cannot tell when the next slot is.
const DATABASE_AWAY: Duration = Duration::from_secs(2);

/// The desk of one instance.
#[derive(Clone, Copy)]
pub(super) struct WorkerDeliveryContext<'a> {
    pub(super) store: &'a Store,
    pub(super) leases: &'a LeaseRegistry,
    pub(super) backoff: &'a RateLimitBackoff,
    /// The lease of the delivery; a probe has none, and writes nothing.
    pub(super) fence: Option<Fence>,
    pub(super) instance: &'a str,
    /// The lane of what is delivered, where it has one.
    pub(super) lane: Option<&'a str>,
}

#[async_trait]
impl DeliveryContext for WorkerDeliveryContext<'_> {
    async fn recall(&self) -> Option<Value> {
        self.store.destinations.recall(self.instance).await.unwrap_or_else(|error| {
            warn!(%error, instance = self.instance, "could not read what the destination remembers");
            None
        })
    }

    async fn remember(&self, memory: &Value) {
        if let Err(error) = self.store.destinations.remember(self.instance, memory).await {
            warn!(%error, instance = self.instance, "could not keep what the destination remembers");
        }
    }

    async fn begin_look(&self, object_id: &str) -> Result<Look, Failure> {
        let (Some(lane), Some(fence)) = (self.lane, self.fence) else { return Ok(Look::NotYet) };
        match self.store.queue.begin_look(self.instance, lane, fence, object_id).await {
            Ok(LookTurn::Ours { in_doubt }) => Ok(Look::Begun { in_doubt }),
            Ok(LookTurn::Anothers) => Ok(Look::NotYet),
            Err(error) => {
                warn!(%error, instance = self.instance, "could not see whether another object of this id is written");
                Err(database_away())
            }
        }
    }

    async fn of_other_objects(&self, remote_ids: &[String]) -> Result<HashSet<String>, Failure> {
        let Some(lane) = self.lane else { return Ok(HashSet::new()) };
        self.store.queue.filled_by_other_lanes(self.instance, lane, remote_ids).await.map_err(|error| {
            warn!(%error, instance = self.instance, "could not see which objects' pages these are");
            database_away()
        })
    }

    fn lease_holds(&self) -> bool {
        self.fence.is_some_and(|fence| self.leases.is_valid(fence))
    }

    async fn slot(&self, rate: &Rate) -> Result<(), Duration> {
        let Some(per_minute) = rate.per_minute else { return self.wait_for_backoff(rate).await };
        let gap = Duration::from_mins(1) / per_minute.get();
        let give_up_at = Instant::now() + PATIENCE;
        loop {
            let patience = give_up_at.saturating_duration_since(Instant::now());
            match self.store.rate_limits.take_slot(&rate.connection, gap, patience).await {
                Ok(Slot::In(wait)) => tokio::time::sleep(wait).await,
                Ok(Slot::NotBefore(wait)) => return Err(wait),
                // Without the database nobody knows what the other replicas do.
                Err(error) => {
                    warn!(%error, instance = self.instance, "could not take a slot of the rate limit");
                    return Err(DATABASE_AWAY);
                }
            }
            // The other side may have asked to be left alone since the slot was given out: it is let go then,
            // and the next one comes after the pause.
            match self.backoff.remaining(self.store, &rate.connection).await {
                Ok(Duration::ZERO) => return Ok(()),
                Ok(wait) if Instant::now() + wait > give_up_at => return Err(wait),
                Ok(_) => {}
                Err(error) => {
                    warn!(%error, instance = self.instance, "could not read whether the connection wants to be left alone");
                    return Err(DATABASE_AWAY);
                }
            }
        }
    }

    async fn block(&self, rate: &Rate, wait: Duration) {
        self.backoff.extend(&rate.connection, Instant::now() + wait);
        if let Err(error) = self.store.rate_limits.block(&rate.connection, wait).await {
            warn!(%error, instance = self.instance, "could not tell the other replicas to wait");
        }
    }
}

fn database_away() -> Failure {
    Failure::local("database_away", "the database did not answer")
}

impl WorkerDeliveryContext<'_> {
    /// Where there is no rate, only what the other side asked for is kept to.
    async fn wait_for_backoff(&self, rate: &Rate) -> Result<(), Duration> {
        match self.backoff.remaining(self.store, &rate.connection).await {
            Ok(wait) if wait > PATIENCE => Err(wait),
            Ok(wait) => {
                tokio::time::sleep(wait).await;
                Ok(())
            }
            Err(error) => {
                warn!(%error, instance = self.instance, "could not read whether the connection wants to be left alone");
                Err(DATABASE_AWAY)
            }
        }
    }
}
