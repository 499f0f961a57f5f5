//! The causes of rejected requests, and how many were rejected in a row.

use super::{SAMPLES_KEPT, StoredSample};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Older rejections are ignored.
const RECENT: TimeDelta = TimeDelta::hours(24);

/// Why requests are rejected. Later versions may add values: accept unknown ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = RejectionCauseKind)]
pub enum Cause {
    /// The sending endpoint has another secret than the configured ones, and no event is accepted.
    WrongSecret,
    /// Some requests are accepted and some are signed with a secret that is not configured.
    AnotherSecret,
    /// Events of live mode are signed with a secret that is named as one of test mode.
    TestSecret,
    /// A proxy rewrites the body.
    BodyRewritten,
    /// Something on the way changes the body so that it is no event any more.
    BodyDamaged,
    /// A proxy drops the signature header.
    HeaderDropped,
    /// A proxy changes the signature header.
    HeaderChanged,
    /// The request was sent to a path without a webhook.
    WrongPath,
    /// The two clocks differ.
    Clock,
    /// The requests were delayed or replayed.
    Delayed,
    /// The request was signed but is not an event.
    NotAnEvent,
    /// Another caller uses this URL.
    Stranger,
}

impl Cause {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WrongSecret => "wrong_secret",
            Self::AnotherSecret => "another_secret",
            Self::TestSecret => "test_secret",
            Self::BodyRewritten => "body_rewritten",
            Self::BodyDamaged => "body_damaged",
            Self::HeaderDropped => "header_dropped",
            Self::HeaderChanged => "header_changed",
            Self::WrongPath => "wrong_path",
            Self::Clock => "clock",
            Self::Delayed => "delayed",
            Self::NotAnEvent => "not_an_event",
            Self::Stranger => "stranger",
        }
    }

    /// Whether the operator can fix it; calls by strangers are not a fault.
    pub const fn is_fixable(self) -> bool {
        !matches!(self, Self::Stranger)
    }
}

/// One cause of rejections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// What it is.
    pub cause: Cause,
    /// The number of rejections, including those without a sample.
    pub count: u64,
    /// The time of the oldest sample.
    pub first_at: DateTime<Utc>,
    /// The newest one.
    pub last_at: DateTime<Utc>,
    /// Whether nothing was accepted after the newest one.
    pub is_current: bool,
    /// What is seen.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

/// Finds the causes of rejected requests. Only the sources can.
pub trait Diagnose {
    /// The causes of these rejected requests, the newest first.
    fn diagnose(&self, rejections: &[StoredSample], accepted: &Accepted) -> Vec<Diagnosis>;
}

/// When the newest events were accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accepted {
    /// That of any source.
    pub last_at: Option<DateTime<Utc>>,
    /// That of each source of which requests were rejected: what one sender is answered shows nothing about
    /// another one.
    pub by_source: BTreeMap<String, DateTime<Utc>>,
}

impl Accepted {
    /// When the newest event of this source was accepted.
    pub fn of(&self, source: &str) -> Option<DateTime<Utc>> {
        self.by_source.get(source).copied()
    }
}

/// The causes of these rejected requests, the newest first. What is older than a day is not current.
pub fn causes(
    kept: &[StoredSample],
    accepted: &Accepted,
    sources: &dyn Diagnose,
    now: DateTime<Utc>,
) -> Vec<Diagnosis> {
    let mut found = sources.diagnose(kept, accepted);
    for one in &mut found {
        one.is_current &= now.signed_duration_since(one.last_at) < RECENT;
    }
    found
}

/// Requests that were rejected in a row, none accepted between or after them, for causes that can be fixed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectionStreak {
    /// How many.
    pub count: u64,
    /// When it began. If its first samples were replaced, when the last event was accepted before it.
    pub began_at: DateTime<Utc>,
    /// The cause of the newest ones.
    pub newest: Diagnosis,
}

/// The present run of rejections: since an event of their source was accepted, and within a day.
pub fn rejection_streak(
    kept: &[StoredSample],
    accepted: &Accepted,
    sources: &dyn Diagnose,
    now: DateTime<Utc>,
) -> Option<RejectionStreak> {
    let is_after = |one: &StoredSample| accepted.of(&one.sample.source).is_none_or(|at| one.at > at);
    let of_late: Vec<_> = kept
        .iter()
        .filter(|one| is_after(one) && now.signed_duration_since(one.at) < RECENT)
        .cloned()
        .collect();
    let causes = sources.diagnose(&of_late, accepted);
    let fixable = || causes.iter().filter(|found| found.cause.is_fixable());
    let count = fixable().map(|found| found.count).sum();
    let newest = fixable().next()?.clone();
    let first_at = fixable().map(|found| found.first_at).min()?;
    // At one sample per second all of them may cover less than two minutes.
    let are_full = i64::try_from(kept.len()).is_ok_and(|kept| kept >= SAMPLES_KEPT);
    let oldest = kept.iter().min_by_key(|one| one.at).filter(|one| are_full && is_after(one));
    let accepted_before = oldest.map(|one| accepted.of(&one.sample.source).unwrap_or(now - RECENT));
    let began_at = accepted_before.map_or(first_at, |at| at.max(now - RECENT).min(first_at));
    Some(RejectionStreak { count, began_at, newest })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::rejection::RejectionSample;

    /// Takes each rejection for a wrong secret.
    struct WrongSecrets;

    impl Diagnose for WrongSecrets {
        fn diagnose(&self, rejections: &[StoredSample], accepted: &Accepted) -> Vec<Diagnosis> {
            let Some(at) = rejections.iter().map(|kept| kept.at).max() else { return Vec::new() };
            vec![Diagnosis {
                cause: Cause::WrongSecret,
                count: rejections.iter().map(|kept| kept.sample.unseen + 1).sum(),
                first_at: rejections.iter().map(|kept| kept.at).min().unwrap_or(at),
                last_at: at,
                is_current: accepted.of("stripe").is_none_or(|accepted| accepted < at),
                message: String::new(),
                remedy: String::new(),
            }]
        }
    }

    #[test]
    fn rejections_count_since_the_last_event_was_accepted_and_within_a_day() {
        let ago = |minutes| DateTime::UNIX_EPOCH + TimeDelta::days(9) - TimeDelta::minutes(minutes);
        let count = |accepted: Option<i64>, minutes: i64, unseen: u64| {
            let sample = RejectionSample {
                unseen,
                ..RejectionSample::new("stripe", "signature_no_match", Vec::new(), b"")
            };
            let kept = [StoredSample { at: ago(minutes), sample }];
            let at = accepted.map(ago);
            // What another source accepts shows nothing.
            let by_source =
                at.map(|at| ("stripe".to_owned(), at)).into_iter().chain([("github".to_owned(), ago(0))]);
            let accepted = Accepted { last_at: Some(ago(0)), by_source: by_source.collect() };
            rejection_streak(&kept, &accepted, &WrongSecrets, ago(0)).map(|found| found.count)
        };
        assert_eq!(count(None, 1, 2), Some(3));
        assert_eq!(count(Some(9), 8, 2), Some(3));
        assert_eq!(count(Some(7), 8, 2), None);
        assert_eq!(count(None, 25 * 60, 9), None);
    }

    #[test]
    fn a_streak_of_more_rejections_than_are_kept_began_after_the_last_accepted_event() {
        let ago = |seconds| DateTime::UNIX_EPOCH + TimeDelta::days(9) - TimeDelta::seconds(seconds);
        let began = |accepted: Option<i64>, kept: i64| {
            let sample = RejectionSample::new("stripe", "signature_no_match", Vec::new(), b"");
            let kept: Vec<_> =
                (0..kept).map(|n| StoredSample { at: ago(n), sample: sample.clone() }).collect();
            let by_source = accepted.map(|at| ("stripe".to_owned(), ago(at))).into_iter().collect();
            let accepted = Accepted { last_at: accepted.map(ago), by_source };
            let streak = rejection_streak(&kept, &accepted, &WrongSecrets, ago(0)).expect("a streak");
            ago(0).signed_duration_since(streak.began_at).num_seconds()
        };
        assert_eq!(began(Some(3_600), SAMPLES_KEPT - 1), SAMPLES_KEPT - 2, "all samples are there");
        assert_eq!(began(Some(3_600), SAMPLES_KEPT), 3_600);
        assert_eq!(began(Some(30), SAMPLES_KEPT), 29, "an event was accepted between");
        assert_eq!(began(None, SAMPLES_KEPT), RECENT.num_seconds());
        assert_eq!(began(Some(9 * 86_400), SAMPLES_KEPT), RECENT.num_seconds());
    }

    #[test]
    fn a_cause_of_the_day_before_is_not_current() {
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(9);
        let is_current = |hours| {
            let sample = RejectionSample::new("stripe", "signature_no_match", Vec::new(), b"");
            let kept = [StoredSample { at: now - TimeDelta::hours(hours), sample }];
            causes(&kept, &Accepted::default(), &WrongSecrets, now)[0].is_current
        };
        assert_eq!([23, 25].map(is_current), [true, false]);
    }
}
