//! Looks for the page of an event or an object, by its key.
//!
//! Ids that users choose, such as those of coupons and plans, can belong to several objects: in test and
//! live mode, in several accounts, of several types. Such objects share one key and have a page each. The
//! owner of a page is recorded only on completion. So only one of them looks at a time, and it skips the
//! pages that are known to belong to others.

use super::Attempt;
use super::answer::{Answer, Found, PageRef};
use super::call_error::CallError;
use super::classify::Effect;
use super::remedies;
use super::request::{Request, Rows};
use super::table::Table;
use crate::domain::delivery::{Failure, KeyLock, Outcome};
use crate::domain::execution::Mode;
use serde_json::Value;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How soon to look again while another object of the same id is looked for or created.
const SEARCH_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How many searches, of one page of results each, a lookup makes while every hit belongs to another object.
const SEARCHES_MAX: u32 = 20;

/// How long the answer whether a table has archived rows is relied on.
const ARCHIVED_ROWS_FOR: Duration = Duration::from_mins(1);

/// Whether tables have archived rows. One delivery at a time asks.
#[derive(Debug, Default)]
pub(super) struct ArchivedRows {
    known: Mutex<Option<KnownRows>>,
    asking: tokio::sync::Mutex<()>,
}

/// Whether a table had archived rows when it was last asked.
#[derive(Debug)]
struct KnownRows {
    data_source: String,
    are_there: bool,
    read_at: Instant,
}

impl ArchivedRows {
    fn known(&self, data_source: &str) -> Option<bool> {
        let known = self.lock();
        let known = known
            .as_ref()
            .filter(|known| known.data_source == data_source && known.read_at.elapsed() < ARCHIVED_ROWS_FOR);
        known.map(|known| known.are_there)
    }

    fn lock(&self) -> MutexGuard<'_, Option<KnownRows>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt<'_> {
    /// Looks for the page with this attempt's key; of several the one that counts.
    pub(super) async fn find(&self, table: &Arc<Table>) -> Result<Option<Answer<PageRef>>, Outcome> {
        let Answer { value: found, status, request_id } = self.find_all(table).await?;
        let page = self.settle_on_one(table, found).await;
        Ok(page.map(|value| Answer { value, status, request_id }))
    }

    /// Looks for all pages with this attempt's key; if there are none, for archived ones.
    pub(super) async fn find_all(&self, table: &Arc<Table>) -> Result<Answer<Vec<PageRef>>, Outcome> {
        if self.mode == Mode::Object {
            self.lock_object().await?;
        }
        let present = self.find_rows(table, Rows::Present).await?;
        if present.value.is_empty() && self.may_be_archived(table).await? {
            self.find_rows(table, Rows::Archived).await
        } else {
            Ok(present)
        }
    }

    /// Whether the page can be an archived one. Few tables have archived rows, and each look-up of a new object
    /// would cost one call more; so the table is asked once in a while whether it has any. While one delivery
    /// asks, the others do not wait for the answer but look among the archived rows themselves.
    async fn may_be_archived(&self, table: &Table) -> Result<bool, Outcome> {
        if self.delivery.in_doubt.is_some() {
            return Ok(true);
        }
        let rows = &self.notion.archived_rows;
        if let Some(are_there) = rows.known(&table.data_source) {
            return Ok(are_there);
        }
        let Ok(_asking) = rows.asking.try_lock() else { return Ok(true) };
        if let Some(are_there) = rows.known(&table.data_source) {
            return Ok(are_there);
        }
        let read_at = Instant::now();
        let found = self.calls().find_one(&table.data_source, Rows::Archived).await;
        let found = found.map_err(|error| self.calls().outcome(Effect::Look, error))?;
        let are_there = !found.value.results.is_empty();
        *rows.lock() = Some(KnownRows { data_source: table.data_source.clone(), are_there, read_at });
        Ok(are_there)
    }

    async fn find_rows(&self, table: &Arc<Table>, rows: Rows) -> Result<Answer<Vec<PageRef>>, Outcome> {
        let (table, first) = match self.search(table, rows, None).await {
            Err(CallError::Refused(refusal)) if refusal.is_about_a_property() => {
                match self.changed(table, &refusal, |table| self.filter(table)).await? {
                    Some(newer) => {
                        let answer = self.search(&newer, rows, None).await;
                        (newer, answer)
                    }
                    None => (table.clone(), Err(CallError::Refused(refusal))),
                }
            }
            answer => (table.clone(), answer),
        };
        let refused = |error| self.calls().outcome(Effect::Look, error);
        let Answer { value: Found { mut results, mut next_cursor }, status, request_id } =
            first.map_err(refused)?;
        if self.mode == Mode::Object {
            self.leave_to_other_objects(&mut results).await?;
            // While all hits belong to others, the own page may follow.
            let mut searches = 1;
            while let Some(cursor) = next_cursor.take().filter(|_| results.is_empty()) {
                if searches == SEARCHES_MAX {
                    return Err(too_many_of_this_id());
                }
                searches += 1;
                let more = self.search(&table, rows, Some(&cursor)).await.map_err(refused)?.value;
                Found { results, next_cursor } = more;
                self.leave_to_other_objects(&mut results).await?;
            }
        }
        Ok(Answer { value: results, status, request_id })
    }

    /// Waits while another object of this id is looked for or created: the owner of a page is known only
    /// when that delivery completes. It also waits until a write of such an object has settled.
    async fn lock_object(&self) -> Result<(), Outcome> {
        let lock = self.delivery.context.lock_key(&self.key).await;
        let wait = match lock.map_err(|failure| Outcome::Throttled { failure, wait: None })? {
            KeyLock::Acquired { in_doubt: None } => return Ok(()),
            KeyLock::Acquired { in_doubt: Some(elapsed) } => {
                self.notion.settings.settle.saturating_sub(elapsed)
            }
            KeyLock::Busy => SEARCH_AGAIN_AFTER,
        };
        if wait == Duration::ZERO {
            return Ok(());
        }
        let message = "another object with the same id is being written; its page is known only afterwards";
        Err(Outcome::InDoubt { failure: Failure::local("same_id", message), wait })
    }

    /// Drops the pages that belong to other objects with the same id.
    async fn leave_to_other_objects(&self, found: &mut Vec<PageRef>) -> Result<(), Outcome> {
        if found.is_empty() {
            return Ok(());
        }
        let ids: Vec<_> = found.iter().map(|page| page.id.clone()).collect();
        let others = self.delivery.context.owned_by_others(&ids).await;
        let others = others.map_err(|failure| Outcome::Throttled { failure, wait: None })?;
        found.retain(|page| !others.contains(&page.id));
        Ok(())
    }

    async fn search(
        &self,
        table: &Table,
        rows: Rows,
        from: Option<&str>,
    ) -> Result<Answer<Found>, CallError> {
        self.calls().read(&self.look(table, rows, from)).await
    }

    /// The request for the pages with this attempt's key. Of their values the answer shows the key.
    pub(super) fn look(&self, table: &Table, rows: Rows, from: Option<&str>) -> Request {
        Request::find_pages(&table.data_source, &self.filter(table), rows, from)
            .showing(&table.bindings.key.id)
    }

    /// The filter for the pages with this attempt's key.
    pub(super) fn filter(&self, table: &Table) -> Value {
        match self.mode {
            Mode::Event => table.bindings.pages_of_event(&self.key),
            Mode::Object => table.bindings.pages_of_object(&self.key),
        }
    }
}

/// After so many pages of others it is unknown whether the page exists.
fn too_many_of_this_id() -> Outcome {
    let message = "too many pages of other objects have this id to search all of them for its own";
    let failure = Failure::local("too_many_pages", message).with_remedy(remedies::TOO_MANY_PAGES);
    Outcome::Transient { failure, wait: None }
}
