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
pub mod object;
pub mod schema;
mod settings;
mod table;
mod verdict;

pub use settings::{NotionId, NotionSettings};

use crate::config::{InstanceName, Reader};
use crate::destinations::{Delivery, Desk, Destination, Probe};
use crate::domain::delivery::{Failure, Outcome, Remote};
use async_trait::async_trait;
use client::{Answer, CallError, Calls, Client, NotionClientError, PageRef};
use facts::Facts;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;
use table::{Table, TableCache, TableReader};
use tracing::debug;
use verdict::Effect;

/// How long after the beginning of its try a page may still be made. A crash leaves no other trace
/// of a write than its try, so this much is added to Notion's own deadline in the settle time.
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

    fn reader<'a>(&'a self, desk: &'a dyn Desk) -> TableReader<'a> {
        TableReader { calls: self.client.with(desk), settings: &self.settings, desk }
    }
}

#[async_trait]
impl Destination for Notion {
    async fn deliver(&self, delivery: Delivery<'_>) -> Outcome {
        let facts = Facts::read(delivery.event, self.settings.timezone);
        let attempt = Attempt { notion: self, delivery, facts };
        let outcome = attempt.run().await.unwrap_or_else(|outcome| outcome);
        match outcome {
            Outcome::Gone(Failure { message, .. }) => Outcome::Skipped {
                reason: format!("its page was removed in Notion, so it is not written again ({message})"),
            },
            other => other,
        }
    }

    async fn probe(&self, desk: &dyn Desk) -> Probe {
        match self.table.read_now(self.reader(desk)).await {
            Ok(_) => Probe::Works,
            Err(Outcome::NeedsOperator(trouble)) => Probe::Held(trouble),
            Err(_) => Probe::Unclear,
        }
    }
}

/// One try to deliver one event. An `Err` is an outcome too: the one that ended the try early.
struct Attempt<'a> {
    notion: &'a Notion,
    delivery: Delivery<'a>,
    facts: Facts,
}

impl Attempt<'_> {
    async fn run(&self) -> Result<Outcome, Outcome> {
        let table = self.notion.table.get(self.reader()).await?;
        if let Some(remote) = self.delivery.remote {
            return self.update(table, remote).await;
        }
        if let Some(elapsed) = self.delivery.unsettled {
            if let Some(found) = self.find(&table).await? {
                return Ok(found);
            }
            let wait = self.notion.settings.settle.max(self.delivery.rewrite_after).saturating_sub(elapsed);
            if wait > Duration::ZERO {
                return Ok(Outcome::Unsettled { wait });
            }
            if self.delivery.is_last {
                return Ok(Outcome::Permanent(Failure::local(
                    "attempts_used_up",
                    "no write was ever confirmed, its page is not there, and the attempts are used up",
                )));
            }
        }
        self.create(table).await
    }

    /// Makes the page; where Notion refuses a property, the columns may have changed under us, so
    /// they are read again and the page is sent once more.
    async fn create(&self, table: Arc<Table>) -> Result<Outcome, Outcome> {
        match self.send_new(&table).await {
            Err(CallError::Refused(refusal)) if refusal.is_about_a_property() => {}
            answer => return created(answer),
        }
        let newer = self.notion.table.newer_than(&table, self.reader()).await?;
        let answer = self.send_new(&newer).await;
        created(answer)
    }

    async fn send_new(&self, table: &Table) -> Result<Answer<PageRef>, CallError> {
        if self.delivery.leased.elapsed() > CREATE_WITHIN {
            return Err(CallError::TooLate);
        }
        let properties = self.properties(table);
        self.calls().create_page(&table.data_source, &properties).await
    }

    /// Writes a page that is known to be there. Where it is not, either a person removed it or the
    /// whole data source is out of reach: reading that tells.
    async fn update(&self, table: Arc<Table>, remote: &Remote) -> Result<Outcome, Outcome> {
        let first = self.calls().update_page(&remote.id, &self.properties(&table)).await;
        let last = match first {
            Err(CallError::Refused(refusal)) if refusal.is_about_a_property() => {
                let newer = self.notion.table.newer_than(&table, self.reader()).await?;
                self.calls().update_page(&remote.id, &self.properties(&newer)).await
            }
            answer => answer,
        };
        match last.map(delivered).map_err(|error| verdict::outcome(Effect::Update, error)) {
            Err(gone @ Outcome::Gone(_)) => {
                self.notion.table.read_now(self.reader()).await?;
                Err(gone)
            }
            other => other,
        }
    }

    /// Looks for the page that an earlier write of unknown outcome may have made.
    async fn find(&self, table: &Arc<Table>) -> Result<Option<Outcome>, Outcome> {
        let found = match self.look(table).await {
            Err(CallError::Refused(refusal)) if refusal.is_about_a_property() => {
                let newer = self.notion.table.newer_than(table, self.reader()).await?;
                self.look(&newer).await
            }
            answer => answer,
        };
        let Answer { value, status, request_id } =
            found.map_err(|error| verdict::outcome(Effect::Look, error))?;
        Ok(value.map(|value| delivered(Answer { value, status, request_id })))
    }

    async fn look(&self, table: &Table) -> Result<Answer<Option<PageRef>>, CallError> {
        let key = &table.bindings.key;
        let text = mapping::key_text(&self.facts.event_id);
        self.calls().find_page(&table.data_source, &key.id, key.kind.as_str(), &text).await
    }

    fn properties(&self, table: &Table) -> Map<String, Value> {
        let mapped = mapping::properties(&self.facts, &table.bindings);
        for note in &mapped.notes {
            debug!("{note}");
        }
        mapped.properties
    }

    fn calls(&self) -> Calls<'_> {
        self.notion.client.with(self.delivery.desk)
    }

    fn reader(&self) -> TableReader<'_> {
        self.notion.reader(self.delivery.desk)
    }
}

fn created(answer: Result<Answer<PageRef>, CallError>) -> Result<Outcome, Outcome> {
    answer.map(delivered).map_err(|error| verdict::outcome(Effect::Create, error))
}

fn delivered(answer: Answer<PageRef>) -> Outcome {
    let Answer { value: page, status, request_id } = answer;
    Outcome::Delivered { remote: Remote { id: page.id, url: page.url }, status: Some(status), request_id }
}
