//! Writes of pages: what is sent, and what follows if Notion refuses it for a property.
//!
//! Requests name the columns as they are called now. If a person renamed one meanwhile, Notion refuses the
//! old name; then the columns are read again and the request is repeated once. If another column has the old
//! name by now, Notion accepts the write. The answer shows it, and the page is written once more.

use super::answer::{Answer, PageRef};
use super::call_error::{CallError, Refusal};
use super::classify::{self, Effect};
use super::mapping::{self, Mapped};
use super::object;
use super::table::Table;
use super::{Attempt, delivered};
use crate::domain::delivery::Outcome;
use crate::domain::execution::Mode;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Instant;
use tracing::{debug, warn};

/// A write that Notion accepted.
pub(super) struct Written {
    /// The table that the request was made for.
    pub table: Arc<Table>,
    /// Notion's answer.
    pub answer: Answer<PageRef>,
}

impl Attempt<'_> {
    /// Creates the page, or writes to a known one. If Notion refuses a property, the columns may have
    /// changed: this reads them again and, if they have, repeats the request once.
    pub(super) async fn write(&self, table: &Arc<Table>, page: Option<&str>) -> Result<Written, Outcome> {
        let effect = self.effect(page);
        let refusal = match self.send(table, page).await {
            Ok(answer) => return self.accepted(table.clone(), answer).await,
            Err(CallError::Refused(refusal)) if refusal.is_about_a_property() => refusal,
            Err(error) => return Err(self.calls().outcome(effect, error)),
        };
        let Some(newer) = self.changed(table, &refusal, |table| self.body(table, page)).await? else {
            return Err(self.calls().outcome(effect, CallError::Refused(refusal)));
        };
        match self.send(&newer, page).await {
            Ok(answer) => self.accepted(newer, answer).await,
            Err(error) => Err(classify::after_a_call(self.calls().outcome(effect, error))),
        }
    }

    fn effect(&self, page: Option<&str>) -> Effect {
        match (page, self.mode) {
            (None, _) => Effect::Create,
            (Some(_), Mode::Event) => Effect::Update,
            (Some(_), Mode::Object) => Effect::Overwrite,
        }
    }

    async fn send(&self, table: &Table, page: Option<&str>) -> Result<Answer<PageRef>, CallError> {
        let body = self.body(table, page);
        match (page, self.mode) {
            (None, _) => self.calls().create_page(&table.data_source, &body).await,
            (Some(page), Mode::Event) => self.calls().update_page(page, &body).await,
            (Some(page), Mode::Object) => self.calls().overwrite_page(page, &body).await,
        }
    }

    /// The properties to send, as a request takes them: those of the whole page or, for the known page of an
    /// object, those that change.
    fn body(&self, table: &Table, page: Option<&str>) -> Map<String, Value> {
        let whole = self.properties(table);
        table.bindings.by_name(&match (page, self.mode) {
            (Some(page), Mode::Object) => self.changes(table, page, whole),
            _ => whole,
        })
    }

    pub(super) fn properties(&self, table: &Table) -> Map<String, Value> {
        let mapped = self.mapped(table);
        for note in &mapped.notes {
            debug!("{note}");
        }
        mapped.properties
    }

    pub(super) fn mapped(&self, table: &Table) -> Mapped {
        let (summary, zone) = (self.delivery.summary, self.zone());
        match self.mode {
            Mode::Event => mapping::properties(summary, zone, &table.bindings),
            Mode::Object => object::object_properties(summary, zone, &table.bindings)
                .unwrap_or_else(|| mapping::properties(summary, zone, &table.bindings)),
        }
    }

    /// The present columns, if with them something else would be `sent` than what Notion rejected. A new
    /// option of a select, such as those that our own writes add, makes no difference.
    pub(super) async fn changed<T: PartialEq>(
        &self,
        before: &Table,
        refusal: &Refusal,
        sent: impl Fn(&Table) -> T,
    ) -> Result<Option<Arc<Table>>, Outcome> {
        let now = Instant::now();
        let sent_at = now.checked_sub(refusal.sent).unwrap_or(now);
        let newer = self.table().later_than(sent_at, self.reader()).await.map_err(classify::after_a_call)?;
        let is_another = newer.data_source != before.data_source || sent(&newer) != sent(before);
        Ok(is_another.then_some(newer))
    }

    /// Writes the page once more if the answer shows that a name belongs to another column by now, which
    /// then got the value. A page of an event is delivered even so: to try again could create a second one.
    async fn accepted(&self, table: Arc<Table>, answer: Answer<PageRef>) -> Result<Written, Outcome> {
        let page = &answer.value;
        if !table.bindings.filled().any(|column| page.has_another(&column.name, &column.id)) {
            return Ok(Written { table, answer });
        }
        warn!(page_id = page.id, "columns were renamed; page written again");
        match self.write_with_present_columns(&page.id).await {
            Ok(table) => Ok(Written { table, answer }),
            Err(outcome) if self.mode == Mode::Object => Err(outcome),
            Err(_) => {
                warn!(page_id = page.id, "page could not be written again");
                Ok(Written { table, answer })
            }
        }
    }

    async fn write_with_present_columns(&self, page: &str) -> Result<Arc<Table>, Outcome> {
        let table = self.table().later_than(Instant::now(), self.reader()).await?;
        let body = table.bindings.by_name(&self.properties(&table));
        match self.calls().overwrite_page(page, &body).await {
            Ok(_) => Ok(table),
            Err(error) => Err(classify::after_a_call(self.calls().outcome(Effect::Overwrite, error))),
        }
    }

    /// Writes to the page of an event.
    pub(super) async fn update(&self, table: &Arc<Table>, page: &str) -> Result<Outcome, Outcome> {
        match self.write(table, Some(page)).await {
            Ok(written) => Ok(delivered(written.answer)),
            Err(Outcome::Gone(failure)) => {
                self.confirm_gone(page, &failure).await?;
                Err(Outcome::Gone(failure))
            }
            Err(other) => Err(other),
        }
    }
}
