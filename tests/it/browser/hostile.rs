//! Hostile text in events, on every page that shows it.

use super::site::{WRITE_KEY, invoice};
use super::{Page, Site, Width};
use crate::harness::rows;
use serde_json::{Value, json};

/// Markup that would run, a bidirectional override, combining marks that leave their line, and a very
/// long word.
fn hostile(place: &str) -> String {
    let marks = "\u{0301}".repeat(10);
    let endless = "W".repeat(100);
    format!(
        "\"'><script>window.ran='{place}'</script><img src=x onerror=\"window.ran='{place}'\">\u{202e}שלום{marks} {endless}"
    )
}

/// An invoice with it in every field that is shown or indexed.
fn event(id: &str) -> Value {
    let mut event = invoice(id, &hostile("type"));
    for field in ["account", "api_version"] {
        event[field] = hostile(field).into();
    }
    let object = &mut event["data"]["object"];
    for field in ["id", "object", "number", "customer", "customer_email", "currency", "status"] {
        object[field] = hostile(field).into();
    }
    object[hostile("name")] = json!({"nested": [hostile("nested")]});
    event
}

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// None of the payload ran or became an element, and the page is no wider than its window.
async fn is_harmless(page: &Page, path: &str) {
    assert_eq!(page.evaluate("window.ran ?? null").await, Value::Null, "{path}");
    let strange =
        "document.querySelectorAll('img, script:not([src]), body script, iframe, [onerror], [style]').length";
    assert_eq!(page.evaluate(strange).await, 0, "{path}");
    for width in [Width::Desktop, Width::Phone] {
        page.set_width(width).await;
        page.assert_fits(path).await;
    }
}

#[tokio::test]
async fn hostile_text_is_inert_and_stays_in_place_on_every_page() {
    let Some(site) = Site::with_keys(&[]).await else { return };
    let execution = site.fail(&event("evt_1"), &hostile("message")).await;
    let key = site.database.first_id(rows::events()).await;
    let page = site.logged_in(WRITE_KEY).await;
    for path in [
        "/".to_owned(),
        "/events".to_owned(),
        format!("/events/{key}"),
        "/executions".to_owned(),
        format!("/executions/{execution}"),
        format!("/search?q={}", encoded(&hostile("customer"))),
        "/failures".to_owned(),
        format!("/executions/{execution}/preview"),
        format!("/events?object={}", encoded(&hostile("id"))),
        format!("/events/replay?object={}", encoded(&hostile("id"))),
    ] {
        page.open(&path).await;
        page.until_shows("window.ran=").await;
        if path.starts_with("/search") {
            page.until_shows("What happened").await;
        }
        is_harmless(&page, &path).await;
    }
    page.open("/failures").await;
    page.click("Notion: ").await;
    page.until_shows("Its failures").await;
    is_harmless(&page, "/failures/{group}").await;
    page.fill("Search", &hostile("search")).await;
    page.press("Enter").await;
    page.until_shows("window.ran='search'").await;
    is_harmless(&page, "/search").await;

    // Text that operators write is also shown as written.
    page.open("/destinations").await;
    page.click("Pause").await;
    page.fill("Reason", &hostile("note")).await;
    page.click("Pause notion").await;
    page.until_shows("Paused by").await;
    for path in ["/destinations", "/", "/audit"] {
        page.open(path).await;
        page.until_shows("window.ran='note'").await;
        is_harmless(&page, path).await;
    }
}

/// How many of the words next to such a text are rendered right to left: their second letter stands left
/// of the first one.
const TURNED: &str = "[...document.querySelectorAll('.status, time, h2')].filter((element) => {
    const [range, text] = [document.createRange(), element.firstChild];
    if (!shows(element) || text?.nodeType !== Node.TEXT_NODE || text.length < 2) return false;
    const left = (index) => {
        range.setStart(text, index);
        range.setEnd(text, index + 1);
        return range.getBoundingClientRect().left;
    };
    return left(1) < left(0);
}).length";

#[tokio::test]
async fn right_to_left_text_does_not_reverse_its_neighbours() {
    let Some(site) = Site::open().await else { return };
    let execution = site.fail(&event("evt_1"), &hostile("message")).await;
    let page = site.page().await;
    for path in
        ["/".to_owned(), "/executions".to_owned(), format!("/executions/{execution}"), "/events".to_owned()]
    {
        page.open(&path).await;
        assert_eq!(page.evaluate(TURNED).await, 0, "{path}");
    }
    page.evaluate("document.querySelector('time').style = 'direction: rtl; unicode-bidi: bidi-override'")
        .await;
    assert_eq!(page.evaluate(TURNED).await, 1, "the check detects reversed text");
}
