//! The pictures of README and docs: a day of a small shop, as it is seen on a desk and on a phone.

use super::site::WRITE_KEY;
use super::{Scheme, Site, Width, day};

#[tokio::test]
async fn a_day_of_a_small_shop_looks_as_in_the_pictures() {
    let Some(site) = Site::with_keys(&[]).await else { return };
    let failed = day::fill(&site).await;
    let page = site.logged_in(WRITE_KEY).await;
    page.until_shows("Live").await;
    page.picture("overview-light").await;
    page.set_scheme(Scheme::Dark).await;
    page.picture("overview-dark").await;
    page.set_width(Width::Phone).await;
    page.picture("phone").await;
    page.set_width(Width::Desktop).await;
    page.set_scheme(Scheme::Light).await;
    page.set_width(Width::Tablet).await;
    page.picture("tablet").await;
    page.set_width(Width::Desktop).await;
    page.open("/failures").await;
    page.picture("failures").await;
    page.open("/destinations").await;
    page.picture("destinations").await;
    page.open(&format!("/executions/{failed}")).await;
    page.picture("why").await;
    page.open("/executions").await;
    page.picture("executions").await;
}
