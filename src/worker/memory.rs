//! A destination's memory, kept in the database under the instance's name.

use crate::destinations::Memory;
use crate::store::Store;
use async_trait::async_trait;
use serde_json::Value;
use tracing::warn;

/// The memory of one instance.
pub(super) struct StoredMemory<'a> {
    pub(super) store: &'a Store,
    pub(super) instance: &'a str,
}

#[async_trait]
impl Memory for StoredMemory<'_> {
    async fn recall(&self) -> Option<Value> {
        self.store.recall(self.instance).await.unwrap_or_else(|error| {
            warn!(%error, instance = self.instance, "could not read what the destination remembers");
            None
        })
    }

    async fn remember(&self, memory: &Value) {
        if let Err(error) = self.store.remember(self.instance, memory).await {
            warn!(%error, instance = self.instance, "could not keep what the destination remembers");
        }
    }
}
