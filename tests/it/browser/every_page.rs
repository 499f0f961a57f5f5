//! What holds on every page: nobody is kept out by how it is built, in light and dark, on a desk and
//! on a phone, with and without scripts, with the keys alone.

use super::axe::Axe;
use super::site::{WRITE_KEY, invoice};
use super::{Page, Scheme, Site, Width, day};

/// Every page, with something on each.
async fn every_page(site: &Site) -> Vec<String> {
    let failed = day::fill(site).await;
    let delivered = "select min(id) from eventbridge.executions where status = 'success'";
    let delivered = site.database.count(delivered).await;
    let mut pages: Vec<_> = [
        "/",
        "/events",
        "/events?type=invoice.*&status=failed",
        "/events?object=in_none",
        "/events/evt_1QxJane",
        "/executions",
        "/executions?status=failed",
        "/executions/retry?status=failed",
        "/events/replay?type=invoice.*",
        "/failures",
        "/failures?known=yes",
        "/destinations",
        "/search?q=jane%40example.com",
        "/search?q=nobody",
        "/audit",
    ]
    .map(str::to_owned)
    .into();
    pages.extend([failed, delivered].map(|id| format!("/executions/{id}")));
    pages.push(format!("/executions/{delivered}/preview"));
    pages
}

/// Pages that say that something is not there, with the status of each.
const REFUSALS: [(&str, &str); 4] = [
    ("/events/none", "404"),
    ("/executions/7000", "404"),
    ("/events?cursor=forged", "400"),
    ("/executions?status=lost", "400"),
];

async fn is_open_to_everybody(axe: &Axe, page: &Page, path: &str) {
    for width in [Width::Desktop, Width::Phone] {
        page.set_width(width).await;
        page.assert_fits(path).await;
        page.set_scheme(Scheme::Light).await;
        let mut violations = axe.violations(page).await;
        // All else is the same in the dark.
        page.set_scheme(Scheme::Dark).await;
        violations.extend(axe.violations_of_colours(page).await);
        assert!(violations.is_empty(), "{path}, {width:?}: {violations:#?}");
    }
}

#[tokio::test]
async fn axe_finds_nothing_to_object_to_on_any_page() {
    let (Some(axe), Some(site)) = (Axe::of_this_run(), Site::with_keys(&[]).await) else { return };
    let pages = every_page(&site).await;
    let page = site.logged_in(WRITE_KEY).await;
    for path in pages {
        page.open(&path).await;
        is_open_to_everybody(&axe, &page, &path).await;
    }
    page.evaluate("document.documentElement.removeAttribute('lang'), document.body.style = 'color: #333'")
        .await;
    assert_eq!(
        axe.violations(&page).await.len() - axe.violations_of_colours(&page).await.len(),
        1,
        "axe is awake"
    );
    assert_ne!(axe.violations_of_colours(&page).await.len(), 0, "and not blind");
}

#[tokio::test]
async fn axe_finds_nothing_to_object_to_where_one_is_turned_away() {
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
    for (path, status) in REFUSALS {
        page.expect_error(status);
        page.open(path).await;
        is_open_to_everybody(&axe, &page, path).await;
    }
}

#[tokio::test]
async fn without_scripts_every_page_reads_and_a_failure_is_mended() {
    let Some(site) = Site::with_keys(&[]).await else { return };
    let pages = every_page(&site).await;
    let page = site.page().await;
    page.disable_scripts().await;
    page.open("/").await;
    page.fill("API key", WRITE_KEY).await;
    page.click("Log in").await;
    page.until_at("/").await;
    for path in &pages {
        page.open(path).await;
        page.until_shows("Times are UTC").await;
        page.assert_fits(path).await;
    }
    site.sandbox.clear_faults();
    page.open("/executions?status=failed").await;
    page.click("invoice.paid").await;
    page.until_shows("Notion: Amount is expected to be number.").await;
    page.click("Retry now").await;
    page.until_shows("It is tried again now.").await;
    site.until_count("select count(*) from eventbridge.executions where status = 'failed'", 3).await;
    page.open(&page.address().await).await;
    page.until_shows("Open the page").await;
}

#[tokio::test]
async fn with_the_keys_alone_one_skips_to_the_content_searches_and_follows_what_is_found() {
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
    page.write("evt_1").await;
    page.press("Enter").await;
    page.until_at("/search").await;
    page.press("/").await;
    while page.focused().await != "invoice.paid" {
        page.press("Tab").await;
        page.until("the focus is seen", "getComputedStyle(document.activeElement).outlineStyle !== 'none'")
            .await;
        assert_ne!(page.focused().await, "Skip to the content", "the event was passed by");
    }
    page.press("Enter").await;
    page.until_shows("evt_1").await;
    page.until("the page of the event", "location.pathname.startsWith('/events/')").await;
}
