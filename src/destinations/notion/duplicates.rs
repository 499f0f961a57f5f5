//! Several pages of one key: which of them counts, and what happens to the others.
//!
//! Notion does not prevent a second page; a first write that lands too late creates one. The oldest page
//! counts, whoever created it. Of the others, this module trashes those that hold the key and are
//! certainly ours: the token's own bot created them and nobody else has edited them since. All others are
//! left to a person. A page that holds another key is not touched. A problem here never fails a
//! delivery; it is logged.

use super::Attempt;
use super::client::{Answer, CallError, PageRef, UserRef};
use super::mapping::key_text;
use super::table::Table;
use chrono::{DateTime, Utc};
use std::sync::Arc;
use tracing::{info, warn};

impl Attempt<'_> {
    /// The page that counts of those of one key, after the others that are ours were trashed.
    pub(super) async fn settle_on_one(&self, table: &Table, found: Vec<PageRef>) -> Option<PageRef> {
        let mut pages = found;
        pages.retain(|page| !self.bears_another_key(table, page));
        pages.sort_by(|one, other| age(one).cmp(&age(other)));
        let mut pages = pages.into_iter();
        let oldest = pages.next()?;
        for page in pages {
            if key_of(table, &page).is_some() {
                self.trash(&page, &oldest).await;
            } else {
                warn!(
                    page_id = page.id,
                    kept_id = oldest.id,
                    "there is a second page, and it does not tell its key; a person must look at it"
                );
            }
        }
        Some(oldest)
    }

    /// The page that counts after one was made although an earlier write was in doubt: that one may
    /// have landed after all. Where it cannot be looked for, the new page counts.
    pub(super) async fn confirmed(&self, table: &Arc<Table>, made: Answer<PageRef>) -> Answer<PageRef> {
        let Ok(Answer { value: mut found, .. }) = self.find_all(table).await else {
            warn!("a page was written anew, and it could not be seen whether the first one landed too");
            return made;
        };
        if found.iter().all(|page| page.id != made.value.id) {
            // A query may not show it yet.
            found.push(made.value.clone());
        }
        let Answer { value, status, request_id } = made;
        Answer { value: self.settle_on_one(table, found).await.unwrap_or(value), status, request_id }
    }

    /// Whether the page itself says that it is of another key. Whatever the query is worth: such a page
    /// is neither written nor removed.
    fn bears_another_key(&self, table: &Table, page: &PageRef) -> bool {
        let is_another = key_of(table, page).is_some_and(|text| text != key_text(&self.key));
        if is_another {
            warn!(page_id = page.id, "a page was found by a key that it does not bear; it is left alone");
        }
        is_another
    }

    async fn trash(&self, page: &PageRef, kept: &PageRef) {
        let (page_id, kept_id) = (page.id.as_str(), kept.id.as_str());
        match self.is_ours(page).await {
            Ok(true) => {}
            Ok(false) => {
                warn!(page_id, kept_id, "there is a second page of one key, which a person must remove");
                return;
            }
            Err(error) => {
                let (class, code) = told(&error);
                warn!(page_id, kept_id, class, code, "there is a second page of one key; whose is not known");
                return;
            }
        }
        match self.calls().trash_page(page_id).await {
            Ok(_) => info!(page_id, kept_id, "there was a second page of one key; it is in the trash now"),
            Err(error) => {
                let (class, code) = told(&error);
                warn!(page_id, kept_id, class, code, "there is a second page of one key; trashing it failed");
            }
        }
    }

    async fn is_ours(&self, page: &PageRef) -> Result<bool, CallError> {
        let Some(bot) = self.calls().bot().await? else { return Ok(false) };
        let is_bot = |user: Option<&UserRef>| user.is_some_and(|user| user.id == *bot);
        Ok(is_bot(page.created_by.as_ref()) && is_bot(page.last_edited_by.as_ref()))
    }
}

/// The key that the page says it is of, where it says so.
fn key_of(table: &Table, page: &PageRef) -> Option<String> {
    page.text(&table.bindings.key.id).filter(|text| !text.is_empty())
}

/// What decides which page is the oldest: Notion tells whole minutes, and within one the id decides,
/// so that every look decides alike.
fn age(page: &PageRef) -> (bool, Option<DateTime<Utc>>, &str) {
    (page.created_time.is_none(), page.created_time, &page.id)
}

/// Class and code, which is all of an error that goes to the log.
fn told(error: &CallError) -> (&str, Option<u16>) {
    match error {
        CallError::NoSlot(_) => ("rate_limit", None),
        CallError::TooLate => ("too_late", None),
        CallError::NotSent(_) => ("unreachable", None),
        CallError::NoAnswer { .. } => ("no_answer", None),
        CallError::Refused(refusal) => (&refusal.code, Some(refusal.status)),
    }
}
