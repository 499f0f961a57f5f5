//! Postgres becomes unavailable and returns, in every way but a crash, which `tests/torture` covers:
//! ingest sheds with 503, workers wait and continue, and nothing needs a restart.

use crate::harness::{Answer, Database, Link, Service, end_sessions_of_the_service, rows, within};
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

/// One event is delivered and a second one is under way: Notion is about to respond when the database
/// becomes unavailable.
async fn with_a_write_under_way(service: &Service) {
    post(service, 1).await;
    service.until_finished(1).await;
    service.sandbox.fault(FaultRule::once(Fault::Slow { delay_ms: 1000 }).on(Route::Create)).unwrap();
    assert_eq!(post(service, 2).await.status, 200);
    within("the write is sent", service.sandbox.until(|sandbox| sandbox.page_count() == 2)).await;
}

/// Sends a third event until it is accepted, as Stripe does, and checks that everything is delivered.
async fn everything_is_delivered(service: &Service) {
    within("the event is accepted", async {
        while post(service, 3).await.status != 200 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    // Lists are read over connections of their own, which may not be replaced yet.
    within("lists are read again", async {
        while service.get("/api/v1/executions").await.status != 200 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    let executions = service.until_finished(3).await;
    assert!(executions.iter().all(|execution| execution["status"] == "success"), "{executions:?}");
    assert_eq!(service.sandbox.page_count(), 3);
}

fn assert_shed(answer: &Answer) {
    assert_eq!(answer.problem(503), "unavailable");
    assert_eq!(answer.headers["retry-after"], "5");
}

#[tokio::test]
async fn read_only_sessions_are_replaced() {
    let service = Service::start().await;
    with_a_write_under_way(&service).await;
    service.database.let_new_sessions_write(false).await;
    service.database.end_sessions().await;
    assert_shed(&post(&service, 3).await);
    // Concurrent readers fill the pool with sessions that will never write, like those to a demoted
    // server.
    let reading = join_all((0..16).map(|_| service.get("/api/v1/executions"))).await;
    assert!(reading.iter().all(|answer| answer.status == 200), "{reading:?}");
    service.database.let_new_sessions_write(true).await;
    everything_is_delivered(&service).await;
}

#[tokio::test]
async fn an_event_is_accepted_although_all_sessions_have_just_ended() {
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    for first in [1, 11, 21] {
        // Concurrent events leave several connections idle.
        let answers = join_all((first..first + 9).map(|number| post(&service, number))).await;
        assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
        service.database.end_sessions().await;
        assert_eq!(post(&service, first + 9).await.status, 200);
    }
}

#[tokio::test]
async fn a_start_waits_until_the_server_accepts_writes() {
    let database = Database::new().await;
    database.let_new_sessions_write(false).await;
    let (store, stop) = (database.store(), CancellationToken::new());
    let mut starting = pin!(store.db.migrate_when_there(&stop, |_| {}));
    let too_soon = tokio::time::timeout(Duration::from_millis(300), &mut starting).await;
    assert!(too_soon.is_err(), "{too_soon:?}");
    database.let_new_sessions_write(true).await;
    within("the start succeeds", starting).await.unwrap();
}

#[tokio::test]
async fn without_a_free_connection_everything_waits_for_one() {
    let database = Arc::new(Database::on_a_server_of_its_own().await);
    let service = Service::builder().on(database.clone()).await.start().await;
    let mut others = vec![PgConnection::connect_with(&database.options()).await.unwrap()];
    with_a_write_under_way(&service).await;
    within("others use all connections", async {
        loop {
            match PgConnection::connect_with(&database.options()).await {
                Ok(connection) => others.push(connection),
                Err(error) => {
                    let code = error.as_database_error().and_then(DatabaseError::code);
                    assert_eq!(code.as_deref(), Some("53300"), "{error}");
                    let answer = post(&service, 3).await;
                    // The service may have connected just before the post.
                    if end_sessions_of_the_service(&mut others[0]).await == 0 {
                        return assert_shed(&answer);
                    }
                }
            }
        }
    })
    .await;
    drop(others);
    everything_is_delivered(&service).await;
}

#[tokio::test]
async fn a_start_stops_while_the_server_is_silent() {
    let database = Database::empty().await;
    let link = Link::to(&database);
    link.go_silent();
    let (store, stop) = (link.store("eventbridge"), CancellationToken::new());
    let stopping = async {
        tokio::task::yield_now().await;
        stop.cancel();
    };
    let (ended, ()) =
        tokio::join!(within("the start ends", store.db.migrate_when_there(&stop, |_| {})), stopping);
    ended.unwrap();
}

#[tokio::test]
async fn silent_connections_are_replaced() {
    let database = Arc::new(Database::new().await);
    let link = Link::to(&database);
    let user = database.options().get_username().to_owned();
    let builder = Service::builder().on(database.clone()).await.reaching_its_database_by(link.store(&user));
    let service = builder.start().await;
    with_a_write_under_way(&service).await;
    // Every connection of the pool waits for a response when the link goes silent, or is idle then.
    let lock = database.hold_lock(rows::events()).await;
    {
        let asking = join_all((0..16).map(|_| service.get("/api/v1/events")));

        let all_wait = async {
            while database.sessions_waiting_for_a_lock("").await < 3 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            link.go_silent();
        };
        tokio::select! {
            answers = asking => panic!("answered in spite of the lock: {answers:?}"),
            () = within("all connections are in use", all_wait) => {}
        }
    }
    lock.close().await.unwrap();
    assert_shed(&post(&service, 3).await);
    link.restore();
    everything_is_delivered(&service).await;
}
