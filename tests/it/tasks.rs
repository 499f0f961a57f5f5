//! Bulk tasks: their pages are done exactly once whatever happens to the process that does them, they cover what
//! was there when they were created, and they can be listed, cancelled and removed.

use crate::harness::{Database, Service, eventbridge, output, rows, text, within};
use axum::http::Method;
use eventbridge::app::Role;
use eventbridge::bulk::{self, Bulk, BulkFilter, Pace, ReplayFilter, RetryFilter};
use eventbridge::config::Retention;
use eventbridge::domain::audit::Caller;
use eventbridge::domain::task::{TaskId, TaskKind, TaskStatus};
use eventbridge::retention::{self, RetentionStore};
use eventbridge::sources::Registry;
use eventbridge::store::{NewTask, Notifier, TaskRow};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Bulk tasks over a database, without a service.
fn bulk_over(database: &Database) -> Bulk {
    Bulk::new(&database.store(), Arc::new(Registry::default()), Arc::default())
}

fn failed() -> BulkFilter {
    BulkFilter::Retry(RetryFilter { status: Some("failed".to_owned()), ..RetryFilter::default() })
}

fn ops() -> Caller {
    Caller::with_key("ops", true)
}

/// A database with this many failed events, and a task that retries them.
async fn with_task(events: u32) -> (Database, Bulk, TaskRow) {
    let database = Database::new().await;
    database.change(rows::failed_events(events)).await;
    let bulk = bulk_over(&database);
    let task = bulk.create(&failed(), Some("mended"), &ops(), None).await.unwrap();
    (database, bulk, task)
}

async fn queued(database: &Database) -> i64 {
    database.count(rows::queue()).await
}

#[tokio::test]
async fn a_task_whose_process_died_is_continued_after_the_last_page_that_was_committed() {
    let (database, bulk, task) = with_task(10).await;
    let (first, second) = (Uuid::new_v4(), Uuid::new_v4());
    let held = bulk.hold(None, first).await.unwrap().unwrap();
    assert_eq!((held.id, held.status), (task.id, TaskStatus::Running));
    let page = bulk.do_page(&held, first, 3).await.unwrap().unwrap();
    assert_eq!((page.examined, page.queued()["notion"], queued(&database).await), (3, 3, 3));
    assert!(bulk.hold(None, second).await.unwrap().is_none(), "the first process may be alive");

    database.change(rows::end_task_holds()).await;
    let taken_over = bulk.hold(None, second).await.unwrap().unwrap();
    let lost = bulk.do_page(&page, first, 3).await.unwrap();
    assert!(lost.is_none() && queued(&database).await == 3, "a process that lost the task changes nothing");
    let mut task = taken_over;
    while !task.status.is_finished() {
        task = bulk.do_page(&task, second, 3).await.unwrap().unwrap();
    }
    assert_eq!((task.status, task.examined, task.queued()["notion"]), (TaskStatus::Succeeded, 10, 10));
    assert_eq!(queued(&database).await, 10);
    let pages = rows::audit().about("task", &task.id.to_string());
    assert_eq!(database.count(pages.action("executions.retried").by("ops").quoting("mended")).await, 4);
}

#[tokio::test]
async fn a_page_is_done_once_even_if_it_is_asked_for_twice() {
    let (database, bulk, _) = with_task(4).await;
    let process = Uuid::new_v4();
    let held = bulk.hold(None, process).await.unwrap().unwrap();
    // The answer to the first was lost.
    let (one, other) = tokio::join!(bulk.do_page(&held, process, 2), bulk.do_page(&held, process, 2));
    let done: Vec<_> = [one.unwrap(), other.unwrap()].into_iter().flatten().collect();
    assert_eq!((done.len(), done[0].examined), (1, 2));
    assert_eq!((queued(&database).await, database.count(rows::audit()).await), (2, 1));
}

#[tokio::test]
async fn two_replicas_do_every_page_once() {
    let (database, bulk, task) = with_task(40).await;
    let pace = Pace {
        rows: 3,
        poll_interval: Duration::from_millis(10),
        rest_max: Duration::from_millis(1),
        ..Pace::default()
    };
    let stop = CancellationToken::new();
    let replica = || bulk::run(bulk.clone(), Notifier::default(), pace, stop.clone());
    let ended = async {
        let task = until_ended(&bulk, task.id).await;
        stop.cancel();
        task
    };
    let (task, (), ()) = tokio::join!(ended, replica(), replica());
    assert_eq!((task.status, task.examined, task.queued()["notion"]), (TaskStatus::Succeeded, 40, 40));
    assert_eq!(queued(&database).await, 40);
    assert_eq!(database.count(rows::audit()).await, 14, "14 pages of 3");
}

async fn until_ended(bulk: &Bulk, id: TaskId) -> TaskRow {
    within("the task has ended", async {
        loop {
            let task = bulk.tasks.task(id).await.unwrap().unwrap();
            if task.status.is_finished() {
                return task;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

#[tokio::test]
async fn a_stopped_process_leaves_its_task_to_the_next_one_at_once() {
    let (_database, bulk, task) = with_task(5).await;
    let pace = Pace { rows: 1, rest_max: Duration::from_mins(1), ..Pace::default() };
    let stop = CancellationToken::new();
    let stopping = async {
        within("a page is done", async {
            while bulk.tasks.task(task.id).await.unwrap().unwrap().examined == 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        stop.cancel();
    };
    tokio::join!(stopping, bulk::run(bulk.clone(), Notifier::default(), pace, stop.clone()));
    let next = bulk.hold(None, Uuid::new_v4()).await.unwrap().expect("nobody holds it");
    assert!(next.examined > 0 && next.status == TaskStatus::Running);
}

#[tokio::test]
async fn a_task_covers_only_what_was_there_when_it_was_created() {
    let (database, bulk, task) = with_task(3).await;
    database.change(rows::failed_events(4)).await;
    let process = Uuid::new_v4();
    let held = bulk.hold(Some(task.id), process).await.unwrap().unwrap();
    let done = bulk.do_page(&held, process, 100).await.unwrap().unwrap();
    assert_eq!((done.examined, done.status, queued(&database).await), (3, TaskStatus::Succeeded, 3));
}

#[tokio::test]
async fn the_task_that_waited_longest_is_next() {
    let (_database, bulk, large) = with_task(6).await;
    let small = bulk.create(&failed(), None, &ops(), None).await.unwrap();
    let process = Uuid::new_v4();
    let mut turns = Vec::new();
    for _ in 0..4 {
        let held = bulk.hold(None, process).await.unwrap().unwrap();
        turns.push(held.id);
        bulk.do_page(&held, process, 1).await.unwrap().unwrap();
    }
    assert_eq!(turns, [large.id, small.id, large.id, small.id]);
}

#[tokio::test]
async fn a_cancelled_task_stops_and_what_it_queued_is_delivered() {
    let service = Service::builder().role(Role::Web).start().await;
    service.database.change(rows::failed_events(4)).await;
    let created = service.post("/api/v1/executions/retry?all=true").await;
    assert_eq!(created.json()["status"], "queued", "no process does it: {created:?}");
    let path = created.headers["location"].to_str().unwrap().to_owned();
    let bulk = bulk_over(&service.database);
    let process = Uuid::new_v4();
    let held = bulk.hold(None, process).await.unwrap().unwrap();
    let page = bulk.do_page(&held, process, 3).await.unwrap().unwrap();

    let cancel = format!("{path}/cancel");
    for _ in 0..2 {
        let cancelled = service.post(&cancel).await.json();
        assert_eq!(cancelled["status"], "cancelled", "repeating it is harmless: {cancelled}");
        assert!(cancelled["detail"].as_str().unwrap().starts_with("3 executions"), "{cancelled}");
    }
    assert!(bulk.do_page(&page, process, 3).await.unwrap().is_none());
    assert!(bulk.hold(None, process).await.unwrap().is_none());
    assert_eq!(queued(&service.database).await, 3);
    let entries = rows::audit().about("task", &page.id.to_string()).action("task.cancelled");
    assert_eq!(service.database.count(entries).await, 1);
    let detail = service.get(&path).await.json();
    assert_eq!(detail["executions"]["pending"], 3, "{detail}");

    let other = service.post("/api/v1/executions/retry?all=true").await.json();
    let held = bulk.hold(None, process).await.unwrap().unwrap();
    bulk.do_page(&held, process, 3).await.unwrap().unwrap();
    let late = service.post(&format!("/api/v1/tasks/{}/cancel", other["id"].as_str().unwrap())).await;
    assert_eq!(late.problem(409), "task_finished");
    assert_eq!(service.post("/api/v1/tasks/task_99/cancel").await.problem(404), "not_found");
    assert_eq!(service.get("/api/v1/tasks/99").await.problem(400), "bad_request");
}

#[tokio::test]
async fn tasks_are_listed_newest_first_and_only_so_many_are_unfinished() {
    let service = Service::builder().role(Role::Web).start().await;
    for _ in 0..100 {
        assert_eq!(service.post("/api/v1/executions/retry?all=true").await.status, 202);
    }
    let refused = service.post("/api/v1/events/replay?all=true").await;
    assert_eq!(refused.problem(409), "too_many_tasks");
    let list = |query: String| {
        let service = &service;
        async move { service.get(&format!("/api/v1/tasks?{query}")).await.json() }
    };
    let ids = |page: &Value| -> Vec<String> {
        page["data"].as_array().unwrap().iter().map(|task| task["id"].as_str().unwrap().to_owned()).collect()
    };
    let page = list("limit=60".to_owned()).await;
    let rest = list(format!("limit=60&cursor={}", page["next_cursor"].as_str().unwrap())).await;
    let all: Vec<_> = ids(&page).into_iter().chain(ids(&rest)).collect();
    let expected: Vec<_> = (1..=100).rev().map(|number| format!("task_{number}")).collect();
    assert_eq!(all, expected);
    assert_eq!(rest["next_cursor"], Value::Null);
}

#[tokio::test]
async fn a_task_that_the_settings_no_longer_allow_fails_with_the_reason() {
    let database = Database::new().await;
    let bulk = bulk_over(&database);
    // A version of the program that knew this preset created it.
    let filter = json!({"type": "@gone"});
    let new = NewTask {
        kind: TaskKind::ReplayEvents,
        filter: &filter,
        destinations: &[],
        note: None,
        first_attempt: None,
    };
    let task = bulk.tasks.create(new, &ops(), None).await.unwrap().unwrap();
    let stop = CancellationToken::new();
    let ended = async {
        until_ended(&bulk, task.id).await;
        stop.cancel();
    };
    tokio::join!(ended, bulk::run(bulk.clone(), Notifier::default(), Pace::default(), stop.clone()));
    let ended = bulk.tasks.task(task.id).await.unwrap().unwrap();
    assert_eq!(ended.status, TaskStatus::Failed);
    assert!(ended.error.as_deref().is_some_and(|error| error.starts_with("type: ")), "{ended:?}");
}

#[tokio::test]
async fn each_of_two_tasks_that_always_fail_ends_with_the_reason() {
    for (sqlstate, reason) in
        [("57014", "the database took too long"), ("22003", "the database refused a page")]
    {
        let (database, bulk, first) = with_task(5).await;
        let second = bulk.create(&failed(), None, &ops(), None).await.unwrap();
        database.change(rows::refuse_changes_of_executions(sqlstate, u32::MAX)).await;
        let pace = Pace { retry_after: Duration::from_millis(1), ..Pace::default() };
        let stop = CancellationToken::new();
        let ended = async {
            let tasks = [until_ended(&bulk, first.id).await, until_ended(&bulk, second.id).await];
            stop.cancel();
            tasks
        };
        let running = bulk::run(bulk.clone(), Notifier::default(), pace, stop.clone());
        let (tasks, ()) = tokio::join!(ended, running);
        for task in tasks {
            assert_eq!(task.status, TaskStatus::Failed);
            let error = task.error.unwrap();
            assert!(error.starts_with(reason), "{sqlstate}: {error}");
        }
    }
}

#[tokio::test]
async fn a_task_outlives_a_page_that_failed_a_few_times() {
    let (database, bulk, task) = with_task(5).await;
    let other = bulk.create(&failed(), None, &ops(), None).await.unwrap();
    database.change(rows::refuse_changes_of_executions("57014", 10)).await;
    let pace = Pace { retry_after: Duration::from_millis(1), ..Pace::default() };
    let stop = CancellationToken::new();
    let ended = async {
        let tasks = [until_ended(&bulk, task.id).await, until_ended(&bulk, other.id).await];
        stop.cancel();
        tasks
    };
    let running = bulk::run(bulk.clone(), Notifier::default(), pace, stop.clone());
    let (tasks, ()) = tokio::join!(ended, running);
    assert_eq!(tasks.map(|task| task.status), [TaskStatus::Succeeded; 2]);
    assert_eq!(queued(&database).await, 5);
}

#[tokio::test]
async fn a_command_tries_a_failed_page_again() {
    let database = Database::new().await;
    database.change(rows::failed_events(5)).await;
    database.change(rows::refuse_changes_of_executions("57014", 2)).await;
    let folder = TempDir::new().unwrap();
    let mut command = eventbridge(folder.path());
    let command = command.env("DATABASE_URL", database.url().expose_secret()).args(["retry", "--failed"]);
    let done = output(command).await;
    assert!(done.status.success(), "{done:?}");
    assert_eq!(queued(&database).await, 5);
}

#[tokio::test]
async fn a_command_that_gives_up_leaves_its_task_to_the_service_at_once_and_reports_it() {
    let database = Database::new().await;
    database.change(rows::failed_events(5)).await;
    database.change(rows::refuse_changes_of_executions("22003", u32::MAX)).await;
    let folder = TempDir::new().unwrap();
    let mut command = eventbridge(folder.path());
    let command = command.env("DATABASE_URL", database.url().expose_secret()).args(["retry", "--failed"]);
    let given_up = output(command).await;
    assert!(!given_up.status.success(), "{given_up:?}");
    let message = text(&given_up.stderr);
    for words in ["task_1", "the service continues it", "eventbridge cancel task_1", "refused by a test"] {
        assert!(message.contains(words), "{words}: {message}");
    }
    let next = bulk_over(&database).hold(None, Uuid::new_v4()).await.unwrap();
    assert_eq!(next.expect("nobody holds it").id, TaskId(1));
}

#[tokio::test]
async fn a_command_cancels_a_task_and_names_what_it_cannot_cancel() {
    let (database, bulk, task) = with_task(3).await;
    let folder = TempDir::new().unwrap();
    let run = async |arguments: &[&str]| {
        let mut command = eventbridge(folder.path());
        output(command.env("DATABASE_URL", database.url().expose_secret()).args(arguments)).await
    };
    let json_of = |stdout: &[u8]| serde_json::from_slice::<Value>(stdout).unwrap();
    let dry = run(&["cancel", "task_1", "--dry-run"]).await;
    assert_eq!((dry.status.code(), &json_of(&dry.stdout)["tasks"]), (Some(0), &json!(["task_1"])));
    assert_eq!(bulk.tasks.task(task.id).await.unwrap().unwrap().status, TaskStatus::Queued);
    for _ in 0..2 {
        let done = run(&["cancel", "task_1"]).await;
        assert_eq!((done.status.code(), &json_of(&done.stdout)["tasks"]), (Some(0), &json!(["task_1"])));
    }
    assert_eq!(bulk.tasks.task(task.id).await.unwrap().unwrap().status, TaskStatus::Cancelled);
    let refused = run(&["cancel", "task_7", "3"]).await;
    let refusals = json_of(&refused.stdout)["refused"].clone();
    assert_eq!(
        (refused.status.code(), &refusals[0]["task_id"], &refusals[1]["execution_id"]),
        (Some(1), &json!("task_7"), &json!(3))
    );
    // Missing and wrong arguments have the exit code of clap.
    for arguments in [&["cancel"][..], &["cancel", "seven"], &["retry"], &["replay"], &["prune", "--yes"]] {
        assert_eq!(run(arguments).await.status.code(), Some(2), "{arguments:?}");
    }
    assert_eq!(run(&["retry", "--failure", "zzz"]).await.status.code(), Some(1), "nothing has this id");
}

#[tokio::test]
async fn an_event_is_replayed_by_its_id_only_if_it_matches_the_other_filters() {
    let service = Service::start().await;
    let event = json!({"id": "evt_1", "type": "invoice.paid", "livemode": true, "account": "acct_1",
                       "data": {"object": {"id": "in_1", "object": "invoice"}}});
    service.post_event(&event.to_string()).await;
    service.until_finished(1).await;
    let replayed = async |filter: &str| {
        let path = format!("/api/v1/events/replay?event_id=evt_1&dry_run=true&{filter}");
        service.post(&path).await.json()["count"].clone()
    };
    for filter in [
        "source=stripe",
        "type=invoice.*",
        "account=acct_1",
        "livemode=true",
        "object_id=in_1",
        "status=success",
        "received_after=2020-01-01",
        "received_before=2099-01-01",
        "destination=notion",
        "source=stripe&type=invoice.paid&status=success&livemode=true",
    ] {
        assert_eq!(replayed(filter).await, 1, "{filter}");
    }
    for filter in [
        "source=elsewhere",
        "type=charge.*",
        "account=acct_2",
        "livemode=false",
        "object_id=in_2",
        "status=failed",
        "received_after=2099-01-01",
        "received_before=2020-01-01",
        "source=stripe&type=invoice.paid&status=failed",
    ] {
        assert_eq!(replayed(filter).await, 0, "{filter}");
    }
    let asked = service.post("/api/v1/events/replay?event_id=1&livemode=false").await;
    let task = service.until_task_ended(asked.headers["location"].to_str().unwrap()).await;
    assert_eq!((&task["status"], &task["progress"]["examined"]), (&json!("succeeded"), &json!(0)));
}

#[tokio::test]
async fn one_event_is_replayed_by_its_id() {
    let service = Service::start().await;
    for id in ["evt_1", "evt_2"] {
        service.post_event(&json!({"id": id, "type": "invoice.paid"}).to_string()).await;
    }
    service.until_finished(2).await;
    let asked = service.post("/api/v1/events/replay?event_id=evt_2").await;
    let task = service.until_task_ended(asked.headers["location"].to_str().unwrap()).await;
    assert_eq!((&task["progress"]["examined"], &task["progress"]["queued"]), (&json!(1), &json!(1)));
    service.until_finished(2).await;
}

#[tokio::test]
async fn ended_tasks_are_removed_after_a_month_and_unfinished_ones_are_not() {
    let (database, bulk, ended) = with_task(1).await;
    let process = Uuid::new_v4();
    let held = bulk.hold(Some(ended.id), process).await.unwrap().unwrap();
    bulk.do_page(&held, process, 10).await.unwrap().unwrap();
    bulk.create(&BulkFilter::Replay(ReplayFilter::default()), None, &ops(), None).await.unwrap();
    let month = Duration::from_hours(24 * 30);
    let retention = database.store().retention;
    database.change(rows::age_tasks(Duration::from_mins(30 * 24 * 60 - 1))).await;
    assert_eq!(retention.remove_finished_tasks(month).await.unwrap(), 0);
    database.change(rows::age_tasks(Duration::from_mins(2))).await;
    assert_eq!(retention.remove_finished_tasks(month).await.unwrap(), 1);
    assert_eq!(database.count(rows::tasks()).await, 1);
}

#[tokio::test]
async fn old_tasks_and_keys_are_removed_in_the_background_whatever_the_settings_keep() {
    let service = Service::start().await;
    let asked =
        service.send(Method::POST, "/api/v1/executions/retry?all=true", &[("idempotency-key", "k")]).await;
    service.until_task_ended(asked.headers["location"].to_str().unwrap()).await;
    let month = Duration::from_hours(24 * 31);
    service.database.change(rows::age_tasks(month)).await;
    service.database.change(rows::age_idempotency_keys(month)).await;
    let store = service.database.store();
    let store = RetentionStore {
        leases: store.named_leases,
        jobs: store.background_jobs,
        retention: store.retention,
    };
    let keeps_all = Retention { rows: None, payloads: None };
    let pace = retention::Pace { check_interval: Duration::from_millis(5), ..retention::Pace::default() };
    let stop = CancellationToken::new();
    let removed = within("they are removed", async {
        let rows = [rows::tasks(), rows::idempotency_keys()];
        while service.database.count(&rows[0]).await + service.database.count(&rows[1]).await > 0 {
            tokio::task::yield_now().await;
        }
        stop.cancel();
    });
    tokio::join!(removed, retention::keep(store, keeps_all, pace, stop.clone()));
    assert_eq!(service.database.count(rows::named_lease("remove old tasks and keys")).await, 0);
}

#[tokio::test]
async fn a_replay_is_done_only_by_a_process_that_has_all_its_destinations() {
    let database = Database::new().await;
    let tasks = database.store().tasks;
    let destinations = ["notion".to_owned(), "ledger".to_owned()];
    let new = NewTask {
        kind: TaskKind::ReplayEvents,
        filter: &json!({}),
        destinations: &destinations,
        note: None,
        first_attempt: None,
    };
    tasks.create(new, &Caller::at_command_line("jo"), None).await.unwrap().unwrap();
    let hold = async |known: &[String]| {
        tasks.hold(None, known, Uuid::new_v4(), Duration::from_mins(1)).await.unwrap().is_some()
    };
    assert!(!hold(&[]).await && !hold(&destinations[..1]).await);
    assert!(hold(&destinations).await);
}
