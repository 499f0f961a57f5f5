//! Notion, event mode: one page for each event.
//!
//! A page is made with one request. Whether it was made is never guessed: after a write of unknown
//! outcome the page is looked for by the event's id, and written anew only when Notion can no
//! longer be holding the first write.

mod client;
pub mod column;
pub mod facts;
pub mod field;
pub mod mapping;
pub mod schema;
mod settings;
mod table;
mod verdict;

pub use settings::{NotionId, NotionSettings};

use crate::config::{InstanceName, Reader};
use crate::destinations::{Delivery, Destination};
use crate::domain::delivery::{Failure, Outcome, Remote};
use async_trait::async_trait;
use client::{Answer, CallError, Client, NotionClientError, PageRef};
use facts::Facts;
use std::sync::Arc;
use std::time::Duration;
use table::{Table, TableCache};
use tracing::debug;
use verdict::Effect;

/// Fills one Notion data source.
pub struct Notion {
    settings: NotionSettings,
    client: Client,
    table: TableCache,
}

/// Reads an instance's section of the settings and makes the destination.
pub fn configure(reader: &mut Reader<'_>, instance: &InstanceName) -> Option<Arc<dyn Destination>> {
    let settings = NotionSettings::read(reader, instance)?;
    match Notion::new(settings) {
        Ok(notion) => Some(Arc::new(notion)),
        Err(error) => {
            reader.problem(&instance.setting("API_KEY"), error);
            None
        }
    }
}

impl Notion {
    /// A destination of these settings; nothing is called yet.
    pub fn new(settings: NotionSettings) -> Result<Self, NotionClientError> {
        let client = Client::new(&settings)?;
        Ok(Self { settings, client, table: TableCache::default() })
    }

    async fn try_to_deliver(&self, delivery: Delivery<'_>) -> Result<Outcome, Outcome> {
        let facts = Facts::read(delivery.event, self.settings.timezone);
        let table = self.table.get(&self.client, &self.settings).await?;
        if let Some(remote) = delivery.remote {
            return self.write(&facts, table, Effect::Update, Some(remote)).await;
        }
        if let Some(elapsed) = delivery.unsettled {
            if let Some(found) = self.find(&facts, &table).await? {
                return Ok(found);
            }
            let wait = self.settings.settle.saturating_sub(elapsed);
            if wait > Duration::ZERO {
                return Ok(Outcome::Unsettled { wait });
            }
        }
        self.write(&facts, table, Effect::Create, None).await
    }

    /// Looks for the page that an earlier write of unknown outcome may have made.
    async fn find(&self, facts: &Facts, table: &Table) -> Result<Option<Outcome>, Outcome> {
        let key = &table.bindings.key;
        let found = self
            .client
            .find_page(&table.data_source, &key.id, key.kind.as_str(), &mapping::key_text(&facts.event_id))
            .await
            .map_err(|error| verdict::outcome(Effect::Look, error))?;
        Ok(found.value.map(|page| delivered(page, found.status, found.request_id)))
    }

    /// Writes the page; where Notion refuses a property, the columns may have changed under us, so
    /// they are read again and the page is written once more.
    async fn write(
        &self,
        facts: &Facts,
        table: Arc<Table>,
        effect: Effect,
        remote: Option<&Remote>,
    ) -> Result<Outcome, Outcome> {
        let error = match self.send(facts, &table, remote).await {
            Ok(answer) => return Ok(delivered(answer.value, answer.status, answer.request_id)),
            Err(error) => error,
        };
        if !is_about_columns(&error) {
            return Err(verdict::outcome(effect, error));
        }
        let newer = self.table.newer_than(&table, &self.client, &self.settings).await?;
        match self.send(facts, &newer, remote).await {
            Ok(answer) => Ok(delivered(answer.value, answer.status, answer.request_id)),
            Err(error) => Err(verdict::outcome(effect, error)),
        }
    }

    async fn send(
        &self,
        facts: &Facts,
        table: &Table,
        remote: Option<&Remote>,
    ) -> Result<Answer<PageRef>, CallError> {
        let mapped = mapping::properties(facts, &table.bindings);
        for note in &mapped.notes {
            debug!("{note}");
        }
        match remote {
            Some(remote) => self.client.update_page(&remote.id, &mapped.properties).await,
            None => self.client.create_page(&table.data_source, &mapped.properties).await,
        }
    }
}

#[async_trait]
impl Destination for Notion {
    async fn deliver(&self, delivery: Delivery<'_>) -> Outcome {
        let outcome = self.try_to_deliver(delivery).await.unwrap_or_else(|outcome| outcome);
        match outcome {
            Outcome::Gone(Failure { message, .. }) => Outcome::Skipped {
                reason: format!("its page was removed in Notion, so it is not written again ({message})"),
            },
            other => other,
        }
    }
}

fn delivered(page: PageRef, status: u16, request_id: Option<String>) -> Outcome {
    Outcome::Delivered { remote: Remote { id: page.id, url: page.url }, status: Some(status), request_id }
}

/// Notion has one code for all that is wrong with properties.
fn is_about_columns(error: &CallError) -> bool {
    matches!(error, CallError::Refused(refusal) if refusal.status == 400 && refusal.code == "validation_error")
}
