//! Notion: one page for each event or, in object mode, one for each object.
//!
//! One request creates a page. Its outcome is never guessed: after a write of unknown outcome the
//! destination looks for the page by the event's id, and writes it again only when the first write
//! can no longer land.
//!
//! To create a second page, a process must stand still for about half a minute between its last check and
//! the first byte of its request: 12 s of silence plus the settle time (75 s), minus Notion's 55 s. A
//! suspended machine counts too, if its monotonic clock stops with it.

mod answer;
mod call_error;
mod check;
mod classify;
mod client;
pub mod column;
pub mod design;
mod duplicates;
mod example;
pub mod field;
mod key_filter;
mod links;
pub mod mapping;
pub mod object;
mod page_lookup;
mod preview;
mod redaction;
mod refused_values;
mod remedies;
mod request;
pub mod schema;
mod settings;
mod state;
mod table;
mod trash;
mod workspace;
mod write;

pub use settings::{NotionAccess, NotionId, NotionSettings};
pub use workspace::{Bearer, Shared, Workspace, WorkspaceItem};

use crate::config::{InstanceName, Reader};
use crate::destinations::check::{CheckReport, Finding};
use crate::destinations::{Delivery, DeliveryContext, Destination, Kind, Probe, Rate};
use crate::domain::delivery::{Failure, Outcome, Remote};
use crate::domain::destination_summary::Noun;
use crate::domain::execution::Mode;
use crate::domain::preview::Preview;
use answer::{Answer, PageRef};
use async_trait::async_trait;
use chrono::NaiveDate;
use chrono_tz::Tz;
use classify::Effect;
use client::{Calls, Client, NotionClientError};
use field::Field;
use page_lookup::ArchivedRows;
use refused_values::RefusedValues;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use table::{Table, TableCache, TableReader};
use trash::{Container, IN_TRASH, is_row_of};

/// The kind, as the rest of the service knows it.
pub const KIND: Kind = Kind {
    noun: Noun { one: "page", many: "pages" },
    required_settings: &[
        ("API_KEY", "the token (ntn_…) of your Notion connection"),
        ("DATABASE_ID", "the link to your Notion database, or its id"),
    ],
    secrets: &["API_KEY"],
    remote_ids: links::page_ids,
    ..Kind::new("notion", configure)
};

/// How long after the claim a delivery may create a page or write a state over another. After a crash the
/// claim is the only trace of a write, so the settle time is Notion's own deadline plus this, plus the 5 s
/// for which a call may wait for a slot.
const WRITE_WITHIN: Duration = Duration::from_secs(15);

/// Fills one Notion data source.
pub struct Notion {
    settings: NotionSettings,
    client: Client,
    /// The table with the key of event mode and with that of object mode.
    event_table: TableCache,
    object_table: TableCache,
    refused: RefusedValues,
    archived_rows: ArchivedRows,
    /// Until when no page is created, because the workspace can hold no more blocks.
    blocked_until: Mutex<Option<Instant>>,
}

/// Reads an instance's section of the settings and builds the destination.
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
    /// A destination with these settings. It makes no call yet.
    pub fn new(settings: NotionSettings) -> Result<Self, NotionClientError> {
        let client = Client::new(&settings.access)?;
        Ok(Self {
            settings,
            client,
            event_table: TableCache::default(),
            object_table: TableCache::default(),
            refused: RefusedValues::default(),
            archived_rows: ArchivedRows::default(),
            blocked_until: Mutex::default(),
        })
    }

    fn attempt<'a>(&'a self, delivery: Delivery<'a>) -> Result<Attempt<'a>, Outcome> {
        let (mode, key) = if delivery.object.is_some() {
            let without_id = || Failure::local("no_object_id", "the event does not name its object");
            let id = delivery.summary.object.id.clone().ok_or_else(|| Outcome::Permanent(without_id()))?;
            (Mode::Object, id)
        } else {
            (Mode::Event, delivery.summary.event_id.clone())
        };
        Ok(Attempt { notion: self, delivery, mode, key })
    }

    fn table(&self, mode: Mode) -> &TableCache {
        match mode {
            Mode::Event => &self.event_table,
            Mode::Object => &self.object_table,
        }
    }

    fn reader<'a>(&'a self, mode: Mode, context: &'a dyn DeliveryContext) -> TableReader<'a> {
        let key = match mode {
            Mode::Event => Field::EventId,
            Mode::Object => Field::ObjectId,
        };
        // Reading the table writes nothing.
        let calls = self.client.with(context, Instant::now());
        TableReader { calls, settings: &self.settings, context, key }
    }
}

#[async_trait]
impl Destination for Notion {
    fn rate(&self) -> Option<&Rate> {
        Some(&self.settings.access.rate)
    }

    fn token_expires(&self) -> Option<NaiveDate> {
        self.settings.token_expires
    }

    async fn deliver(&self, delivery: Delivery<'_>) -> Outcome {
        let attempt = match self.attempt(delivery) {
            Ok(attempt) => attempt,
            Err(outcome) => return outcome,
        };
        let mode = attempt.mode;
        let outcome = match mode {
            Mode::Event => attempt.deliver_event().await,
            Mode::Object => attempt.deliver_object().await,
        };
        match attempt.reported(outcome.unwrap_or_else(|outcome| outcome)) {
            Outcome::Gone(Failure { class, .. }) if class == IN_TRASH => Container::Unseen.outcome(),
            Outcome::Gone(Failure { message, .. }) => Outcome::Skipped {
                reason: format!("its page was removed in Notion, so it is not written again ({message})"),
            },
            // The key of the other mode is missing. The instance's own deliveries need no such column, and the
            // next probe would end a pause for it.
            Outcome::NeedsOperator(failure)
                if mode != self.settings.mode && failure.class == table::COLUMNS =>
            {
                Outcome::Permanent(failure)
            }
            other => other,
        }
    }

    async fn preview(&self, delivery: Delivery<'_>) -> Result<Preview, Outcome> {
        self.attempt(delivery)?.preview().await
    }

    async fn probe(&self, context: &dyn DeliveryContext, class: &str) -> Probe {
        let mode = self.settings.mode;
        match self.table(mode).read_now(self.reader(mode, context)).await {
            Ok(_) if classify::shows_only_in_a_write(class) => Probe::NeedsCanary,
            Ok(_) => Probe::Works,
            Err(Outcome::NeedsOperator(failure)) => Probe::StillFails(failure),
            Err(_) => Probe::Unclear,
        }
    }

    async fn check(&self, context: &dyn DeliveryContext) -> CheckReport {
        self.run_check(context).await
    }

    async fn provision(&self, context: &dyn DeliveryContext) -> Result<Vec<String>, Failure> {
        self.add_missing(context).await
    }

    async fn dry_run(&self, context: &dyn DeliveryContext) -> Vec<Finding> {
        self.test_writing(context).await
    }

    async fn remove(&self, remote: &Remote, context: &dyn DeliveryContext) -> Result<(), Failure> {
        let calls = self.client.with(context, Instant::now());
        let trashed = calls.trash_page(&remote.id).await.map(drop);
        match trashed.map_err(|error| calls.outcome(Effect::Update, error)) {
            Ok(()) => Ok(()),
            Err(Outcome::Gone(refused)) => {
                // A page that is in the trash only with its table comes back with it.
                let mode = self.settings.mode;
                match self.table(mode).read_now(self.reader(mode, context)).await {
                    Err(Outcome::NeedsOperator(failure)) if failure.class == IN_TRASH => Err(failure),
                    _ if refused.class == IN_TRASH => Err(workspace::failure_of(Container::Unseen.outcome())),
                    _ => Ok(()),
                }
            }
            Err(outcome) => Err(workspace::failure_of(outcome)),
        }
    }
}

/// One try to deliver one event. An `Err` is also an outcome: the one that ended the try early.
struct Attempt<'a> {
    notion: &'a Notion,
    delivery: Delivery<'a>,
    mode: Mode,
    /// The id in the key column: the event's, or in object mode the object's.
    key: String,
}

impl Attempt<'_> {
    /// The outcome, with what the page lacks and, if Notion's answer does not say it, with its place.
    fn reported(&self, mut outcome: Outcome) -> Outcome {
        if let Outcome::Delivered { remote, left_out, .. } = &mut outcome
            && let Some(table) = self.table().known()
        {
            *left_out = self.left_out(&table);
            if let Some(remote) = remote {
                remote.place.get_or_insert_with(|| table.data_source.clone());
            }
        }
        outcome
    }

    async fn deliver_event(&self) -> Result<Outcome, Outcome> {
        let table = self.table().get(self.reader()).await?;
        if let Some(known) = self.known_page(&table) {
            return self.update(&table, &known.id).await;
        }
        let Some(elapsed) = self.delivery.in_doubt else {
            self.may_create()?;
            if self.is_elsewhere()
                && let Some(found) = self.find(&table).await?
            {
                return self.update(&table, &found.value.id).await;
            }
            return Ok(delivered(self.write(&table, None).await?.answer));
        };
        if let Some(found) = self.find(&table).await? {
            return Ok(delivered(found));
        }
        self.may_write_again(elapsed)?;
        let made = self.write(&table, None).await?.answer;
        Ok(delivered(self.confirmed(&table, made).await))
    }

    /// Whether it was delivered before. If its page is not [known](Self::known_page), that page is in
    /// another data source and stays there; this data source may have one too.
    fn is_elsewhere(&self) -> bool {
        self.delivery.remote.is_some()
    }

    /// The page that was written earlier, if it is in the data source that is filled now.
    fn known_page(&self, table: &Table) -> Option<&Remote> {
        let is_here = |place: &str| NotionId::is_same(place, &table.data_source);
        self.delivery.remote.filter(|remote| remote.place.as_deref().is_none_or(is_here))
    }

    /// Finds out why a page seems to be gone: a person removed or archived it, the whole data source is out of
    /// reach or in the trash, or the write was rejected for another reason. It reads all of them and, if the page
    /// was removed, returns the present table.
    async fn confirm_gone(&self, page: &str, failure: &Failure) -> Result<Arc<Table>, Outcome> {
        let table = self.table().read_now(self.reader()).await?;
        let read = self.calls().page_state(page).await;
        if failure.class == IN_TRASH
            && let Ok(answer) = &read
        {
            // Of what the connection may not read, an answer can show the id alone.
            if answer.value.get("parent").is_some() && !is_row_of(&answer.value, &table.data_source) {
                let reason = "its page was moved in Notion to where it is in the trash".to_owned();
                return Err(Outcome::Skipped { reason });
            }
            self.table().keep_proof(page);
            return Err(Container::Unseen.outcome());
        }
        if read.as_ref().is_ok_and(|answer| trash::is_only_archived(&answer.value)) {
            return Err(trash::archived());
        }
        if classify::confirms_gone(&read) {
            return Ok(table);
        }
        Err(match read {
            Ok(_) => Outcome::Transient { failure: failure.clone(), wait: None },
            Err(error) => classify::after_a_call(self.calls().outcome(Effect::Look, error)),
        })
    }

    /// How long to wait before writing over a write of unknown outcome that began so long ago.
    fn time_to_settle(&self, elapsed: Duration) -> Duration {
        self.notion.settings.settle.max(self.delivery.rewrite_after).saturating_sub(elapsed)
    }

    /// Whether a write of unknown outcome that began so long ago has landed by now or never will.
    fn wait_until_settled(&self, elapsed: Duration) -> Result<(), Outcome> {
        let wait = self.time_to_settle(elapsed);
        if wait > Duration::ZERO { Err(in_doubt(wait)) } else { Ok(()) }
    }

    /// Whether a page can be created, as far as is known.
    fn may_create(&self) -> Result<(), Outcome> {
        let until = *self.notion.blocked_until.lock().unwrap_or_else(PoisonError::into_inner);
        match until.map(|until| until.saturating_duration_since(Instant::now())) {
            Some(wait) if !wait.is_zero() => Err(classify::block_limit_reached(wait)),
            _ => Ok(()),
        }
    }

    /// Whether such a write can be followed by another one.
    fn may_write_again(&self, elapsed: Duration) -> Result<(), Outcome> {
        self.wait_until_settled(elapsed)?;
        if self.delivery.is_last {
            let failure =
                Failure::local("attempts_used_up", "no write was confirmed, and the attempts are used up");
            return Err(Outcome::Permanent(failure.with_remedy(remedies::ATTEMPTS_USED_UP)));
        }
        Ok(())
    }

    /// The zone of the reports, which decides to which month an event belongs.
    fn zone(&self) -> Tz {
        self.notion.settings.timezone
    }

    fn table(&self) -> &TableCache {
        self.notion.table(self.mode)
    }

    fn calls(&self) -> Calls<'_> {
        self.notion.client.with(self.delivery.context, self.delivery.leased + WRITE_WITHIN)
    }

    fn reader(&self) -> TableReader<'_> {
        self.notion.reader(self.mode, self.delivery.context)
    }
}

fn in_doubt(wait: Duration) -> Outcome {
    let message = "an earlier write may still land; the next attempt searches for it before it writes";
    Outcome::InDoubt { failure: Failure::local("in_doubt", message), wait }
}

fn delivered(answer: Answer<PageRef>) -> Outcome {
    let Answer { value: page, status, request_id } = answer;
    let (remote, status) = (Some(remote(page)), Some(status));
    Outcome::Delivered { remote, status, request_id, written: None, left_out: Vec::new() }
}

fn remote(page: PageRef) -> Remote {
    let place = page.parent.and_then(|parent| parent.data_source_id);
    Remote { id: page.id, url: page.url.map(links::without_title), place }
}
