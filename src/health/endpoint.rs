//! The findings about the sender's side: its endpoint is disabled, lost or wrong, or it cannot deliver. Pure.

use super::finding::{Finding, FindingKind, Level, Notice, Part, Sentence};
use super::snapshot::Snapshot;
use super::thresholds::Thresholds;
use crate::domain::endpoint::{CheckedPart, EndpointCheck, EndpointProblem, Since, UnknownPart};
use crate::domain::humanize::capitalised;
use crate::domain::quantity::count;
use chrono::{DateTime, TimeDelta, Utc};

/// How long the sender's side may be unknown before that is a finding. A missing permission never is.
const UNKNOWN_FOR: TimeDelta = TimeDelta::hours(1);

/// How long deliveries must have failed, with none accepted since, before that wakes people.
const UNDELIVERED_FOR: TimeDelta = TimeDelta::minutes(30);

/// How long after the last check its result is called old. Three checks were due in this time.
const OLD_AFTER: TimeDelta = TimeDelta::minutes(10);

/// The command that creates an endpoint, or changes it.
const INIT: &str = "run \"eventbridge stripe init\"";

/// A problem in words. The headline and the remedy are public: they have no ids and no addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointWords {
    /// A few words without a full stop.
    pub headline: &'static str,
    /// What it is and what follows from it, as a sentence without its full stop.
    pub effect: String,
    /// What to do, as a sentence without its full stop.
    pub remedy: String,
}

/// The words for a problem of the endpoint of this mode.
pub fn endpoint_words(problem: &EndpointProblem, livemode: bool) -> EndpointWords {
    let mode = mode(livemode);
    let (headline, effect, remedy) = match problem {
        EndpointProblem::Disabled { endpoints } => (
            "Stripe's endpoint is disabled",
            format!(
                "Stripe's endpoint {} is disabled ({mode}), so no event arrives; events that happen meanwhile are never sent",
                endpoints.join(", ")
            ),
            "run \"eventbridge stripe enable\"".to_owned(),
        ),
        EndpointProblem::Missing { url } => (
            "Stripe has no endpoint for this service",
            format!(
                "Stripe has no endpoint ({mode}) for {}, so no event arrives",
                url.as_deref().unwrap_or("this service")
            ),
            INIT.to_owned(),
        ),
        EndpointProblem::OtherUrl { url, wanted } => (
            "Stripe's endpoint has another address than PUBLIC_URL",
            format!(
                "Stripe's endpoint ({mode}) leads to {url}, and PUBLIC_URL to {wanted}: events do not arrive if the old address ends"
            ),
            format!("correct PUBLIC_URL if it is wrong; otherwise {INIT}"),
        ),
        EndpointProblem::OtherVersion { endpoint, version, known } => (
            "Stripe's endpoint sends another version of the API than this program knows",
            format!(
                "Stripe's endpoint {endpoint} ({mode}) sends objects of the API version {version}, which this program does not know ({known} is its newest), so properties may stay empty or be wrong"
            ),
            "update this program, or run \"eventbridge stripe init --replace\", which creates an endpoint of the right version"
                .to_owned(),
        ),
        EndpointProblem::MissingTypes { types, count: number } => {
            let others = if *number > types.len() { ", …" } else { "" };
            let of = if *number == 1 { "type" } else { "types" };
            (
                "Stripe's endpoint does not send all types that destinations need",
                format!(
                    "Stripe's endpoint ({mode}) does not send {number} {of} that destinations need ({}{others}), so these never arrive",
                    types.join(", ")
                ),
                format!("{INIT}, which adds them"),
            )
        }
        EndpointProblem::Undelivered { count: number, .. } => {
            let number = u64::try_from(*number).unwrap_or(u64::MAX);
            let (events, them) = if number == 1 { ("event", "it") } else { ("events", "them") };
            (
                "Stripe cannot deliver events",
                format!(
                    "Stripe could not deliver {} {events} ({mode}); it tries {them} again for up to three days, and disables an endpoint that keeps failing",
                    count(number, false)
                ),
                "check whether the service's address can be reached from outside (DNS, certificate, proxy); \"eventbridge doctor\" shows rejected requests"
                    .to_owned(),
            )
        }
    };
    EndpointWords { headline, effect, remedy }
}

/// A finding for each problem of each key.
pub(super) fn endpoints(snapshot: &Snapshot, thresholds: &Thresholds) -> Vec<Finding> {
    let checks = &snapshot.endpoints;
    let problems = checks.iter().flat_map(|check| {
        let problems =
            check.state.problems.iter().filter(|problem| !is_expected(snapshot, check, &problem.what));
        problems.map(|problem| finding(snapshot, check, problem, thresholds))
    });
    problems.chain(checks.iter().filter_map(|check| unknown(snapshot, check, thresholds))).collect()
}

/// Whether there is no endpoint because none is needed: there never was one, and the events are fetched instead or,
/// as in development, the service has no address for it.
fn is_expected(snapshot: &Snapshot, check: &EndpointCheck, problem: &EndpointProblem) -> bool {
    let EndpointProblem::Missing { url } = problem else { return false };
    let is_fetched = snapshot.fetching.iter().any(|list| list.source == check.source);
    !check.state.was_seen && (is_fetched || url.is_none())
}

/// What is not known at the moment, for those who look: no finding as long as it may pass, or is intended.
pub(super) fn unknown_parts(snapshot: &Snapshot) -> Vec<Sentence> {
    let of_check = |check: &EndpointCheck| {
        let of = of(check);
        let mut sentences: Vec<Sentence> =
            check.state.unknown.iter().map(|unknown| not_known(&of, unknown)).collect();
        let is_old = check.checked_at.is_some_and(|at| snapshot.now - at >= OLD_AFTER);
        if let Some(at) = check.checked_at.filter(|_| is_old) {
            let text = format!("Whether Stripe sends events ({of}) was last checked ");
            sentences.push(vec![Part::text(text), Part::Ago(at), Part::text(".")]);
        }
        sentences
    };
    snapshot.endpoints.iter().flat_map(of_check).collect()
}

fn not_known(of: &str, unknown: &Since<UnknownPart>) -> Sentence {
    let UnknownPart { part, why, remedy, .. } = &unknown.what;
    let what = match part {
        CheckedPart::Endpoints => "Whether Stripe's endpoint is right",
        CheckedPart::Deliveries => "Whether Stripe can deliver all events",
    };
    vec![
        Part::text(format!("{what} ({of}) is unknown since ")),
        Part::At(unknown.since),
        Part::text(format!(": {why}. To do: {remedy}.")),
    ]
}

fn finding(
    snapshot: &Snapshot,
    check: &EndpointCheck,
    problem: &Since<EndpointProblem>,
    thresholds: &Thresholds,
) -> Finding {
    let Since { since, what } = problem;
    let kind = kind(snapshot, check, what, *since);
    let EndpointWords { headline, effect, remedy } = endpoint_words(what, check.livemode);
    let is_lost = matches!(what, EndpointProblem::Missing { .. }) && check.state.was_seen;
    // Without an endpoint that was there before, the service is still being set up.
    let is_alert = thresholds.alerts.endpoint
        && (is_lost || !matches!(what, EndpointProblem::Missing { .. }))
        && (kind != FindingKind::Endpoint || !is_recent(snapshot, what));
    let headline = if is_lost { "Stripe's endpoint for this service is gone" } else { headline };
    Finding {
        key: format!("endpoint {} {} {}", check.source, check.key, what.as_str()),
        matter: kind,
        failure_group: None,
        level: match kind {
            FindingKind::EndpointStopped => Level::Critical,
            _ => Level::Warning,
        },
        headline: headline.to_owned(),
        sentence: vec![
            Part::text(format!("{effect}. This was first seen ")),
            Part::Ago(*since),
            Part::text(format!(". To do: {remedy}.")),
        ],
        remedy: remedy.clone(),
        since: Some(*since),
        notice: is_alert
            .then(|| Notice { summary: format!("{effect}."), remedy: format!("{}.", capitalised(&remedy)) }),
    }
}

/// Whether events of live mode are lost or late at the moment, or something is only to be corrected.
fn kind(
    snapshot: &Snapshot,
    check: &EndpointCheck,
    problem: &EndpointProblem,
    since: DateTime<Utc>,
) -> FindingKind {
    let stops = match problem {
        EndpointProblem::Disabled { .. } => true,
        EndpointProblem::Missing { .. } => check.state.was_seen,
        EndpointProblem::Undelivered { .. } => {
            let accepts_nothing = snapshot.arrivals.last_at.is_none_or(|last| last < since);
            accepts_nothing && snapshot.now - since >= UNDELIVERED_FOR
        }
        EndpointProblem::OtherUrl { .. }
        | EndpointProblem::OtherVersion { .. }
        | EndpointProblem::MissingTypes { .. } => false,
    };
    if stops && check.livemode { FindingKind::EndpointStopped } else { FindingKind::Endpoint }
}

/// Whether a delivery failed that the sender may still repeat at once.
fn is_recent(snapshot: &Snapshot, problem: &EndpointProblem) -> bool {
    match problem {
        EndpointProblem::Undelivered { oldest, .. } => snapshot.now - *oldest < UNDELIVERED_FOR,
        _ => false,
    }
}

fn unknown(snapshot: &Snapshot, check: &EndpointCheck, thresholds: &Thresholds) -> Option<Finding> {
    let lasts = |unknown: &&Since<UnknownPart>| {
        !unknown.what.lacks_permission && snapshot.now - unknown.since >= UNKNOWN_FOR
    };
    let Since { since, what } = check.state.unknown.iter().find(lasts)?;
    let UnknownPart { why, remedy, .. } = what;
    let of = of(check);
    Some(Finding {
        key: format!("endpoint_unknown {} {}", check.source, check.key),
        matter: FindingKind::EndpointUnknown,
        failure_group: None,
        level: Level::Warning,
        headline: "It is unknown whether Stripe sends events".to_owned(),
        sentence: vec![
            Part::text(format!("It is unknown whether Stripe sends events ({of}) since ")),
            Part::At(*since),
            Part::text(format!(": {why}. To do: {remedy}.")),
        ],
        // Public, so without the name of the key.
        remedy: "\"eventbridge doctor\" shows why Stripe's API cannot be asked".to_owned(),
        since: Some(*since),
        notice: thresholds.alerts.endpoint.then(|| Notice {
            summary: format!("It is unknown whether Stripe sends events ({of}): {why}."),
            remedy: format!("{}.", capitalised(remedy)),
        }),
    })
}

/// The mode and the key.
fn of(check: &EndpointCheck) -> String {
    format!("{}, API key {}", mode(check.livemode), check.key)
}

const fn mode(livemode: bool) -> &'static str {
    if livemode { "live mode" } else { "test mode" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::endpoint::EndpointState;
    use crate::health::{Arrivals, Urgency};
    use crate::store::PullState;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(9) + TimeDelta::minutes(minute)
    }

    fn snapshot(livemode: bool, state: EndpointState) -> Snapshot {
        let check = EndpointCheck {
            source: "stripe".to_owned(),
            key: "key-1".to_owned(),
            livemode,
            checked_at: Some(at(0)),
            state,
        };
        Snapshot { now: at(1), endpoints: vec![check], ..Snapshot::default() }
    }

    fn with(livemode: bool, problem: EndpointProblem, was_seen: bool) -> Snapshot {
        let problems = vec![Since { since: at(0), what: problem }];
        snapshot(livemode, EndpointState { was_seen, problems, ..EndpointState::default() })
    }

    /// Whether it wakes, its level, and whether it raises an alert.
    fn found(snapshot: &Snapshot) -> (bool, Level, bool) {
        let findings = endpoints(snapshot, &Thresholds::default());
        let [one] = findings.as_slice() else { panic!("{findings:?}") };
        (one.matter.urgency() == Urgency::Wake, one.level, one.notice.is_some())
    }

    fn disabled() -> EndpointProblem {
        EndpointProblem::Disabled { endpoints: vec!["we_1".to_owned()] }
    }

    fn missing() -> EndpointProblem {
        EndpointProblem::Missing { url: Some("https://a.example/x".to_owned()) }
    }

    #[test]
    fn a_disabled_endpoint_of_live_mode_wakes_and_one_of_test_mode_does_not() {
        assert_eq!(found(&with(true, disabled(), true)), (true, Level::Critical, true));
        assert_eq!(found(&with(false, disabled(), true)), (false, Level::Warning, true));
    }

    #[test]
    fn an_endpoint_that_was_there_is_missed_and_one_that_never_was_is_only_shown() {
        assert_eq!(found(&with(true, missing(), true)), (true, Level::Critical, true));
        assert_eq!(found(&with(true, missing(), false)), (false, Level::Warning, false));
    }

    #[test]
    fn an_endpoint_that_never_was_is_expected_without_an_address_and_where_events_are_fetched() {
        let count = |snapshot: &Snapshot| endpoints(snapshot, &Thresholds::default()).len();
        let nowhere = || EndpointProblem::Missing { url: None };
        assert_eq!(count(&with(true, nowhere(), false)), 0);
        assert_eq!(count(&with(true, nowhere(), true)), 1);
        let list = |source: &str| PullState {
            source: source.to_owned(),
            name: "key-1".to_owned(),
            position: None,
            read_at: None,
            failing: None,
        };
        let fetched =
            |source, was_seen| Snapshot { fetching: vec![list(source)], ..with(true, missing(), was_seen) };
        assert_eq!(count(&fetched("stripe", false)), 0);
        assert_eq!(count(&fetched("stripe", true)), 1, "it is gone");
        assert_eq!(count(&fetched("other", false)), 1);
    }

    #[test]
    fn failed_deliveries_wake_once_nothing_has_been_accepted_for_a_while() {
        let failed = || EndpointProblem::Undelivered { count: 3, oldest: at(0) };
        let mut snapshot = with(true, failed(), true);
        assert_eq!(found(&snapshot), (false, Level::Warning, false), "it may be repeated at once");
        snapshot.now = at(31);
        assert_eq!(found(&snapshot), (true, Level::Critical, true));
        snapshot.arrivals = Arrivals { last_at: Some(at(5)), ..Arrivals::default() };
        assert_eq!(found(&snapshot), (false, Level::Warning, true), "others arrive");
    }

    #[test]
    fn what_is_public_has_no_ids_and_no_addresses() {
        let problems = [
            disabled(),
            missing(),
            EndpointProblem::OtherUrl {
                url: "https://o.example".to_owned(),
                wanted: "https://a.example".to_owned(),
            },
            EndpointProblem::OtherVersion {
                endpoint: "we_1".to_owned(),
                version: "2027-01-01.x".to_owned(),
                known: "2026-10-28.endive".to_owned(),
            },
            EndpointProblem::MissingTypes { types: vec!["invoice.paid".to_owned()], count: 7 },
            EndpointProblem::Undelivered { count: 3, oldest: at(0) },
        ];
        for problem in problems {
            let found = endpoints(&with(true, problem, true), &Thresholds::default());
            for text in [&found[0].headline, &found[0].remedy] {
                assert!(
                    !text.contains("we_") && !text.contains("example") && !text.contains("2027"),
                    "{text}"
                );
            }
            assert!(!found[0].headline.ends_with('.') && !found[0].remedy.ends_with('.'), "{found:?}");
        }
    }

    #[test]
    fn what_is_unknown_is_shown_and_raises_an_alert_only_if_it_lasts_unintended() {
        let unknown = |lacks_permission| {
            let what = UnknownPart {
                part: CheckedPart::Endpoints,
                why: "Stripe cannot be reached".to_owned(),
                remedy: "wait".to_owned(),
                lacks_permission,
            };
            snapshot(
                true,
                EndpointState { unknown: vec![Since { since: at(0), what }], ..EndpointState::default() },
            )
        };
        let at_minute = |minute, lacks_permission| Snapshot { now: at(minute), ..unknown(lacks_permission) };
        let thresholds = Thresholds::default();
        assert!(endpoints(&at_minute(59, false), &thresholds).is_empty());
        assert_eq!(unknown_parts(&at_minute(5, false)).len(), 1);
        assert_eq!(found(&at_minute(60, false)), (false, Level::Warning, true));
        assert!(endpoints(&at_minute(6_000, true), &thresholds).is_empty(), "a permission may be withheld");
        assert_eq!(unknown_parts(&at_minute(60, true)).len(), 2, "the last check is old too");
    }

    #[test]
    fn the_setting_switches_the_alerts_off_and_not_the_findings() {
        let mut thresholds = Thresholds::default();
        thresholds.alerts.endpoint = false;
        let findings = endpoints(&with(true, disabled(), true), &thresholds);
        assert!(findings.len() == 1 && findings[0].notice.is_none());
    }
}
