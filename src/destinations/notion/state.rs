//! Object mode: one page shows the newest state of one object.
//!
//! The page is found by the object's id, or created. Later states change only what differs. A write of
//! unknown outcome that lands late could undo a newer one. So nothing is written until it has settled.
//! Then every property is written, and columns that another state may have filled are cleared.
//!
//! A page that a person removed is created again if the settings say so. One that is archived or was moved to
//! another table still exists, and a second one would be a duplicate when it comes back: it gets none.

use super::object;
use super::settings::NotionId;
use super::table::Table;
use super::trash::archived;
use super::write::Written;
use super::{Attempt, delivered, remote};
use crate::domain::delivery::{Outcome, Remote};
use crate::domain::summary::EventSummary;
use serde_json::{Map, Value};
use std::sync::Arc;

impl Attempt<'_> {
    pub(super) async fn deliver_object(&self) -> Result<Outcome, Outcome> {
        let table = self.table().get(self.reader()).await?;
        if let Some(elapsed) = self.delivery.in_doubt {
            // Until the execution fails, the newest state is written even if the attempts are used up.
            self.wait_until_settled(elapsed)?;
        }
        let page = if let Some(remote) = self.known_page(&table) {
            Some(remote.clone())
        } else {
            // A look-up for each of them would leave no calls for the pages that can be updated.
            self.may_create()?;
            self.find(&table).await?.map(|found| remote(found.value))
        };
        match page {
            Some(page) => self.overwrite(&table, page).await,
            None => self.create_state(&table).await,
        }
    }

    async fn create_state(&self, table: &Arc<Table>) -> Result<Outcome, Outcome> {
        let Written { table, answer: made } = self.write(table, None).await?;
        let written = self.properties(&table);
        if self.delivery.in_doubt.is_none() {
            return Ok(showing(delivered(made), written));
        }
        let id = made.value.id.clone();
        let page = self.confirmed(&table, made).await;
        // The earlier page shows an older state.
        if NotionId::is_same(&page.value.id, &id) {
            Ok(showing(delivered(page), written))
        } else {
            self.write_to(&table, &page.value.id).await
        }
    }

    async fn overwrite(&self, table: &Arc<Table>, page: Remote) -> Result<Outcome, Outcome> {
        if self.changes(table, &page.id, self.properties(table)).is_empty() {
            // It already shows this state.
            return Ok(showing(Outcome::delivered(Some(page), None), self.properties(table)));
        }
        match self.write_to(table, &page.id).await {
            Err(Outcome::Gone(failure)) => {
                let table = self.confirm_gone(&page.id, &failure).await?;
                if !self.notion.settings.recreates {
                    return Err(Outcome::Gone(failure));
                }
                // An earlier try may have created its successor.
                match self.find(&table).await? {
                    Some(found) if found.value.is_put_away() => Err(archived()),
                    Some(found) => self.write_to(&table, &found.value.id).await,
                    None => self.create_state(&table).await,
                }
            }
            other => other,
        }
    }

    async fn write_to(&self, table: &Arc<Table>, page: &str) -> Result<Outcome, Outcome> {
        let Written { table, answer } = self.write(table, Some(page)).await?;
        Ok(showing(delivered(answer), self.properties(&table)))
    }

    /// What differs from what was written last. If that is uncertain, everything; columns that another
    /// state may have filled and this one does not are cleared.
    pub(super) fn changes(&self, table: &Table, page: &str, next: Map<String, Value>) -> Map<String, Value> {
        let object = self.delivery.object;
        // Nothing was written to a page that is unknown or in another data source.
        let written = object.filter(|_| self.known_page(table).is_some_and(|known| known.id == page));
        let written = written.and_then(|object| object.written).and_then(Value::as_object);
        let is_certain = written.is_some() && self.delivery.in_doubt.is_none();
        let mut changes =
            written.map(|written| object::changes(written, &next, &table.bindings)).unwrap_or_default();
        if !is_certain {
            changes.extend(self.left_by_others(table, &next));
        }
        if !is_certain || object.is_some_and(|object| object.is_asked_for) {
            changes.extend(next);
        }
        // What cannot be written at all cannot be cleared either.
        changes.retain(|id, value| self.refused(table, id, value).is_none());
        changes
    }

    /// The columns to clear: those that another state fills and `next` does not. Columns that no state of
    /// the object fills may hold a person's text.
    fn left_by_others(&self, table: &Table, next: &Map<String, Value>) -> Map<String, Value> {
        let others = self.delivery.object.map(|object| (object.others)()).unwrap_or_default();
        let filled = |state: &EventSummary| {
            Some(object::object_properties(state, self.zone(), &table.bindings)?.properties)
        };
        others
            .iter()
            .filter_map(filled)
            .flat_map(|written| object::changes(&written, next, &table.bindings))
            .filter(|(id, _)| !next.contains_key(id))
            .collect()
    }
}

/// The outcome with what the page shows now.
fn showing(outcome: Outcome, properties: Map<String, Value>) -> Outcome {
    match outcome {
        Outcome::Delivered { remote, status, request_id, left_out, .. } => {
            let written = Some(Value::Object(properties));
            Outcome::Delivered { remote, status, request_id, written, left_out }
        }
        other => other,
    }
}
