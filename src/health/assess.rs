//! The assessment: from a snapshot and thresholds to a level, a headline and findings. Pure.

mod arrivals;
mod block_limit;
mod crashing;
mod failures;
mod fetching;

use self::arrivals::{not_arriving, rejected, silence};
use self::block_limit::{block_limit, waiting_for_blocks};
use self::crashing::crashing;
use self::failures::failures;
use self::fetching::not_fetching;
use super::endpoint::{endpoints, unknown_parts};
use super::estimate::SHORTEST;
use super::finding::{Finding, FindingKind, Level, Notice, Part, Sentence};
use super::old_snapshot::OldSnapshot;
use super::resends::RESENDS;
use super::snapshot::{Arrivals, Destination, DestinationBacklog, Snapshot};
use super::thresholds::Thresholds;
use super::token_expiry::expiring_token;
use super::unanswered::unanswered;
use crate::domain::humanize::{capitalised, humanize_age};
use crate::domain::quantity::count;
use crate::store::{OldestPending, unavailable_remedy};
use chrono::{DateTime, TimeDelta, Utc};
use std::time::Duration;

/// A backlog that takes this long is mentioned.
const CATCHING_UP_MIN: TimeDelta = TimeDelta::minutes(1);

/// The assessment of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assessment {
    /// How bad it is: the level of the worst finding.
    pub level: Level,
    /// The worst finding in a few words, without a full stop.
    pub headline: String,
    /// What is wrong and what to do, the worst first.
    pub findings: Vec<Finding>,
    /// When the last event arrived, what is pending, and what is unknown.
    pub rest: Vec<Sentence>,
}

/// Compares a snapshot with the thresholds.
pub fn assess(snapshot: &Snapshot, thresholds: &Thresholds) -> Assessment {
    let destinations = &snapshot.destinations;
    let mut findings: Vec<Finding> =
        destinations.iter().filter_map(|of| paused(snapshot, of, thresholds)).collect();
    let paused = findings.len();
    findings.extend(no_worker(snapshot));
    findings.extend(destinations.iter().filter_map(|of| block_limit(snapshot, of, thresholds)));
    findings.extend(destinations.iter().filter_map(|of| backlog(snapshot, of, thresholds)));
    findings.extend(destinations.iter().filter_map(|of| backing_off(snapshot, of)));
    findings.extend(rejected(snapshot, thresholds));
    findings.extend(unanswered(snapshot, thresholds));
    findings.extend(endpoints(snapshot, thresholds));
    findings.extend(not_arriving(snapshot, thresholds).or_else(|| silence(snapshot, thresholds)));
    findings.extend(snapshot.fetching.iter().filter_map(|state| not_fetching(snapshot, state)));
    findings.extend(crashing(snapshot));
    findings.extend(failures(snapshot, thresholds));
    findings.extend(destinations.iter().filter_map(|of| expiring_token(snapshot, of, thresholds)));
    findings.extend(old_snapshot(snapshot));
    // The worst first; equals keep the order in which they were found.
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    let level = findings.first().map_or(Level::Ok, |first| first.level);
    let headline = match findings.first() {
        Some(_) if paused > 1 => format!("{paused} destinations are paused"),
        Some(first) => first.headline.clone(),
        None if snapshot.arrivals.last_at.is_none() => "Waiting for the first event".to_owned(),
        None => catching_up(snapshot).unwrap_or_else(|| "All is well".to_owned()),
    };
    let rest = std::iter::once(last_event(&snapshot.arrivals))
        .chain(pending(snapshot))
        .chain(unknown_parts(snapshot))
        .collect();
    Assessment { level, headline, findings, rest }
}

impl Assessment {
    /// The sentences as plain text: times in UTC, and commands instead of links.
    pub fn in_utc(&self, now: DateTime<Utc>) -> Vec<String> {
        let sentences = self.findings.iter().map(|finding| &finding.sentence).chain(&self.rest);
        sentences.map(|sentence| sentence.iter().map(|part| part.in_utc(now)).collect()).collect()
    }
}

/// What to do if the database cannot be used. Public.
pub fn database_remedy() -> &'static str {
    unavailable_remedy()
}

/// The finding if the database cannot be used, so that there is no snapshot. `since` is when it failed, if
/// that is known.
pub fn database_unavailable(since: Option<DateTime<Utc>>) -> Finding {
    let remedy = database_remedy();
    Finding {
        key: FindingKind::Database.as_str().to_owned(),
        matter: FindingKind::Database,
        failure_group: None,
        level: Level::Critical,
        headline: "The database is unavailable, so webhooks are answered with 503".to_owned(),
        sentence: vec![Part::text(format!("No event can be stored or delivered: {remedy}."))],
        remedy: remedy.to_owned(),
        since,
        notice: Some(Notice {
            summary: "A process cannot use its database, so webhooks are answered with 503.".to_owned(),
            remedy: format!("{}. {RESENDS}", capitalised(remedy)),
        }),
    }
}

fn paused(snapshot: &Snapshot, of: &Destination, thresholds: &Thresholds) -> Option<Finding> {
    let pause = of.paused.as_ref()?;
    let name = capitalised(&of.name);
    let is_alert = thresholds.alerts.paused_after.is_some_and(|after| age(snapshot, pause.since) >= after);
    let remedy = pause.remedy.trim_end_matches('.');
    let class = &pause.class;
    let (sentence, summary) = match &pause.by {
        Some((by, note)) => (
            vec![
                Part::text(format!("{name} has been paused since ")),
                Part::At(pause.since),
                Part::text(format!(". Paused by {by}: {}. ", note.trim_end_matches('.'))),
                Part::Link {
                    command: format!("Run eventbridge resume {}", of.name),
                    page: "/destinations".to_owned(),
                    text: "Resume it".to_owned(),
                },
                Part::text(" to continue."),
            ],
            format!("Deliveries to {} are paused by {by}: {}.", of.name, note.trim_end_matches('.')),
        ),
        None => (
            vec![
                Part::text(format!("{name} has been paused since ")),
                Part::At(pause.since),
                Part::text(format!(": {remedy}.")),
            ],
            format!("Deliveries to {} are paused ({class}).", of.name),
        ),
    };
    let whether_fixed = match &pause.by {
        Some(_) => "",
        None => "; \"eventbridge doctor\" shows whether the cause is fixed",
    };
    Some(Finding {
        // The remedy depends on the class, so another class is another cause.
        key: format!("paused {} {class}", of.name),
        matter: FindingKind::Paused,
        failure_group: None,
        level: Level::Critical,
        headline: format!("{name} is paused"),
        sentence,
        remedy: pause.remedy.clone(),
        since: Some(pause.since),
        notice: is_alert.then(|| Notice {
            summary,
            remedy: format!("{remedy}. Pending events are kept and use no attempt{whether_fixed}."),
        }),
    })
}

fn no_worker(snapshot: &Snapshot) -> Option<Finding> {
    let is_needed = !snapshot.destinations.is_empty();
    let remedy = "check whether a worker process runs, and read its log";
    (is_needed && snapshot.has_worker == Some(false)).then(|| Finding {
        key: FindingKind::NoWorker.as_str().to_owned(),
        matter: FindingKind::NoWorker,
        failure_group: None,
        level: Level::Critical,
        headline: "No worker is running".to_owned(),
        sentence: vec![Part::text(format!("No process delivers events: {remedy}."))],
        remedy: remedy.to_owned(),
        since: None,
        notice: None,
    })
}

/// A paused destination's backlog is no separate finding, unless pauses raise no alert. Nor is one that waits for
/// blocks.
fn backlog(snapshot: &Snapshot, of: &Destination, thresholds: &Thresholds) -> Option<Finding> {
    let is_covered_by_pause = of.paused.is_some() && thresholds.alerts.paused_after.is_some();
    let is_covered = is_covered_by_pause || waiting_for_blocks(of).is_some();
    let DestinationBacklog { pending, is_more, oldest, .. } = of.backlog.filter(|_| !is_covered)?;
    let OldestPending { execution, waited } =
        oldest.filter(|oldest| oldest.waited >= thresholds.backlog_warning())?;
    let since = before(snapshot, waited);
    let name = capitalised(&of.name);
    let clears = of
        .backlog
        .and_then(|backlog| backlog.clears_in_words())
        .map(|time| format!("this clears in {time}; "));
    let is_critical = waited >= thresholds.backlog;
    Some(Finding {
        key: format!("backlog {}", of.name),
        matter: FindingKind::Backlog,
        failure_group: None,
        level: if is_critical { Level::Critical } else { Level::Warning },
        headline: format!("{name} is behind"),
        sentence: vec![
            Part::text(format!(
                "{name} is behind: {} pending, the oldest for {}; {}",
                count(pending, is_more),
                humanize_age(delta(waited)),
                clears.unwrap_or_default()
            )),
            why(execution),
            Part::text(" shows the reason."),
        ],
        remedy: "eventbridge status names the oldest execution, and eventbridge why shows what it waits for"
            .to_owned(),
        since: Some(since),
        notice: (is_critical && thresholds.alerts.backlog).then(|| Notice {
            summary: format!(
                "Events for {} have been pending for longer than {}.",
                of.name,
                humanize_age(delta(thresholds.backlog))
            ),
            remedy: format!(
                "\"eventbridge why {execution}\" shows what the oldest of them waits for, and {} lists those of \
                 that day. If each waits for a retry, its last failure shows why; if many wait for their \
                 turn, more arrives than the rate allows.",
                list_of_the_day(&of.name, since)
            ),
        }),
    })
}

/// A rest that is over soon, or during which nothing is due, is no finding.
fn backing_off(snapshot: &Snapshot, of: &Destination) -> Option<Finding> {
    let rest = of.backing_off.as_ref().filter(|_| of.paused.is_none())?;
    let is_due = of.backlog.is_none_or(|backlog| backlog.pending > backlog.later);
    if !is_due || snapshot.now - rest.since < SHORTEST {
        return None;
    }
    let name = capitalised(&of.name);
    let when = if rest.until > snapshot.now {
        vec![Part::text(format!("{name} is backing off until ")), Part::AtSecond(rest.until)]
    } else {
        vec![Part::text(format!("{name} is tried again now"))]
    };
    let effect = if rest.is_everywhere() { "nothing is delivered to it meanwhile" } else { "others deliver" };
    let remedy = "none is needed if it passes: it is tried again by itself, new events first. If it lasts, check whether the destination works";
    Some(Finding {
        key: format!("backing_off {}", of.name),
        matter: FindingKind::BackingOff,
        failure_group: None,
        level: Level::Warning,
        headline: format!("{name} is backing off"),
        sentence: when
            .into_iter()
            .chain([Part::text(format!(
                " {}: {effect}. It is tried again by itself, new events first.",
                rest.cause()
            ))])
            .collect(),
        remedy: remedy.to_owned(),
        since: Some(rest.since),
        notice: None,
    })
}

/// The headline of a backlog that is worked off but takes a while.
fn catching_up(snapshot: &Snapshot) -> Option<String> {
    let moving = snapshot.destinations.iter().filter(|of| of.paused.is_none() && of.backing_off.is_none());
    let backlogs = || moving.clone().filter_map(|of| of.backlog);
    let longest = backlogs().filter_map(|backlog| backlog.clears_in).max()?;
    let more = if backlogs().any(|backlog| backlog.is_more) { "more than " } else { "" };
    (longest >= CATCHING_UP_MIN).then(|| format!("Catching up, done in {more}{}", humanize_age(longest)))
}

/// The list of what has been pending since this day: a list by status alone requires a time range.
fn list_of_the_day(destination: &str, since: DateTime<Utc>) -> String {
    let day = since.date_naive();
    let next = day.succ_opt().unwrap_or(day);
    format!(
        "/api/v1/executions?status=pending&destination={destination}&created_after={day}&created_before={next}"
    )
}

fn old_snapshot(snapshot: &Snapshot) -> Option<Finding> {
    let OldSnapshot { what, remedy, held_for } = OldSnapshot::among(&snapshot.snapshot_holders)?;
    Some(Finding {
        key: FindingKind::OldSnapshot.as_str().to_owned(),
        matter: FindingKind::OldSnapshot,
        failure_group: None,
        level: Level::Warning,
        headline: "The database keeps deleted rows".to_owned(),
        sentence: vec![Part::text(format!("{}: {remedy}.", capitalised(&what)))],
        // Public, so without the names.
        remedy:
            "end the old transaction or drop the unused replication slot; \"eventbridge doctor\" names it"
                .to_owned(),
        since: held_for.map(|held_for| before(snapshot, held_for)),
        notice: None,
    })
}

/// The command that explains an execution, or its page.
fn why(execution: i64) -> Part {
    Part::Link {
        command: format!("eventbridge why {execution}"),
        page: format!("/executions/{execution}"),
        text: format!("execution {execution}"),
    }
}

fn last_event(arrivals: &Arrivals) -> Sentence {
    let Some(last_at) = arrivals.last_at else {
        return vec![Part::text(
            "No event has arrived yet: send one from the page of the endpoint at the sender.",
        )];
    };
    let usual = arrivals.usual_gap().and_then(|gap| TimeDelta::from_std(gap).ok()).map(|gap| {
        match gap.num_seconds() {
            0 => ", usually several in a second".to_owned(),
            1 => ", usually every second".to_owned(),
            _ => format!(", usually every {}", humanize_age(gap)),
        }
    });
    vec![
        Part::text("The last event arrived "),
        Part::Ago(last_at),
        Part::text(usual.unwrap_or_default()),
        Part::text("."),
    ]
}

fn pending(snapshot: &Snapshot) -> Option<Sentence> {
    let backlogs = snapshot.backlogs()?;
    let sum =
        |of: fn(&DestinationBacklog) -> u64| backlogs.iter().map(|(_, backlog)| of(backlog)).sum::<u64>();
    let (pending, later) = (sum(|backlog| backlog.pending), sum(|backlog| backlog.later));
    if pending == 0 {
        return snapshot.arrivals.last_at.map(|_| vec![Part::text("Nothing is pending.")]);
    }
    let is_more = backlogs.iter().any(|(_, backlog)| backlog.is_more);
    let oldest = backlogs.iter().filter_map(|(_, backlog)| backlog.oldest).map(|oldest| oldest.waited).max();
    let oldest =
        oldest.map(|oldest| format!(", the oldest for {}", humanize_age(delta(oldest)))).unwrap_or_default();
    let next = backlogs.iter().filter_map(|(_, backlog)| backlog.next_at).min();
    if let Some(next) = next.filter(|_| later == pending) {
        let waiting = format!("{} waiting for retry, next at ", capitalised(&count(pending, is_more)));
        return Some(vec![Part::text(waiting), Part::At(next), Part::text(format!("{oldest}."))]);
    }
    let mut sentence = vec![Part::text(format!("{} pending{oldest}", capitalised(&count(pending, is_more))))];
    if let Some(next) = next.filter(|_| later > 0) {
        let verb = if later == 1 { "waits" } else { "wait" };
        let of_them = format!("; {} of them {verb} for a retry, next at ", count(later, false));
        sentence.extend([Part::text(of_them), Part::At(next)]);
    }
    // If it is unknown for one of them, it is unknown for all of them together.
    let due = || backlogs.iter().filter(|(_, backlog)| backlog.pending > backlog.later);
    let all_known = due().all(|(_, backlog)| backlog.clears_in.is_some());
    let longest = due().map(|(_, backlog)| *backlog).max_by_key(|backlog| backlog.clears_in);
    let clears = longest.filter(|_| all_known).and_then(|backlog| backlog.clears_in_words()).map(|time| {
        let what = if later > 0 { "the others clear" } else { "this clears" };
        let once = if due().any(|(of, _)| of.paused.is_some()) { " once it is resumed" } else { "" };
        format!("; {what} in {time}{once}")
    });
    sentence.push(Part::text(format!("{}.", clears.unwrap_or_default())));
    Some(sentence)
}

fn age(snapshot: &Snapshot, at: DateTime<Utc>) -> Duration {
    snapshot.now.signed_duration_since(at).to_std().unwrap_or_default()
}

fn before(snapshot: &Snapshot, age: Duration) -> DateTime<Utc> {
    snapshot.now.checked_sub_signed(delta(age)).unwrap_or(snapshot.now)
}

fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

#[cfg(test)]
mod tests;
