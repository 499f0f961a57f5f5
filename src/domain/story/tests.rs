//! Stories, line by line.

use super::*;
use crate::domain::destination_summary::Noun;
use crate::domain::execution::Mode;
use crate::domain::subscription::{LivemodeFilter, Subscription, TypeFilter};

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).expect("a time")
}

fn attempt(seconds: i64, outcome: &str) -> Attempt {
    Attempt {
        at: at(seconds),
        duration_ms: 500,
        outcome: outcome.to_owned(),
        code: Some(if outcome == "delivered" { 200 } else { 409 }),
        class: (outcome != "delivered").then(|| "conflict_error".to_owned()),
        message: (outcome != "delivered").then(|| "Notion said no".to_owned()),
        request: Some(format!("req-{seconds}")),
    }
}

fn execution(status: Status, attempts: Vec<Attempt>) -> Execution {
    Execution {
        id: ExecutionId(7),
        destination: "notion".to_owned(),
        created_at: at(1),
        status,
        reason: None,
        remedy: None,
        waiting: None,
        finished_at: status.is_terminal().then(|| at(900)),
        remote_url: (status == Status::Success).then(|| "https://notion.so/p".to_owned()),
        earlier_attempts: 0,
        attempts,
        operations: Vec::new(),
        ends: Vec::new(),
        pauses: Vec::new(),
    }
}

fn notion() -> DestinationSummary {
    DestinationSummary {
        subscription: Subscription {
            destination: "notion".to_owned(),
            types: TypeFilter::all(),
            livemode: LivemodeFilter::All,
            mode: Mode::Event,
        },
        connection: None,
        per_minute: None,
        token_expires: None,
        noun: Noun { one: "page", many: "pages" },
        remote_ids: |_text| Vec::new(),
    }
}

fn chapter(executions: Vec<Execution>) -> EventStory {
    EventStory {
        event: EventKey(3),
        source: "stripe".to_owned(),
        created: Some(at(0)),
        received_at: at(1),
        origin: EventOrigin::Webhook,
        secret: "live".to_owned(),
        payload_removed: None,
        executions,
    }
}

fn plain_lines(chapters: &[EventStory]) -> Vec<String> {
    lines(chapters, &[notion()], at(1000)).iter().map(ToString::to_string).collect()
}

/// The lines about one execution, without their prefix.
fn of(execution: Execution) -> Vec<String> {
    let lines = plain_lines(&[chapter(vec![execution])]);
    let begin = "execution 7 to notion: ";
    lines.iter().filter_map(|line| line.strip_prefix(begin)).map(str::to_owned).collect()
}

#[test]
fn a_delivery_without_delay_has_three_lines() {
    assert_eq!(
        plain_lines(&[chapter(vec![execution(Status::Success, vec![attempt(1, "delivered")])])]),
        [
            "created at stripe",
            "received, signed with the secret live, and stored as event 3",
            "execution 7 to notion: attempt 1: delivered 200 after 500 ms [request req-1], the page is https://notion.so/p",
        ]
    );
}

#[test]
fn each_wait_has_its_length_and_its_reason() {
    let mut waited = execution(
        Status::Success,
        vec![
            attempt(60, "transient"),
            attempt(90, "throttled"),
            attempt(120, "ambiguous"),
            attempt(150, "in_doubt"),
            attempt(600, "needs_operator"),
            attempt(800, "delivered"),
        ],
    );
    let pause = |since, until, reason: &str| PastPause {
        since: at(since),
        until: at(until),
        reason: reason.to_owned(),
    };
    waited.pauses = vec![pause(100, 110, "too short to matter"), pause(170, 600, "the token is refused")];
    let waits: Vec<_> = of(waited).into_iter().filter(|line| line.starts_with("waited")).collect();
    assert_eq!(
        waits,
        [
            "waited 59 s for its turn",
            "waited 29 s for its next attempt",
            "waited 29 s because the destination had asked for fewer calls",
            "waited 29 s to check whether an earlier write arrived",
            "waited 7 min 29 s while its destination was paused: the token is refused",
            "waited 3 min 19 s for its next attempt",
        ]
    );
}

#[test]
fn after_a_manual_retry_the_wait_starts_at_the_retry() {
    let mut again = execution(Status::Success, vec![attempt(1, "permanent"), attempt(500, "delivered")]);
    let operation = ManualOperation {
        at: at(495),
        who: "ops".to_owned(),
        action: "retried".to_owned(),
        with_others: true,
        note: None,
        restored: None,
    };
    again.operations = vec![ManualOperation { note: Some("mended".to_owned()), ..operation }];
    assert_eq!(
        of(again.clone()),
        [
            "attempt 1: permanent 409 (conflict_error) after 500 ms: Notion said no [request req-1]",
            "retried by ops, with others: mended",
            "waited 5 s for its turn",
            "attempt 2: delivered 200 after 500 ms [request req-500], the page is https://notion.so/p",
        ]
    );
    again.operations.clear();
    assert!(of(again).iter().all(|line| !line.contains("waited")), "the start of the wait is unknown");
}

#[test]
fn a_cancelled_repetition_leaves_the_delivery_as_the_end() {
    let mut kept = execution(Status::Success, vec![attempt(1, "delivered"), attempt(500, "transient")]);
    kept.finished_at = Some(at(2));
    let operation = |seconds, action: &str, restored| ManualOperation {
        at: at(seconds),
        who: "ops".to_owned(),
        action: action.to_owned(),
        with_others: false,
        note: None,
        restored,
    };
    kept.operations =
        vec![operation(499, "retried", None), operation(510, "cancelled", Some(Status::Success))];
    kept.ends = vec![PastEnd { at: at(2), status: Status::Success }];
    assert_eq!(
        of(kept),
        [
            "attempt 1: delivered 200 after 500 ms [request req-1], the page is https://notion.so/p",
            "retried by ops",
            "waited 1 s for its turn",
            "attempt 2: transient 409 (conflict_error) after 500 ms: Notion said no [request req-500]",
            "repetition cancelled by ops: it stays delivered, as before",
        ]
    );
}

#[test]
fn the_present_state_is_shown_once_and_last() {
    let mut failed = execution(Status::Failed, vec![attempt(1, "permanent")]);
    failed.reason = Some("Notion said no".to_owned());
    assert_eq!(of(failed.clone()).last().map(String::as_str), Some("failed"), "the attempt has the reason");
    failed.reason = Some("three searches found nothing".to_owned());
    assert_eq!(of(failed).last().map(String::as_str), Some("failed: three searches found nothing"));

    let mut waits = execution(Status::Pending, vec![attempt(1, "transient")]);
    waits.waiting =
        Some(Waiting::Paused { reason: "the token is refused".to_owned(), by: None, remedy: None });
    let mut other = chapter(vec![execution(Status::Running, Vec::new())]);
    other.event = EventKey(4);
    other.created = Some(at(2000));
    let lines = plain_lines(&[chapter(vec![waits]), other]);
    assert_eq!(
        lines[lines.len() - 2..],
        [
            "execution 7 to notion: pending: its destination is paused: the token is refused (now)",
            "execution 7 to notion: a worker is processing it (now)",
        ],
        "now comes after everything, also after a clock that is ahead"
    );
    // In object mode a newer state may have been written for it, without an attempt of its own.
    let shown = of(execution(Status::Success, Vec::new()));
    assert_eq!(shown, ["delivered, the page is https://notion.so/p"]);
}

#[test]
fn omitted_attempts_and_a_removed_payload_are_shown() {
    let mut long = execution(Status::Success, vec![attempt(50, "transient"), attempt(51, "delivered")]);
    (long.created_at, long.earlier_attempts) = (at(9), 4);
    let mut removed = chapter(vec![long]);
    removed.payload_removed = Some((at(950), true));
    let lines = plain_lines(&[removed]);
    let ends: Vec<_> = lines.iter().map(|line| line.split(": ").nth(1).unwrap_or(line)).collect();
    assert_eq!(
        ends,
        [
            "created at stripe",
            "received, signed with the secret live, and stored as event 3",
            "queued",
            "4 earlier attempts are omitted",
            "attempt 5",
            "attempt 6",
            "its customer's data was erased",
        ]
    );
    let unwanted = plain_lines(&[chapter(Vec::new())]);
    assert_eq!(unwanted.last().map(String::as_str), Some("no destination subscribes to its type and mode"));
}

#[test]
fn the_events_of_an_object_are_merged_in_order_of_time() {
    let first = chapter(vec![execution(Status::Success, vec![attempt(100, "delivered")])]);
    let mut second = chapter(vec![execution(Status::Success, vec![attempt(60, "delivered")])]);
    (second.event, second.created, second.received_at) = (EventKey(4), Some(at(50)), at(51));
    let lines = lines(&[second, first], &[notion()], at(1000));
    let order: Vec<_> = lines.iter().map(|line| line.event.0).collect();
    assert!(lines.is_sorted_by_key(|line| line.at), "{lines:#?}");
    assert_eq!(order.first(), Some(&3));
    assert_eq!(order.last(), Some(&3));
    assert!(order.contains(&4));
}

#[test]
fn a_failed_delivery_ends_with_its_remedy() {
    let mut failed = execution(Status::Failed, vec![attempt(10, "permanent")]);
    failed.reason = Some("it was refused.".to_owned());
    failed.remedy = Some("Set a new token.".to_owned());
    let lines = of(failed);
    assert_eq!(
        lines.last().map(String::as_str),
        Some("failed: it was refused. What to do: Set a new token.")
    );
}

#[test]
fn a_remedy_is_said_once_however_many_executions_wait_for_it() {
    let waiting = |remedy: &str| {
        Some(Waiting::Paused {
            reason: "the token is refused".to_owned(),
            by: None,
            remedy: Some(remedy.to_owned()),
        })
    };
    let line = |remedy| Line {
        at: LineTime::Now(DateTime::UNIX_EPOCH),
        event: EventKey(1),
        execution: None,
        what: What::Pending { waiting: waiting(remedy) },
    };
    let mut lines = [line("set a new one"), line("set a new one"), line("another")];
    say_each_remedy_once(&mut lines);
    let has_remedy: Vec<_> = lines.iter().map(|line| line.what.to_string().contains("What to do")).collect();
    assert_eq!(has_remedy, [false, true, true]);
}
