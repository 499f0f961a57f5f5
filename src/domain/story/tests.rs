//! What stories tell, line by line.

use super::*;
use crate::domain::destination_summary::{Noun, Remedies};
use crate::domain::execution::Mode;
use crate::domain::subscription::{LivemodeFilter, Subscription, TypeFilter};

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).expect("a time")
}

fn attempt(seconds: i64, outcome: &str) -> Try {
    Try {
        at: at(seconds),
        duration_ms: 500,
        outcome: outcome.to_owned(),
        code: Some(if outcome == "delivered" { 200 } else { 409 }),
        class: (outcome != "delivered").then(|| "conflict_error".to_owned()),
        message: (outcome != "delivered").then(|| "Notion said no".to_owned()),
        request: Some(format!("req-{seconds}")),
    }
}

fn delivery(status: Status, tries: Vec<Try>) -> Delivery {
    Delivery {
        id: ExecutionId(7),
        destination: "notion".to_owned(),
        created_at: at(1),
        status,
        reason: None,
        waiting: None,
        finished_at: status.is_terminal().then(|| at(900)),
        remote_url: (status == Status::Success).then(|| "https://notion.so/p".to_owned()),
        earlier_tries: 0,
        tries,
        acts: Vec::new(),
        holds: Vec::new(),
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
        noun: Noun { one: "page", many: "pages" },
        remote_ids: |_text| Vec::new(),
        remedies: Remedies::new(|class| (class == "unauthorized").then(|| "Set a new token.".to_owned())),
    }
}

fn chapter(deliveries: Vec<Delivery>) -> Chapter {
    Chapter {
        event: EventKey(3),
        source: "stripe".to_owned(),
        created: Some(at(0)),
        received_at: at(1),
        secret: "live".to_owned(),
        payload_removed: None,
        deliveries,
    }
}

fn told(chapters: &[Chapter]) -> Vec<String> {
    tell(chapters, &[notion()], at(1000)).iter().map(ToString::to_string).collect()
}

/// The lines about one delivery, without what they begin with.
fn of(delivery: Delivery) -> Vec<String> {
    let lines = told(&[chapter(vec![delivery])]);
    let begin = "execution 7 to notion: ";
    lines.iter().filter_map(|line| line.strip_prefix(begin)).map(str::to_owned).collect()
}

#[test]
fn what_goes_straight_is_told_in_three_lines() {
    assert_eq!(
        told(&[chapter(vec![delivery(Status::Success, vec![attempt(1, "delivered")])])]),
        [
            "created at stripe",
            "received, signed with the secret live, and stored as event 3",
            "execution 7 to notion: attempt 1: delivered 200 after 500 ms [request req-1], the page is https://notion.so/p",
        ]
    );
}

#[test]
fn each_wait_is_told_with_its_length_and_what_it_was_for() {
    let mut waited = delivery(
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
    let hold = |since, until, reason: &str| PastHold {
        since: at(since),
        until: at(until),
        reason: reason.to_owned(),
    };
    waited.holds = vec![hold(100, 110, "too short to matter"), hold(170, 600, "the token is refused")];
    let waits: Vec<_> = of(waited).into_iter().filter(|line| line.starts_with("waited")).collect();
    assert_eq!(
        waits,
        [
            "waited 59 s for its turn",
            "waited 29 s for its next attempt",
            "waited 29 s because the destination had asked for fewer calls",
            "waited 29 s to check whether an earlier write arrived",
            "waited 7 min 29 s while its destination was held: the token is refused",
            "waited 3 min 19 s for its next attempt",
        ]
    );
}

#[test]
fn what_a_person_had_tried_again_waited_since_then_and_not_since_it_had_failed() {
    let mut again = delivery(Status::Success, vec![attempt(1, "permanent"), attempt(500, "delivered")]);
    let act = Act {
        at: at(495),
        who: "ops".to_owned(),
        action: "retried".to_owned(),
        with_others: true,
        note: None,
    };
    again.acts = vec![Act { note: Some("mended".to_owned()), ..act }];
    assert_eq!(
        of(again.clone()),
        [
            "attempt 1: permanent 409 (conflict_error) after 500 ms: Notion said no [request req-1]",
            "retried by ops, with others: mended",
            "waited 5 s for its turn",
            "attempt 2: delivered 200 after 500 ms [request req-500], the page is https://notion.so/p",
        ]
    );
    again.acts.clear();
    assert!(of(again).iter().all(|line| !line.contains("waited")), "nobody knows since when it waited");
}

#[test]
fn where_it_stands_is_told_once_and_last() {
    let mut failed = delivery(Status::Failed, vec![attempt(1, "permanent")]);
    failed.reason = Some("Notion said no".to_owned());
    assert_eq!(of(failed.clone()).last().map(String::as_str), Some("failed"), "the try has said why");
    failed.reason = Some("three looks found nothing".to_owned());
    assert_eq!(of(failed).last().map(String::as_str), Some("failed: three looks found nothing"));

    let mut waits = delivery(Status::Pending, vec![attempt(1, "transient")]);
    waits.waiting = Some(Waiting::Held("the token is refused".to_owned()));
    let mut other = chapter(vec![delivery(Status::Running, Vec::new())]);
    other.event = EventKey(4);
    other.created = Some(at(2000));
    let lines = told(&[chapter(vec![waits]), other]);
    assert_eq!(
        lines[lines.len() - 2..],
        [
            "execution 7 to notion: pending: its destination is held: the token is refused (now)",
            "execution 7 to notion: a worker is processing it (now)",
        ],
        "now comes after everything, also after a clock that is ahead"
    );
    // In object mode a newer state may have been written for it, without a try of its own.
    let shown = of(delivery(Status::Success, Vec::new()));
    assert_eq!(shown, ["success, the page is https://notion.so/p"]);
}

#[test]
fn what_is_left_out_and_what_was_removed_is_told() {
    let mut long = delivery(Status::Success, vec![attempt(50, "transient"), attempt(51, "delivered")]);
    (long.created_at, long.earlier_tries) = (at(9), 4);
    let mut removed = chapter(vec![long]);
    removed.payload_removed = Some((at(950), true));
    let lines = told(&[removed]);
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
            "its customer was forgotten",
        ]
    );
    let unwanted = told(&[chapter(Vec::new())]);
    assert_eq!(unwanted.last().map(String::as_str), Some("no destination subscribes to its type and mode"));
}

#[test]
fn the_events_of_an_object_are_told_in_one_line_of_time() {
    let first = chapter(vec![delivery(Status::Success, vec![attempt(100, "delivered")])]);
    let mut second = chapter(vec![delivery(Status::Success, vec![attempt(60, "delivered")])]);
    (second.event, second.created, second.received_at) = (EventKey(4), Some(at(50)), at(51));
    let lines = tell(&[second, first], &[notion()], at(1000));
    let order: Vec<_> = lines.iter().map(|line| line.event.0).collect();
    assert!(lines.is_sorted_by_key(|line| line.at), "{lines:#?}");
    assert_eq!(order.first(), Some(&3));
    assert_eq!(order.last(), Some(&3));
    assert!(order.contains(&4));
}

#[test]
fn a_failed_delivery_ends_with_what_to_do() {
    let refused = Try { class: Some("unauthorized".to_owned()), ..attempt(10, "permanent") };
    let mut failed = delivery(Status::Failed, vec![refused]);
    failed.reason = Some("it was refused.".to_owned());
    let lines = of(failed);
    assert_eq!(
        lines.last().map(String::as_str),
        Some("failed: it was refused. What to do: Set a new token.")
    );
}
