//! Several pages of one key: which of them counts, and what happens to the others.
//!
//! Notion does not prevent a second page; a first write that lands too late creates one. The oldest page
//! counts, whoever created it. Of the others, this module trashes those that hold the key and are
//! certainly the service's own: the token's bot created them and was the last to edit them. All others are
//! left to a person. A page that holds another key is not touched. A problem here is logged and never fails
//! a delivery.
//! The service does not find a page that appears after the last lookup of its key: a person must remove it.

use super::Attempt;
use super::answer::{Answer, PageRef, UserRef};
use super::call_error::CallError;
use super::mapping::key_text;
use super::request::Request;
use super::settings::NotionId;
use super::table::Table;
use chrono::{DateTime, Utc};
use std::sync::Arc;
use tracing::{info, warn};

impl Attempt<'_> {
    /// The page that counts among those of one key. The service's own others are moved to the trash.
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
                    "second page without a key; a person must check it"
                );
            }
        }
        Some(oldest)
    }

    /// The page that counts after a new one was created while an earlier write was in doubt: that one may
    /// have landed after all. If the search fails, the new page counts.
    pub(super) async fn confirmed(&self, table: &Arc<Table>, made: Answer<PageRef>) -> Answer<PageRef> {
        let Ok(Answer { value: mut found, .. }) = self.find_all(table).await else {
            warn!("search for an earlier page failed after a new one was created");
            return made;
        };
        let Answer { value, status, request_id } = made;
        if found.iter().all(|page| !NotionId::is_same(&page.id, &value.id)) {
            // A query may not return it yet.
            found.push(self.with_key(table, value.clone()).await);
        }
        Answer { value: self.settle_on_one(table, found).await.unwrap_or(value), status, request_id }
    }

    /// A new page with its key and its author, which the answer to its creation lacks if that was an error.
    async fn with_key(&self, table: &Table, page: PageRef) -> PageRef {
        if !page.properties.is_empty() {
            return page;
        }
        let read: Result<Answer<PageRef>, _> =
            self.calls().read(&Request::page(&page.id).showing(&table.bindings.key.id)).await;
        read.map_or(page, |answer| answer.value)
    }

    /// Whether the page itself holds another key. Such a page is neither written nor removed, although the
    /// query returned it.
    fn bears_another_key(&self, table: &Table, page: &PageRef) -> bool {
        let is_another = key_of(table, page).is_some_and(|text| text != key_text(&self.key));
        if is_another {
            warn!(page_id = page.id, "query returned a page with another key; page left unchanged");
        }
        is_another
    }

    async fn trash(&self, page: &PageRef, kept: &PageRef) {
        let (page_id, kept_id) = (page.id.as_str(), kept.id.as_str());
        match self.is_ours(page).await {
            Ok(true) => {}
            Ok(false) => {
                warn!(page_id, kept_id, "second page of one key; a person must remove it");
                return;
            }
            Err(error) => {
                let (class, code) = error.loggable();
                warn!(page_id, kept_id, class, code, "second page of one key; its owner is unknown");
                return;
            }
        }
        match self.calls().trash_page(page_id).await {
            Ok(_) => info!(page_id, kept_id, "second page of one key moved to the trash"),
            Err(error) => {
                let (class, code) = error.loggable();
                warn!(page_id, kept_id, class, code, "second page of one key; moving it to the trash failed");
            }
        }
    }

    async fn is_ours(&self, page: &PageRef) -> Result<bool, CallError> {
        let Some(bot) = self.calls().bot().await? else { return Ok(false) };
        let is_bot = |user: Option<&UserRef>| user.is_some_and(|user| user.id == *bot);
        Ok(is_bot(page.created_by.as_ref()) && is_bot(page.last_edited_by.as_ref()))
    }
}

/// The key that the page holds, if it holds one.
fn key_of(table: &Table, page: &PageRef) -> Option<String> {
    page.text(&table.bindings.key.id).filter(|text| !text.is_empty())
}

/// The order by age. Notion gives whole minutes; within one the id decides, so every search agrees.
fn age(page: &PageRef) -> (bool, Option<DateTime<Utc>>, &str) {
    (page.created_time.is_none(), page.created_time, &page.id)
}
