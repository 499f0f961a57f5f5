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
use table::{Table, TableCache, TableReader};
use tracing::debug;
use verdict::Effect;

/// How long after the beginning of its try a page may still be made. The settle time counts from
/// there, so it covers this, Notion's deadline of about 55 s, and the lag of a query.
const CREATE_WITHIN: Duration = Duration::from_secs(15);

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
        let table = self.table.get(self.reader(&delivery)).await?;
        if let (None, Some(elapsed)) = (delivery.remote, delivery.unsettled) {
            if let Some(found) = self.find(&facts, &table).await? {
                return Ok(found);
            }
            let wait = self.settings.settle.saturating_sub(elapsed);
            if wait > Duration::ZERO {
                return Ok(Outcome::Unsettled { wait });
            }
        }
        self.write(&delivery, &facts, table).await
    }

    fn reader<'a>(&'a self, delivery: &Delivery<'a>) -> TableReader<'a> {
        TableReader { client: &self.client, settings: &self.settings, memory: delivery.memory }
    }

    /// Looks for the page that an earlier write of unknown outcome may have made.
    async fn find(&self, facts: &Facts, table: &Table) -> Result<Option<Outcome>, Outcome> {
        let key = &table.bindings.key;
        let found = self
            .client
            .find_page(&table.data_source, &key.id, key.kind.as_str(), &mapping::key_text(&facts.event_id))
            .await
            .map_err(|error| verdict::outcome(Effect::Look, error))?;
        let Answer { value, status, request_id } = found;
        Ok(value.map(|value| delivered(Answer { value, status, request_id })))
    }

    /// Writes the page; where Notion refuses a property, the columns may have changed under us, so
    /// they are read again and the page is written once more.
    async fn write(
        &self,
        delivery: &Delivery<'_>,
        facts: &Facts,
        table: Arc<Table>,
    ) -> Result<Outcome, Outcome> {
        let first = match self.send(delivery, facts, &table).await? {
            Ok(page) => return Ok(delivered(page)),
            Err(error) => error,
        };
        let last = if is_about_columns(&first) {
            let newer = self.table.newer_than(&table, self.reader(delivery)).await?;
            match self.send(delivery, facts, &newer).await? {
                Ok(page) => return Ok(delivered(page)),
                Err(error) => error,
            }
        } else {
            first
        };
        let effect = if delivery.remote.is_some() { Effect::Update } else { Effect::Create };
        Err(verdict::outcome(effect, last))
    }

    /// Sends one write, unless it is too late for it.
    async fn send(
        &self,
        delivery: &Delivery<'_>,
        facts: &Facts,
        table: &Table,
    ) -> Result<Result<Answer<PageRef>, CallError>, Outcome> {
        let mapped = mapping::properties(facts, &table.bindings);
        for note in &mapped.notes {
            debug!("{note}");
        }
        if let Some(remote) = delivery.remote {
            return Ok(self.client.update_page(&remote.id, &mapped.properties).await);
        }
        if delivery.leased.elapsed() > CREATE_WITHIN {
            return Err(too_late());
        }
        Ok(self.client.create_page(&table.data_source, &mapped.properties).await)
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

fn delivered(answer: Answer<PageRef>) -> Outcome {
    let Answer { value: page, status, request_id } = answer;
    Outcome::Delivered { remote: Remote { id: page.id, url: page.url }, status: Some(status), request_id }
}

fn too_late() -> Outcome {
    let message = format!(
        "looking up the columns took more than {} s, so the page is not made in this try",
        CREATE_WITHIN.as_secs()
    );
    Outcome::Transient { failure: Failure::local("too_late", message), wait: None }
}

/// Notion has one code for all that is wrong with properties.
fn is_about_columns(error: &CallError) -> bool {
    matches!(error, CallError::Refused(refusal) if refusal.status == 400 && refusal.code == "validation_error")
}
