//! Whether money flows, in one sentence, from what the tables say.

use super::elements::{count, length};
use crate::store::{Backlog, HeldInstance};
use chrono::{DateTime, TimeDelta, Utc};

/// What waits longer than this, at a destination that is not held, is late.
const LATE: TimeDelta = TimeDelta::minutes(15);

/// How things stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Good,
    Waits,
    Bad,
}

/// The verdict: a headline and the sentences below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub level: Level,
    pub headline: String,
    pub sentences: Vec<String>,
}

/// Judges. What is worst makes the headline.
pub(super) fn judge(
    last_event: Option<DateTime<Utc>>,
    backlog: &[Backlog],
    held: &[HeldInstance],
    now: DateTime<Utc>,
) -> Verdict {
    let mut sentences = vec![match last_event {
        Some(at) => format!("The last event came {} ago.", length(now - at)),
        None => "Send one from Stripe, or from the page of your endpoint there.".to_owned(),
    }];
    for held in held {
        sentences.push(format!(
            "{} is held since {} UTC: {}.",
            capital(&held.name),
            held.since.format("%H:%M"),
            held.hold.remedy.trim_end_matches('.')
        ));
    }
    let waiting: u64 = backlog.iter().map(|backlog| backlog.pending).sum();
    let oldest = backlog.iter().filter_map(|backlog| backlog.oldest).max();
    let oldest = oldest.and_then(|oldest| TimeDelta::from_std(oldest).ok());
    if let Some(oldest) = oldest {
        let waiting = waiting_words(waiting, backlog.iter().any(|backlog| backlog.is_more));
        sentences.push(format!("{waiting} pending, the oldest for {}.", length(oldest)));
    } else if last_event.is_some() {
        sentences.push("Nothing waits.".to_owned());
    }
    let is_late = backlog.iter().filter(|backlog| backlog.held_since.is_none()).any(|backlog| {
        backlog.oldest.is_some_and(|oldest| TimeDelta::from_std(oldest).is_ok_and(|oldest| oldest > LATE))
    });
    let (level, headline) = match (held, last_event) {
        ([one], _) => (Level::Bad, format!("{} is held", capital(&one.name))),
        ([_, ..], _) => (Level::Bad, format!("{} destinations are held", held.len())),
        ([], None) => (Level::Waits, "Waiting for the first event".to_owned()),
        ([], Some(_)) if is_late => (Level::Waits, "Deliveries are late".to_owned()),
        ([], Some(_)) => (Level::Good, "Money flows".to_owned()),
    };
    Verdict { level, headline, sentences }
}

/// How many wait, or that they are more than were counted.
pub(super) fn waiting_words(waiting: u64, is_more: bool) -> String {
    let number = count(i64::try_from(waiting).unwrap_or(i64::MAX));
    if is_more { format!("More than {number}") } else { number }
}

fn capital(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Hold;
    use std::time::Duration;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).expect("a time")
    }

    fn backlog(pending: u64, oldest: Option<u64>, held_since: Option<DateTime<Utc>>) -> Backlog {
        let oldest = oldest.map(Duration::from_secs);
        Backlog {
            destination: "notion".to_owned(),
            pending,
            is_more: false,
            oldest,
            oldest_execution: None,
            held_since,
        }
    }

    #[test]
    fn quiet_and_busy_are_good() {
        let verdict = judge(Some(at(1000)), &[backlog(0, None, None)], &[], at(1041));
        assert_eq!((verdict.level, verdict.headline.as_str()), (Level::Good, "Money flows"));
        assert_eq!(verdict.sentences, ["The last event came 41 s ago.", "Nothing waits."]);
        let busy = judge(Some(at(1000)), &[backlog(312, Some(47), None)], &[], at(1041));
        assert_eq!(busy.sentences[1], "312 pending, the oldest for 47 s.");
        assert_eq!(busy.level, Level::Good);
    }

    #[test]
    fn what_was_not_counted_to_its_end_is_more_than_its_number() {
        let more = Backlog { is_more: true, ..backlog(20_312, Some(47), None) };
        let verdict = judge(Some(at(1000)), &[backlog(1, Some(2), None), more], &[], at(1041));
        assert_eq!(verdict.sentences[1], "More than 20\u{202f}313 pending, the oldest for 47 s.");
    }

    #[test]
    fn a_held_destination_is_the_headline_and_says_what_to_do() {
        let held = HeldInstance {
            name: "notion".to_owned(),
            since: at(0),
            hold: Hold {
                class: "unauthorized".to_owned(),
                reason: "401".to_owned(),
                remedy: "set a new NOTION_API_KEY".to_owned(),
                execution: None,
            },
        };
        let verdict = judge(Some(at(0)), &[backlog(5, Some(7200), Some(at(0)))], &[held], at(7200));
        assert_eq!((verdict.level, verdict.headline.as_str()), (Level::Bad, "Notion is held"));
        assert_eq!(verdict.sentences[1], "Notion is held since 00:00 UTC: set a new NOTION_API_KEY.");
        assert_eq!(verdict.sentences[2], "5 pending, the oldest for 2 h.");
    }

    #[test]
    fn what_waits_too_long_is_late_and_nothing_at_all_is_said_so() {
        let late = judge(Some(at(0)), &[backlog(1, Some(901), None)], &[], at(1000));
        assert_eq!((late.level, late.headline.as_str()), (Level::Waits, "Deliveries are late"));
        let first = judge(None, &[], &[], at(0));
        assert_eq!((first.level, first.headline.as_str()), (Level::Waits, "Waiting for the first event"));
    }
}
