//! Swagger UI at `/docs`.

use super::Site;
use super::site::{READ_KEY, invoice};

#[tokio::test]
async fn swagger_ui_sends_a_request_with_a_key() {
    let Some(site) = Site::with_keys(&[]).await else { return };
    assert_eq!(site.post_event(&invoice("evt_1", "invoice.paid").to_string()).await.status, 200);
    let page = site.logged_in(READ_KEY).await;
    page.open("/docs").await;
    page.until_shows("/api/v1/events").await;
    let listing = "document.querySelector('#operations-events-list_events')";
    page.click_at("the listing of events", &format!("{listing}.querySelector('.opblock-summary-control')"))
        .await;
    page.click("Try it out").await;
    page.expect_error("401");
    page.click("Execute").await;
    page.until_shows("Send a key of API_KEYS").await;

    page.click("Authorize").await;
    page.fill("Value:", READ_KEY).await;
    page.press("Enter").await;
    page.until_shows("Logout").await;
    page.click("Close").await;
    page.click("Execute").await;
    let answer = format!("words({listing}.querySelector('.live-responses-table').innerText)");
    page.until("the answer", &format!("{answer}.includes('200') && {answer}.includes('evt_1')")).await;
}
