//! Cases: a snapshot and thresholds go in; an assessment and the keys of its alerts come out.

use super::*;
use crate::domain::backing_off::BackingOff;
use crate::domain::rejection::{Cause, Diagnosis, RejectionStreak};
use crate::health::{AlertRules, Failures, OpenFailure, OpenFailures, Pause};
use crate::store::{BusyHour, Crashing, PullFailing, PullState, RecentFailureGroup, RecentFailures};
use crate::store::{SnapshotHolder, SnapshotHolderKind};

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).expect("a time")
}

fn ago(minutes: i64) -> DateTime<Utc> {
    now() - TimeDelta::minutes(minutes)
}

fn minutes(minutes: u64) -> Duration {
    Duration::from_mins(minutes)
}

/// A destination with 4 pending executions, the oldest of which has waited this long.
fn pending_for(oldest: Duration) -> Destination {
    with_backlog(DestinationBacklog {
        pending: 4,
        oldest: Some(OldestPending { execution: 42, waited: oldest }),
        clears_in: Some(TimeDelta::seconds(104)),
        ..DestinationBacklog::default()
    })
}

fn with_backlog(backlog: DestinationBacklog) -> Destination {
    Destination { name: "notion".to_owned(), backlog: Some(backlog), ..Destination::default() }
}

/// One whose 3 pending executions all wait for their next attempt.
fn retrying() -> Destination {
    with_backlog(DestinationBacklog {
        pending: 3,
        later: 3,
        next_at: Some(now() + TimeDelta::minutes(3)),
        oldest: Some(OldestPending { execution: 42, waited: minutes(1) }),
        ..DestinationBacklog::default()
    })
}

/// One that has been left alone for this many seconds.
fn backing_off_for(seconds: i64) -> Destination {
    let rest = BackingOff {
        since: now() - TimeDelta::seconds(seconds),
        until: now() + TimeDelta::seconds(52),
        fresh_until: now() + TimeDelta::seconds(1),
        after: "repeated 502".to_owned(),
        processes: 1,
        workers: 1,
    };
    let backlog = DestinationBacklog { pending: 1, ..DestinationBacklog::default() };
    Destination { backing_off: Some(rest), ..with_backlog(backlog) }
}

fn paused_by_ann() -> Destination {
    let mut destination = paused_for(60);
    if let Some(pause) = &mut destination.paused {
        pause.by = Some(("ann".to_owned(), "test.".to_owned()));
    }
    destination
}

/// A list that has not been read for this long.
fn not_fetched_for(minutes: i64) -> Snapshot {
    let failing = PullFailing {
        since: ago(minutes),
        class: "key_invalid".to_owned(),
        message: "Stripe does not accept the API key \"live\"".to_owned(),
        remedy: "create a restricted key".to_owned(),
    };
    let state = PullState {
        source: "stripe".to_owned(),
        name: "live".to_owned(),
        position: None,
        read_at: None,
        failing: Some(failing),
    };
    Snapshot { now: now(), fetching: vec![state], ..Snapshot::default() }
}

#[test]
fn events_that_are_not_fetched_are_shown_then_alerted_then_critical() {
    let found = |minutes| {
        let assessment = assess(&not_fetched_for(minutes), &Thresholds::default());
        let finding =
            assessment.findings.into_iter().find(|finding| finding.matter == FindingKind::NotFetching);
        finding.map(|finding| (finding.level, finding.notice.is_some()))
    };
    assert_eq!(found(0), None, "one failed read is made up for by the next one");
    assert_eq!(found(2), Some((Level::Warning, false)));
    assert_eq!(found(6), Some((Level::Warning, true)));
    assert_eq!(found(20), Some((Level::Critical, true)));
}

fn idle() -> Destination {
    with_backlog(DestinationBacklog::default())
}

/// A paused destination, with a backlog of an hour.
fn paused_for(minutes: i64) -> Destination {
    let paused = Pause {
        since: ago(minutes),
        class: "columns".to_owned(),
        remedy: "set a new NOTION_API_KEY.".to_owned(),
        by: None,
    };
    Destination { paused: Some(paused), ..pending_for(self::minutes(60)) }
}

/// Hours with ten events each, up to the last event: one every 6 minutes.
fn busy_hours(number: i64) -> Vec<BusyHour> {
    (0..number).rev().map(|hour| BusyHour { at: ago(60 * hour), events: 10 }).collect()
}

fn snapshot(destinations: Vec<Destination>) -> Snapshot {
    let arrivals = Arrivals { last_at: Some(now() - TimeDelta::seconds(41)), busy_hours: busy_hours(10) };
    Snapshot { now: now(), arrivals, destinations, has_worker: Some(true), ..Snapshot::default() }
}

fn well() -> Snapshot {
    snapshot(vec![idle()])
}

fn rejected(count: u64) -> Snapshot {
    let newest = Diagnosis {
        cause: Cause::WrongSecret,
        count,
        first_at: ago(10),
        last_at: ago(1),
        is_current: true,
        message: "They are signed with another secret.".to_owned(),
        remedy: "Set it.".to_owned(),
    };
    Snapshot { rejected: Some(RejectionStreak { count, began_at: ago(10), newest }), ..well() }
}

/// Webhooks that have been rejected for so many minutes.
fn rejected_for(minutes: i64, number: u64) -> Snapshot {
    let mut snapshot = rejected(number);
    if let Some(streak) = &mut snapshot.rejected {
        streak.began_at = ago(minutes);
    }
    snapshot
}

/// The same with an event in every hour at most.
fn rejected_at_few_events(minutes: i64) -> Snapshot {
    let busy_hours = (0..48).rev().map(|hour| BusyHour { at: ago(180 * hour), events: 1 }).collect();
    let arrivals = Arrivals { last_at: Some(ago(0)), busy_hours };
    Snapshot { arrivals, ..rejected_for(minutes, 5) }
}

/// A destination at its limit of blocks for so many minutes.
fn at_block_limit(minutes: u64) -> Destination {
    let waits = OldestPending { execution: 7, waited: self::minutes(minutes) };
    let backlog = DestinationBacklog {
        pending: 3,
        later: 3,
        oldest: Some(waits),
        at_block_limit: Some(waits),
        ..DestinationBacklog::default()
    };
    with_backlog(backlog)
}

/// The last event arrived this long ago; before that, events arrived for 48 hours.
fn silent_for(minutes: i64) -> Snapshot {
    let busy_hours = (0..48).rev().map(|hour| BusyHour { at: ago(minutes + 60 * hour), events: 10 });
    let arrivals = Arrivals { last_at: Some(ago(minutes)), busy_hours: busy_hours.collect() };
    Snapshot { arrivals, ..well() }
}

/// The same, while each hour of the five weeks before had this many events.
fn silent_against_pattern(minutes: i64, events: u64) -> Snapshot {
    let busy_hours = (0..35 * 24).rev().map(|hour| BusyHour { at: ago(minutes + 60 * hour), events });
    let arrivals = Arrivals { last_at: Some(ago(minutes)), busy_hours: busy_hours.collect() };
    Snapshot { arrivals, ..well() }
}

/// The last new event arrived 12 hours ago, and it was repeated an hour later.
fn silent_but_for_a_duplicate() -> Snapshot {
    let mut silent = silent_against_pattern(12 * 60, 200);
    silent.arrivals.busy_hours.push(BusyHour { at: ago(11 * 60), events: 1 });
    silent
}

fn open_failures(count: usize) -> Snapshot {
    let group = OpenFailure {
        key: "3f2a".to_owned(),
        destination: "notion".to_owned(),
        error_class: "validation_error".to_owned(),
        count: 2,
        is_more: false,
        money: Vec::new(),
        is_money_cut: false,
        sample: 42,
    };
    Snapshot { failures: Failures::Open(OpenFailures { count, groups: vec![group] }), ..well() }
}

fn recent_failures() -> Snapshot {
    let group = |class: &str, group: Option<&str>| RecentFailureGroup {
        destination: "notion".into(),
        class: class.into(),
        group: group.map(str::to_owned),
        count: 2,
        first_at: ago(1),
        sample: 42,
    };
    let groups = vec![group("validation_error", Some("3f2a")), group("api_error", None)];
    Snapshot { failures: Failures::Recent(RecentFailures { groups, more: 3 }), ..well() }
}

/// Every alert switched off that can be.
const NO_ALERTS: AlertRules = AlertRules {
    database_after: None,
    paused_after: None,
    backlog: false,
    rejected: false,
    unanswered: false,
    endpoint: false,
    failures: false,
};

/// The keys of the findings that raise an alert.
fn alerts(assessment: &Assessment) -> Vec<&str> {
    let findings = assessment.findings.iter().filter(|finding| finding.notice.is_some());
    findings.map(|finding| finding.key.as_str()).collect()
}

fn notices(snapshot: &Snapshot) -> Vec<(Notice, Option<DateTime<Utc>>)> {
    let findings = assess(snapshot, &Thresholds::default()).findings;
    findings.into_iter().filter_map(|finding| Some((finding.notice?, finding.since))).collect()
}

#[test]
fn each_snapshot_has_its_level_its_headline_and_its_alerts() {
    let default = Thresholds::default;
    let hour = || Thresholds { backlog: minutes(60), ..default() };
    let three = || Thresholds { rejection_streak: 3, ..default() };
    let any_silence = || Thresholds { silence_factor: 0, ..default() };
    let off = || Thresholds { alerts: NO_ALERTS, ..default() };
    let unread = snapshot(vec![Destination { backlog: None, ..idle() }]);
    let behind = |oldest| snapshot(vec![pending_for(minutes(oldest))]);
    let paused = |minutes| snapshot(vec![paused_for(minutes)]);
    let idle_without_worker = Snapshot { has_worker: Some(false), ..well() };
    let nothing_to_do = Snapshot { has_worker: Some(false), ..snapshot(Vec::new()) };
    let first = Snapshot { arrivals: Arrivals::default(), ..snapshot(Vec::new()) };
    let (ok, warning, critical) = (Level::Ok, Level::Warning, Level::Critical);
    let cases: Vec<(Snapshot, Thresholds, Level, &str, &[&str])> = vec![
        (well(), default(), ok, "All is well", &[]),
        (first, default(), ok, "Waiting for the first event", &[]),
        (nothing_to_do, default(), ok, "All is well", &[]),
        (Snapshot { has_worker: None, ..well() }, default(), ok, "All is well", &[]),
        (idle_without_worker, default(), critical, "No worker is running", &[]),
        // A backlog is a warning early, and critical when it raises an alert.
        (behind(4), default(), ok, "Catching up, done in 1 min 44 s", &[]),
        (behind(5), default(), warning, "Notion is behind", &[]),
        (behind(14), default(), warning, "Notion is behind", &[]),
        (behind(15), default(), critical, "Notion is behind", &["backlog notion"]),
        (unread, default(), ok, "All is well", &[]),
        (behind(15), off(), critical, "Notion is behind", &[]),
        (behind(15), hour(), ok, "Catching up, done in 1 min 44 s", &[]),
        (behind(20), hour(), warning, "Notion is behind", &[]),
        (behind(60), hour(), critical, "Notion is behind", &["backlog notion"]),
        (snapshot(vec![retrying()]), default(), ok, "All is well", &[]),
        // The block limit replaces the backlog that it causes.
        (
            snapshot(vec![at_block_limit(1)]),
            default(),
            critical,
            "Notion has reached its block limit",
            &["block_limit notion"],
        ),
        (
            snapshot(vec![at_block_limit(600)]),
            default(),
            critical,
            "Notion has reached its block limit",
            &["block_limit notion"],
        ),
        (snapshot(vec![at_block_limit(600)]), off(), critical, "Notion has reached its block limit", &[]),
        (
            snapshot(vec![Destination { paused: paused_for(60).paused, ..at_block_limit(600) }]),
            default(),
            critical,
            "Notion is paused",
            &["paused notion columns"],
        ),
        // A rest after repeated failures, once it lasts and while something is due.
        (snapshot(vec![backing_off_for(9)]), default(), ok, "All is well", &[]),
        (snapshot(vec![backing_off_for(10)]), default(), warning, "Notion is backing off", &[]),
        // A paused destination's backlog is no separate finding, unless pauses raise no alert.
        (paused(4), default(), critical, "Notion is paused", &[]),
        (paused(5), default(), critical, "Notion is paused", &["paused notion columns"]),
        (paused(60), off(), critical, "Notion is paused", &[]),
        (
            paused(60),
            Thresholds { alerts: AlertRules { backlog: true, ..NO_ALERTS }, ..default() },
            critical,
            "Notion is paused",
            &["backlog notion"],
        ),
        (snapshot(vec![paused_for(60), paused_for(60)]), off(), critical, "2 destinations are paused", &[]),
        (rejected(1), default(), warning, "Webhooks are rejected", &[]),
        (rejected(3), default(), warning, "Webhooks are rejected", &[]),
        (rejected(3), three(), critical, "Webhooks are rejected", &["rejected webhooks"]),
        (rejected(5), default(), critical, "Webhooks are rejected", &["rejected webhooks"]),
        (rejected(5), off(), critical, "Webhooks are rejected", &[]),
        // What may end with the next accepted event wakes nobody.
        (rejected_for(9, 5), default(), critical, "Webhooks are rejected", &[]),
        (rejected_at_few_events(59), default(), critical, "Webhooks are rejected", &[]),
        (rejected_at_few_events(60), default(), critical, "Webhooks are rejected", &["rejected webhooks"]),
        (silent_for(74), default(), ok, "All is well", &[]),
        (silent_for(76), default(), warning, "No event for 1 h 16 min", &["silence"]),
        (silent_for(76), any_silence(), ok, "All is well", &[]),
        // Against the pattern of the last weeks it is critical, unless the cause is known.
        (silent_against_pattern(60, 200), default(), ok, "All is well", &[]),
        (silent_against_pattern(121, 200), default(), critical, "No event for 2 h 1 min", &["not_arriving"]),
        (silent_against_pattern(121, 20), default(), warning, "No event for 2 h 1 min", &["silence"]),
        (silent_against_pattern(121, 200), any_silence(), ok, "All is well", &[]),
        (silent_but_for_a_duplicate(), default(), critical, "No event for 12 h", &["not_arriving"]),
        (
            Snapshot { rejected: rejected(5).rejected, ..silent_against_pattern(121, 200) },
            default(),
            critical,
            "Webhooks are rejected",
            &["rejected webhooks", "silence"],
        ),
        // An old failure is shown; a recent one raises an alert.
        (open_failures(3), default(), warning, "Executions have failed", &[]),
        (
            recent_failures(),
            default(),
            warning,
            "Executions have failed",
            &["failures notion validation_error 3f2a", "failures notion api_error", "failures more"],
        ),
        (recent_failures(), off(), warning, "Executions have failed", &[]),
    ];
    for (snapshot, thresholds, level, headline, keys) in cases {
        let assessment = assess(&snapshot, &thresholds);
        let context = format!("{snapshot:?}\n{thresholds:?}");
        assert_eq!((assessment.level, assessment.headline.as_str()), (level, headline), "{context}");
        assert_eq!(alerts(&assessment), keys, "{context}");
    }
}

#[test]
fn the_sentences_say_what_is_wrong_and_what_to_do() {
    let (worst, rest) = ("the first sentence", "the last sentence");
    let paused = snapshot(vec![paused_for(60)]);
    let without_worker = Snapshot { has_worker: Some(false), ..well() };
    let uncounted = with_backlog(DestinationBacklog { pending: 20_312, is_more: true, ..Default::default() });
    let unread = Destination { backlog: None, ..idle() };
    let first = Snapshot { arrivals: Arrivals::default(), ..snapshot(Vec::new()) };
    for (snapshot, place, expected) in [
        (well(), worst, "The last event arrived 41 s ago, usually every 6 min."),
        (well(), rest, "Nothing is pending."),
        (
            snapshot(vec![pending_for(minutes(1))]),
            rest,
            "4 pending, the oldest for 1 min; this clears in 1 min 44 s.",
        ),
        (
            snapshot(vec![pending_for(minutes(1)), uncounted]),
            rest,
            "More than 20,316 pending, the oldest for 1 min.",
        ),
        (
            snapshot(vec![pending_for(minutes(5)), unread]),
            rest,
            "The last event arrived 41 s ago, usually every 6 min.",
        ),
        (snapshot(vec![retrying()]), rest, "3 waiting for retry, next at 08:03 UTC, the oldest for 1 min."),
        (
            snapshot(vec![pending_for(minutes(1)), retrying()]),
            rest,
            "7 pending, the oldest for 1 min; 3 of them wait for a retry, next at 08:03 UTC; the others clear in 1 min 44 s.",
        ),
        (
            snapshot(vec![backing_off_for(10)]),
            worst,
            "Notion is backing off until 08:00:52 UTC after repeated 502: nothing is delivered to it meanwhile. It is tried again by itself, new events first.",
        ),
        (
            snapshot(vec![paused_by_ann()]),
            worst,
            "Notion has been paused since 07:00 UTC. Paused by ann: test. Run eventbridge resume notion to continue.",
        ),
        (first, worst, "No event has arrived yet: send one from the page of the endpoint at the sender."),
        (
            snapshot(vec![pending_for(minutes(5))]),
            worst,
            "Notion is behind: 4 pending, the oldest for 5 min; this clears in 1 min 44 s; eventbridge why 42 shows the reason.",
        ),
        (paused.clone(), worst, "Notion has been paused since 07:00 UTC: set a new NOTION_API_KEY."),
        (
            snapshot(vec![paused_for(24 * 60)]),
            worst,
            "Notion has been paused since 2027-01-14 08:00 UTC: set a new NOTION_API_KEY.",
        ),
        (paused, rest, "4 pending, the oldest for 1 h; this clears in 1 min 44 s once it is resumed."),
        (
            without_worker,
            worst,
            "No process delivers events: check whether a worker process runs, and read its log.",
        ),
        (
            rejected(1),
            worst,
            "The last webhook was rejected, 1 min ago. They are signed with another secret. Set it.",
        ),
        (
            rejected(5),
            worst,
            "The last 5 webhooks were rejected, the newest 1 min ago. They are signed with another secret. Set it.",
        ),
        (
            silent_for(76),
            worst,
            "No event has arrived for longer than 1 h 15 min, far beyond the usual gap: check at the sender whether the endpoint is enabled.",
        ),
        (
            open_failures(1),
            worst,
            "2 executions for notion have failed (validation_error): eventbridge why 42 shows what happened; once the cause is fixed, eventbridge retry --failure 3f2a retries them.",
        ),
    ] {
        let sentences = assess(&snapshot, &Thresholds::default()).in_utc(now());
        let found = if place == worst { sentences.first() } else { sentences.last() };
        assert_eq!(found.map(String::as_str), Some(expected));
    }
    let sentences = assess(&open_failures(3), &Thresholds::default()).in_utc(now());
    assert!(sentences[1].starts_with("There are 2 more open failure groups"), "{sentences:?}");
}

#[test]
fn an_execution_that_ends_its_worker_is_named_before_it_has_failed() {
    for (count, which) in [(1, "The worker of 1 execution died"), (3, "The workers of 3 executions died")] {
        let snapshot = Snapshot { crashing: Some(Crashing { count, execution: 6 }), ..well() };
        let assessment = assess(&snapshot, &Thresholds::default());
        assert_eq!((assessment.level, alerts(&assessment).len()), (Level::Warning, 0));
        assert_eq!(assessment.headline, "An event crashes its process");
        let sentence = &assessment.in_utc(now())[0];
        assert!(sentence.starts_with(which) && sentence.contains("eventbridge why 6 shows"), "{sentence}");
    }
}

#[test]
fn an_old_snapshot_is_named_to_operators_only_and_raises_no_alert() {
    let holder = SnapshotHolder {
        kind: SnapshotHolderKind::Session,
        name: "17".to_owned(),
        detail: "pg_dump".to_owned(),
        held_for: Some(minutes(42)),
        transactions: 9,
    };
    let snapshot = Snapshot { snapshot_holders: vec![holder], ..well() };
    let assessment = assess(&snapshot, &Thresholds::default());
    assert_eq!((assessment.level, alerts(&assessment).len()), (Level::Warning, 0));
    assert!(
        assessment.in_utc(now())[0].starts_with("The session 17 (pg_dump) has held a snapshot for 42 min")
    );
    let finding = &assessment.findings[0];
    assert!(!finding.remedy.contains("17") && !finding.headline.contains("17"));
    assert_eq!(finding.since, Some(ago(42)));
}

#[test]
fn a_paused_destination_comes_before_everything_else() {
    let snapshot = Snapshot { has_worker: Some(false), ..snapshot(vec![paused_for(60)]) };
    let found = assess(&snapshot, &Thresholds::default()).findings;
    assert_eq!(
        found.iter().map(|one| one.matter).collect::<Vec<_>>(),
        [FindingKind::Paused, FindingKind::NoWorker]
    );
}

#[test]
fn an_alert_about_missing_webhooks_does_not_promise_that_they_come_again() {
    let database = database_unavailable(None).notice.into_iter();
    let others = [silent_for(76), rejected(5), silent_against_pattern(121, 200)]
        .iter()
        .flat_map(notices)
        .map(|(notice, _)| notice)
        .collect::<Vec<_>>();
    let found: Vec<_> = others.into_iter().chain(database).collect();
    assert_eq!(found.len(), 4);
    for Notice { remedy, .. } in found {
        for words in
            ["a sandbox only three times within hours", "never resends events of an endpoint", "Workbench"]
        {
            assert!(remedy.contains(words), "{remedy}");
        }
    }
}

#[test]
fn an_alert_says_since_when_and_where_to_look() {
    let behind = notices(&snapshot(vec![pending_for(minutes(20))])).remove(0);
    assert_eq!(
        (behind.0.summary.as_str(), behind.1),
        ("Events for notion have been pending for longer than 15 min.", Some(ago(20)))
    );
    let list = "status=pending&destination=notion&created_after=2027-01-15&created_before=2027-01-16";
    assert!(behind.0.remedy.contains(list), "{behind:?}");
    assert!(behind.0.remedy.starts_with("\"eventbridge why 42\" shows"), "{behind:?}");

    let paused = notices(&snapshot(vec![paused_for(60)])).remove(0);
    assert_eq!(
        (paused.0.summary.as_str(), paused.1),
        ("Deliveries to notion are paused (columns).", Some(ago(60)))
    );
    assert!(paused.0.remedy.starts_with("set a new NOTION_API_KEY. Pending events"), "{paused:?}");

    let rejected = notices(&rejected(5)).remove(0);
    assert!(rejected.0.remedy.starts_with("Set it. Stripe retries live events"), "{rejected:?}");
    assert_eq!(rejected.1, Some(ago(10)));

    for (found, places) in notices(&recent_failures()).iter().zip([
        ["/api/v1/failures/3f2a", "eventbridge why 42", "eventbridge retry --failure 3f2a"],
        ["/api/v1/failures ", "eventbridge why 42", "eventbridge retry 42"],
    ]) {
        assert!(places.iter().all(|place| found.0.remedy.contains(place)), "{found:?}");
    }
}
