//! The verdict: from how things stand to a level and to sentences, the weightiest first.

use crate::cli::operator::roughly;
use crate::domain::rejection::InARow;
use crate::store::{FAILURES_COUNTED_MAX, FailureGroup};
use chrono::{DateTime, Utc};
use std::process::ExitCode;
use std::time::Duration;

/// The oldest waiting execution may be this old.
const OLD: Duration = Duration::from_mins(5);

/// An oldest waiting execution of this age means that nothing gets through.
const STUCK: Duration = Duration::from_mins(15);

/// Silence counts only from here on, however short the usual gap is.
const SILENCE_MIN: Duration = Duration::from_hours(1);

/// Silence counts from so many times the gap that only one in twenty exceeds.
const SILENCE_TIMES: u32 = 10;

/// Fewer gaps than this tell nothing of what is usual.
const GAPS_MIN: usize = 20;

/// So many rejections in a row mean that nothing comes in.
const REJECTED_MAX: u64 = 5;

/// How things stand.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    pub(super) arrivals: Arrivals,
    pub(super) destinations: Vec<Destination>,
    /// Groups of failures that nobody has acknowledged, the one that was last seen first.
    pub(super) failing: Vec<FailureGroup>,
    /// Whether there are more such groups.
    pub(super) fails_elsewhere: bool,
    /// What is rejected in a row now.
    pub(super) rejected: Option<InARow>,
}

/// How a destination stands.
#[derive(Debug, Clone, Default)]
pub(super) struct Destination {
    pub(super) name: String,
    /// For how long it is held, and what to do.
    pub(super) held: Option<(Duration, String)>,
    pub(super) pending: u64,
    /// Whether more wait than were counted.
    pub(super) is_more: bool,
    pub(super) oldest: Option<Duration>,
    /// The number of the one that waits longest.
    pub(super) oldest_execution: Option<i64>,
}

/// When events came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Arrivals {
    /// How long ago the last one came; nothing where none ever did.
    pub(super) since_last: Option<Duration>,
    /// The gap between two that is as often exceeded as not.
    pub(super) usual: Option<Duration>,
    /// The gap that one in twenty exceeds.
    pub(super) long: Option<Duration>,
}

impl Arrivals {
    /// Reads it off the times of the newest events, newest first.
    pub(super) fn of(times: &[DateTime<Utc>], now: DateTime<Utc>) -> Self {
        let gap =
            |later: &DateTime<Utc>, earlier: &DateTime<Utc>| (*later - *earlier).to_std().unwrap_or_default();
        let mut gaps: Vec<Duration> =
            times.iter().zip(times.iter().skip(1)).map(|(later, earlier)| gap(later, earlier)).collect();
        gaps.sort_unstable();
        let share = |of_hundred: usize| {
            (gaps.len() >= GAPS_MIN).then(|| gaps.get(gaps.len() * of_hundred / 100).copied()).flatten()
        };
        Self { since_last: times.first().map(|last| gap(&now, last)), usual: share(50), long: share(95) }
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Ok,
    Warning,
    Critical,
    Unknown,
}

impl Level {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Unknown => "unknown",
        }
    }

    /// As monitoring plugins exit: 0, 1, 2 and 3.
    pub(super) fn exit_code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Ok => 0,
            Self::Warning => 1,
            Self::Critical => 2,
            Self::Unknown => 3,
        })
    }
}

/// What is to be said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) level: Level,
    /// The first one says it all; the others say more.
    pub(super) sentences: Vec<String>,
}

impl Verdict {
    pub(super) fn no_database(error: &str) -> Self {
        let sentence = format!("The database cannot be reached, so no event is taken in: {error}.");
        Self { level: Level::Critical, sentences: vec![sentence] }
    }

    pub(super) fn unknown(error: &str) -> Self {
        Self { level: Level::Unknown, sentences: vec![format!("Nothing can be told: {error}.")] }
    }
}

/// Judges how things stand.
pub(super) fn of(state: &State) -> Verdict {
    let mut said: Vec<(Level, String)> = state.destinations.iter().filter_map(of_destination).collect();
    said.extend(of_silence(&state.arrivals));
    said.extend(state.rejected.as_ref().map(of_rejections));
    said.extend(of_failures(&state.failing, state.fails_elsewhere));
    let level = said.iter().map(|(level, _)| *level).max().unwrap_or(Level::Ok);
    // The weightiest first, else in the order in which they were found.
    said.sort_by_key(|(level, _)| std::cmp::Reverse(*level));
    let mut sentences: Vec<String> = said.into_iter().map(|(_, sentence)| sentence).collect();
    let arrivals = last_event(&state.arrivals);
    if level == Level::Ok {
        let waiting: u64 = state.destinations.iter().map(|of| of.pending).sum();
        let waits = if waiting == 0 { "nothing waits".to_owned() } else { format!("{waiting} on their way") };
        sentences.push(format!("All is well: {arrivals}, {waits}."));
    } else {
        sentences.push(format!("For the rest, {arrivals}."));
    }
    Verdict { level, sentences }
}

fn of_destination(of: &Destination) -> Option<(Level, String)> {
    let name = &of.name;
    if let Some((since, remedy)) = &of.held {
        let sentence =
            format!("{name} has been held for {}, {} wait: {remedy}.", roughly(*since), of.pending);
        return Some((Level::Critical, sentence));
    }
    let oldest = of.oldest.filter(|age| *age >= OLD)?;
    let level = if oldest >= STUCK { Level::Critical } else { Level::Warning };
    let sentence = format!(
        "{name} is behind: {} wait, the oldest for {}; eventbridge why {} tells for what.",
        of.pending,
        roughly(oldest),
        of.oldest_execution.unwrap_or_default()
    );
    Some((level, sentence))
}

fn of_silence(arrivals: &Arrivals) -> Option<(Level, String)> {
    let (silence, long) = arrivals.since_last.zip(arrivals.long)?;
    let is_silent = silence >= SILENCE_MIN && silence >= long.saturating_mul(SILENCE_TIMES);
    is_silent.then(|| {
        let sentence = format!(
            "No event has come for {}, where 19 of 20 come within {}: see in Stripe whether the endpoint is enabled.",
            roughly(silence),
            roughly(long)
        );
        (Level::Warning, sentence)
    })
}

fn of_rejections(rejected: &InARow) -> (Level, String) {
    let InARow { count, newest } = rejected;
    let level = if *count >= REJECTED_MAX { Level::Critical } else { Level::Warning };
    let which = match count {
        1 => "The last webhook was rejected.".to_owned(),
        count => format!("The last {count} webhooks were rejected."),
    };
    (level, format!("{which} {} {}", newest.says, newest.remedy))
}

fn of_failures(groups: &[FailureGroup], is_more: bool) -> Vec<(Level, String)> {
    let told = |group: &FailureGroup| {
        let FailureGroup { destination, error_class, count, sample, key, .. } = group;
        let (deliveries, them) = match count {
            1 => ("1 delivery".to_owned(), "it"),
            count if *count >= i64::from(FAILURES_COUNTED_MAX) => {
                (format!("{count} deliveries or more"), "them")
            }
            count => (format!("{count} deliveries"), "them"),
        };
        let more = if group.is_money_cut { " and more" } else { "" };
        let sums = group.money.iter().map(|sum| format!("{sum}{more}"));
        let facts = std::iter::once(error_class.clone()).chain(sums);
        let facts: Vec<String> = facts.filter(|fact| !fact.is_empty()).collect();
        format!(
            "{destination} has given up {deliveries} ({}): eventbridge why {sample} tells what happened; once that is mended, eventbridge retry --failure {key} tries {them} again.",
            facts.join(", ")
        )
    };
    let mut sentences: Vec<String> = groups.iter().map(told).collect();
    if is_more {
        sentences.push(
            "There are more kinds of failure that nobody has acknowledged: see /api/v1/failures.".to_owned(),
        );
    }
    sentences.into_iter().map(|sentence| (Level::Warning, sentence)).collect()
}

fn last_event(arrivals: &Arrivals) -> String {
    let Some(since) = arrivals.since_last else { return "no event has come yet".to_owned() };
    let usual =
        arrivals.usual.map(|gap| format!(" (usually one every {})", roughly(gap))).unwrap_or_default();
    format!("the last event came {} ago{usual}", roughly(since))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::rejection::{Cause, Diagnosis};

    const MINUTE: Duration = Duration::from_mins(1);

    fn arrivals(minutes_since_last: u32) -> Arrivals {
        let since_last = Some(MINUTE * minutes_since_last);
        Arrivals { since_last, usual: Some(MINUTE), long: Some(MINUTE * 7) }
    }

    fn destination(oldest: Option<Duration>, held: bool) -> Destination {
        let held = held.then(|| (MINUTE * 3, "set a new NOTION_API_KEY".to_owned()));
        Destination {
            name: "notion".to_owned(),
            held,
            pending: oldest.map_or(0, |_| 4),
            is_more: false,
            oldest,
            oldest_execution: oldest.map(|_| 42),
        }
    }

    fn group() -> FailureGroup {
        FailureGroup {
            key: "3f2a".to_owned(),
            destination: "notion".to_owned(),
            error_class: "validation_error".to_owned(),
            pattern: String::new(),
            count: 2,
            first_seen: DateTime::UNIX_EPOCH,
            last_seen: DateTime::UNIX_EPOCH,
            sample: 42,
            sample_message: None,
            is_acknowledged: false,
            acknowledged_at: None,
            acknowledged_by: None,
            note: None,
            money: Vec::new(),
            is_money_cut: false,
        }
    }

    fn judged(arrivals: Arrivals, of: Destination, failures: usize) -> (Level, String) {
        let (failing, fails_elsewhere) = (vec![group(); failures.min(3)], failures > 3);
        let verdict =
            super::of(&State { arrivals, destinations: vec![of], failing, fails_elsewhere, rejected: None });
        (verdict.level, verdict.sentences.join(" "))
    }

    #[test]
    fn what_is_rejected_in_a_row_is_told_with_its_cause_and_is_critical_where_it_goes_on() {
        let rejected = |count| {
            let newest = Diagnosis {
                cause: Cause::WrongSecret,
                count,
                first_at: DateTime::UNIX_EPOCH,
                last_at: DateTime::UNIX_EPOCH,
                is_current: true,
                says: "It is signed otherwise.".to_owned(),
                remedy: "Set the secret.".to_owned(),
            };
            let rejected = Some(InARow { count, newest });
            let verdict = super::of(&State { rejected, ..State::default() });
            (verdict.level, verdict.sentences[0].clone())
        };
        let one = "The last webhook was rejected. It is signed otherwise. Set the secret.";
        assert_eq!(rejected(1), (Level::Warning, one.to_owned()));
        assert_eq!(rejected(5).0, Level::Critical);
    }

    #[test]
    fn each_trouble_has_its_level_and_the_weightiest_comes_first() {
        let (level, said) = judged(arrivals(0), destination(None, false), 0);
        assert_eq!(said, "All is well: the last event came 0 s ago (usually one every 60 s), nothing waits.");
        assert_eq!(level, Level::Ok);
        for (of, failures, expected, first) in [
            (destination(Some(MINUTE), false), 0, Level::Ok, "All is well"),
            (
                destination(Some(MINUTE * 6), false),
                0,
                Level::Warning,
                "notion is behind: 4 wait, the oldest for 6 min; eventbridge why 42 tells for what.",
            ),
            (destination(Some(MINUTE * 20), false), 0, Level::Critical, "notion is behind"),
            (
                destination(Some(MINUTE), true),
                2,
                Level::Critical,
                "notion has been held for 3 min, 4 wait: set a new",
            ),
            (
                destination(None, false),
                1,
                Level::Warning,
                "notion has given up 2 deliveries (validation_error): eventbridge why 42 tells what happened; once that is mended, eventbridge retry --failure 3f2a tries them again.",
            ),
        ] {
            let (level, said) = judged(arrivals(1), of, failures);
            assert_eq!(level, expected, "{said}");
            assert!(said.starts_with(first), "{said}");
        }
        let (_, said) = judged(arrivals(1), destination(None, false), 5);
        assert!(said.contains("There are more kinds of failure"), "{said}");
    }

    #[test]
    fn silence_is_judged_by_what_is_usual_and_never_within_an_hour() {
        let level = |arrivals| judged(arrivals, destination(None, false), 0).0;
        assert_eq!(level(arrivals(59)), Level::Ok);
        assert_eq!(level(arrivals(69)), Level::Ok);
        assert_eq!(level(arrivals(70)), Level::Warning);
        assert_eq!(
            level(Arrivals { long: None, ..arrivals(10_000) }),
            Level::Ok,
            "nobody knows what is usual"
        );
        assert_eq!(level(Arrivals::default()), Level::Ok);
    }

    #[test]
    fn the_usual_gap_is_read_off_the_newest_events() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).expect("a time");
        let times = |count: i64| {
            (0..count).map(|n| now - chrono::TimeDelta::seconds(10 + n * 30)).collect::<Vec<_>>()
        };
        let read = Arrivals::of(&times(30), now);
        let half_minute = Some(Duration::from_secs(30));
        assert_eq!(
            (read.since_last, read.usual, read.long),
            (Some(Duration::from_secs(10)), half_minute, half_minute)
        );
        assert_eq!(Arrivals::of(&times(5), now).usual, None);
        assert_eq!(Arrivals::of(&[], now), Arrivals::default());
    }
}
