//! Behind a pooler in transaction mode: nothing depends on a session or leaves state in one.

use crate::harness::{Database, PgBouncer, Service, rows};
use eventbridge::store::{MigrateError, Store};
use futures_util::future::join_all;
use serde_json::json;
use std::sync::Arc;

const EVENTS: usize = 60;

async fn post(service: &Service, number: usize) {
    let body = json!({"id": format!("evt_{number}"), "type": "invoice.paid"}).to_string();
    let answer = service.post_event(&body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// The read requests, over the connections on which nothing is written.
async fn read(service: &Service, path: &str) {
    let answer = service.get(path).await;
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
}

#[tokio::test]
async fn everything_works_behind_a_pooler_in_transaction_mode() {
    let database = Arc::new(Database::new().await);
    let Some(pooler) = PgBouncer::in_front_of(&database).await else { return };
    let store = || Store::connect_lazily_with_pooler(&pooler.url(), Some(&database.url()), 12).unwrap();
    let service =
        Service::builder().reaching_its_database_by(store()).on(database.clone()).await.start().await;
    let other = service.replica().reaching_its_database_by(store()).start().await;
    // Reads and writes take turns on the same two connections to the server.
    let paths =
        ["/api/v1/events", "/api/v1/executions?status=failed", "/api/v1/search?q=evt_1", "/api/v1/health"];
    join_all((0..EVENTS).map(|number| {
        let (one, path) = (if number % 2 == 0 { &service } else { &other }, paths[number % paths.len()]);
        async move { tokio::join!(post(one, number), read(one, path)) }
    }))
    .await;
    let (mut here, mut there) = (service.progress(), other.progress());
    crate::harness::within("all are delivered", async {
        while database.count(rows::executions().in_status("success")).await < i64::try_from(EVENTS).unwrap() {
            tokio::select! {
                changed = here.changed() => changed.unwrap(),
                changed = there.changed() => changed.unwrap(),
            }
        }
    })
    .await;
    assert_eq!(service.sandbox.page_count(), EVENTS);
    assert_eq!(service.get("/readyz").await.status, 200);
}

#[tokio::test]
async fn migrations_bypass_the_pooler() {
    let database = Database::empty().await;
    let Some(pooler) = PgBouncer::in_front_of(&database).await else { return };
    let store = Store::connect_lazily_with_pooler(&pooler.url(), Some(&database.url()), 4).unwrap();
    store.db.migrate().await.unwrap();
    assert!(store.db.is_migrated().await.unwrap());
    assert!(store.db.server_info().await.is_ok());
}

#[tokio::test]
async fn an_undeclared_pooler_is_named_at_the_start_with_the_setting_that_fixes_it() {
    let database = Database::empty().await;
    let Some(pooler) = PgBouncer::in_front_of(&database).await else { return };
    let store = Store::connect_lazily(&pooler.url(), 4).unwrap();
    for error in [store.db.migrate().await.unwrap_err(), store.db.reach().await.unwrap_err()] {
        assert!(matches!(error, MigrateError::Pooler { .. }), "{error}");
        assert!(error.to_string().contains("Set DATABASE_DIRECT_URL"), "{error}");
    }
    assert!(matches!(store.db.server_info().await, Err(MigrateError::Pooler { .. })));
    let direct = Store::connect_lazily(&database.url(), 4).unwrap();
    direct.db.reach().await.unwrap();
    // The same address in both settings.
    let both = Store::connect_lazily_with_pooler(&pooler.url(), Some(&pooler.url()), 4).unwrap();
    let error = both.db.reach().await.unwrap_err().to_string();
    assert!(error.starts_with("DATABASE_DIRECT_URL leads to a pooler"), "{error}");
}
