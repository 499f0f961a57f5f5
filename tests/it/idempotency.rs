//! `Idempotency-Key`: a change that a client repeats is made once, and every repetition gets the first answer.

use crate::harness::{Answer, Database, Service, rows, within};
use axum::body::Body;
use axum::http::{Method, Request};
use eventbridge::app::Role;
use eventbridge::domain::audit::Caller;
use eventbridge::domain::task::{TaskId, TaskKind};
use eventbridge::store::{KeyState, NewTask, StoredResponse};
use serde_json::json;
use std::time::Duration;
use utoipa_axum::router::OpenApiRouter;
use uuid::Uuid;

const ONE: &str = "0123456789abcdef0123456789abcdef";
const OTHER: &str = "fedcba9876543210fedcba9876543210";
const DAY: Duration = Duration::from_hours(24);

async fn post(service: &Service, path: &str, key: &str, caller: Option<&str>) -> Answer {
    let authorization = caller.map(|key| format!("Bearer {key}"));
    let mut headers = vec![("idempotency-key", key)];
    headers.extend(authorization.as_deref().map(|value| ("authorization", value)));
    service.send(Method::POST, path, &headers).await
}

fn is_replayed(answer: &Answer) -> bool {
    answer.headers.get("idempotent-replayed").is_some_and(|value| value == "true")
}

#[tokio::test]
async fn a_repeated_request_gets_the_first_answer_and_changes_nothing() {
    let service = Service::start().await;
    let path = "/api/v1/executions/retry?all=true&note=once";
    let first = post(&service, path, "order-42", None).await;
    assert!(first.status == 202 && !is_replayed(&first), "{first:?}");
    // What the task is now does not matter: it is the first answer.
    service.until_task_ended(first.headers["location"].to_str().unwrap()).await;
    for _ in 0..2 {
        let again = post(&service, path, "order-42", None).await;
        assert!(is_replayed(&again), "{again:?}");
        assert_eq!((again.status, &again.body), (first.status, &first.body));
        for header in ["location", "content-type"] {
            assert_eq!(again.headers[header], first.headers[header]);
        }
        assert_ne!(again.headers["x-request-id"], first.headers["x-request-id"]);
    }
    assert_eq!(service.database.count(rows::tasks()).await, 1);
    assert_eq!(post(&service, path, "order-43", None).await.json()["id"], "task_2");
    assert_eq!(service.post(path).await.json()["id"], "task_3", "without a key each request counts");
}

#[tokio::test]
async fn a_refusal_gives_the_key_back_to_the_corrected_request() {
    let service = Service::start().await;
    let cancel = "/api/v1/executions/1/cancel";
    assert_eq!(post(&service, cancel, "k", None).await.problem(404), "not_found");
    service.post_event(r#"{"id":"evt_1"}"#).await;
    service.until_finished(1).await;
    let again = post(&service, cancel, "k", None).await;
    assert!(again.status == 409 && !is_replayed(&again), "{again:?}");
    assert_eq!(again.problem(409), "not_cancellable");
    let forgotten = post(&service, "/api/v1/executions/retry", "k", None).await;
    assert_eq!(forgotten.problem(400), "bad_request");
    let corrected = post(&service, "/api/v1/executions/retry?all=true", "k", None).await;
    assert!(corrected.status == 202 && !is_replayed(&corrected), "{corrected:?}");
}

#[tokio::test]
async fn a_request_that_was_refused_because_of_too_many_tasks_may_be_repeated_with_its_key() {
    let service = Service::builder().role(Role::Web).start().await;
    let path = "/api/v1/executions/retry?all=true";
    for _ in 0..100 {
        assert_eq!(service.post(path).await.status, 202);
    }
    assert_eq!(post(&service, path, "k", None).await.problem(409), "too_many_tasks");
    assert_eq!(service.post("/api/v1/tasks/task_1/cancel").await.status, 200);
    assert_eq!(post(&service, path, "k", None).await.json()["id"], "task_101");
}

#[tokio::test]
async fn a_task_is_created_once_even_if_the_process_dies_before_it_stored_the_response() {
    let service = Service::builder().role(Role::Web).start().await;
    let (retry, replay) =
        ("/api/v1/executions/retry?all=true&note=once", "/api/v1/events/replay?all=true&note=once");
    for path in [retry, replay] {
        let first = post(&service, path, path, None).await;
        service.database.change(rows::forget_stored_responses()).await;
        let again = post(&service, path, path, None).await;
        assert!(again.status == 202 && !is_replayed(&again), "{again:?}");
        assert_eq!((again.json(), &again.headers["location"]), (first.json(), &first.headers["location"]));
        assert!(is_replayed(&post(&service, path, path, None).await));
    }
    assert_eq!(service.database.count(rows::tasks()).await, 2);
    // The limit of unfinished tasks is no reason against a task that exists.
    while service.post(retry).await.status == 202 {}
    service.database.change(rows::forget_stored_responses()).await;
    assert_eq!(post(&service, retry, retry, None).await.json()["id"], "task_1");
    assert_eq!(service.database.count(rows::tasks()).await, 100);
}

#[tokio::test]
async fn attempts_at_once_create_one_task() {
    let database = Database::new().await;
    let tasks = database.store().tasks;
    let (filter, caller, first_attempt) = (json!({}), Caller::with_key("ops", true), Some(Uuid::new_v4()));
    let new = NewTask {
        kind: TaskKind::RetryExecutions,
        filter: &filter,
        destinations: &[],
        note: None,
        first_attempt,
    };
    let created = futures_util::future::join_all((0..4).map(|_| tasks.create(new, &caller, None))).await;
    for task in created {
        assert_eq!(task.unwrap().unwrap().id, TaskId(1));
    }
    let other = NewTask { first_attempt: Some(Uuid::new_v4()), ..new };
    assert_ne!(tasks.create(other, &caller, None).await.unwrap().unwrap().id, TaskId(1));
    assert_eq!(database.count(rows::tasks()).await, 2);
}

#[tokio::test]
async fn a_key_is_locked_for_longer_than_its_request_can_take_effect() {
    let service = Service::start().await;
    post(&service, "/api/v1/executions/retry?all=true", "k", None).await;
    // 45 s for the handler, 5 s for a connection, and 30 s at the server.
    let locked = rows::idempotency_keys_locked_for(Duration::from_secs(80));
    assert_eq!(service.database.count(locked).await, 1);
}

#[tokio::test]
async fn a_response_that_is_too_large_to_be_stored_arrives_and_frees_the_key() {
    let large = async || "x".repeat(300 * 1024);
    let routes = OpenApiRouter::new().route("/api/v1/large", axum::routing::post(large));
    let service = Service::builder().more_routes(routes).start().await;
    for _ in 0..2 {
        let answer = post(&service, "/api/v1/large", "k", None).await;
        assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 300 * 1024));
        assert!(!is_replayed(&answer));
    }
}

#[tokio::test]
async fn a_key_belongs_to_one_request() {
    let service = Service::start().await;
    let pause = |key: &'static str, body: &'static str| {
        let request = Request::post("/api/v1/destinations/notion/pause")
            .header("host", "localhost")
            .header("content-type", "application/json")
            .header("idempotency-key", key);
        service.call(request.body(Body::from(body)).unwrap())
    };
    assert_eq!(pause("k", r#"{"note":"moving"}"#).await.status, 200);
    assert!(is_replayed(&pause("k", r#"{"note":"moving"}"#).await));
    assert_eq!(pause("k", r#"{"note":"other"}"#).await.problem(400), "idempotency_key_reused");
    for path in [
        "/api/v1/destinations/notion/resume",
        "/api/v1/executions/retry?all=true",
        "/api/v1/executions/retry?all=true&note=x",
    ] {
        assert_eq!(post(&service, path, "k", None).await.problem(400), "idempotency_key_reused", "{path}");
    }
    let delete = service.send(Method::DELETE, "/api/v1/failures/x/acknowledge", &[("idempotency-key", "k")]);
    assert_eq!(delete.await.problem(400), "idempotency_key_reused");
    let odd = post(&service, "/api/v1/executions/retry?all=true", "", None).await;
    assert_eq!(odd.problem(400), "idempotency_key_invalid");
    assert_eq!(service.database.count(rows::audit()).await, 1);
    // Reading needs no key and ignores it.
    let read = service.send(Method::GET, "/api/v1/events", &[("idempotency-key", "k")]).await;
    assert!(read.status == 200 && !is_replayed(&read));
}

#[tokio::test]
async fn keys_of_other_callers_are_independent() {
    let keys = format!("one:write:{ONE}, other:write:{OTHER}, board:read:{}", "r".repeat(32));
    let service = Service::builder().production().set("API_KEYS", &keys).start().await;
    let path = "/api/v1/executions/retry?all=true";
    assert_eq!(post(&service, path, "k", Some(ONE)).await.json()["id"], "task_1");
    assert_eq!(post(&service, path, "k", Some(OTHER)).await.json()["id"], "task_2");
    assert_eq!(post(&service, path, "k", Some(ONE)).await.json()["id"], "task_1");
    let reader = post(&service, path, "k", Some(&"r".repeat(32))).await;
    assert_eq!(reader.problem(403), "forbidden", "a stored answer is not for callers without the right");
    assert_eq!(post(&service, path, "k", None).await.status, 401);
}

#[tokio::test]
async fn of_requests_at_once_one_is_processed() {
    let service = Service::start().await;
    let path = "/api/v1/executions/retry?all=true";
    let answers = futures_util::future::join_all((0..8).map(|_| post(&service, path, "k", None))).await;
    let mut processed = 0;
    for answer in &answers {
        match answer.status.as_u16() {
            202 => processed += u32::from(!is_replayed(answer)),
            _ => assert_eq!(answer.problem(409), "idempotency_key_in_use"),
        }
    }
    assert_eq!((processed, service.database.count(rows::tasks()).await), (1, 1));
    assert!(is_replayed(&post(&service, path, "k", None).await));
}

#[tokio::test]
async fn a_client_that_disconnects_ends_nothing_and_finds_the_answer_later() {
    let service = Service::start().await;
    let path = "/api/v1/executions/retry?all=true";
    let mut asked = Box::pin(post(&service, path, "k", None));
    let stored = rows::idempotency_keys();
    within("the request has begun", async {
        while service.database.count(&stored).await == 0 {
            tokio::select! {
                biased;
                () = tokio::task::yield_now() => {}
                answer = &mut asked => panic!("too soon: {answer:?}"),
            }
        }
    })
    .await;
    drop(asked);
    let again = within("the answer is stored", async {
        loop {
            let again = post(&service, path, "k", None).await;
            if again.status == 202 {
                return again;
            }
        }
    })
    .await;
    assert!(is_replayed(&again), "{again:?}");
    assert_eq!(service.database.count(rows::tasks()).await, 1);
}

#[tokio::test]
async fn a_failure_of_the_service_is_not_stored() {
    let service = Service::start().await;
    let path = "/api/v1/executions/retry?all=true";
    service.database.change(rows::hide_tasks()).await;
    assert_eq!(post(&service, path, "k", None).await.status, 503);
    service.database.change(rows::show_tasks()).await;
    let again = post(&service, path, "k", None).await;
    assert!(again.status == 202 && !is_replayed(&again), "{again:?}");
}

#[tokio::test]
async fn a_key_is_free_after_a_day_and_after_a_crash() {
    let service = Service::start().await;
    let path = "/api/v1/executions/retry?all=true";
    assert_eq!(post(&service, path, "k", None).await.json()["id"], "task_1");
    service.database.change(rows::age_idempotency_keys(Duration::from_mins(24 * 60 - 1))).await;
    assert!(is_replayed(&post(&service, path, "k", None).await));
    service.database.change(rows::age_idempotency_keys(Duration::from_mins(2))).await;
    assert_eq!(post(&service, path, "k", None).await.json()["id"], "task_2");

    let keys = service.database.store().idempotency_keys;
    let (name, lock) = (("ops", "k"), Duration::from_mins(1));
    let take = |request: &'static [u8], attempt| keys.take(name, request, attempt, lock, DAY);
    let taken = |first_attempt| KeyState::Taken { first_attempt };
    let (crashed, next) = (Uuid::new_v4(), Uuid::new_v4());
    assert_eq!(take(b"a", crashed).await.unwrap(), taken(crashed));
    assert_eq!(take(b"a", next).await.unwrap(), KeyState::InProgress);
    service.database.change(rows::age_idempotency_keys(Duration::from_mins(2))).await;
    assert_eq!(take(b"b", next).await.unwrap(), KeyState::OfAnotherRequest);
    assert_eq!(take(b"a", next).await.unwrap(), taken(crashed));
    let answer = |body: &str| StoredResponse {
        status: 200,
        content_type: Some("application/json".to_owned()),
        location: None,
        body: body.into(),
    };
    keys.store(name, next, &answer("next")).await.unwrap();
    keys.store(name, crashed, &answer("late")).await.unwrap();
    assert_eq!(take(b"a", Uuid::new_v4()).await.unwrap(), KeyState::Stored(answer("next")));
    service.database.change(rows::age_idempotency_keys(DAY + Duration::from_mins(1))).await;
    let later = Uuid::new_v4();
    assert_eq!(take(b"a", later).await.unwrap(), taken(later), "a key that is free again is new");
}

#[tokio::test]
async fn a_key_that_was_given_back_is_free_for_other_requests_only_if_no_attempt_changed_anything() {
    let keys = Database::new().await.store().idempotency_keys;
    let (name, lock) = (("ops", "k"), Duration::from_mins(1));
    let take = |request: &'static [u8], attempt| keys.take(name, request, attempt, lock, DAY);
    let taken = |first_attempt| KeyState::Taken { first_attempt };
    let [refused, unknown, second, third] = [(); 4].map(|()| Uuid::new_v4());
    assert_eq!(take(b"a", refused).await.unwrap(), taken(refused));
    keys.give_back(name, refused, true).await.unwrap();
    assert_eq!(take(b"b", unknown).await.unwrap(), taken(unknown));
    // The database did not answer in time: the change may have been made.
    keys.give_back(name, unknown, false).await.unwrap();
    assert_eq!(take(b"c", second).await.unwrap(), KeyState::OfAnotherRequest);
    assert_eq!(take(b"b", second).await.unwrap(), taken(unknown));
    keys.give_back(name, second, true).await.unwrap();
    assert_eq!(take(b"b", third).await.unwrap(), taken(unknown));
}

#[tokio::test]
async fn old_keys_are_removed() {
    let service = Service::start().await;
    post(&service, "/api/v1/executions/retry?all=true", "k", None).await;
    let retention = service.database.store().retention;
    assert_eq!(retention.remove_idempotency_keys(DAY).await.unwrap(), 0);
    service.database.change(rows::age_idempotency_keys(DAY + Duration::from_mins(1))).await;
    assert_eq!(retention.remove_idempotency_keys(DAY).await.unwrap(), 1);
    assert_eq!(service.database.count(rows::idempotency_keys()).await, 0);
}

#[tokio::test]
async fn a_request_with_a_key_has_a_small_body() {
    let service = Service::start().await;
    let request = Request::post("/api/v1/destinations/notion/pause")
        .header("host", "localhost")
        .header("content-type", "application/json")
        .header("idempotency-key", "k");
    let large = json!({"note": "x".repeat(70_000)}).to_string();
    let refused = service.call(request.body(Body::from(large)).unwrap()).await;
    assert_eq!(refused.problem(413), "body_too_large");
    assert_eq!(service.database.count(rows::idempotency_keys()).await, 0);
}
