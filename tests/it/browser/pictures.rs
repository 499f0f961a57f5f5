//! The screenshots of README and docs: a day of a small shop, on desktop and phone.

use super::site::WRITE_KEY;
use super::{Scheme, Site, Width, day};

#[tokio::test]
async fn a_day_of_a_small_shop_fits_on_desktop_and_phone() {
    let Some(site) = Site::with_keys(&[]).await else { return };
    day::fill(&site).await;
    let page = site.logged_in(WRITE_KEY).await;
    page.until_shows("Live").await;
    page.picture("overview-light").await;
    page.set_scheme(Scheme::Dark).await;
    page.picture("overview-dark").await;
    page.set_width(Width::Phone).await;
    page.assert_fits("/").await;
    page.picture("phone").await;
    page.set_width(Width::Desktop).await;
    page.set_scheme(Scheme::Light).await;
    page.fill("Search", "in_1QxA0042").await;
    page.press("Enter").await;
    page.until_at("/search").await;
    page.until_shows("A number is expected here.").await;
    page.picture("why").await;
}

#[tokio::test]
async fn the_table_shows_the_same_day() {
    let Some(site) = Site::with_keys(&[]).await else { return };
    day::fill(&site).await;
    let table = site.table().await;
    table.open("/").await;
    table.until_shows("EventId").await;
    // Few enough rows to keep the picture small.
    table
        .evaluate("[...document.querySelectorAll('tbody tr')].slice(8).forEach((row) => row.remove())")
        .await;
    table.picture("notion-table").await;
}
