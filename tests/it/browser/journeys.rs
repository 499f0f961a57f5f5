//! Complete user journeys through the dashboard.

use super::Site;
use super::site::{READ_KEY, WRITE_KEY, invoice};
use crate::harness::rows;
use notion_sandbox::{Fault, FaultRule, Route};

#[tokio::test]
async fn a_failure_is_found_by_the_customers_address_and_retried() {
    let Some(site) = Site::with_keys(&[]).await else { return };
    site.fail(&invoice("evt_1", "invoice.paid"), "A smile is expected here.").await;
    let page = site.logged_in(WRITE_KEY).await;
    page.until_shows("A smile is expected here.").await;

    page.fill("Search", "Jane@Example.com").await;
    page.press("Enter").await;
    page.until_at("/search").await;
    // The indexer may still be running; the page updates by itself.
    page.until_shows("EUR 120.00").await;
    page.click("invoice.paid").await;
    page.until_shows("evt_1").await;
    page.click("notion").await;
    page.until_shows("What happened").await;
    page.until_shows("Notion: A smile is expected here.").await;

    site.sandbox.clear_faults();
    site.sandbox.fault(FaultRule::always(Fault::Error { status: 503 }).on(Route::Create)).unwrap();
    page.click("Retry now").await;
    page.until_shows("The execution was queued for another attempt.").await;
    page.evaluate("window.sameDocument = true").await;
    page.until_shows("HTTP 503").await;
    page.until_shows("Waits for its next attempt").await;
    site.sandbox.clear_faults();
    page.until_shows("delivered").await;
    page.until_shows("Open the page").await;
    let linked = "[...document.querySelectorAll('[data-part=facts] dt')].find((one) => one.innerText === 'Page').nextElementSibling.querySelector('a[href^=\"http\"]') !== null";
    page.until("the id of the page is a link to it", linked).await;
    assert_eq!(page.evaluate("window.sameDocument").await, true, "the page was not reloaded");
    assert_eq!(site.sandbox.page_count(), 1);
}

#[tokio::test]
async fn logging_out_ends_the_session_for_the_back_button_too() {
    let Some(site) = Site::with_keys(&[]).await else { return };
    let page = site.logged_in(READ_KEY).await;
    page.until_shows("board · read").await;
    page.click("Log out").await;
    page.until_at("/login").await;
    page.open("/events").await;
    page.until_at("/login").await;
    page.evaluate("history.back()").await;
    page.until_shows("With a key of API_KEYS").await;
    // And from there to the page that was requested.
    page.open("/events?type=invoice.*").await;
    page.fill("API key", READ_KEY).await;
    page.press("Enter").await;
    page.until_at("/events").await;
    assert_eq!(page.address().await, "/events?type=invoice.*");
}

#[tokio::test]
async fn an_open_page_redirects_to_the_login_when_its_key_is_removed() {
    let Some(site) = Site::with_keys(&[]).await else { return };
    let page = site.logged_in(WRITE_KEY).await;
    page.until_shows("Live").await;
    page.expect_error("503");
    page.expect_error("ERR_CONNECTION_REFUSED");
    page.expect_error("401");
    let _site = site.restart(&[("API_KEYS", "board:read:another-0123456789abcdef0123456789abcdef")]).await;
    page.until_at("/login").await;
}

#[tokio::test]
async fn a_wrong_key_is_reported_at_its_field() {
    let Some(site) = Site::with_keys(&[]).await else { return };
    let page = site.page().await;
    page.expect_error("401");
    page.open("/").await;
    page.fill("API key", "wrong").await;
    page.click("Log in").await;
    page.until_shows("This key is not one of API_KEYS.").await;
    let described = "document.getElementById(field('API key').getAttribute('aria-describedby')).innerText";
    assert_eq!(page.evaluate(described).await, "This key is not one of API_KEYS.");
}

#[tokio::test]
async fn a_read_key_sees_no_button_that_changes_anything() {
    let Some(site) = Site::with_keys(&[]).await else { return };
    let execution = site.fail(&invoice("evt_1", "invoice.paid"), "No.").await;
    let (writer, reader) = (site.logged_in(WRITE_KEY).await, site.logged_in(READ_KEY).await);
    let path = format!("/executions/{execution}");
    writer.open(&path).await;
    assert!(writer.has_control("Retry now").await);
    for path in ["/", "/events", "/events/evt_1", "/executions", &path, "/audit"] {
        reader.open(path).await;
        let posts =
            "[...document.querySelectorAll('form[method=post]')].map((form) => form.getAttribute('action'))";
        assert_eq!(reader.evaluate(posts).await, serde_json::json!(["/logout"]), "{path}");
    }
}

#[tokio::test]
async fn a_destination_is_paused_for_maintenance_and_resumed() {
    let Some(site) = Site::with_keys(&[]).await else { return };
    let (page, overview) = (site.logged_in(WRITE_KEY).await, site.logged_in(READ_KEY).await);
    overview.until_shows("Live").await;
    page.click("Destinations").await;
    page.until_at("/destinations").await;
    page.click("Pause").await;
    page.fill("Reason", "Moving to another database").await;
    page.click("Pause notion").await;
    page.until_shows("Paused by ops: Moving to another database").await;

    // Every other open page shows it without a reload, and the pause takes effect.
    overview.until_shows("Moving to another database").await;
    assert_eq!(site.post_event(&invoice("evt_1", "invoice.paid").to_string()).await.status, 200);
    overview.until_shows("1 pending").await;
    assert_eq!(site.sandbox.page_count(), 0);

    page.click("Resume").await;
    page.until_at("/destinations").await;
    page.until_gone("Paused by").await;
    overview.until_gone("Moving to another database").await;
    site.until_count(rows::executions().in_status("success"), 1).await;
    page.click("Audit").await;
    page.until_shows("Moving to another database").await;
}
