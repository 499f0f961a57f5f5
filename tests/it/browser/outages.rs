//! Open pages while the database or the only worker is gone: they never show an old state as the present one.

use super::Site;
use crate::harness::{Database, Link, rows};
use eventbridge::app::Role;
use std::sync::Arc;
use std::time::Duration;

#[tokio::test]
async fn pages_say_that_the_database_is_gone_and_continue_when_it_is_back() {
    let database = Arc::new(Database::new().await);
    let link = Link::to(&database);
    let user = database.options().get_username().to_owned();
    let Some(site) = Site::reaching(database.clone(), link.store(&user)).await else { return };
    let open = site.page().await;
    open.open("/").await;
    open.until_shows("Live").await;
    open.expect_error("503");
    link.go_silent();
    open.until_shows("The database does not answer").await;
    open.until_shows("No database").await;
    open.picture("database-gone").await;
    let late = site.page().await;
    late.expect_error("503");
    late.open("/destinations").await;
    late.until_shows("This page opens again by itself").await;
    link.restore();
    open.until_gone("The database does not answer").await;
    open.until_shows("Live").await;
    late.until_shows("Where events are delivered.").await;
}

#[tokio::test]
async fn an_open_page_shows_that_the_only_worker_was_killed() {
    let Some(site) = Site::in_role(Role::Web).await else { return };
    site.database.change(rows::a_worker_silent_for(Duration::from_secs(6))).await;
    let page = site.page().await;
    page.open("/").await;
    page.until_shows("Waiting for the first event").await;
    page.until_shows("No worker is running").await;
}
