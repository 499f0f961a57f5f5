//! What is worth an alert. Pure: what was seen goes in, conditions come out.

use super::settings::Thresholds;
use crate::domain::humanize::humanize;
use crate::domain::rejection::InARow;
use crate::domain::silence::{self, BusyHour};
use crate::store::{Backlog, Condition, Failing, FailuresOfLate, PausedInstance};
use chrono::{DateTime, TimeDelta, Utc};
use std::time::Duration;

/// What was seen in one round.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) now: DateTime<Utc>,
    pub(super) held: Vec<PausedInstance>,
    pub(super) backlog: Vec<Backlog>,
    pub(super) failures: Failing,
    pub(super) rejected: Option<InARow>,
    pub(super) last_accepted_at: Option<DateTime<Utc>>,
    /// The hours before the last event in which something came in.
    pub(super) hours: Vec<BusyHour>,
}

/// The conditions that last.
pub(super) fn conditions(seen: &Seen, thresholds: &Thresholds) -> Vec<Condition> {
    let mut found = held(seen, thresholds.held);
    found.extend(old_backlogs(seen, thresholds));
    if thresholds.failures {
        found.extend(failures(seen));
    }
    found.extend(rejected(seen, thresholds.rejected_in_a_row));
    found.extend(silent(seen, thresholds.silence_factor));
    found
}

fn held(seen: &Seen, after: Option<Duration>) -> Vec<Condition> {
    let Some(after) = after else { return Vec::new() };
    let late = seen.held.iter().filter(|held| age(seen, held.since) >= after);
    late.map(|held| Condition {
        // What is to be done hangs on the class: when that changes, it is told anew.
        key: format!("held {} {}", held.name, held.pause.class),
kind: "held".to_owned(),
failure_group: None,
        summary: format!("Deliveries to {} are held ({}).", held.name, held.pause.class),
        remedy: format!(
            "{}. What waits is not lost and burns no attempt; \"eventbridge doctor\" tells whether all is mended.",
            held.pause.remedy.trim_end_matches('.')
        ),
        since: held.since,
    })
    .collect()
}

/// What waits for an instance that is held is told by the hold, if that is told at all.
fn old_backlogs(seen: &Seen, thresholds: &Thresholds) -> Vec<Condition> {
    let Some(after) = thresholds.pending else { return Vec::new() };
    let waiting =
        seen.backlog.iter().filter(|backlog| backlog.held_since.is_none() || thresholds.held.is_none());
    waiting
        .filter_map(|backlog| {
            let since = before(seen, backlog.oldest.filter(|oldest| *oldest >= after)?);
            Some(Condition {
                key: format!("backlog {}", backlog.destination),
kind: "backlog".to_owned(),
failure_group: None,
                summary: format!(
                    "Events wait for {} for longer than {}.",
                    backlog.destination,
                    humanize(after)
                ),
                remedy: format!(
                    "\"eventbridge why {}\" tells what the first of them waits for, and {} lists those of that \
                     day. Where each waits for a retry, its last failure says \
                     why; where many wait for their turn, more comes in than the rate allows.",
                    backlog.oldest_execution.unwrap_or_default(),
                    waiting_of_the_day(&backlog.destination, since)
                ),
                since,
            })
        })
        .collect()
}

/// Where those are listed that have waited since this day: by state alone, a list wants a window.
fn waiting_of_the_day(destination: &str, since: DateTime<Utc>) -> String {
    let day = since.date_naive();
    let next = day.succ_opt().unwrap_or(day);
    format!(
        "/api/v1/executions?status=pending&destination={destination}&created_after={day}&created_before={next}"
    )
}

fn failures(seen: &Seen) -> Vec<Condition> {
    let condition = |failures: &FailuresOfLate| {
        let FailuresOfLate { destination, class, group, count, first_at, sample } = failures;
        let class = if class.is_empty() { "unknown" } else { class.as_str() };
        let of_group = group.as_ref().map(|group| format!(" {group}")).unwrap_or_default();
        let (page, retry, acknowledge) = match group {
            Some(group) => (
                format!("/api/v1/failures/{group}"),
                format!("eventbridge retry --failure {group}"),
                format!("or \"eventbridge acknowledge {group} --note …\""),
            ),
            None => (
                "/api/v1/failures".to_owned(),
                format!("eventbridge retry {sample}"),
                "or acknowledge it on that page".to_owned(),
            ),
        };
        Condition {
            key: format!("failures {destination} {class}{of_group}"),
            kind: "failures".to_owned(),
            failure_group: group.clone(),
            summary: format!("Deliveries to {destination} were given up: {class} ({count} so far)."),
            remedy: format!(
                "{page} (/failures in the dashboard) tells what they have in common, the money concerned and \
                 what to do; \"eventbridge why {sample}\" tells all that happened to one of them. Mend the \
                 cause, then \"{retry}\"; {acknowledge}, and it is told no more."
            ),
            since: *first_at,
        }
    };
    let more = (seen.failures.more > 0).then(|| Condition {
        key: "failures more".to_owned(),
        kind: "failures".to_owned(),
        failure_group: None,
        summary: format!(
            "Deliveries are given up for {} reasons more than are told one by one.",
            seen.failures.more
        ),
        remedy:
            "/failures in the dashboard and /api/v1/failures list them all. Acknowledge what is known, and \
                 those that are left are told one by one."
                .to_owned(),
        since: seen.now,
    });
    seen.failures.groups.iter().map(condition).chain(more).collect()
}

fn rejected(seen: &Seen, in_a_row: u64) -> Option<Condition> {
    let InARow { count, newest } = seen.rejected.clone()?;
    (in_a_row > 0 && count >= in_a_row).then(|| Condition {
        key: "rejected webhooks".to_owned(),
        kind: "rejected".to_owned(),
        failure_group: None,
        summary: format!("The last {count} webhooks were rejected. {}", newest.says),
        remedy: newest.remedy,
        since: newest.first_at,
    })
}

fn silent(seen: &Seen, factor: u32) -> Option<Condition> {
    let last = seen.last_accepted_at?;
    let limit = silence::limit(&seen.hours, factor)?;
    (age(seen, last) > limit).then(|| Condition {
        key: "silence".to_owned(),
kind: "silence".to_owned(),
failure_group: None,
        summary: format!(
            "No webhook has come for longer than {}, far beyond what is usual.",
            humanize(limit)
        ),
        remedy: "See in the Stripe dashboard whether the endpoint is enabled and its deliveries succeed, and whether its address leads here.".to_owned(),
        since: last,
    })
}

fn age(seen: &Seen, at: DateTime<Utc>) -> Duration {
    seen.now.signed_duration_since(at).to_std().unwrap_or_default()
}

fn before(seen: &Seen, age: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(age).ok().and_then(|age| seen.now.checked_sub_signed(age)).unwrap_or(seen.now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::rejection::{Cause, Diagnosis};
    use crate::store::Pause;

    const THRESHOLDS: Thresholds = Thresholds {
        held: Some(Duration::from_mins(5)),
        pending: Some(Duration::from_mins(15)),
        rejected_in_a_row: 3,
        silence_factor: 10,
        failures: true,
    };

    const OFF: Thresholds =
        Thresholds { held: None, pending: None, rejected_in_a_row: 0, silence_factor: 0, failures: false };

    fn ago(minutes: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).expect("a time") - TimeDelta::minutes(minutes)
    }

    fn held(minutes: i64) -> PausedInstance {
        let hold = Pause {
            class: "columns".into(),
            reason: "said".into(),
            remedy: "mend it".into(),
            execution: None,
        };
        PausedInstance { name: "notion".into(), since: ago(minutes), pause: hold }
    }

    fn backlog(minutes: u64, held_since: Option<DateTime<Utc>>) -> Backlog {
        let oldest = Some(Duration::from_mins(minutes));
        Backlog {
            destination: "notion".into(),
            pending: 1,
            is_more: false,
            oldest,
            oldest_execution: Some(42),
            held_since,
        }
    }

    fn rejected(count: u64) -> InARow {
        let newest = Diagnosis {
            cause: Cause::WrongSecret,
            count,
            first_at: ago(1),
            last_at: ago(1),
            is_current: true,
            says: "said".into(),
            remedy: "mend it".into(),
        };
        InARow { count, newest }
    }

    fn keys(seen: Seen, thresholds: &Thresholds) -> Vec<String> {
        let seen = Seen { now: ago(0), ..seen };
        conditions(&seen, thresholds).into_iter().map(|condition| condition.key).collect()
    }

    #[test]
    fn a_hold_is_told_once_it_has_lasted_and_stands_for_what_waits_behind_it() {
        let seen = |minutes| Seen {
            held: vec![held(minutes)],
            backlog: vec![backlog(60, Some(ago(minutes)))],
            ..Seen::default()
        };
        assert!(keys(seen(4), &THRESHOLDS).is_empty());
        assert_eq!(keys(seen(5), &THRESHOLDS), ["held notion columns"]);
        let untold = Thresholds { held: None, ..THRESHOLDS };
        assert_eq!(keys(seen(60), &untold), ["backlog notion"], "where no hold is told, what waits is");
        assert!(keys(seen(60), &OFF).is_empty());
    }

    #[test]
    fn an_old_backlog_is_told_with_the_time_since_when_it_waits() {
        let seen = |minutes| Seen { now: ago(0), backlog: vec![backlog(minutes, None)], ..Seen::default() };
        assert!(keys(seen(14), &THRESHOLDS).is_empty());
        let told = &conditions(&seen(20), &THRESHOLDS)[0];
        assert_eq!(told.since, ago(20));
        let list = "status=pending&destination=notion&created_after=2027-01-15&created_before=2027-01-16";
        assert!(told.remedy.contains(list), "{}", told.remedy);
        assert!(told.remedy.starts_with("\"eventbridge why 42\" tells"), "{}", told.remedy);
        assert!(keys(seen(20), &OFF).is_empty());
    }

    #[test]
    fn many_rejections_in_a_row_are_told() {
        let seen = |count| Seen { rejected: Some(rejected(count)), ..Seen::default() };
        assert!(keys(seen(2), &THRESHOLDS).is_empty());
        assert_eq!(keys(seen(3), &THRESHOLDS), ["rejected webhooks"]);
        assert!(keys(seen(10), &OFF).is_empty());
    }

    #[test]
    fn each_group_of_failures_is_told_by_itself() {
        let of = |class: &str, group: Option<&str>| FailuresOfLate {
            destination: "notion".into(),
            class: class.into(),
            group: group.map(str::to_owned),
            count: 2,
            first_at: ago(1),
            sample: 42,
        };
        let groups = || vec![of("validation_error", Some("3f2a")), of("", None)];
        let seen = || Seen { failures: Failing { groups: groups(), more: 3 }, ..Seen::default() };
        let expected = ["failures notion validation_error 3f2a", "failures notion unknown", "failures more"];
        assert_eq!(keys(seen(), &THRESHOLDS), expected);
        assert!(keys(seen(), &OFF).is_empty());
        for (told, where_to_look) in conditions(&seen(), &THRESHOLDS).iter().zip([
            ["/api/v1/failures/3f2a", "eventbridge why 42", "eventbridge retry --failure 3f2a"],
            ["/api/v1/failures ", "eventbridge why 42", "eventbridge retry 42"],
        ]) {
            assert!(where_to_look.iter().all(|place| told.remedy.contains(place)), "{}", told.remedy);
        }
    }
}
