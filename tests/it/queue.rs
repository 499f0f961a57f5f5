//! The queue by itself: what is claimed and in which order at any backlog, and what is recorded.

use crate::harness::rows::{LockedWorker, Paused, Set};
use crate::harness::{Database, NOW, Service, rows, within};
use eventbridge::config::RetrySettings;
use eventbridge::domain::audit::Caller;
use eventbridge::domain::delivery::{Failure, Outcome, Remote};
use eventbridge::domain::execution::ExecutionId;
use eventbridge::store::{
    Canary, ClaimRequest, Claimed, CompletedLane, Fate, RemoteObject, RescueScope, Store, WorkerId,
};
use eventbridge::worker::conclude;
use notion_sandbox::{Fault, FaultRule, Route, Template};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// More than one claim scans by age.
const MANY: i64 = 1_500;

struct Queue {
    database: Database,
    store: Store,
    worker: WorkerId,
}

impl Queue {
    async fn new() -> Self {
        let database = Database::new().await;
        let store = database.store();
        let worker = store.queue.register_worker().await.unwrap();
        Self { database, store, worker }
    }

    /// Queues executions, each with an event; the lane is an expression over `n`.
    async fn put(&self, count: i64, destination: &str, lane: &str) {
        self.database.change(rows::queued(count, destination, lane)).await;
    }

    async fn claim(&self, destinations: &[&str], limit: u32) -> Vec<Claimed> {
        let destinations: Vec<_> = destinations.iter().map(|name| (*name).to_owned()).collect();
        let wanted = ClaimRequest { limit, ..ClaimRequest::nothing(&destinations) };
        self.store.queue.claim(self.worker, wanted).await.unwrap()
    }
}

fn lanes(claimed: &[Claimed]) -> BTreeSet<String> {
    claimed.iter().map(|claimed| claimed.lane.clone().unwrap()).collect()
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
async fn a_claim_that_finds_nothing_writes_nothing() {
    let queue = Queue::new().await;
    let was_locked = rows::workers().locked();
    assert!(queue.claim(&["notion"], 10).await.is_empty());
    assert_eq!(queue.database.count(&was_locked).await, 0);
    queue.put(1, "notion", "null").await;
    assert_eq!(queue.claim(&["notion"], 10).await.len(), 1);
    assert_eq!(queue.database.count(&was_locked).await, 1, "a claim that leases locks its worker");
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
async fn the_head_of_a_lane_is_claimed_despite_long_other_lanes() {
    let queue = Queue::new().await;
    queue.put(MANY, "notion", "'notion busy/' || n % 3").await;
    assert_eq!(lanes(&queue.claim(&["notion"], 10).await).len(), 3, "the head of each lane");
    assert!(queue.claim(&["notion"], 10).await.is_empty(), "the others are behind");
    queue.put(40, "notion", "'notion new/' || n % 20").await;
    // Too young to be found by age: they are found lane by lane, wherever that scan begins.
    let claimed = queue.claim(&["notion"], 30).await;
    let heads: BTreeSet<_> = claimed.iter().map(|claimed| claimed.id).collect();
    assert_eq!((lanes(&claimed).len(), heads.len()), (20, 20));
    assert_eq!(queue.database.overtaken().await, 0);
}

#[tokio::test]
async fn bulk_executions_yield_to_fresh_work_and_late_retries() {
    let queue = Queue::new().await;
    queue.put(3, "notion", "null").await;
    let queued_by_many = [Set::InBulk, Set::DueSince(Duration::from_hours(1))];
    queue.database.change(rows::executions().set(&queued_by_many)).await;
    queue.put(2, "notion", "null").await;
    queue.database.change(rows::executions().id(4).set(&[Set::Attempts(1)])).await;
    assert_eq!(queue.claim(&["notion"], 10).await.len(), 1, "only the fresh one");
    let destinations = ["notion".to_owned()];
    let wanted = ClaimRequest { limit: 2, late: 2, bulk: true, ..ClaimRequest::nothing(&destinations) };
    let ids: BTreeSet<_> = queue
        .store
        .queue
        .claim(queue.worker, wanted)
        .await
        .unwrap()
        .iter()
        .map(|claimed| claimed.id.0)
        .collect();
    assert_eq!(ids, BTreeSet::from([1, 4]), "the late one, and the rest of the batch for bulk executions");
}

#[tokio::test]
async fn a_replay_of_an_object_does_not_delay_its_new_events() {
    let queue = Queue::new().await;
    queue.put(3, "notion", "'notion lane'").await;
    queue.database.change(rows::executions().id(1).set(&[Set::InBulk])).await;
    let ids = |claimed: &[Claimed]| claimed.iter().map(|claimed| claimed.id.0).collect::<Vec<_>>();
    let replayed = queue.store.reports.execution(ExecutionId(1)).await.unwrap().unwrap();
    assert_eq!(replayed.behind, Some(2));
    let todays = queue.claim(&["notion"], 10).await;
    assert_eq!(ids(&todays), [2]);
    let destinations = ["notion".to_owned()];
    let all = ClaimRequest { limit: 10, late: 10, bulk: true, ..ClaimRequest::nothing(&destinations) };
    assert!(
        queue.store.queue.claim(queue.worker, all).await.unwrap().is_empty(),
        "its lane has a running execution"
    );
    let completed = conclude(&todays[0], skipped(), Duration::ZERO, &RetrySettings::default(), 0.0);
    queue.store.queue.complete(&[completed]).await.unwrap();
    assert_eq!(ids(&queue.store.queue.claim(queue.worker, all).await.unwrap()), [3]);
    // Also if there are so many that lanes are scanned.
    queue.put(MANY, "crowded", "'crowded ' || n % 5").await;
    queue.database.change(rows::executions().to("crowded").set(&[Set::InBulk])).await;
    queue.put(5, "crowded", "'crowded ' || n % 5").await;
    assert_eq!(lanes(&queue.claim(&["crowded"], 10).await).len(), 5);
}

#[tokio::test]
async fn bulk_retries_of_pending_executions_yield_to_new_events() {
    let queue = Queue::new().await;
    queue.put(3, "notion", "null").await;
    let put_off = [Set::Attempts(5), Set::DueIn(Duration::from_hours(2))];
    queue.database.change(rows::executions().up_to(2).set(&put_off)).await;
    let ids = [1, 2, 3].map(ExecutionId);
    let caller = Caller::with_key("jane", true);
    let retried = queue.store.interventions.bulk_retry(&ids, "pending", &json!({}), &caller).await.unwrap();
    assert_eq!(retried.counts["notion"], 3);
    queue.put(1, "notion", "null").await;
    let claimed = queue.claim(&["notion"], 10).await;
    // An execution without an attempt keeps its place.
    assert_eq!(claimed.iter().map(|claimed| claimed.id.0).collect::<BTreeSet<_>>(), BTreeSet::from([3, 4]));
}

#[tokio::test]
async fn instances_take_turns_at_any_backlog() {
    let queue = Queue::new().await;
    queue.put(50, "older", "null").await;
    queue.put(50, "crowded", "'crowded ' || n").await;
    queue.put(20, "newer", "null").await;
    let late = rows::executions().every_second().not_to("newer").set(&[Set::Attempts(1)]);
    queue.database.change(late).await;
    let destinations = ["older", "crowded", "newer"].map(str::to_owned);
    let names = |claimed: Vec<Claimed>| -> Vec<_> {
        destinations
            .each_ref()
            .map(|name| claimed.iter().filter(|claimed| claimed.destination == *name).count())
            .into()
    };
    let wanted = ClaimRequest { limit: 9, late: 1, ..ClaimRequest::nothing(&destinations) };
    let claimed = queue.store.queue.claim(queue.worker, wanted).await.unwrap();
    assert_eq!(claimed.iter().filter(|claimed| claimed.attempts > 0).count(), 1, "one late retry in total");
    let counts = names(claimed);
    assert!(counts.iter().all(|count| (2..=4).contains(count)), "{counts:?}");
    // Two have used up their shares.
    let wanted =
        ClaimRequest { limit: 9, own: &[0, 0, 4], shared: 2, ..ClaimRequest::nothing(&destinations) };
    let counts = names(queue.store.queue.claim(queue.worker, wanted).await.unwrap());
    assert_eq!((counts[0] + counts[1], counts[2]), (2, 4));
}

#[tokio::test]
async fn a_quarantined_execution_behind_its_lanes_head_does_not_stop_claiming() {
    let queue = Queue::new().await;
    queue.put(2, "notion", "'notion lane'").await;
    let destinations = ["notion".to_owned()];
    queue.database.change(rows::executions().newest().set(&[Set::Crashes(1)])).await;
    assert!(
        !queue.store.queue.has_quarantined(&destinations).await.unwrap(),
        "the head of its lane is first"
    );
    let head = queue.claim(&["notion"], 1).await.remove(0);
    assert!(
        !queue.store.queue.has_quarantined(&destinations).await.unwrap(),
        "its lane has a running execution"
    );
    let completed = conclude(&head, skipped(), Duration::ZERO, &RetrySettings::default(), 0.0);
    queue.store.queue.complete(&[completed]).await.unwrap();
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
        .rescue(RescueScope { silence: Some(Duration::ZERO), myself: None, held: &[] })
        .await
        .unwrap();
    let worker = queue.store.queue.register_worker().await.unwrap();
    let destinations = ["notion".to_owned()];
    let quarantined = ClaimRequest { limit: 1, quarantined: true, ..ClaimRequest::nothing(&destinations) };
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
    let destinations = ["notion".to_owned()];
    let second = ClaimRequest { limit: 1, ..ClaimRequest::nothing(&destinations) };
    let claimed = queue.store.queue.claim(worker, second).await.unwrap().remove(0);
    let holder = LockedWorker::of(&queue.database, first.0).await;
    let dead = RescueScope { silence: Some(Duration::ZERO), myself: None, held: &[] };
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
    Outcome::Delivered { remote: Some(remote), status: Some(200), request_id, written: None }
}

#[tokio::test]
async fn a_lanes_completion_is_recorded_without_nul_characters() {
    let queue = Queue::new().await;
    queue.put(2, "notion", "'notion lane'").await;
    let head = queue.claim(&["notion"], 1).await.remove(0);
    let remote =
        Remote { id: "pa\0ge".into(), url: Some("https://no\0tion".into()), place: Some("so\0urce".into()) };
    let object = RemoteObject {
        execution: head.id,
        remote: Some(remote.clone()),
        written: Some(json!({"na\0me": ["te\0xt"]})),
    };
    let completed = conclude(&head, delivered(remote), Duration::ZERO, &RetrySettings::default(), 0.0);
    let fate = Fate::Shown { object, superseded: vec![ExecutionId(head.id.0 + 1)] };
    let lane =
        CompletedLane { head: completed.attempt, lane: head.lane.clone().unwrap(), newest: head.id, fate };
    assert!(queue.store.queue.complete_lane(&lane).await.unwrap());
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
        let remote = Remote { id: "page".into(), url: None, place: None };
        let object =
            RemoteObject { execution: newest, remote: Some(remote.clone()), written: Some(json!({"a": 1})) };
        let completed = conclude(&head, delivered(remote), Duration::ZERO, &RetrySettings::default(), 0.0);
        let fate = Fate::Shown { object, superseded: vec![head.id] };
        let lane = CompletedLane { head: completed.attempt, lane: "notion lane".into(), newest, fate };
        assert!(queue.store.queue.complete_lane(&lane).await.unwrap());
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
    let lane =
        CompletedLane { head: completed.attempt, lane: "notion lane".into(), newest, fate: Fate::Refused };
    assert!(queue.store.queue.complete_lane(&lane).await.unwrap());
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

/// A state of one payment.
fn payment(event: &str, created: i64, amount: i64) -> String {
    json!({"id": event, "object": "event", "type": "payment_intent.processing", "created": created,
           "livemode": false, "data": {"object": {"id": "pi_1", "object": "payment_intent", "amount": amount,
           "currency": "eur", "status": "processing"}}})
    .to_string()
}

#[tokio::test]
async fn the_states_read_together_are_bounded_by_bytes_and_include_the_claimed_one() {
    let queue = Queue::new().await;
    queue.put(6, "notion", "'notion lane'").await;
    queue.database.change(rows::set_body_bytes(1_500_000)).await;
    let head = queue.claim(&["notion"], 1).await.remove(0);
    let states = queue.store.queue.lane_states("notion lane", "notion", head.id).await.unwrap();
    let ids: Vec<_> = states.iter().map(|state| state.execution).collect();
    assert_eq!(ids, [head.id, ExecutionId(head.id.0 + 1), ExecutionId(head.id.0 + 2)]);
    assert!(states.iter().all(|state| state.is_open));
}

#[tokio::test]
async fn every_pending_execution_states_why_it_waits() {
    let service = Service::builder()
        .set("NOTION_MODE", "object")
        .retry_base(Duration::from_hours(1))
        .template(Template::Full)
        .start()
        .await;
    service.sandbox.fault(FaultRule::once(Fault::Conflict).on(Route::Create)).unwrap();
    service.post_event(&payment("evt_1", NOW, 100)).await;
    let is_put_off = |executions: &[Value]| executions[0]["attempt_count"] == 1;
    service.until("the first has failed", is_put_off).await;
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
async fn a_canary_is_claimable_and_never_runs_in_a_manual_pause() {
    let queue = Queue::new().await;
    queue.put(2, "notion", "'notion lane'").await;
    let pause = Paused { class: "restricted_resource", execution: Some(2), ..Paused::of("notion") };
    queue.database.change(pause).await;
    let later = [Set::DueIn(Duration::from_hours(1))];
    queue.database.change(rows::executions().id(1).set(&later)).await;
    let chosen = async || queue.store.queue.choose_canary("notion").await.unwrap();
    assert_eq!(chosen().await, Canary::NothingWaits, "the second is behind its head, which is not due");
    queue.put(1, "notion", "null").await;
    assert_eq!(chosen().await, Canary::With(ExecutionId(3)));
    queue.database.change(rows::executions().set(&[Set::Due])).await;
    assert_eq!(chosen().await, Canary::With(ExecutionId(3)), "it is recorded");
    queue.database.change(rows::set_paused_execution(1)).await;
    assert_eq!(chosen().await, Canary::With(ExecutionId(1)));
    queue
        .store
        .destinations
        .pause_manually("notion", "a break", &Caller::with_key("jane", true))
        .await
        .unwrap();
    assert_eq!(chosen().await, Canary::NotNow);
    let destinations = ["notion".to_owned()];
    let trial = ClaimRequest { canary: Some(ExecutionId(1)), ..ClaimRequest::nothing(&destinations) };
    assert!(queue.store.queue.claim(queue.worker, trial).await.unwrap().is_empty());
}

#[tokio::test]
async fn late_retries_keep_to_their_share_of_a_claim() {
    let queue = Queue::new().await;
    let destinations: Vec<_> = (0..8).map(|number| format!("notion{number}")).collect();
    for destination in &destinations {
        queue.put(2, destination, "null").await;
    }
    queue.database.change(rows::executions().every_second().set(&[Set::Attempts(1)])).await;
    let wanted = ClaimRequest { limit: 8, own: &[1; 8], late: 1, ..ClaimRequest::nothing(&destinations) };
    let claimed = queue.store.queue.claim(queue.worker, wanted).await.unwrap();
    assert_eq!(claimed.len(), 8);
    assert_eq!(claimed.iter().filter(|claimed| claimed.attempts > 0).count(), 1);
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
    let remote = Remote { id: "page".into(), url: None, place: None };
    let object =
        RemoteObject { execution: newest, remote: Some(remote.clone()), written: Some(json!({"a": 1})) };
    let completed = conclude(&head, delivered(remote), Duration::ZERO, &RetrySettings::default(), 0.0);
    let fate = Fate::Shown { object, superseded: vec![head.id] };
    let lane = CompletedLane { head: completed.attempt, lane: "notion lane".into(), newest, fate };
    assert!(queue.store.queue.complete_lane(&lane).await.unwrap());
    let shown = queue.store.queue.remote_object("notion lane").await.unwrap().unwrap();
    assert_eq!((shown.execution, shown.written), (newest, None));
    assert_eq!(queue.store.reports.execution(newest).await.unwrap().unwrap().status, "success");
}
