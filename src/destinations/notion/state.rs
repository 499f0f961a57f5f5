//! Object mode: one page shows the newest state of one object.
//!
//! The page is found by the object's id, or created. Later states change only what differs. A write of
//! unknown outcome that lands late could undo a newer one. So nothing is written until it has settled.
//! Then every property is written, and columns that another state may have filled are cleared.

use super::answer::{Answer, PageRef};
use super::call_error::CallError;
use super::classify::{self, Effect};
use super::object;
use super::table::Table;
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
        let page = match self.known_page(&table) {
            Some(remote) => Some(remote.clone()),
            None => self.find(&table).await?.map(|found| remote(found.value)),
        };
        match page {
            Some(page) => self.overwrite(table, page).await,
            None => self.create_state(&table).await,
        }
    }

    async fn create_state(&self, table: &Arc<Table>) -> Result<Outcome, Outcome> {
        let written = self.properties(table);
        let made = self.create(table).await?;
        if self.delivery.in_doubt.is_none() {
            return Ok(showing(delivered(made), written));
        }
        let id = made.value.id.clone();
        let page = self.confirmed(table, made).await;
        // The earlier page shows an older state.
        if page.value.id == id {
            Ok(showing(delivered(page), written))
        } else {
            self.write_all(table, &page.value.id).await
        }
    }

    async fn overwrite(&self, table: Arc<Table>, page: Remote) -> Result<Outcome, Outcome> {
        let (table, answer) = match self.send_changes(&table, &page).await {
            Err(CallError::Refused(refusal)) if refusal.is_about_a_property() => {
                let sent = |table: &Table| self.changes(table, &page.id, self.mapped(table).properties);
                match self.changed(&table, &refusal, sent).await? {
                    Some(newer) => {
                        let answer = self.send_changes(&newer, &page).await;
                        let outcome =
                            |error| classify::after_a_call(self.calls().outcome(Effect::Overwrite, error));
                        (newer, answer.map_err(outcome))
                    }
                    None => {
                        (table, Err(self.calls().outcome(Effect::Overwrite, CallError::Refused(refusal))))
                    }
                }
            }
            answer => (table, answer.map_err(|error| self.calls().outcome(Effect::Overwrite, error))),
        };
        match answer {
            Ok(Some(answer)) => Ok(showing(delivered(answer), self.properties(&table))),
            // It already shows this state.
            Ok(None) => {
                let unchanged =
                    Outcome::Delivered { remote: Some(page), status: None, request_id: None, written: None };
                Ok(showing(unchanged, self.properties(&table)))
            }
            Err(Outcome::Gone(failure)) => {
                let table = self.confirm_gone(&page.id, &failure).await?;
                if !self.notion.settings.recreates {
                    return Err(Outcome::Gone(failure));
                }
                // An earlier try may have created its successor.
                match self.find(&table).await? {
                    Some(found) => self.write_all(&table, &found.value.id).await,
                    None => self.create_state(&table).await,
                }
            }
            Err(other) => Err(other),
        }
    }

    async fn write_all(&self, table: &Table, page: &str) -> Result<Outcome, Outcome> {
        let properties = self.properties(table);
        let changes = self.changes(table, page, properties.clone());
        match self.calls().overwrite_page(page, &changes).await {
            Ok(answer) => Ok(showing(delivered(answer), properties)),
            Err(error) => Err(self.calls().outcome(Effect::Overwrite, error)),
        }
    }

    /// Sends what is to be written to a page.
    async fn send_changes(&self, table: &Table, page: &Remote) -> Result<Option<Answer<PageRef>>, CallError> {
        let changes = self.changes(table, &page.id, self.properties(table));
        if changes.is_empty() {
            return Ok(None);
        }
        self.calls().overwrite_page(&page.id, &changes).await.map(Some)
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
        Outcome::Delivered { remote, status, request_id, .. } => {
            Outcome::Delivered { remote, status, request_id, written: Some(Value::Object(properties)) }
        }
        other => other,
    }
}
