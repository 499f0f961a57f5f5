//! The sender's side of the deliveries: whether it sends to this service, as its API shows it.

use super::subscription::Subscription;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::mem::discriminant;
use std::sync::Arc;
use url::Url;

/// The most types that a problem lists; the others are counted.
const TYPES_MAX: usize = 5;

/// What this service needs of its endpoint at the sender.
#[derive(Debug, Clone)]
pub struct WantedEndpoint {
    /// The address at which the service is reached, without the path of the webhook; `None` if it is unknown.
    pub public_url: Option<Url>,
    /// What the destinations subscribe to.
    pub subscriptions: Arc<[Subscription]>,
}

/// What a check found. Parts that could not be checked are unknown, and everything else is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndpointFound {
    /// The endpoints that send to this service, by their ids.
    pub enabled: Vec<String>,
    /// What is wrong. [`Undelivered`](EndpointProblem::Undelivered) is never among these.
    pub problems: Vec<EndpointProblem>,
    /// The events that the sender did not deliver by its own account. Some of them may be deliveries to others.
    pub undelivered: Vec<UndeliveredEvent>,
    /// The parts that could not be checked.
    pub unknown: Vec<UnknownPart>,
}

/// An event that the sender did not deliver to every endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndeliveredEvent {
    /// The sender's id of it.
    pub event_id: String,
    /// When it happened.
    pub created: DateTime<Utc>,
}

/// Something that keeps events from arriving.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "problem", rename_all = "snake_case")]
pub enum EndpointProblem {
    /// The endpoint is disabled: its events are never sent.
    Disabled {
        /// The endpoints, by their ids.
        endpoints: Vec<String>,
    },
    /// No endpoint leads to this service.
    Missing {
        /// The address that it should have, if that is known.
        url: Option<String>,
    },
    /// An endpoint leads to the same path at another address.
    OtherUrl {
        /// The address to which it leads.
        url: String,
        /// The address that it should have.
        wanted: String,
    },
    /// The endpoint sends a version of the API that this program does not know.
    OtherVersion {
        /// The endpoint's id.
        endpoint: String,
        /// The version that it sends.
        version: String,
        /// The newest version that the program knows.
        known: String,
    },
    /// The endpoint does not send types that destinations need.
    MissingTypes {
        /// Some of the types.
        types: Vec<String>,
        /// How many there are.
        count: usize,
    },
    /// The sender could not deliver events.
    Undelivered {
        /// How many; at least this many.
        count: usize,
        /// When the oldest of them happened.
        oldest: DateTime<Utc>,
    },
}

/// A part of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckedPart {
    /// The endpoints and their settings.
    Endpoints,
    /// Which events were not delivered.
    Deliveries,
}

/// A part that could not be checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnknownPart {
    /// The part.
    pub part: CheckedPart,
    /// Why, as a sentence without its full stop.
    pub why: String,
    /// What to do, as a sentence without its full stop.
    pub remedy: String,
    /// Whether only a permission is missing, which may be intended.
    pub lacks_permission: bool,
}

/// Something, and since when it lasts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Since<T> {
    /// When it was first found.
    pub since: DateTime<Utc>,
    /// What it is.
    #[serde(flatten)]
    pub what: T,
}

/// The sender's side as the last checks found it, for one key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointState {
    /// The endpoints that send to this service, by their ids.
    pub enabled: Vec<String>,
    /// Whether an endpoint was found before, so that its absence is a loss.
    pub was_seen: bool,
    /// What is wrong. If a part is unknown, its problems are those that were last found.
    pub problems: Vec<Since<EndpointProblem>>,
    /// The parts that could not be checked the last time.
    pub unknown: Vec<Since<UnknownPart>>,
}

/// The sender's side for one key, as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointCheck {
    /// The source instance.
    pub source: String,
    /// The name of the key.
    pub key: String,
    /// Whether the key reads what concerns real money.
    pub livemode: bool,
    /// When a check last succeeded, at least in part; `None` if none did.
    pub checked_at: Option<DateTime<Utc>>,
    /// What was found.
    pub state: EndpointState,
}

impl EndpointProblem {
    /// The problem that these types are not sent; `None` if there are none.
    pub fn missing_types(mut types: Vec<String>) -> Option<Self> {
        let count = types.len();
        types.truncate(TYPES_MAX);
        (count > 0).then_some(Self::MissingTypes { types, count })
    }

    /// The problem that these events were not delivered; `None` if there are none.
    pub fn undelivered(events: &[UndeliveredEvent]) -> Option<Self> {
        let oldest = events.iter().map(|event| event.created).min()?;
        Some(Self::Undelivered { count: events.len(), oldest })
    }

    /// The word for it.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Disabled { .. } => "disabled",
            Self::Missing { .. } => "missing",
            Self::OtherUrl { .. } => "other_url",
            Self::OtherVersion { .. } => "other_version",
            Self::MissingTypes { .. } => "missing_types",
            Self::Undelivered { .. } => "undelivered",
        }
    }

    const fn part(&self) -> CheckedPart {
        match self {
            Self::Undelivered { .. } => CheckedPart::Deliveries,
            _ => CheckedPart::Endpoints,
        }
    }
}

impl EndpointState {
    /// The state after a check at this time. After a check that failed, what was known stays.
    #[must_use]
    pub fn after(self, check: Result<EndpointFound, UnknownPart>, now: DateTime<Utc>) -> Self {
        let found = match check {
            Ok(found) => found,
            Err(unknown) => {
                return Self { unknown: vec![self.unknown_since(unknown, now)], ..self };
            }
        };
        let EndpointFound { enabled, problems, undelivered, unknown } = found;
        let undelivered = EndpointProblem::undelivered(&undelivered);
        let mut problems: Vec<_> =
            problems.into_iter().chain(undelivered).map(|problem| self.problem_since(problem, now)).collect();
        let is_unknown = |part| unknown.iter().any(|one: &UnknownPart| one.part == part);
        problems.extend(self.problems.iter().filter(|earlier| is_unknown(earlier.what.part())).cloned());
        let unknown: Vec<_> = unknown.into_iter().map(|part| self.unknown_since(part, now)).collect();
        let was_seen = self.was_seen || !enabled.is_empty();
        Self { enabled, was_seen, problems, unknown }
    }

    fn problem_since(&self, problem: EndpointProblem, now: DateTime<Utc>) -> Since<EndpointProblem> {
        let is_same =
            |earlier: &&Since<EndpointProblem>| discriminant(&earlier.what) == discriminant(&problem);
        let since = match (&problem, self.problems.iter().find(is_same)) {
            (EndpointProblem::Undelivered { oldest, .. }, _) => *oldest,
            (_, Some(earlier)) => earlier.since,
            (_, None) => now,
        };
        Since { since, what: problem }
    }

    fn unknown_since(&self, unknown: UnknownPart, now: DateTime<Utc>) -> Since<UnknownPart> {
        let earlier = self.unknown.iter().find(|earlier| earlier.what.part == unknown.part);
        Since { since: earlier.map_or(now, |earlier| earlier.since), what: unknown }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minute)
    }

    fn disabled() -> EndpointProblem {
        EndpointProblem::Disabled { endpoints: vec!["we_1".to_owned()] }
    }

    fn found(problems: Vec<EndpointProblem>) -> EndpointFound {
        EndpointFound { problems, ..EndpointFound::default() }
    }

    fn unknown(part: CheckedPart) -> UnknownPart {
        UnknownPart { part, why: "x".to_owned(), remedy: "y".to_owned(), lacks_permission: false }
    }

    #[test]
    fn a_problem_lasts_from_the_check_that_first_found_it_until_one_that_does_not() {
        let first = EndpointState::default().after(Ok(found(vec![disabled()])), at(1));
        let second = first.after(Ok(found(vec![disabled()])), at(3));
        assert_eq!(second.problems, [Since { since: at(1), what: disabled() }]);
        let third = second.after(Ok(found(Vec::new())), at(5));
        assert!(third.problems.is_empty());
        let fourth = third.after(Ok(found(vec![disabled()])), at(7));
        assert_eq!(fourth.problems[0].since, at(7));
    }

    #[test]
    fn a_failed_check_changes_nothing_that_was_known() {
        let known = EndpointState::default().after(Ok(found(vec![disabled()])), at(1));
        let failed = known.after(Err(unknown(CheckedPart::Endpoints)), at(3));
        let failed = failed.after(Err(unknown(CheckedPart::Endpoints)), at(5));
        assert_eq!((failed.problems[0].since, failed.unknown[0].since), (at(1), at(3)));
        assert!(failed.after(Ok(found(Vec::new())), at(7)).unknown.is_empty());
    }

    #[test]
    fn an_unknown_part_keeps_its_own_problems_only() {
        let event = UndeliveredEvent { event_id: "evt_1".to_owned(), created: at(0) };
        let both = EndpointFound {
            problems: vec![disabled()],
            undelivered: vec![event],
            ..EndpointFound::default()
        };
        let known = EndpointState::default().after(Ok(both), at(4));
        let words = |state: &EndpointState| {
            state.problems.iter().map(|problem| problem.what.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(words(&known), ["disabled", "undelivered"]);
        let part =
            EndpointFound { unknown: vec![unknown(CheckedPart::Deliveries)], ..EndpointFound::default() };
        let known = known.after(Ok(part), at(6));
        assert_eq!(words(&known), ["undelivered"]);
        assert_eq!((known.problems[0].since, known.unknown[0].since), (at(0), at(6)));
    }

    #[test]
    fn an_endpoint_that_was_seen_once_is_missed_later() {
        let seen = EndpointFound { enabled: vec!["we_1".to_owned()], ..EndpointFound::default() };
        let state = EndpointState::default().after(Ok(found(Vec::new())), at(1));
        assert!(!state.was_seen);
        let state = state.after(Ok(seen), at(2)).after(Ok(found(Vec::new())), at(3));
        assert!(state.was_seen && state.enabled.is_empty());
    }

    #[test]
    fn it_is_stored_as_json_and_read_again() {
        let state = EndpointState::default()
            .after(Ok(found(vec![disabled(), EndpointProblem::Missing { url: None }])), at(1))
            .after(Err(unknown(CheckedPart::Endpoints)), at(2));
        let json = serde_json::to_value(&state).expect("JSON");
        assert_eq!(json["problems"][0]["problem"], "disabled", "{json}");
        assert_eq!(serde_json::from_value::<EndpointState>(json).expect("readable"), state);
    }
}
