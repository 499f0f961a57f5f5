//! The verdict: from how things stand to a level, a headline, and sentences that say more.
//!
//! Pure, and one for all who tell it: the dashboard and the command line never contradict each other.

use super::humanize::humanize_age;
use super::money::Money;
use super::rejection::InARow;
use chrono::{DateTime, TimeDelta, Utc};
use std::time::Duration;

/// The oldest waiting execution may be this old.
const OLD: TimeDelta = TimeDelta::minutes(5);

/// An oldest waiting execution of this age means that nothing gets through.
const STUCK: TimeDelta = TimeDelta::minutes(15);

/// So many rejections in a row mean that nothing comes in.
const REJECTED_MAX: u64 = 5;

/// How things stand.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// The time of all of it.
    pub now: DateTime<Utc>,
    /// When events came.
    pub arrivals: Arrivals,
    /// The destinations that are configured.
    pub destinations: Vec<Destination>,
    /// Whether some process works the queue.
    pub is_worked: bool,
    /// Groups of failures that nobody has acknowledged; counted up to a bound.
    pub unknown_failures: usize,
    /// Some of them, the one that was last seen first.
    pub failing: Vec<Failing>,
    /// What is rejected in a row now.
    pub rejected: Option<InARow>,
}

/// When events came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Arrivals {
    /// When the last one came; nothing where none ever did.
    pub last_at: Option<DateTime<Utc>>,
    /// The gap between two that is usual, where that is known.
    pub usual_gap: Option<Duration>,
    /// The silence beyond which something is wrong, where that is known.
    pub silence_limit: Option<Duration>,
}

/// How a destination stands.
#[derive(Debug, Clone, Default)]
pub struct Destination {
    /// The instance.
    pub name: String,
    /// Since when it is held, and what to do.
    pub held: Option<(DateTime<Utc>, String)>,
    /// Executions that wait.
    pub pending: u64,
    /// Whether more wait than were counted.
    pub is_more: bool,
    /// For how long the oldest has waited.
    pub oldest: Option<TimeDelta>,
    /// The number of the one that waits longest.
    pub oldest_execution: Option<i64>,
    /// How long it takes to deliver what waits, where anybody can tell.
    pub clears_in: Option<TimeDelta>,
}

/// A group of failures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    /// The group's key.
    pub key: String,
    /// The destination instance.
    pub destination: String,
    /// The class of the failures; empty where there is none.
    pub error_class: String,
    /// So many.
    pub count: u64,
    /// Whether there are more than were counted.
    pub is_more: bool,
    /// What they amount to, by currency.
    pub money: Vec<Money>,
    /// Whether they amount to more than that.
    pub is_money_cut: bool,
    /// The newest of them.
    pub sample: i64,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing needs to be done.
    #[default]
    Ok,
    /// Something needs to be looked at.
    Warning,
    /// Deliveries do not get through.
    Critical,
}

/// What is to be said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// How bad it is.
    pub level: Level,
    /// What is worst, in a few words without a full stop.
    pub headline: String,
    /// What is wrong and what to do, the weightiest first.
    pub troubles: Vec<Trouble>,
    /// When the last event came, and what waits.
    pub rest: Vec<Sentence>,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What it is about.
    pub matter: Matter,
    /// How bad it is.
    pub level: Level,
    /// It in a few words without a full stop, which anybody may read.
    pub headline: String,
    /// It in a sentence.
    pub sentence: Sentence,
    /// What to do, in words that anybody may read: without numbers and amounts.
    pub remedy: String,
}

/// What a trouble is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matter {
    /// A destination is held.
    Held,
    /// No process works the queue.
    Unworked,
    /// Work waits for too long.
    Behind,
    /// Webhooks are rejected.
    Rejected,
    /// Nothing comes in.
    Silent,
    /// Deliveries were given up.
    Failing,
}

/// A sentence whose times are told as its reader wants them.
pub type Sentence = Vec<Piece>;

/// A part of a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Words.
    Words(String),
    /// A moment, by the clock.
    At(DateTime<Utc>),
    /// A moment, by how long ago it was.
    Ago(DateTime<Utc>),
    /// What leads on: a command to type, or a page of the dashboard under these words.
    Way {
        /// The command.
        command: String,
        /// The page's path.
        page: String,
        /// What the page is called.
        words: String,
    },
}

impl Level {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl Matter {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Unworked => "no_worker",
            Self::Behind => "backlog",
            Self::Rejected => "rejected",
            Self::Silent => "silence",
            Self::Failing => "failures",
        }
    }
}

impl Verdict {
    /// The sentences as plain text: times by the clock of UTC, and commands where pages lead on.
    pub fn in_utc(&self, now: DateTime<Utc>) -> Vec<String> {
        let sentences = self.troubles.iter().map(|trouble| &trouble.sentence).chain(&self.rest);
        sentences.map(|sentence| sentence.iter().map(|piece| piece.in_utc(now)).collect()).collect()
    }
}

impl Piece {
    fn in_utc(&self, now: DateTime<Utc>) -> String {
        match self {
            Self::Words(words) => words.clone(),
            Self::At(at) if at.date_naive() == now.date_naive() => at.format("%H:%M UTC").to_string(),
            Self::At(at) => at.format("%Y-%m-%d %H:%M UTC").to_string(),
            Self::Ago(at) => format!("{} ago", humanize_age(now - *at)),
            Self::Way { command, .. } => command.clone(),
        }
    }
}

/// Judges how things stand.
pub fn of(standing: &Standing) -> Verdict {
    let mut troubles: Vec<Trouble> = standing.destinations.iter().filter_map(held).collect();
    let held = troubles.len();
    troubles.extend(unworked(standing));
    troubles.extend(standing.destinations.iter().filter_map(behind));
    troubles.extend(rejected(standing));
    troubles.extend(silent(standing));
    troubles.extend(failing(standing));
    // The weightiest first, else in the order in which they were found.
    troubles.sort_by_key(|trouble| std::cmp::Reverse(trouble.level));
    let level = troubles.first().map_or(Level::Ok, |first| first.level);
    let headline = match troubles.first() {
        Some(_) if held > 1 => format!("{held} destinations are held"),
        Some(first) => first.headline.clone(),
        None if standing.arrivals.last_at.is_none() => "Waiting for the first event".to_owned(),
        None => "All is well".to_owned(),
    };
    let rest = std::iter::once(last_event(&standing.arrivals)).chain(waiting(standing)).collect();
    Verdict { level, headline, troubles, rest }
}

fn held(of: &Destination) -> Option<Trouble> {
    let (since, remedy) = of.held.as_ref()?;
    let name = capitalised(&of.name);
    Some(Trouble {
        matter: Matter::Held,
        level: Level::Critical,
        headline: format!("{name} is held"),
        sentence: vec![
            words(format!("{name} has been held since ")),
            Piece::At(*since),
            words(format!(": {}.", remedy.trim_end_matches('.'))),
        ],
        remedy: remedy.clone(),
    })
}

fn unworked(standing: &Standing) -> Option<Trouble> {
    let is_wanted = !standing.destinations.is_empty();
    let remedy = "see whether it runs, and what its log says";
    (is_wanted && !standing.is_worked).then(|| Trouble {
        matter: Matter::Unworked,
        level: Level::Critical,
        headline: "Nobody delivers".to_owned(),
        sentence: vec![words(format!("No process of the service works the queue: {remedy}."))],
        remedy: remedy.to_owned(),
    })
}

fn behind(of: &Destination) -> Option<Trouble> {
    let oldest = of.oldest.filter(|age| of.held.is_none() && *age >= OLD)?;
    let name = capitalised(&of.name);
    let level = if oldest >= STUCK { Level::Critical } else { Level::Warning };
    let waiting = count(of.pending, of.is_more);
    Some(Trouble {
        matter: Matter::Behind,
        level,
        headline: format!("{name} is behind"),
        sentence: vec![
            words(format!("{name} is behind: {waiting} wait, the oldest for {}; ", humanize_age(oldest))),
            why(of.oldest_execution.unwrap_or_default()),
            words(" tells for what."),
        ],
        remedy: "eventbridge status names the one that waits longest, and eventbridge why tells for what"
            .to_owned(),
    })
}

fn rejected(standing: &Standing) -> Option<Trouble> {
    let InARow { count: number, newest } = standing.rejected.as_ref()?;
    let level = if *number >= REJECTED_MAX { Level::Critical } else { Level::Warning };
    let which = match number {
        1 => "The last webhook was rejected, ".to_owned(),
        number => format!("The last {} webhooks were rejected, the newest ", count(*number, false)),
    };
    Some(Trouble {
        matter: Matter::Rejected,
        level,
        headline: "Webhooks are rejected".to_owned(),
        sentence: vec![
            words(which),
            Piece::Ago(newest.last_at),
            words(format!(". {} {}", newest.says, newest.remedy)),
        ],
        remedy: newest.remedy.clone(),
    })
}

fn silent(standing: &Standing) -> Option<Trouble> {
    let (last_at, limit) = standing.arrivals.last_at.zip(standing.arrivals.silence_limit)?;
    let limit = TimeDelta::from_std(limit).ok().filter(|limit| standing.now - last_at > *limit)?;
    let remedy = "see in Stripe whether the endpoint is enabled";
    Some(Trouble {
        matter: Matter::Silent,
        level: Level::Warning,
        headline: format!("No event for {}", humanize_age(standing.now - last_at)),
        sentence: vec![words(format!(
            "Nothing has come in for longer than {}, far beyond what is usual: {remedy}.",
            humanize_age(limit)
        ))],
        remedy: remedy.to_owned(),
    })
}

fn failing(standing: &Standing) -> Vec<Trouble> {
    let trouble = |sentence| Trouble {
        matter: Matter::Failing,
        level: Level::Warning,
        headline: "Deliveries have failed".to_owned(),
        sentence,
        remedy: "eventbridge status names the causes, and the commands that go on".to_owned(),
    };
    let mut troubles: Vec<Trouble> = standing.failing.iter().map(|group| trouble(given_up(group))).collect();
    let more = match standing.unknown_failures.saturating_sub(standing.failing.len()) {
        0 => return troubles,
        1 => "There is one more kind of failure that nobody has acknowledged: see ".to_owned(),
        more => format!("There are {more} more kinds of failure that nobody has acknowledged: see "),
    };
    let all = Piece::Way {
        command: "/api/v1/failures".to_owned(),
        page: "/failures".to_owned(),
        words: "all failures".to_owned(),
    };
    troubles.push(trouble(vec![words(more), all, words(".")]));
    troubles
}

fn given_up(group: &Failing) -> Sentence {
    let Failing { key, destination, error_class, money, sample, .. } = group;
    let more = if group.is_money_cut { " and more" } else { "" };
    let number = count(group.count, group.is_more);
    let (deliveries, them) = match group.count {
        1 => ("delivery", "it"),
        _ => ("deliveries", "them"),
    };
    let facts = std::iter::once(error_class.clone()).chain(money.iter().map(|sum| format!("{sum}{more}")));
    let facts: Vec<String> = facts.filter(|fact| !fact.is_empty()).collect();
    let facts = if facts.is_empty() { String::new() } else { format!(" ({})", facts.join(", ")) };
    vec![
        words(format!("{} has given up {number} {deliveries}{facts}: ", capitalised(destination))),
        why(*sample),
        words(" tells what happened; once that is mended, "),
        Piece::Way {
            command: format!("eventbridge retry --failure {key}"),
            page: format!("/failures/{key}"),
            words: "the page of the group".to_owned(),
        },
        words(format!(" tries {them} again.")),
    ]
}

/// What tells all that happened to an execution.
fn why(execution: i64) -> Piece {
    Piece::Way {
        command: format!("eventbridge why {execution}"),
        page: format!("/executions/{execution}"),
        words: format!("execution {execution}"),
    }
}

fn last_event(arrivals: &Arrivals) -> Sentence {
    let Some(last_at) = arrivals.last_at else {
        return vec![words(
            "No event has come yet: send one from Stripe, or from the page of your endpoint there.",
        )];
    };
    let usual =
        arrivals.usual_gap.and_then(|gap| TimeDelta::from_std(gap).ok()).map(|gap| match gap.num_seconds() {
            0 => ", usually several in a second".to_owned(),
            1 => ", usually every second".to_owned(),
            _ => format!(", usually every {}", humanize_age(gap)),
        });
    vec![words("The last event came "), Piece::Ago(last_at), words(usual.unwrap_or_default()), words(".")]
}

fn waiting(standing: &Standing) -> Option<Sentence> {
    let destinations = &standing.destinations;
    let pending: u64 = destinations.iter().map(|of| of.pending).sum();
    if pending == 0 {
        return standing.arrivals.last_at.map(|_| vec![words("Nothing waits.")]);
    }
    let number = capitalised(&count(pending, destinations.iter().any(|of| of.is_more)));
    let oldest = destinations.iter().filter_map(|of| of.oldest).max();
    let oldest =
        oldest.map(|oldest| format!(", the oldest for {}", humanize_age(oldest))).unwrap_or_default();
    // Where it is not known of one, nobody can tell of all.
    let clears: Option<Vec<TimeDelta>> =
        destinations.iter().filter(|of| of.pending > 0).map(|of| of.clears_in).collect();
    let is_held = destinations.iter().any(|of| of.pending > 0 && of.held.is_some());
    let once = if is_held { " once it goes on" } else { "" };
    let clears = clears
        .and_then(|clears| clears.into_iter().max())
        .map(|longest| format!("; that clears in {}{once}", humanize_age(longest)))
        .unwrap_or_default();
    Some(vec![words(format!("{number} pending{oldest}{clears}."))])
}

/// A number with its thousands apart, or that there are more than were counted.
pub fn count(number: u64, is_more: bool) -> String {
    let digits = number.to_string();
    let mut text = if is_more { "more than ".to_owned() } else { String::new() };
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

fn words(text: impl Into<String>) -> Piece {
    Piece::Words(text.into())
}

fn capitalised(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::rejection::{Cause, Diagnosis};

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).expect("a time")
    }

    fn ago(seconds: i64) -> DateTime<Utc> {
        now() - TimeDelta::seconds(seconds)
    }

    fn destination(pending: u64, oldest_seconds: i64) -> Destination {
        Destination {
            name: "notion".to_owned(),
            pending,
            oldest: (pending > 0).then(|| TimeDelta::seconds(oldest_seconds)),
            oldest_execution: (pending > 0).then_some(42),
            clears_in: (pending > 0).then(|| TimeDelta::seconds(104)),
            ..Destination::default()
        }
    }

    fn standing(destinations: Vec<Destination>) -> Standing {
        let last_at = Some(ago(41));
        let arrivals = Arrivals { last_at, usual_gap: Some(Duration::from_mins(6)), silence_limit: None };
        Standing { now: now(), arrivals, destinations, is_worked: true, ..Standing::default() }
    }

    fn said(standing: &Standing) -> (Level, String, String) {
        let verdict = of(standing);
        let sentences = verdict.in_utc(now()).join(" ");
        (verdict.level, verdict.headline, sentences)
    }

    #[test]
    fn quiet_and_busy_are_well() {
        let (level, headline, sentences) = said(&standing(vec![destination(0, 0)]));
        assert_eq!((level, headline.as_str()), (Level::Ok, "All is well"));
        assert_eq!(sentences, "The last event came 41 s ago, usually every 6 min. Nothing waits.");
        let (level, _, sentences) = said(&standing(vec![destination(312, 47)]));
        assert_eq!(level, Level::Ok);
        assert!(
            sentences.ends_with("312 pending, the oldest for 47 s; that clears in 1 min 44 s."),
            "{sentences}"
        );
        let (level, headline, sentences) =
            said(&Standing { arrivals: Arrivals::default(), ..standing(Vec::new()) });
        assert_eq!((level, headline.as_str()), (Level::Ok, "Waiting for the first event"));
        assert!(sentences.starts_with("No event has come yet"), "{sentences}");
    }

    #[test]
    fn each_trouble_has_its_level_and_its_headline() {
        let behind = |minutes: i64| standing(vec![destination(4, minutes * 60)]);
        let rejected = |count| {
            let newest = Diagnosis {
                cause: Cause::WrongSecret,
                count,
                first_at: ago(600),
                last_at: ago(60),
                is_current: true,
                says: "They are signed with another secret.".to_owned(),
                remedy: "Set it.".to_owned(),
            };
            Some(InARow { count, newest })
        };
        let group = Failing {
            key: "3f2a".to_owned(),
            destination: "notion".to_owned(),
            error_class: "validation_error".to_owned(),
            count: 2,
            is_more: false,
            money: Vec::new(),
            is_money_cut: false,
            sample: 42,
        };
        let well = || standing(vec![destination(0, 0)]);
        let silence = Arrivals {
            last_at: Some(ago(36_000)),
            usual_gap: None,
            silence_limit: Some(Duration::from_hours(5)),
        };
        for (standing, level, headline, sentence) in [
            (behind(4), Level::Ok, "All is well", "The last event"),
            (
                behind(5),
                Level::Warning,
                "Notion is behind",
                "Notion is behind: 4 wait, the oldest for 5 min; eventbridge why 42 tells for what.",
            ),
            (behind(15), Level::Critical, "Notion is behind", "Notion is behind"),
            (Standing { is_worked: false, ..well() }, Level::Critical, "Nobody delivers", "No process"),
            (Standing { is_worked: false, ..standing(Vec::new()) }, Level::Ok, "All is well", "The last"),
            (
                Standing { unknown_failures: 3, failing: vec![group], ..well() },
                Level::Warning,
                "Deliveries have failed",
                "Notion has given up 2 deliveries (validation_error): eventbridge why 42 tells what happened; once that is mended, eventbridge retry --failure 3f2a tries them again. There are 2 more kinds of failure",
            ),
            (
                Standing { rejected: rejected(1), ..well() },
                Level::Warning,
                "Webhooks are rejected",
                "The last webhook was rejected, 1 min ago. They are signed with another secret. Set it.",
            ),
            (
                Standing { rejected: rejected(5), ..well() },
                Level::Critical,
                "Webhooks are rejected",
                "The last 5 webhooks were rejected, the newest 1 min ago.",
            ),
            (
                Standing { arrivals: silence, ..well() },
                Level::Warning,
                "No event for 10 h",
                "Nothing has come in",
            ),
        ] {
            let (found, title, sentences) = said(&standing);
            assert_eq!((found, title.as_str()), (level, headline), "{sentences}");
            assert!(sentences.starts_with(sentence), "{sentences}");
        }
    }

    #[test]
    fn a_held_destination_comes_first_and_says_since_when_and_what_to_do() {
        let held = |seconds| Destination {
            held: Some((ago(seconds), "set a new NOTION_API_KEY.".to_owned())),
            ..destination(312, 2820)
        };
        let (level, headline, sentences) =
            said(&Standing { unknown_failures: 3, is_worked: false, ..standing(vec![held(3600)]) });
        assert_eq!((level, headline.as_str()), (Level::Critical, "Notion is held"));
        assert!(
            sentences
                .starts_with("Notion has been held since 07:00 UTC: set a new NOTION_API_KEY. No process"),
            "{sentences}"
        );
        assert!(
            sentences
                .ends_with("312 pending, the oldest for 47 min; that clears in 1 min 44 s once it goes on."),
            "{sentences}"
        );
        let (_, headline, sentences) = said(&standing(vec![held(3600), held(86_400)]));
        assert_eq!(headline, "2 destinations are held");
        assert!(sentences.contains("since 2027-01-14 08:00 UTC"), "{sentences}");
    }

    #[test]
    fn what_was_not_counted_to_its_end_is_more_and_clears_at_no_time() {
        let more = Destination { is_more: true, clears_in: None, ..destination(20_312, 47) };
        let (.., sentences) = said(&standing(vec![destination(1, 2), more]));
        assert!(sentences.ends_with("More than 20\u{202f}313 pending, the oldest for 47 s."), "{sentences}");
    }
}
