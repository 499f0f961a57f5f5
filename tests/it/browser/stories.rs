//! Four ways in which things go wrong, each told by the dashboard, mended, and seen to be mended:
//! what docs/dashboard.md tells. Where the mending is done elsewhere, the open page shows that it helped.

use super::site::{WRITE_KEY, invoice_at};
use super::{Page, Site, day};
use crate::harness::{SECRET, rows};
use notion_sandbox::{DATA_SOURCE_ID, Fault, FaultRule, Route};

/// The overview in the state in which somebody sees it who was just woken.
async fn at_three_in_the_morning(site: &Site) -> Page {
    let page = site.logged_in(WRITE_KEY).await;
    page.until_shows("Live").await;
    page.evaluate("window.sameDocument = true").await;
    page
}

/// While it restarts the service answers 503, and then not at all.
fn expect_a_restart(page: &Page) {
    page.expect_error("503");
    page.expect_error("ERR_CONNECTION_REFUSED");
}

/// What comes in while nothing goes out.
async fn send(site: &Site, count: usize) {
    for number in 0..count {
        let event = invoice_at(&format!("evt_1QxWaits{number}"), "invoice.paid", day::now());
        assert_eq!(site.post_event(&event.to_string()).await.status, 200);
    }
    site.until_count(rows::paused(), 1).await;
}

#[tokio::test]
async fn a_revoked_token_is_replaced_and_what_waited_is_delivered() {
    let Some(site) = Site::with_keys(&[]).await else { return };
    day::quiet(&site).await;
    let delivered = site.sandbox.page_count();
    site.sandbox.set_token("ntn_new".to_owned());
    send(&site, 9).await;
    day::let_wait(&site, 47).await;
    let page = at_three_in_the_morning(&site).await;
    page.until_shows("Notion is paused").await;
    page.until_shows("set a new NOTION_API_KEY").await;
    page.picture("token-revoked").await;
    // The open page outlives the restart with the new token.
    expect_a_restart(&page);
    let site = site.restart(&[("NOTION_API_KEY", "ntn_new")]).await;
    page.until_gone("Notion is paused").await;
    page.until_shows("All is well").await;
    page.picture("token-replaced").await;
    assert_eq!(page.evaluate("window.sameDocument").await, true, "it was not loaded anew");
    assert_eq!(site.sandbox.page_count(), delivered + 9);
}

#[tokio::test]
async fn a_key_column_that_was_deleted_is_added_again_and_what_waited_is_delivered() {
    let Some(site) = Site::with_keys(&[]).await else { return };
    day::quiet(&site).await;
    let delivered = site.sandbox.page_count();
    site.sandbox.remove_column(DATA_SOURCE_ID, "EventId").unwrap();
    send(&site, 12).await;
    day::let_wait(&site, 21).await;
    let page = at_three_in_the_morning(&site).await;
    page.until_shows("Notion is paused").await;
    page.until_shows("text column EventId").await;
    page.picture("column-deleted").await;
    site.sandbox.add_column(DATA_SOURCE_ID, "EventId", "rich_text").unwrap();
    page.until_gone("Notion is paused").await;
    page.until_shows("All is well").await;
    assert_eq!(page.evaluate("window.sameDocument").await, true, "it was not loaded anew");
    assert_eq!(site.sandbox.page_count(), delivered + 12);
}

#[tokio::test]
async fn a_wrong_webhook_secret_is_told_and_what_stripe_sends_again_is_taken_once_it_is_right() {
    let Some(site) = Site::with_keys(&[]).await else { return };
    day::quiet(&site).await;
    let site = site.restart(&[("STRIPE_WEBHOOK_SECRET", "live=whsec_of_the_old_endpoint")]).await;
    // As Stripe lays it out: in another layout somebody has written it anew.
    let event = format!("{:#}", invoice_at("evt_1QxRejected", "invoice.paid", day::now()));
    assert_eq!(site.post_event(&event).await.status, 400);
    let page = at_three_in_the_morning(&site).await;
    page.until_shows("signed with none of the configured secrets (live)").await;
    page.picture("wrong-secret").await;
    expect_a_restart(&page);
    let site = site.restart(&[("STRIPE_WEBHOOK_SECRET", &format!("live={SECRET}"))]).await;
    assert_eq!(site.post_event(&event).await.status, 200);
    page.until_shows("Webhooks have been accepted since then").await;
    page.until_shows("All is well").await;
    assert_eq!(page.evaluate("window.sameDocument").await, true, "it was not loaded anew");
}

#[tokio::test]
async fn events_that_notion_refuses_are_a_group_of_failures_and_are_retried_together_once_it_is_mended() {
    let Some(site) = Site::with_keys(&[]).await else { return };
    day::fill(&site).await;
    // From here on at the rate that Notion grants.
    let site = site.restart(&[("NOTION_RATE_PER_MINUTE", "180")]).await;
    let page = at_three_in_the_morning(&site).await;
    page.click("Failures").await;
    page.until_at("/failures").await;
    page.until_shows("3 failed at notion").await;
    page.picture("poison-failures").await;
    page.click("Notion: Status is expected to be status").await;
    page.until_shows("Its failures").await;
    page.click("Preview").await;
    page.until_shows("What would be written now").await;
    page.picture("poison-preview").await;
    page.evaluate("history.back()").await;
    page.until_shows("Its failures").await;

    // One of the two causes is mended, the other one not.
    let refuse = Fault::Invalid { message: "Amount is expected to be number.".to_owned() };
    page.click("Retry all").await;
    page.until_shows("Retry 3 executions?").await;
    page.until_shows("Nothing has been changed yet.").await;
    page.picture("poison-retry").await;
    page.fill("Note for the audit (optional)", "Status has its options again").await;
    page.click("Retry 3 executions").await;
    page.until_shows("All of them are finished.").await;
    page.picture("poison-watched").await;

    // The other one is known, and somebody is at it.
    site.sandbox.fault(FaultRule::always(refuse).on(Route::Create)).unwrap();
    page.click("Failures").await;
    page.until_shows("Amount is expected to be number.").await;
    page.click("Retry the newest").await;
    page.until_shows("The execution is retried now.").await;
    page.until_shows("failed").await;
    page.click("Failures").await;
    page.until_at("/failures").await;
    page.click("Acknowledge").await;
    page.fill("Note", "Amount became a text column; Ann mends it tomorrow").await;
    page.press("Enter").await;
    page.until_shows("No failures").await;
    assert_eq!(
        page.evaluate("document.querySelector('.badge')").await,
        serde_json::Value::Null,
        "red has reached zero"
    );
}
