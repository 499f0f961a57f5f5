//! Four ways in which things go wrong, each told by the dashboard, mended, and seen to be mended:
//! what docs/dashboard.md tells. Where the mending is done elsewhere, the open page shows that it helped.

use super::site::{WRITE_KEY, invoice_at};
use super::{Page, Site};
use chrono::{DateTime, Utc};
use eventbridge::devserver::sandbox::DATA_SOURCE_ID;
use std::time::SystemTime;

/// The overview in the state in which somebody sees it who was just woken.
async fn at_three_in_the_morning(site: &Site) -> Page {
    let page = site.logged_in(WRITE_KEY).await;
    page.until_shows("Live").await;
    page.evaluate("window.sameDocument = true").await;
    page
}

async fn send(site: &Site, events: &[&str]) {
    for id in events {
        let event = invoice_at(id, "invoice.paid", DateTime::<Utc>::from(SystemTime::now()));
        assert_eq!(site.post_event(&event.to_string()).await.status, 200);
    }
}

#[tokio::test]
async fn a_revoked_token_is_replaced_and_what_waited_is_delivered() {
    let Some(site) = Site::with_keys(&[("NOTION_API_KEY", "ntn_revoked")]).await else { return };
    send(&site, &["evt_1QxA", "evt_1QxB", "evt_1QxC"]).await;
    let page = at_three_in_the_morning(&site).await;
    page.until_shows("Notion is held").await;
    page.until_shows("NOTION_API_KEY").await;
    page.picture("token-revoked").await;
    // The open page outlives the restart.
    page.expect_error("ERR_CONNECTION_REFUSED");
    let site = site.restart(&[]).await;
    page.until_shows("Money flows").await;
    assert_eq!(page.evaluate("window.sameDocument").await, true, "it was not loaded anew");
    assert_eq!(site.sandbox.page_count(), 3);
}

#[tokio::test]
async fn a_key_column_that_was_deleted_is_added_again_and_what_waited_is_delivered() {
    let Some(site) = Site::with_keys(&[]).await else { return };
    site.sandbox.remove_column(DATA_SOURCE_ID, "EventId").unwrap();
    send(&site, &["evt_1QxA", "evt_1QxB"]).await;
    let page = at_three_in_the_morning(&site).await;
    page.until_shows("Notion is held").await;
    page.until_shows("text column EventId").await;
    page.picture("column-deleted").await;
    site.sandbox.add_column(DATA_SOURCE_ID, "EventId", "rich_text").unwrap();
    page.until_shows("Money flows").await;
    assert_eq!(page.evaluate("window.sameDocument").await, true, "it was not loaded anew");
    assert_eq!(site.sandbox.page_count(), 2);
}
