//! Properties of every page: accessible in light and dark, on desktop and phone, with and without
//! scripts, and by keyboard alone.

use super::axe::Axe;
use super::site::{WRITE_KEY, invoice};
use super::{Page, Scheme, Site, Width, day};
use crate::harness::rows;
use notion_sandbox::DATA_SOURCE_ID;
use std::collections::{BTreeSet, VecDeque};

/// Fills the site and returns the start pages: those that differ in more than their shape.
async fn beginnings(site: &Site) -> Vec<String> {
    let failed = day::fill(site).await;
    let delivered = site.database.first_id(rows::executions().in_status("success")).await;
    site.sandbox.remove_column(DATA_SOURCE_ID, "EventId").unwrap();
    assert_eq!(site.post_event(&invoice("evt_1QxWaits", "invoice.paid").to_string()).await.status, 200);
    site.until_count(rows::paused(), 1).await;
    let waits = site.database.last_id(rows::executions().in_status("pending")).await;
    let mut pages: Vec<_> = [
        "/",
        "/events?type=invoice.*&object=in_1QxA0042",
        "/events?object=in_none",
        "/executions?type=invoice.*&status=failed",
        "/executions/retry?status=failed",
        "/events/replay?type=invoice.paid",
        "/search?q=jane%40example.com",
        "/search?q=nobody",
        "/failures?known=yes",
    ]
    .map(str::to_owned)
    .into();
    pages.extend([failed, delivered, waits].map(|id| format!("/executions/{id}")));
    pages
}

/// Checks every page reachable by links from the start pages, one of each shape, and counts them.
async fn walk(page: &Page, beginnings: Vec<String>, look: impl AsyncFn(&Page, &str)) -> usize {
    let mut ahead = VecDeque::from(beginnings);
    let mut known: BTreeSet<_> = ahead.iter().map(|path| shape(path)).collect();
    // These are not pages of the dashboard. Swagger UI at /docs is third-party: axe reports its
    // contrasts, nested buttons and a field without a label, among others.
    known.extend(["/docs", "/events/{}/payload"].map(str::to_owned));
    let mut seen = 0;
    while let Some(path) = ahead.pop_front() {
        page.open(&path).await;
        look(page, &path).await;
        seen += 1;
        let links =
            "[...document.querySelectorAll('a[href^=\"/\"]')].map((link) => link.getAttribute('href'))";
        let links: Vec<String> = serde_json::from_value(page.evaluate(links).await).unwrap();
        ahead.extend(links.into_iter().filter(|link| known.insert(shape(link))));
    }
    seen
}

/// A path without its query and with placeholders for ids.
fn shape(path: &str) -> String {
    let path = path.split(['?', '#']).next().unwrap();
    let part = |part: &str| if part.contains(|c: char| c.is_ascii_digit()) { "{}" } else { part }.to_owned();
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

fn picture_name(path: &str, width: Width, scheme: Scheme) -> String {
    let path: String = path.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
    format!("page{path}-{width:?}-{scheme:?}").to_lowercase()
}

/// Pages that report an error, with the status of each.
const ERROR_PAGES: [(&str, &str); 4] = [
    ("/events/none", "404"),
    ("/executions/7000", "404"),
    ("/events?cursor=forged", "400"),
    ("/executions?status=lost", "400"),
];

async fn is_open_to_everybody(axe: &Axe, page: &Page, path: &str) {
    for width in [Width::Tablet, Width::Narrow] {
        page.set_width(width).await;
        page.assert_fits(path).await;
    }
    for width in [Width::Desktop, Width::Phone] {
        page.set_width(width).await;
        page.assert_fits(path).await;
        page.set_scheme(Scheme::Light).await;
        page.whole_picture(&picture_name(path, width, Scheme::Light)).await;
        let mut violations = axe.violations(page).await;
        // Everything else is the same in the dark scheme.
        page.set_scheme(Scheme::Dark).await;
        page.whole_picture(&picture_name(path, width, Scheme::Dark)).await;
        violations.extend(axe.colour_violations(page).await);
        assert!(violations.is_empty(), "{path}, {width:?}: {violations:#?}");
    }
}

#[tokio::test]
async fn axe_finds_no_problem_on_any_page() {
    let (Some(axe), Some(site)) = (Axe::of_this_run(), Site::with_keys(&[]).await) else { return };
    let mut beginnings = beginnings(&site).await;
    let page = site.logged_in(WRITE_KEY).await;
    page.open("/executions/retry?status=failed&type=invoice.payment_failed").await;
    page.click("Retry 3 executions").await;
    page.until_shows("Retry of 3 executions").await;
    beginnings.push(page.address().await);
    let look = async |page: &Page, path: &str| is_open_to_everybody(&axe, page, path).await;
    let seen = walk(&page, beginnings, look).await;
    assert!(seen >= 17, "{seen} pages");
    page.evaluate("document.documentElement.removeAttribute('lang'), document.body.style = 'color: #333'")
        .await;
    let (all, of_colours) = (axe.violations(&page).await, axe.colour_violations(&page).await);
    assert_eq!(all.len() - of_colours.len(), 1, "axe finds the planted problem");
    assert_ne!(of_colours.len(), 0, "axe finds the planted colour problem");
}

#[tokio::test]
async fn axe_finds_no_problem_on_error_pages() {
    let (Some(axe), Some(site)) = (Axe::of_this_run(), Site::with_keys(&[]).await) else { return };
    let page = site.page().await;
    page.expect_error("401");
    page.open("/").await;
    is_open_to_everybody(&axe, &page, "/login").await;
    page.fill("API key", "wrong").await;
    page.click("Log in").await;
    page.until_shows("This key is not one of API_KEYS.").await;
    is_open_to_everybody(&axe, &page, "/login with a wrong key").await;
    let page = site.logged_in(WRITE_KEY).await;
    for (path, status) in ERROR_PAGES {
        page.expect_error(status);
        page.open(path).await;
        is_open_to_everybody(&axe, &page, path).await;
    }
}

#[tokio::test]
async fn without_scripts_every_page_is_readable_and_a_failure_is_retried() {
    let Some(site) = Site::with_keys(&[]).await else { return };
    let beginnings = beginnings(&site).await;
    site.sandbox.add_column(DATA_SOURCE_ID, "EventId", "rich_text").unwrap();
    let page = site.page().await;
    page.disable_scripts().await;
    page.open("/").await;
    page.fill("API key", WRITE_KEY).await;
    page.click("Log in").await;
    page.until_at("/").await;
    let look = async |page: &Page, path: &str| {
        page.until_shows("Times are UTC").await;
        page.assert_fits(path).await;
    };
    let seen = walk(&page, beginnings, look).await;
    assert!(seen >= 16, "{seen} pages");
    page.open("/executions?status=failed").await;
    page.click("invoice.paid").await;
    page.until_shows("Notion: A number is expected here.").await;
    page.click("Retry now").await;
    page.until_shows("The execution was queued for another attempt.").await;
    site.until_count(rows::executions().in_status("failed"), 3).await;
    page.open(&page.address().await).await;
    page.until_shows("Open the page").await;
}

#[tokio::test]
async fn the_keyboard_alone_is_enough_to_skip_search_and_follow_a_result() {
    let Some(site) = Site::open().await else { return };
    assert_eq!(site.post_event(&invoice("evt_1", "invoice.paid").to_string()).await.status, 200);
    let page = site.page().await;
    page.open("/").await;
    page.press("Tab").await;
    assert_eq!(page.focused().await, "Skip to the content");
    let is_seen = "place(document.activeElement) !== null && getComputedStyle(document.activeElement).outlineStyle !== 'none'";
    page.until("the skip link is seen", is_seen).await;
    page.press("Enter").await;
    page.until("the content has the focus", "document.activeElement.id === 'main'").await;
    page.press("/").await;
    assert_eq!(page.focused().await, "Search");
    page.write("jane@example.com").await;
    page.press("Enter").await;
    page.until_at("/search").await;
    page.until_shows("What happened").await;
    page.press("/").await;
    while page.focused().await != "invoice.paid" {
        page.press("Tab").await;
        page.until("the focus is seen", "getComputedStyle(document.activeElement).outlineStyle !== 'none'")
            .await;
        assert_ne!(page.focused().await, "Skip to the content", "the focus passed the event");
    }
    page.press("Enter").await;
    page.until_shows("evt_1").await;
    page.until("the page of the event", "location.pathname.startsWith('/events/')").await;
}
