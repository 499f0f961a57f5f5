//! The findings about executions that failed. Pure.

use super::why;
use crate::domain::humanize::capitalised;
use crate::domain::quantity::count;
use crate::health::finding::{Finding, FindingKind, Level, Notice, Part, Sentence};
use crate::health::snapshot::{Failures, OpenFailure, Snapshot};
use crate::health::thresholds::Thresholds;
use crate::store::RecentFailureGroup;
use chrono::{DateTime, Utc};

/// A finding for each failure group that was read, and one for all others together.
pub(super) fn failures(snapshot: &Snapshot, thresholds: &Thresholds) -> Vec<Finding> {
    let is_alert = thresholds.alerts.failures;
    let (mut findings, more): (Vec<Finding>, u64) = match &snapshot.failures {
        Failures::Open(open) => {
            let more = open.count.saturating_sub(open.groups.len());
            (open.groups.iter().map(open_failure).collect(), u64::try_from(more).unwrap_or(u64::MAX))
        }
        Failures::Recent(recent) => {
            (recent.groups.iter().map(|group| recent_failure(group, is_alert)).collect(), recent.more)
        }
    };
    let is_alert = is_alert && matches!(snapshot.failures, Failures::Recent(_));
    findings.extend((more > 0).then(|| more_failures(more, is_alert)));
    findings
}

fn open_failure(group: &OpenFailure) -> Finding {
    let key = failure_key(&group.destination, &group.error_class, Some(&group.key));
    failure(key, Some(group.key.clone()), sentence_of_open(group), None, None)
}

fn recent_failure(group: &RecentFailureGroup, is_alert: bool) -> Finding {
    let key = failure_key(&group.destination, &group.class, group.group.as_deref());
    let notice = is_alert.then(|| notice_of_recent(group));
    failure(key, group.group.clone(), sentence_of_recent(group), Some(group.first_at), notice)
}

fn more_failures(more: u64, is_alert: bool) -> Finding {
    let words = match more {
        1 => "There is 1 more open failure group: see ".to_owned(),
        more => format!("There are {more} more open failure groups: see "),
    };
    let all = Part::Link {
        command: "/api/v1/failures".to_owned(),
        page: "/failures".to_owned(),
        text: "all failures".to_owned(),
    };
    let notice = is_alert.then(|| Notice {
        summary: format!("Executions failed for {more} more reasons, which have no separate alerts."),
        remedy:
            "/failures in the dashboard and /api/v1/failures list them all. Acknowledge the known ones; the \
                 others then have an alert of their own."
                .to_owned(),
    });
    failure("failures more".to_owned(), None, vec![Part::text(words), all, Part::text(".")], None, notice)
}

fn failure(
    key: String,
    failure_group: Option<String>,
    sentence: Sentence,
    since: Option<DateTime<Utc>>,
    notice: Option<Notice>,
) -> Finding {
    Finding {
        key,
        matter: FindingKind::Failures,
        failure_group,
        level: Level::Warning,
        headline: "Executions have failed".to_owned(),
        sentence,
        remedy: "eventbridge status names the causes, and the commands to retry".to_owned(),
        since,
        notice,
    }
}

fn failure_key(destination: &str, class: &str, group: Option<&str>) -> String {
    let group = group.map(|group| format!(" {group}")).unwrap_or_default();
    format!("failures {destination} {class}{group}")
}

fn sentence_of_open(group: &OpenFailure) -> Sentence {
    let OpenFailure { key, destination, error_class, money, sample, .. } = group;
    let more = if group.is_money_cut { " and more" } else { "" };
    let sums = money.iter().map(|sum| format!("{sum}{more}"));
    let facts: Vec<String> = std::iter::once(error_class.clone()).chain(sums).collect();
    let retry = Part::Link {
        command: format!("eventbridge retry --failure {key}"),
        page: format!("/failures/{key}"),
        text: "the page of the group".to_owned(),
    };
    sentence_of_failures(destination, (group.count, group.is_more), &facts, *sample, retry)
}

fn sentence_of_recent(group: &RecentFailureGroup) -> Sentence {
    let RecentFailureGroup { destination, class, sample, .. } = group;
    let (command, page) = match &group.group {
        Some(key) => (format!("eventbridge retry --failure {key}"), format!("/failures/{key}")),
        None => (format!("eventbridge retry {sample}"), format!("/executions/{sample}")),
    };
    let retry = Part::Link { command, page, text: "the page of the group".to_owned() };
    let number = u64::try_from(group.count).unwrap_or_default();
    sentence_of_failures(destination, (number, false), std::slice::from_ref(class), *sample, retry)
}

fn sentence_of_failures(
    destination: &str,
    (number, is_more): (u64, bool),
    facts: &[String],
    sample: i64,
    retry: Part,
) -> Sentence {
    let (executions, them) = if number == 1 { ("execution", "it") } else { ("executions", "them") };
    let facts = facts.join(", ");
    let have = if number == 1 { "has" } else { "have" };
    let number = capitalised(&count(number, is_more));
    vec![
        Part::text(format!("{number} {executions} for {destination} {have} failed ({facts}): ")),
        why(sample),
        Part::text(" shows what happened; once the cause is fixed, "),
        // No full stop directly after the command: people copy it.
        retry,
        Part::text(format!(" retries {them}.")),
    ]
}

fn notice_of_recent(group: &RecentFailureGroup) -> Notice {
    let RecentFailureGroup { destination, class, count, sample, .. } = group;
    let (page, retry, acknowledge) = match &group.group {
        Some(key) => (
            format!("/api/v1/failures/{key}"),
            format!("eventbridge retry --failure {key}"),
            format!("or \"eventbridge acknowledge {key} --note …\""),
        ),
        None => (
            "/api/v1/failures".to_owned(),
            format!("eventbridge retry {sample}"),
            "or acknowledge it on that page".to_owned(),
        ),
    };
    Notice {
        summary: format!("Executions for {destination} failed: {class} ({count} so far)."),
        remedy: format!(
            "{page} (/failures in the dashboard) shows what they have in common, the money concerned and \
             what to do; \"eventbridge why {sample}\" shows the history of one of them. Fix the \
             cause, then run \"{retry}\"; {acknowledge} to silence this alert."
        ),
    }
}
