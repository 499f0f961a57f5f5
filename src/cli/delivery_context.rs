//! The delivery context of a command: it shares the rate of the connection with the running service.
//!
//! If the database cannot grant a slot, the command limits its rate by itself.

use crate::destinations::{DeliveryContext, Rate};
use crate::domain::delivery::{Failure, KeyLock};
use crate::store::{Slot, Store};
use async_trait::async_trait;
use serde_json::Value;
use std::collections::HashSet;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::debug;

/// How long a command waits for a slot while the running service takes them.
const PATIENCE: Duration = Duration::from_mins(1);

/// The delivery context of one instance, for the time of a command.
pub(super) struct CommandDeliveryContext {
    store: Option<Store>,
    instance: String,
    /// When the next call may begin without a slot from the database.
    next: Mutex<Instant>,
}

impl CommandDeliveryContext {
    /// A context that uses this database, if there is one.
    pub(super) fn new(store: Option<Store>, instance: &str) -> Self {
        Self { store, instance: instance.to_owned(), next: Mutex::new(Instant::now()) }
    }

    /// Waits for a slot of this process's own.
    async fn own_slot(&self, gap: Duration) {
        let mut next = self.next.lock().await;
        tokio::time::sleep_until(*next).await;
        *next = Instant::now() + gap;
    }
}

#[async_trait]
impl DeliveryContext for CommandDeliveryContext {
    async fn recall(&self) -> Option<Value> {
        self.store.as_ref()?.destinations.recall(&self.instance).await.ok().flatten()
    }

    /// A command remembers nothing.
    async fn remember(&self, _memory: &Value) {}

    /// A command delivers no object, so no lane competes with it.
    async fn lock_key(&self, _key: &str) -> Result<KeyLock, Failure> {
        Ok(KeyLock::Acquired { in_doubt: None })
    }

    async fn owned_by_others(&self, _remote_ids: &[String]) -> Result<HashSet<String>, Failure> {
        Ok(HashSet::new())
    }

    /// A command works without a lease, because a person started it.
    fn lease_holds(&self) -> bool {
        true
    }

    async fn slot(&self, rate: &Rate) -> Result<(), Duration> {
        let gap = rate.per_minute.map_or(Duration::ZERO, |calls| Duration::from_mins(1) / calls.get());
        if let Some(store) = &self.store {
            match store.rate_limits.take_slot(&rate.connection, gap, PATIENCE).await {
                Ok(Slot::In(wait)) => {
                    tokio::time::sleep(wait).await;
                    return Ok(());
                }
                Ok(Slot::NotBefore(wait)) => return Err(wait),
                Err(error) => {
                    debug!(%error, "rate limit slot unavailable; limiting the rate locally");
                }
            }
        }
        self.own_slot(gap).await;
        Ok(())
    }

    async fn block(&self, rate: &Rate, wait: Duration) {
        *self.next.lock().await = Instant::now() + wait.min(PATIENCE);
        if let Some(store) = &self.store
            && let Err(error) = store.rate_limits.block(&rate.connection, wait).await
        {
            debug!(%error, "rate limit backoff not recorded");
        }
    }
}
