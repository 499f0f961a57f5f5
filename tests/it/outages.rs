//! Postgres goes away and comes back, in every way but its death, which `tests/torture` sees to:
//! ingest answers 503 meanwhile, workers wait and go on, and nothing needs a restart.

use crate::harness::{Answer, Database, Line, Service, end_sessions_of_the_service, rows, within};
use futures_util::future::join_all;
use notion_sandbox::{Fault, FaultRule, Route};
use serde_json::json;
use sqlx::error::DatabaseError;
use sqlx::{Connection, PgConnection};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

async fn post(service: &Service, number: u32) -> Answer {
    service.post_event(&json!({"id": format!("evt_{number}"), "type": "invoice.paid"}).to_string()).await
}

/// Has one event delivered, and a second one on its way: Notion is about to answer when the database
/// goes away.
async fn with_a_write_under_way(service: &Service) {
    post(service, 1).await;
    service.until_finished(1).await;
    service.sandbox.fault(FaultRule::once(Fault::Slow { delay_ms: 1000 }).on(Route::Create)).unwrap();
    assert_eq!(post(service, 2).await.status, 200);
    within("the write", service.sandbox.until(|sandbox| sandbox.page_count() == 2)).await;
}

/// Sends a third event until it is taken, as Stripe does, and sees everything end well.
async fn everything_goes_on(service: &Service) {
    within("the event is taken", async {
        while post(service, 3).await.status != 200 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    let executions = service.until_finished(3).await;
    assert!(executions.iter().all(|execution| execution["status"] == "success"), "{executions:?}");
    assert_eq!(service.sandbox.page_count(), 3);
}

fn assert_turned_away(answer: &Answer) {
    assert_eq!(answer.problem(503), "unavailable");
    assert_eq!(answer.headers["retry-after"], "5");
}

#[tokio::test]
async fn sessions_that_refuse_writes_are_given_up_for_new_ones() {
    let service = Service::start().await;
    with_a_write_under_way(&service).await;
    service.database.let_new_sessions_write(false).await;
    service.database.end_sessions().await;
    assert_turned_away(&post(&service, 3).await);
    // Readers at once fill the pool with sessions that will never write, as those to a server that
    // was demoted.
    let reading = join_all((0..16).map(|_| service.get("/api/v1/executions"))).await;
    assert!(reading.iter().all(|answer| answer.status == 200), "{reading:?}");
    service.database.let_new_sessions_write(true).await;
    everything_goes_on(&service).await;
}

#[tokio::test]
async fn a_start_waits_for_a_server_that_takes_no_writes_yet() {
    let database = Database::new().await;
    database.let_new_sessions_write(false).await;
    let (store, stop) = (database.store(), CancellationToken::new());
    let mut starting = pin!(store.db.migrate_when_there(&stop));
    let too_soon = tokio::time::timeout(Duration::from_millis(300), &mut starting).await;
    assert!(too_soon.is_err(), "{too_soon:?}");
    database.let_new_sessions_write(true).await;
    within("the start", starting).await.unwrap();
}

#[tokio::test]
async fn without_a_free_connection_everything_waits_until_there_is_one() {
    let database = Arc::new(Database::on_a_server_of_its_own().await);
    let service = Service::builder().on(database.clone()).await.start().await;
    let mut others = vec![PgConnection::connect_with(&database.options()).await.unwrap()];
    with_a_write_under_way(&service).await;
    within("others have all connections", async {
        loop {
            match PgConnection::connect_with(&database.options()).await {
                Ok(connection) => others.push(connection),
                Err(error) => {
                    let code = error.as_database_error().and_then(DatabaseError::code);
                    assert_eq!(code.as_deref(), Some("53300"), "{error}");
                    if end_sessions_of_the_service(&mut others[0]).await == 0 {
                        break;
                    }
                }
            }
        }
    })
    .await;
    assert_turned_away(&post(&service, 3).await);
    drop(others);
    everything_goes_on(&service).await;
}

#[tokio::test]
async fn connections_that_have_gone_dead_without_a_word_are_given_up_for_new_ones() {
    let database = Arc::new(Database::new().await);
    let line = Line::to(&database);
    let user = database.options().get_username().to_owned();
    let builder = Service::builder().on(database.clone()).await.reaching_its_database_by(line.store(&user));
    let service = builder.start().await;
    with_a_write_under_way(&service).await;
    // Every connection of the pool waits for an answer when the line goes dead, or is idle then.
    let lock = database.hold_lock(rows::events()).await;
    {
        let asking = join_all((0..16).map(|_| service.get("/api/v1/events")));

        let all_wait = async {
            while database.sessions_waiting_for_a_lock("").await < 3 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            line.go_dead();
        };
        tokio::select! {
            answers = asking => panic!("answered in spite of the lock: {answers:?}"),
            () = within("all connections are in use", all_wait) => {}
        }
    }
    lock.close().await.unwrap();
    assert_turned_away(&post(&service, 3).await);
    line.mend();
    everything_goes_on(&service).await;
}
