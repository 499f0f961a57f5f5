//! The queue by itself: what is claimed and in which order at any backlog, and what is recorded.

use crate::harness::rows::{LockedWorker, Paused, Set};
use crate::harness::{Database, NOW, Service, rows, within};
use eventbridge::config::RetrySettings;
use eventbridge::domain::audit::Caller;
use eventbridge::domain::delivery::{Failure, Outcome, Remote};
use eventbridge::domain::execution::{ExecutionId, RowVersion};
use eventbridge::domain::task::TaskKind;
use eventbridge::store::{
    Ask, Canary, ClaimRequest, Claimed, CompletedLane, NewTask, Position, RefusedState, RemoteObject,
    RescueScope, Store, TaskPage, WorkClass, WorkerId,
};
use eventbridge::worker::conclude;
use notion_sandbox::{Fault, FaultRule, Route, Template};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;
use uuid::Uuid;

/// More than one claim examines.
const MANY: i64 = 1_500;

struct Queue {
    database: Database,
    store: Store,
    worker: WorkerId,
    /// What was claimed, by execution.
    claimed: Mutex<BTreeMap<i64, Claimed>>,
}

impl Queue {
    async fn new() -> Self {
        let database = Database::new().await;
        let store = database.store();
        let worker = store.queue.register_worker().await.unwrap();
        Self { database, store, worker, claimed: Mutex::default() }
    }

    /// Queues executions, each with an event; the lane is an expression over `n`.
    async fn put(&self, count: i64, destination: &str, lane: &str) {
        self.database.change(rows::queued(count, destination, lane)).await;
    }

    /// Queues events that are delivered in the order of their lane.
    async fn put_in_order(&self, count: i64, destination: &str, lane: &str) {
        self.put(count, destination, "null").await;
        self.database
            .change(rows::executions().to(destination).without_a_lane().set(&[Set::Lane(lane)]))
            .await;
    }

    /// Completes a running execution with this outcome.
    async fn end(&self, id: i64, outcome: Outcome) {
        let claimed = self.claimed.lock().unwrap().remove(&id).unwrap();
        let completed = conclude(&claimed, outcome, Duration::ZERO, &RetrySettings::default(), 0.0);
        assert_eq!(self.store.queue.complete(&[completed]).await.unwrap().len(), 1);
    }

    /// Claims fresh executions of these instances.
    async fn claim(&self, destinations: &[&str], limit: u32) -> Vec<Claimed> {
        let asks: Vec<_> = destinations.iter().map(|name| ask(name, WorkClass::Fresh, limit)).collect();
        self.claim_asked(&asks, limit).await
    }

    async fn claim_asked(&self, asks: &[Ask], limit: u32) -> Vec<Claimed> {
        let wanted = ClaimRequest { limit, ..ClaimRequest::one(asks) };
        self.claim_wanted(wanted).await
    }

    async fn claim_wanted(&self, wanted: ClaimRequest<'_>) -> Vec<Claimed> {
        let claimed = self.store.queue.claim(self.worker, wanted).await.unwrap();
        self.claimed.lock().unwrap().extend(claimed.iter().map(|claimed| (claimed.id.0, claimed.clone())));
        claimed
    }
}

fn ask(destination: &str, class: WorkClass, most: u32) -> Ask {
    Ask { destination: destination.to_owned(), class, from: Position::START, until: None, most }
}

fn ids(claimed: &[Claimed]) -> Vec<i64> {
    claimed.iter().map(|claimed| claimed.id.0).collect()
}

#[tokio::test]
async fn the_backlog_of_a_paused_instance_does_not_block_others() {
    let queue = Queue::new().await;
    queue.put(MANY, "paused", "null").await;
    queue.put(3, "works", "null").await;
    queue.database.change(Paused::of("paused")).await;
    let claimed = queue.claim(&["paused", "works"], 10).await;
    assert_eq!(claimed.len(), 3);
    assert!(claimed.iter().all(|claimed| claimed.destination == "works"));
}

#[tokio::test]
async fn a_deregistered_worker_claims_nothing() {
    let queue = Queue::new().await;
    queue.put(1, "notion", "null").await;
    queue.database.change(rows::remove_workers()).await;
    assert!(queue.claim(&["notion"], 10).await.is_empty());
    assert_eq!(queue.database.count(rows::leases()).await, 0);
}

#[tokio::test]
async fn of_each_free_lane_one_execution_is_claimed() {
    let queue = Queue::new().await;
    queue.put(9, "notion", "'notion busy/' || n % 3").await;
    assert_eq!(ids(&queue.claim(&["notion"], 10).await), [1, 2, 3]);
    assert!(queue.claim(&["notion"], 10).await.is_empty(), "the others are behind");
    queue.put(2, "notion", "'notion new/' || n").await;
    assert_eq!(ids(&queue.claim(&["notion"], 10).await), [10, 11]);
    assert_eq!(queue.database.lanes_that_run_twice().await, 0);
}

#[tokio::test]
async fn a_look_can_continue_behind_more_busy_lanes_than_a_claim_examines() {
    let queue = Queue::new().await;
    queue.put(MANY, "notion", "'notion busy'").await;
    assert_eq!(ids(&queue.claim(&["notion"], 10).await), [1]);
    queue.put(1, "notion", "null").await;
    assert!(queue.claim(&["notion"], 10).await.is_empty(), "it is not among those that were examined");
    let unexamined = async |from| {
        let asked = Ask { from, ..ask("notion", WorkClass::Fresh, 10) };
        queue.store.queue.first_unexamined(&asked).await.unwrap()
    };
    let next = unexamined(Position::START).await.unwrap();
    let behind = [Ask { from: next, ..ask("notion", WorkClass::Fresh, 10) }];
    assert_eq!(ids(&queue.claim_asked(&behind, 10).await), [MANY + 1]);
    assert_eq!(unexamined(next).await, None);
}

#[tokio::test]
async fn a_claim_can_end_before_what_is_due_later() {
    let queue = Queue::new().await;
    queue.put(3, "notion", "null").await;
    for (id, hours) in [(1, 3), (2, 2), (3, 1)] {
        let due = Set::DueSince(Duration::from_hours(hours));
        queue.database.change(rows::executions().id(id).set(&[due])).await;
    }
    let newest = queue.store.queue.newest_place().await.unwrap();
    let until = newest.minus(Duration::from_mins(90));
    let asks = [Ask { until: Some(until), ..ask("notion", WorkClass::Fresh, 10) }];
    assert_eq!(ids(&queue.claim_asked(&asks, 10).await), [1, 2]);
    let ended = Ask { from: until, until: Some(until), ..ask("notion", WorkClass::Fresh, 10) };
    assert_eq!(queue.store.queue.first_unexamined(&ended).await.unwrap(), None);
}

#[tokio::test]
async fn work_behind_busy_lanes_is_found_by_the_service() {
    let service = with_a_failed_first_state().await;
    let lane = service.database.lane_of(1).await;
    service.database.change(rows::queued(MANY, "notion", &format!("'{lane}'"))).await;
    service.post_event(&payment("evt_2", NOW, 100).replace("pi_1", "pi_2")).await;
    within("the other object has its page", service.sandbox.until(|sandbox| sandbox.page_count() == 1)).await;
}

#[tokio::test]
async fn each_class_is_claimed_in_the_asked_order_and_number() {
    let queue = Queue::new().await;
    queue.put(6, "notion", "null").await;
    queue.database.change(rows::executions().up_to(4).set(&[Set::InBulk])).await;
    queue.database.change(rows::executions().up_to(2).set(&[Set::Attempts(1)])).await;
    assert_eq!(ids(&queue.claim(&["notion"], 1).await), [5]);
    let asks = [
        ask("notion", WorkClass::Retry, 1),
        ask("notion", WorkClass::Bulk, 9),
        ask("notion", WorkClass::Fresh, 9),
    ];
    assert_eq!(ids(&queue.claim_asked(&asks, 3).await), [1, 3, 4], "three in all");
    assert_eq!(ids(&queue.claim_asked(&asks, 3).await), [2, 6]);
}

#[tokio::test]
async fn a_replay_of_an_object_does_not_delay_its_new_events() {
    let queue = Queue::new().await;
    queue.put(2, "notion", "'notion lane'").await;
    queue.database.change(rows::executions().id(1).set(&[Set::InBulk])).await;
    let todays = queue.claim(&["notion"], 10).await;
    assert_eq!(ids(&todays), [2]);
    let replayed = queue.store.reports.execution(ExecutionId(1)).await.unwrap().unwrap();
    assert_eq!(replayed.behind, Some(2), "it runs");
    let bulk = [ask("notion", WorkClass::Bulk, 10)];
    assert!(queue.claim_asked(&bulk, 10).await.is_empty(), "its lane has a running execution");
    let completed = conclude(&todays[0], skipped(), Duration::ZERO, &RetrySettings::default(), 0.0);
    queue.store.queue.complete(&[completed]).await.unwrap();
    assert_eq!(ids(&queue.claim_asked(&bulk, 10).await), [1]);
}

#[tokio::test]
async fn a_failed_execution_holds_its_lane_until_it_is_tried_again() {
    let queue = Queue::new().await;
    queue.put(3, "notion", "'notion lane'").await;
    let first = queue.claim(&["notion"], 10).await.remove(0);
    let outcome = Outcome::Transient { failure: Failure::local("x", "x"), wait: None };
    let completed = conclude(&first, outcome, Duration::ZERO, &RetrySettings::default(), 0.0);
    queue.store.queue.complete(&[completed]).await.unwrap();
    assert!(queue.claim(&["notion"], 10).await.is_empty());
    let behind = queue.store.reports.execution(ExecutionId(2)).await.unwrap().unwrap().behind;
    assert_eq!(behind, Some(1));
    queue.database.change(rows::executions().id(1).set(&[Set::Due])).await;
    let both = [ask("notion", WorkClass::Fresh, 10), ask("notion", WorkClass::Retry, 10)];
    assert_eq!(ids(&queue.claim_asked(&both, 10).await), [1]);
}

#[tokio::test]
async fn executions_that_are_delivered_in_order_wait_for_all_earlier_ones() {
    let queue = Queue::new().await;
    queue.put_in_order(4, "queue", "queue lane").await;
    queue.put_in_order(1, "queue", "queue other").await;
    assert_eq!(ids(&queue.claim(&["queue"], 10).await), [1, 5]);
    let executions = async |id| queue.store.reports.execution(ExecutionId(id)).await.unwrap().unwrap();
    assert_eq!(executions(3).await.behind, Some(1));
    // Whatever the order in which they are due.
    queue.database.change(rows::executions().id(3).set(&[Set::DueSince(Duration::from_hours(1))])).await;
    queue.end(1, skipped()).await;
    assert_eq!(executions(3).await.behind, Some(2));
    assert_eq!(ids(&queue.claim(&["queue"], 10).await), [2]);
    let failure = || Failure::local("x", "x");
    queue.end(2, Outcome::Transient { failure: failure(), wait: None }).await;
    assert!(queue.claim(&["queue"], 10).await.is_empty(), "a retry holds the lane");
    queue.database.change(rows::executions().id(2).set(&[Set::Due])).await;
    assert_eq!(ids(&queue.claim_asked(&[ask("queue", WorkClass::Retry, 10)], 10).await), [2]);
    queue.end(2, Outcome::Permanent(failure())).await;
    assert_eq!(ids(&queue.claim(&["queue"], 10).await), [3], "a permanent failure releases it");
}

#[tokio::test]
async fn four_contending_processes_always_find_work_while_there_is_some() {
    let queue = Queue::new().await;
    queue.put(400, "notion", "null").await;
    let store = &queue.store;
    let claims = async || {
        let worker = store.queue.register_worker().await.unwrap();
        let asks = [ask("notion", WorkClass::Fresh, 10)];
        let mut all = Vec::new();
        for _ in 0..10 {
            let wanted = ClaimRequest { limit: 10, ..ClaimRequest::one(&asks) };
            let claimed = store.queue.claim(worker, wanted).await.unwrap();
            assert_eq!(claimed.len(), 10);
            all.extend(ids(&claimed));
        }
        all
    };
    let (a, b, c, d) = tokio::join!(claims(), claims(), claims(), claims());
    let all: BTreeSet<_> = [a, b, c, d].into_iter().flatten().collect();
    assert_eq!(all.len(), 400, "none is claimed twice");
}

#[tokio::test]
async fn a_claim_that_loses_its_lanes_to_another_process_takes_others() {
    let queue = Queue::new().await;
    // What a claim locks is of one lane, and what the next one finds is too.
    queue.put(480, "notion", "'lane ' || n / 12").await;
    let store = &queue.store;
    let claims = async || {
        let worker = store.queue.register_worker().await.unwrap();
        let asks = [ask("notion", WorkClass::Fresh, 4)];
        let mut all = Vec::new();
        for _ in 0..8 {
            let wanted = ClaimRequest { limit: 4, ..ClaimRequest::one(&asks) };
            let claimed = store.queue.claim(worker, wanted).await.unwrap();
            assert!(!claimed.is_empty(), "more lanes are free than all of them claim");
            all.extend(claimed.into_iter().map(|claimed| claimed.lane));
        }
        all
    };
    let (a, b, c, d) = tokio::join!(claims(), claims(), claims(), claims());
    let all: Vec<_> = [a, b, c, d].into_iter().flatten().collect();
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "each lane is leased once");
}

#[tokio::test]
async fn the_bodies_of_a_claim_are_bounded_but_it_takes_at_least_one() {
    let queue = Queue::new().await;
    queue.put(5, "notion", "null").await;
    queue.database.change(rows::set_body_bytes(1_000)).await;
    let asks = [ask("notion", WorkClass::Fresh, 5)];
    let claim = async |bytes| {
        let wanted = ClaimRequest { limit: 5, bytes, ..ClaimRequest::one(&asks) };
        ids(&queue.store.queue.claim(queue.worker, wanted).await.unwrap())
    };
    assert_eq!(claim(1).await, [1]);
    assert_eq!(claim(2_001).await, [2, 3, 4], "the last one may exceed it");
}

#[tokio::test]
async fn bulk_retries_of_pending_executions_yield_to_new_events() {
    let queue = Queue::new().await;
    queue.put(3, "notion", "null").await;
    let put_off = [Set::Attempts(5), Set::DueIn(Duration::from_hours(2))];
    queue.database.change(rows::executions().up_to(2).set(&put_off)).await;
    let ids = [1, 2, 3].map(ExecutionId);
    let (caller, holder, hold) = (Caller::with_key("jane", true), Uuid::new_v4(), Duration::from_mins(1));
    let new = NewTask {
        kind: TaskKind::RetryExecutions,
        filter: &json!({}),
        destinations: &[],
        note: None,
        first_attempt: None,
    };
    let task = queue.store.tasks.create(new, &caller, None).await.unwrap().unwrap();
    queue.store.tasks.hold(Some(task.id), &[], holder, hold).await.unwrap().unwrap();
    let page = TaskPage { task: task.id, holder, from: None, next: None, examined: 3, hold };
    let retried = queue.store.interventions.retry_page(page, &ids, "pending").await.unwrap().unwrap();
    assert_eq!(retried.again["notion"], 3);
    queue.put(1, "notion", "null").await;
    let claimed = queue.claim(&["notion"], 10).await;
    // An execution without an attempt keeps its place.
    assert_eq!(claimed.iter().map(|claimed| claimed.id.0).collect::<BTreeSet<_>>(), BTreeSet::from([3, 4]));
}

#[tokio::test]
async fn a_quarantined_execution_in_a_busy_lane_does_not_stop_claiming() {
    let queue = Queue::new().await;
    queue.put(2, "notion", "'notion lane'").await;
    let destinations = ["notion".to_owned()];
    queue.claim(&["notion"], 1).await;
    queue.database.change(rows::executions().newest().set(&[Set::Crashes(1)])).await;
    assert!(
        !queue.store.queue.has_quarantined(&destinations).await.unwrap(),
        "its lane has a running execution"
    );
    queue.end(1, skipped()).await;
    assert!(queue.store.queue.has_quarantined(&destinations).await.unwrap());
}

#[tokio::test]
async fn only_a_complete_attempt_ends_a_quarantine() {
    let queue = Queue::new().await;
    queue.put(1, "notion", "null").await;
    queue.claim(&["notion"], 1).await;
    queue
        .store
        .queue
        .rescue(RescueScope { silence: Some(Duration::ZERO), myself: None, held: &[], thorough: true })
        .await
        .unwrap();
    let worker = queue.store.queue.register_worker().await.unwrap();
    let asks = [ask("notion", WorkClass::Quarantined, 1)];
    let quarantined = ClaimRequest { alone: true, ..ClaimRequest::one(&asks) };
    let wait = || Failure::local("x", "x");
    for (outcome, crashes) in [
        (Outcome::InDoubt { failure: wait(), wait: Duration::ZERO }, 1),
        (Outcome::Throttled { failure: wait(), wait: None }, 1),
        (Outcome::Ambiguous { failure: wait(), since: Duration::ZERO }, 0),
    ] {
        queue.database.change(rows::executions().set(&[Set::Due])).await;
        let claimed = queue.store.queue.claim(worker, quarantined).await.unwrap().remove(0);
        let completed = conclude(&claimed, outcome, Duration::ZERO, &RetrySettings::default(), 0.0);
        queue.store.queue.complete(&[completed]).await.unwrap();
        let counted = queue.database.crashes().await;
        assert_eq!(counted, crashes);
    }
}

#[tokio::test]
async fn a_dead_worker_with_a_locked_row_does_not_delay_other_rescues() {
    let queue = Queue::new().await;
    queue.put(2, "notion", "null").await;
    queue.claim(&["notion"], 1).await;
    let first = queue.worker;
    let worker = queue.store.queue.register_worker().await.unwrap();
    let asks = [ask("notion", WorkClass::Fresh, 1)];
    let claimed = queue.store.queue.claim(worker, ClaimRequest::one(&asks)).await.unwrap().remove(0);
    let holder = LockedWorker::of(&queue.database, first.0).await;
    let dead = RescueScope { silence: Some(Duration::ZERO), myself: None, held: &[], thorough: true };
    let freed = within("the other worker is removed", queue.store.queue.rescue(dead)).await.unwrap();
    assert_eq!(freed.iter().map(|execution| execution.id).collect::<Vec<_>>(), [claimed.id]);
    // A session that ends releases its locks only some time later.
    holder.release().await;
    assert_eq!(within("this one is removed too", queue.store.queue.rescue(dead)).await.unwrap().len(), 1);
}

fn skipped() -> Outcome {
    Outcome::Skipped { reason: String::new() }
}

fn delivered(remote: Remote) -> Outcome {
    let request_id = Some("req\0uest".into());
    let (remote, status) = (Some(remote), Some(200));
    Outcome::Delivered { remote, status, request_id, written: None, left_out: Vec::new() }
}

/// The state of `newest` is shown now, and supersedes these.
fn lane_shown(
    head: &Claimed,
    newest: i64,
    superseded: &[i64],
    remote: Remote,
    written: Option<Value>,
) -> CompletedLane {
    let completed = conclude(head, delivered(remote.clone()), Duration::ZERO, &RetrySettings::default(), 0.0);
    let newest = ExecutionId(newest);
    CompletedLane {
        head: completed.attempt,
        lane: head.lane.clone().unwrap(),
        newest,
        superseded: superseded.iter().copied().map(ExecutionId).collect(),
        shown: Some(RemoteObject { execution: newest, remote: Some(remote), written }),
    }
}

fn page(id: &str) -> Remote {
    Remote { id: id.to_owned(), url: None, place: None }
}

#[tokio::test]
async fn lanes_are_completed_together_except_one_whose_lease_was_lost() {
    let queue = Queue::new().await;
    queue.put(12, "notion", "'notion lane/' || n % 3").await;
    let heads = queue.claim(&["notion"], 10).await;
    assert_eq!(ids(&heads), [1, 2, 3]);
    let mut lanes = [
        lane_shown(&heads[0], 7, &[1, 4], page("one"), Some(json!({"a": 1}))),
        lane_shown(&heads[1], 8, &[2, 5], page("two"), None),
        lane_shown(&heads[2], 9, &[3], page("three"), None),
    ];
    lanes[1].head.fence = lanes[0].head.fence;
    lanes[2].shown = None;
    let mut completed: Vec<_> =
        queue.store.queue.complete_lanes(&lanes).await.unwrap().into_keys().map(|id| id.0).collect();
    completed.sort_unstable();
    assert_eq!(completed, [1, 3]);
    let by = |newest| format!("superseded: a newer state of its object was written: execution {newest}");
    let success = "success: ".to_owned();
    for (id, expected) in [(1, by(7)), (3, by(9)), (4, by(7)), (7, success)] {
        let row = queue.store.reports.execution(ExecutionId(id)).await.unwrap().unwrap();
        let reason = row.reason.unwrap_or_default();
        assert_eq!(format!("{}: {reason}", row.status), expected, "execution {id}");
    }
    for id in [2, 5, 6, 8, 9, 10, 11, 12] {
        let row = queue.store.reports.execution(ExecutionId(id)).await.unwrap().unwrap();
        assert_eq!(row.status, if id == 2 { "running" } else { "pending" }, "execution {id}");
    }
    let object = queue.store.queue.remote_object(&lanes[0].lane).await.unwrap().unwrap();
    assert_eq!((object.remote, object.written), (Some(page("one")), Some(json!({"a": 1}))));
    for lane in &lanes[1..] {
        assert!(queue.store.queue.remote_object(&lane.lane).await.unwrap().is_none(), "{}", lane.lane);
    }
    assert_eq!(ids(&queue.claim(&["notion"], 10).await), [6, 10], "the second lane is still busy");
}

#[tokio::test]
async fn what_is_shown_is_replaced_by_the_next_state() {
    let queue = Queue::new().await;
    queue.put(2, "notion", "'notion lane'").await;
    for id in [1, 2] {
        let head = queue.claim(&["notion"], 1).await.remove(0);
        let lane = lane_shown(&head, id, &[], page(&format!("page {id}")), None);
        assert_eq!(queue.store.queue.complete_lanes(&[lane]).await.unwrap().len(), 1);
        let object = queue.store.queue.remote_object("notion lane").await.unwrap().unwrap();
        assert_eq!(object.execution, ExecutionId(id));
    }
    assert_eq!(queue.database.count(rows::remote_objects()).await, 1);
}

#[tokio::test]
async fn a_lanes_completion_is_recorded_without_nul_characters() {
    let queue = Queue::new().await;
    queue.put(2, "notion", "'notion lane'").await;
    let head = queue.claim(&["notion"], 1).await.remove(0);
    let remote =
        Remote { id: "pa\0ge".into(), url: Some("https://no\0tion".into()), place: Some("so\0urce".into()) };
    let lane = lane_shown(&head, 1, &[2], remote, Some(json!({"na\0me": ["te\0xt"]})));
    assert_eq!(queue.store.queue.complete_lanes(&[lane]).await.unwrap().len(), 1);
    let shown = queue.store.queue.remote_object("notion lane").await.unwrap().unwrap();
    assert_eq!(
        shown.remote,
        Some(Remote { id: "page".into(), url: Some("https://notion".into()), place: Some("source".into()) })
    );
    assert_eq!(shown.written, Some(json!({"name": ["text"]})));
}

#[tokio::test]
async fn an_execution_cancelled_or_erased_during_its_write_leaves_no_copy() {
    for is_erased in [false, true] {
        let queue = Queue::new().await;
        queue.put(2, "notion", "'notion lane'").await;
        let head = queue.claim(&["notion"], 1).await.remove(0);
        let newest = ExecutionId(head.id.0 + 1);
        let reason = if is_erased {
            let event = queue.store.reports.execution(newest).await.unwrap().unwrap().event_key;
            queue.store.erasure.erase(&[event], false).await.unwrap();
            "the data of its customer was removed; its state was on its way already, and is shown"
        } else {
            queue.store.interventions.cancel(newest, &Caller::with_key("jane", true)).await.unwrap();
            "cancelled by jane; its state was on its way already, and is shown"
        };
        let lane = lane_shown(&head, newest.0, &[head.id.0], page("page"), Some(json!({"a": 1})));
        assert_eq!(queue.store.queue.complete_lanes(&[lane]).await.unwrap().len(), 1);
        let row = queue.store.reports.execution(newest).await.unwrap().unwrap();
        assert_eq!((row.status.as_str(), row.reason.as_deref()), ("cancelled", Some(reason)));
        assert_eq!(row.remote_id.as_deref(), Some("page"));
        let shown = queue.store.queue.remote_object("notion lane").await.unwrap().unwrap();
        assert_eq!((shown.execution, shown.written), (newest, None));
    }
}

#[tokio::test]
async fn a_permanent_error_with_nul_fails_the_newest_state_and_keeps_the_head_pending() {
    let queue = Queue::new().await;
    queue.put(2, "notion", "'notion lane'").await;
    let head = queue.claim(&["notion"], 1).await.remove(0);
    let newest = ExecutionId(head.id.0 + 1);
    let failure = Failure::local("vali\0dation", "not\0 this");
    let completed =
        conclude(&head, Outcome::Permanent(failure), Duration::ZERO, &RetrySettings::default(), 0.0);
    let refused = RefusedState { head: completed.attempt, newest };
    assert_eq!(queue.store.queue.refuse_state(&refused).await.unwrap(), Some(false));
    let row = queue.store.reports.execution(newest).await.unwrap().unwrap();
    assert_eq!((row.status.as_str(), row.reason.as_deref()), ("failed", Some("not this")));
    assert_eq!(queue.claim(&["notion"], 1).await[0].id, head.id);
}

#[tokio::test]
async fn a_completion_that_the_database_rejects_is_recorded_without_the_response() {
    let service = Service::builder().set("NOTION_MODE", "object").template(Template::Full).start().await;
    service.database.change(rows::refuse_written_properties()).await;
    for (number, amount) in [100, 200].into_iter().enumerate() {
        service.post_event(&payment(&format!("evt_{amount}"), NOW + amount, amount)).await;
        service.until_finished(number + 1).await;
    }
    let executions = service.executions().await;
    assert!(executions.iter().all(|execution| execution["status"] == "success"), "{executions:?}");
    let page = service.sandbox.pages().remove(0);
    assert_eq!(page.text("Amount"), Some("2"));
    assert!(executions.iter().all(|execution| execution["remote_id"] == page.id.to_string()));
}

/// A service in object mode in which a first state of a payment has failed and waits for an hour.
async fn with_a_failed_first_state() -> Service {
    let service = Service::builder()
        .set("NOTION_MODE", "object")
        .retry_base(Duration::from_hours(1))
        .template(Template::Full)
        .start()
        .await;
    service.sandbox.fault(FaultRule::once(Fault::Conflict).on(Route::Create)).unwrap();
    service.post_event(&payment("evt_1", NOW, 100)).await;
    service.until("the first has failed", |executions| executions[0]["attempt_count"] == 1).await;
    service
}

/// A state of one payment.
fn payment(event: &str, created: i64, amount: i64) -> String {
    json!({"id": event, "object": "event", "type": "payment_intent.processing", "created": created,
           "livemode": false, "data": {"object": {"id": "pi_1", "object": "payment_intent", "amount": amount,
           "currency": "eur", "status": "processing"}}})
    .to_string()
}

#[tokio::test]
async fn all_runs_of_a_lane_but_the_last_are_removed_once_they_are_old() {
    let queue = Queue::new().await;
    queue.put(3, "notion", "'notion lane'").await;
    queue.put(1, "notion", "'notion other'").await;
    for id in 1..=3 {
        queue.claim(&["notion"], 10).await;
        queue.end(id, skipped()).await;
    }
    let remove = async |position| queue.store.queue.remove_old_lane_runs(position).await.unwrap();
    assert_eq!(remove(0).await, None, "a claim may still rely on them");
    queue.database.change(rows::age_lane_runs(Duration::from_mins(2))).await;
    let next = remove(0).await.unwrap();
    assert_eq!(queue.database.count(rows::lane_runs()).await, 2, "the last one of each lane stays");
    assert_eq!(remove(next).await, None);
    queue.put(1, "notion", "'notion lane'").await;
    assert_eq!(ids(&queue.claim(&["notion"], 10).await), [5]);
    queue.database.change(rows::age_lane_runs(Duration::from_mins(2))).await;
    remove(next - 120_000_000).await.unwrap();
    assert_eq!(queue.database.count(rows::lane_runs()).await, 2);
    assert!(queue.claim(&["notion"], 10).await.is_empty(), "it still runs");
}

#[tokio::test]
async fn the_states_read_together_are_bounded_by_bytes() {
    let queue = Queue::new().await;
    queue.put(6, "notion", "'notion lane'").await;
    queue.database.change(rows::set_body_bytes(200_000)).await;
    let head = queue.claim(&["notion"], 1).await.remove(0);
    let states = queue.store.queue.lane_states("notion lane", head.id).await.unwrap();
    let ids: Vec<_> = states.iter().map(|state| state.execution).collect();
    assert_eq!(ids, [head.id, ExecutionId(head.id.0 + 4), ExecutionId(head.id.0 + 5)], "the newest first");
    assert!(states.iter().all(|state| state.is_open));
}

#[tokio::test]
async fn the_claimed_state_and_the_shown_one_are_compared_however_large_they_are() {
    let queue = Queue::new().await;
    queue.put(3, "notion", "'notion lane'").await;
    let first = queue.claim(&["notion"], 1).await.remove(0);
    let lane = lane_shown(&first, 1, &[], page("page"), None);
    assert_eq!(queue.store.queue.complete_lanes(&[lane]).await.unwrap().len(), 1);
    queue.database.change(rows::set_body_bytes(1_500_000)).await;
    let second = queue.claim(&["notion"], 1).await.remove(0);
    let states = queue.store.queue.lane_states("notion lane", second.id).await.unwrap();
    assert_eq!(states.iter().map(|state| state.execution).collect::<Vec<_>>(), [first.id, second.id]);
}

#[tokio::test]
async fn every_pending_execution_states_why_it_waits() {
    let service = with_a_failed_first_state().await;
    service.post_event(&payment("evt_2", NOW + 1, 200)).await;
    let executions = service.executions().await;
    let reason = |place: usize| executions[place]["reason"].as_str().unwrap();
    assert!(reason(0).starts_with("waits for its next attempt at 20"), "{executions:?}");
    assert!(reason(0).contains("Conflict"), "{executions:?}");
    let behind = format!("waits for execution {} of the same object, which comes first", executions[0]["id"]);
    assert_eq!(reason(1), behind);
    let pause = Paused { reason: "its token is refused", ..Paused::of("notion") };
    service.database.change(pause).await;
    let waiting = service.executions().await;
    let paused = "its destination is paused: its token is refused. What to do: set another token";
    assert!(waiting.iter().all(|execution| execution["reason"] == paused), "{waiting:?}");
}

#[tokio::test]
async fn the_execution_that_failed_is_the_canary_otherwise_any_and_none_in_a_manual_pause() {
    let queue = Queue::new().await;
    queue.put(2, "notion", "null").await;
    let pause = Paused { class: "restricted_resource", execution: Some(2), ..Paused::of("notion") };
    queue.database.change(pause).await;
    let canary = async || queue.store.queue.canary("notion").await.unwrap();
    let claim = async |asks: &[Ask], only| {
        let wanted = ClaimRequest { only, paused_too: true, ..ClaimRequest::one(asks) };
        ids(&queue.claim_wanted(wanted).await)
    };
    let Canary::Failed { execution, class, position } = canary().await else { panic!("it is due") };
    assert_eq!(execution, ExecutionId(2));
    let failed = [Ask { from: position, ..ask("notion", class, 1) }];
    let later = rows::executions().id(2).set(&[Set::DueIn(Duration::from_hours(1))]);
    queue.database.change(later).await;
    assert!(claim(&failed, Some(execution)).await.is_empty(), "it is not due any more");
    assert_eq!(canary().await, Canary::Any);
    assert_eq!(claim(&[ask("notion", WorkClass::Fresh, 1)], None).await, [1]);
    queue.store.queue.record_canary("notion", ExecutionId(1)).await.unwrap();
    assert_eq!(canary().await, Canary::NotNow, "it runs");
    queue.end(1, skipped()).await;
    assert_eq!(canary().await, Canary::NothingWaits);
    queue.database.change(rows::executions().set(&[Set::Due])).await;
    queue.database.change(rows::set_paused_execution(2)).await;
    let Canary::Failed { position, .. } = canary().await else { panic!("it is due") };
    let failed = [Ask { from: position, ..ask("notion", class, 1) }];
    assert_eq!(claim(&failed, Some(execution)).await, [2]);
    let jane = Caller::with_key("jane", true);
    queue.store.destinations.pause_manually("notion", "a break", &jane).await.unwrap();
    assert_eq!(canary().await, Canary::NotNow);
}

#[tokio::test]
async fn erased_data_leaves_no_copy_even_after_another_write() {
    let queue = Queue::new().await;
    queue.put(2, "notion", "'notion lane'").await;
    let shown = [Set::Status("success"), Set::InDoubt];
    queue.database.change(rows::executions().id(2).set(&shown)).await;
    let head = queue.claim(&["notion"], 1).await.remove(0);
    let newest = ExecutionId(2);
    let event = queue.store.reports.execution(newest).await.unwrap().unwrap().event_key;
    queue.store.erasure.erase(&[event], false).await.unwrap();
    let in_doubt = rows::executions().in_doubt();
    assert_eq!(queue.database.count(in_doubt).await, 1, "a write may still land");
    let lane = lane_shown(&head, newest.0, &[head.id.0], page("page"), Some(json!({"a": 1})));
    assert_eq!(queue.store.queue.complete_lanes(&[lane]).await.unwrap().len(), 1);
    let shown = queue.store.queue.remote_object("notion lane").await.unwrap().unwrap();
    assert_eq!((shown.execution, shown.written), (newest, None));
    assert_eq!(queue.store.reports.execution(newest).await.unwrap().unwrap().status, "success");
}

fn row(key: &str, version: i64) -> RowVersion {
    RowVersion { key: key.to_owned(), version }
}

fn versions(claimed: &[Claimed]) -> Vec<RowVersion> {
    claimed.iter().filter_map(|claimed| claimed.subject.row().cloned()).collect()
}

#[tokio::test]
async fn a_row_has_one_pending_execution_however_often_it_changes() {
    let queue = Queue::new().await;
    let request = async |rows: &[RowVersion]| queue.store.queue.request_rows("books", rows).await.unwrap();
    assert_eq!(request(&[row("a", 1), row("b", 1), row("a", 3), row("a", 2)]).await, 2);
    assert_eq!(request(&[row("a", 4), row("b", 1), row("c", 1)]).await, 1);
    let claimed = queue.claim(&["books"], 10).await;
    assert_eq!(versions(&claimed), [row("a", 4), row("b", 1), row("c", 1)]);
    assert_eq!(queue.store.queue.request_rows("other", &[row("a", 4)]).await.unwrap(), 1);
}

#[tokio::test]
async fn a_version_requested_while_another_is_written_is_written_next() {
    let queue = Queue::new().await;
    let request =
        async |version| queue.store.queue.request_rows("books", &[row("a", version)]).await.unwrap();
    let page = Remote { id: "page".into(), url: None, place: None };
    assert_eq!(request(1).await, 1);
    let first = queue.claim(&["books"], 10).await.remove(0);
    assert_eq!(request(2).await, 0, "it runs");
    queue.end(first.id.0, delivered(page.clone())).await;
    let second = queue.claim(&["books"], 10).await.remove(0);
    assert_eq!(
        (second.id, second.subject.row(), &second.remote),
        (first.id, Some(&row("a", 2)), &Some(page.clone()))
    );
    queue.end(second.id.0, delivered(page)).await;
    assert_eq!(request(2).await, 0, "it is written");
    assert!(queue.claim(&["books"], 10).await.is_empty());
}

#[tokio::test]
async fn a_newer_version_of_a_row_is_tried_though_an_older_one_failed() {
    let queue = Queue::new().await;
    let request =
        async |version| queue.store.queue.request_rows("books", &[row("a", version)]).await.unwrap();
    let refused = || Outcome::Permanent(Failure::local("x", "x"));
    request(1).await;
    let id = queue.claim(&["books"], 10).await.remove(0).id.0;
    queue.end(id, refused()).await;
    assert_eq!(request(1).await, 0);
    assert_eq!(request(2).await, 1);
    assert_eq!(queue.claim(&["books"], 10).await[0].attempts, 0);
    assert_eq!(request(3).await, 0);
    queue.end(id, refused()).await;
    assert_eq!(versions(&queue.claim(&["books"], 10).await), [row("a", 3)]);
    queue.end(id, refused()).await;
    assert_eq!(queue.database.count(rows::executions().in_status("failed")).await, 1);
    assert_eq!(queue.database.count(rows::queue()).await, 0);
}

#[tokio::test]
async fn a_newer_version_that_comes_during_an_attempt_does_not_wait_for_the_next_one() {
    let queue = Queue::new().await;
    let request =
        async |version| queue.store.queue.request_rows("books", &[row("a", version)]).await.unwrap();
    request(1).await;
    let id = queue.claim(&["books"], 10).await.remove(0).id.0;
    request(2).await;
    queue.end(id, Outcome::Transient { failure: Failure::local("x", "x"), wait: None }).await;
    let claimed = queue.claim(&["books"], 10).await.remove(0);
    assert_eq!(claimed.subject.row(), Some(&row("a", 2)));
}

#[tokio::test]
async fn a_newer_version_does_not_wait_for_the_next_attempt_at_an_older_one() {
    let queue = Queue::new().await;
    let request =
        async |version| queue.store.queue.request_rows("books", &[row("a", version)]).await.unwrap();
    request(1).await;
    let id = queue.claim(&["books"], 10).await.remove(0).id.0;
    queue.end(id, Outcome::Transient { failure: Failure::local("x", "x"), wait: None }).await;
    assert_eq!(request(2).await, 0, "it waits");
    let claimed = queue.claim(&["books"], 10).await.remove(0);
    assert_eq!((claimed.attempts, claimed.subject.row()), (0, Some(&row("a", 2))));
}

#[tokio::test]
async fn a_newer_version_of_a_row_is_tried_though_an_older_one_crashed_its_worker_too_often() {
    let queue = Queue::new().await;
    queue.store.queue.request_rows("books", &[row("a", 1)]).await.unwrap();
    let mut versions = Vec::new();
    for crash in 1..=3 {
        let worker = queue.store.queue.register_worker().await.unwrap();
        let class = if crash == 1 { WorkClass::Fresh } else { WorkClass::Quarantined };
        let asks = [ask("books", class, 1)];
        let alone = ClaimRequest { alone: true, ..ClaimRequest::one(&asks) };
        versions
            .push(queue.store.queue.claim(worker, alone).await.unwrap()[0].subject.row().unwrap().version);
        if crash == 3 {
            queue.store.queue.request_rows("books", &[row("a", 2)]).await.unwrap();
        }
        let dead = RescueScope { silence: Some(Duration::ZERO), myself: None, held: &[], thorough: true };
        let rescued = queue.store.queue.rescue(dead).await.unwrap();
        assert!(!rescued[0].is_given_up);
    }
    assert_eq!(versions, [1, 1, 1]);
    let worker = queue.store.queue.register_worker().await.unwrap();
    let asks = [ask("books", WorkClass::Quarantined, 1)];
    let claimed = queue.store.queue.claim(worker, ClaimRequest::one(&asks)).await.unwrap().remove(0);
    assert_eq!(claimed.subject.row(), Some(&row("a", 2)));
}

#[tokio::test]
async fn a_version_requested_at_the_moment_of_a_completion_is_written() {
    let queue = Queue::new().await;
    queue.store.queue.request_rows("books", &[row("a", 0)]).await.unwrap();
    for version in 1..=50 {
        let claimed = queue.claim(&["books"], 10).await.remove(0);
        assert_eq!(claimed.subject.row(), Some(&row("a", version - 1)));
        let newer = [row("a", version)];
        let requested = queue.store.queue.request_rows("books", &newer);
        let ((), requested) = tokio::join!(queue.end(claimed.id.0, skipped()), requested);
        requested.unwrap();
    }
    assert_eq!(versions(&queue.claim(&["books"], 10).await), [row("a", 50)]);
}

#[tokio::test]
async fn a_row_waits_for_a_program_that_can_deliver_it() {
    let service = Service::start().await;
    service.database.store().queue.request_rows("notion", &[row("a", 1)]).await.unwrap();
    service.post_event(&payment("evt_1", NOW, 100)).await;
    service.until_finished(1).await;
    service.until_count(rows::attempts().quoting("no_rows"), 1).await;
    assert_eq!(service.database.count(rows::executions().in_status("pending")).await, 1);
}
