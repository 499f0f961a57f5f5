//! Four incidents, each shown by the dashboard, fixed, and confirmed as fixed, as docs/dashboard.md
//! describes them. If the fix is made elsewhere, the open page shows its effect.

use super::site::{WRITE_KEY, invoice_at};
use super::{Page, Site, day};
use crate::harness::{SECRET, rows, within};
use notion_sandbox::{DATA_SOURCE_ID, Fault, FaultRule, Route};

/// The overview as an on-call engineer first sees it.
async fn overview_of_incident(site: &Site) -> Page {
    let page = site.logged_in(WRITE_KEY).await;
    page.until_shows("Live").await;
    page.evaluate("window.sameDocument = true").await;
    page
}

/// During its restart the service responds 503, and then accepts no connection.
fn expect_a_restart(page: &Page) {
    page.expect_error("503");
    page.expect_error("ERR_CONNECTION_REFUSED");
}

/// Events that arrive while none is delivered.
async fn send(site: &Site, count: usize) {
    for number in 0..count {
        let event = invoice_at(&format!("evt_1QxWaits{number}"), "invoice.paid", day::now());
        assert_eq!(site.post_event(&event.to_string()).await.status, 200);
    }
    site.until_count(rows::paused(), 1).await;
}

#[tokio::test]
async fn a_revoked_token_is_replaced_and_the_backlog_delivered() {
    let Some(site) = Site::with_keys(&[]).await else { return };
    day::quiet(&site).await;
    let delivered = site.sandbox.page_count();
    site.sandbox.set_token("ntn_new".to_owned());
    send(&site, 9).await;
    day::make_pending_since(&site, 47).await;
    let page = overview_of_incident(&site).await;
    page.until_shows("Notion is paused").await;
    page.until_shows("set a new NOTION_API_KEY").await;
    page.picture("token-revoked").await;
    // The open page survives the restart with the new token.
    expect_a_restart(&page);
    let site = site.restart(&[("NOTION_API_KEY", "ntn_new")]).await;
    page.until_gone("Notion is paused").await;
    page.until_shows("All is well").await;
    page.picture("token-replaced").await;
    assert_eq!(page.evaluate("window.sameDocument").await, true, "the page was not reloaded");
    assert_eq!(site.sandbox.page_count(), delivered + 9);
}

#[tokio::test]
async fn a_deleted_key_column_is_added_again_and_the_backlog_delivered() {
    let Some(site) = Site::with_keys(&[]).await else { return };
    day::quiet(&site).await;
    let delivered = site.sandbox.page_count();
    site.sandbox.remove_column(DATA_SOURCE_ID, "EventId").unwrap();
    send(&site, 12).await;
    day::make_pending_since(&site, 21).await;
    let page = overview_of_incident(&site).await;
    page.until_shows("Notion is paused").await;
    page.until_shows("text column EventId").await;
    page.picture("column-deleted").await;
    site.sandbox.add_column(DATA_SOURCE_ID, "EventId", "rich_text").unwrap();
    page.until_gone("Notion is paused").await;
    page.until_shows("All is well").await;
    assert_eq!(page.evaluate("window.sameDocument").await, true, "the page was not reloaded");
    let all = site.sandbox.until(|sandbox| sandbox.page_count() == delivered + 12);
    within("all are delivered", all).await;
}

#[tokio::test]
async fn a_wrong_webhook_secret_is_shown_until_an_event_is_accepted() {
    let Some(site) = Site::with_keys(&[]).await else { return };
    day::quiet(&site).await;
    let site = site.restart(&[("STRIPE_WEBHOOK_SECRET", "live=whsec_of_the_old_endpoint")]).await;
    // In Stripe's layout: another layout would mean that a proxy rewrote the body.
    let event = format!("{:#}", invoice_at("evt_1QxRejected", "invoice.paid", day::now()));
    assert_eq!(site.post_event(&event).await.status, 400);
    let page = overview_of_incident(&site).await;
    page.until_shows("signed with none of the configured secrets (live)").await;
    page.picture("wrong-secret").await;
    expect_a_restart(&page);
    let site = site.restart(&[("STRIPE_WEBHOOK_SECRET", &format!("live={SECRET}"))]).await;
    assert_eq!(site.post_event(&event).await.status, 200);
    page.until_shows("Webhooks have been accepted since then").await;
    page.until_shows("All is well").await;
    assert_eq!(page.evaluate("window.sameDocument").await, true, "the page was not reloaded");
}

#[tokio::test]
async fn events_that_notion_refuses_form_a_failure_group_and_are_retried_together() {
    let Some(site) = Site::with_keys(&[]).await else { return };
    day::fill(&site).await;
    // From here on at Notion's rate limit.
    let site = site.restart(&[("NOTION_RATE_PER_MINUTE", "180")]).await;
    let page = overview_of_incident(&site).await;
    page.click("Failures").await;
    page.until_at("/failures").await;
    page.until_shows("3 failed at notion").await;
    page.picture("poison-failures").await;
    page.click("Notion: A block is expected to be complete").await;
    page.until_shows("Its failures").await;
    page.click("Preview").await;
    page.until_shows("What would be written now").await;
    page.picture("poison-preview").await;
    page.evaluate("history.back()").await;
    page.until_shows("Its failures").await;

    // One of the two causes is fixed, the other is not.
    let refuse = Fault::Invalid { message: "A number is expected here.".to_owned() };
    page.click("Retry all").await;
    page.until_shows("Retry 3 executions?").await;
    page.until_shows("Nothing has been changed yet.").await;
    page.picture("poison-retry").await;
    page.fill("Note for the audit (optional)", "Its blocks are complete again").await;
    page.click("Retry 3 executions").await;
    page.until_shows("All of them are finished.").await;
    page.picture("poison-watched").await;

    // The other one is acknowledged.
    site.sandbox.fault(FaultRule::always(refuse).on(Route::Create)).unwrap();
    page.click("Failures").await;
    page.until_shows("A number is expected here.").await;
    page.click("Retry the newest").await;
    page.until_shows("The execution was queued for another attempt.").await;
    page.until_shows("failed").await;
    page.click("Failures").await;
    page.until_at("/failures").await;
    page.click("Acknowledge").await;
    page.fill("Note", "A number is missing; Ann mends it tomorrow").await;
    page.press("Enter").await;
    page.until_shows("No failures").await;
    assert_eq!(
        page.evaluate("document.querySelector('.badge')").await,
        serde_json::Value::Null,
        "red has reached zero"
    );
}
