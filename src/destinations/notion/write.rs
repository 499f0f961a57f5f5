//! Writes of pages: what is sent, and what follows if Notion refuses it for a property.
//!
//! Requests name the columns as they are called now. If a person renamed one meanwhile, Notion refuses the
//! old name; then the columns are read again and the request is repeated once. If another column has the old
//! name by now, Notion accepts the write. The answer shows it, and the page is written once more.
//!
//! If Notion refuses the value of a column, the request is repeated without that value.
//!
//! A page that a person moved to another table is skipped. If that table has other columns, Notion refuses the
//! write: nothing is learned of the columns here. If it has the same ones, Notion accepts the write, and the
//! answer shows the other table. To know it before would cost a read of every page that is written.

use super::answer::{Answer, PageRef};
use super::call_error::{CallError, Refusal};
use super::classify::{self, Effect};
use super::field::Field;
use super::mapping::{self, Mapped};
use super::object;
use super::refused_values::refused_in;
use super::table::Table;
use super::trash::{has_left, moved};
use super::{Attempt, delivered};
use crate::domain::delivery::Outcome;
use crate::domain::execution::Mode;
use serde_json::{Map, Value};
use std::sync::{Arc, PoisonError};
use std::time::Instant;
use tracing::{info, warn};

/// A write that Notion accepted.
pub(super) struct Written {
    /// The table that the request was made for.
    pub table: Arc<Table>,
    /// Notion's answer.
    pub answer: Answer<PageRef>,
}

impl Attempt<'_> {
    /// Creates the page, or writes to a known one. If Notion refuses a property, the columns may have
    /// changed: this reads them again and, if they have, repeats the request. If they have not, it repeats
    /// the request without the values that the refusal is about, as long as each refusal is about another one.
    pub(super) async fn write(&self, table: &Arc<Table>, page: Option<&str>) -> Result<Written, Outcome> {
        let written = self.write_accepted(table, page).await;
        if let (None, Err(Outcome::Blocked { wait, .. })) = (page, &written) {
            let until = Some(Instant::now() + *wait);
            *self.notion.blocked_until.lock().unwrap_or_else(PoisonError::into_inner) = until;
        }
        written
    }

    async fn write_accepted(&self, table: &Arc<Table>, page: Option<&str>) -> Result<Written, Outcome> {
        let mut table = table.clone();
        let mut refusal = match self.send(&table, page).await {
            Ok(answer) => return self.accepted(table, page, answer).await,
            Err(CallError::Refused(refusal)) if refusal.is_about_a_property() => refusal,
            Err(error) => return Err(self.calls().outcome(self.effect(page), error)),
        };
        let newer = self.columns_after(&refusal).await?;
        let mut has_changed =
            newer.data_source != table.data_source || self.body(&newer, page) != self.body(&table, page);
        table = newer;
        let mut unread = page;
        // An object's page may first lose a refused value, and then the emptying of its column.
        let rounds_max = 1 + 2 * self.values(&table, page).len();
        for _ in 0..rounds_max {
            if !has_changed {
                // Another table may refuse what this one takes.
                if let Some(page) = unread.take()
                    && self.has_moved(&table, page, &refusal).await?
                {
                    return Err(moved());
                }
                if !self.leave_out(&table, page, &refusal) {
                    break;
                }
            }
            has_changed = false;
            refusal = match self.send(&table, page).await {
                Ok(answer) => return self.accepted(table, page, answer).await,
                Err(CallError::Refused(refusal)) if refusal.is_about_a_property() => refusal,
                Err(error) => {
                    return Err(classify::after_a_call(self.calls().outcome(self.effect(page), error)));
                }
            };
        }
        Err(self.calls().outcome(self.effect(page), CallError::Refused(refusal)))
    }

    /// Whether a person moved the page out of the table.
    async fn has_moved(&self, table: &Table, page: &str, refusal: &Refusal) -> Result<bool, Outcome> {
        let read = self.calls().page_state(page).await;
        // A page that cannot be read any more is gone, as if the write had found out.
        let read =
            read.map_err(|error| classify::after_a_call(self.calls().outcome(Effect::Update, error)))?;
        Ok(has_left(&read.value, &table.data_source, refusal.is_about_a_missing_property()))
    }

    /// Remembers the values that a refusal is about, so that requests leave them out from now on. Returns
    /// whether the next request differs.
    fn leave_out(&self, table: &Table, page: Option<&str>, refusal: &Refusal) -> bool {
        let sent = self.values(table, page);
        for refused in refused_in(&refusal.message, &sent, &table.bindings) {
            // The column's own name is the user's and is not logged.
            let field = table.bindings.field_of(&refused.column).map_or("title", Field::name);
            warn!(field, "Notion refuses a value; it is left out");
            self.notion.refused.remember(&table.data_source, refused, Instant::now());
        }
        self.values(table, page) != sent
    }

    /// Why a value is left out, if Notion refused it.
    pub(super) fn refused(&self, table: &Table, column_id: &str, value: &Value) -> Option<String> {
        let column = table.bindings.by_id(column_id)?;
        self.notion.refused.reason(&table.data_source, column, value, Instant::now())
    }

    /// What the page lacks although the event has it, and why.
    pub(super) fn left_out(&self, table: &Table) -> Vec<String> {
        let Mapped { properties, notes } = self.mapped(table);
        let refused = properties.iter().filter_map(|(id, value)| {
            let reason = self.refused(table, id, value)?;
            let name = &table.bindings.by_id(id)?.name;
            Some(format!("nothing was written to the column {name:?}: {reason}"))
        });
        notes.iter().map(ToString::to_string).chain(refused).collect()
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

    /// The properties to send, as a request takes them.
    fn body(&self, table: &Table, page: Option<&str>) -> Map<String, Value> {
        table.bindings.by_name(&self.values(table, page))
    }

    /// The values to send, by the ids of their columns: those of a new page, those that change on the known page
    /// of an object, or those of an event's known page, which loses the figures and times that the event does not
    /// have any more: a wrong one would be added up. What was written to a text is not recorded, so it may be a
    /// person's.
    pub(super) fn values(&self, table: &Table, page: Option<&str>) -> Map<String, Value> {
        match (page, self.mode) {
            (None, _) => self.properties(table),
            (Some(page), Mode::Object) => self.changes(table, page, self.properties(table)),
            (Some(_), Mode::Event) => {
                let Mapped { properties: mut whole, notes } = self.mapped(table);
                // What could not be expressed is a value, too.
                let is_noted = |field| notes.iter().any(|note| note.field == field);
                let columns = table.bindings.columns.iter();
                let columns = columns.filter(|(field, _)| field.is_figure() && !is_noted(**field));
                let emptied: Vec<_> = object::emptied(columns.map(|(_, column)| column), &whole).collect();
                whole.extend(emptied);
                self.accepted_values(table, whole)
            }
        }
    }

    /// The values that the page shows, by the ids of their columns; without those that Notion refused.
    pub(super) fn properties(&self, table: &Table) -> Map<String, Value> {
        self.accepted_values(table, self.mapped(table).properties)
    }

    fn accepted_values(&self, table: &Table, mut values: Map<String, Value>) -> Map<String, Value> {
        values.retain(|id, value| self.refused(table, id, value).is_none());
        values
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
        let newer = self.columns_after(refusal).await?;
        let is_another = newer.data_source != before.data_source || sent(&newer) != sent(before);
        Ok(is_another.then_some(newer))
    }

    /// The columns as they are since a request was refused.
    async fn columns_after(&self, refusal: &Refusal) -> Result<Arc<Table>, Outcome> {
        let now = Instant::now();
        let sent_at = now.checked_sub(refusal.sent).unwrap_or(now);
        self.table().later_than(sent_at, self.reader()).await.map_err(classify::after_a_call)
    }

    /// Writes the page once more if the answer shows that a name belongs to another column by now, which
    /// then got the value. A page of an event is delivered even so: to try again could create a second one.
    /// A `known` page that is a row of another table by now is no page of this one any more.
    async fn accepted(
        &self,
        table: Arc<Table>,
        known: Option<&str>,
        answer: Answer<PageRef>,
    ) -> Result<Written, Outcome> {
        let page = &answer.value;
        if known.is_some() && page.is_in_another(&table.data_source) {
            info!(page_id = page.id, "page was moved to another table");
            return Err(moved());
        }
        if page.is_put_away() {
            // It will come back with what contains it.
            warn!(page_id = page.id, "page was written into the trash");
            self.table().keep_proof(&page.id);
        }
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
