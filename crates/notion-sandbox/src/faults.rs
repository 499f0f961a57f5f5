//! Fault injection: the faults that the sandbox can show, and the rules that select requests for them.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;

/// One fault. In JSON its name is in `kind`, in lower case with underscores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Fault {
    /// 429, nothing done.
    RateLimited {
        /// The `Retry-After`, in seconds.
        #[serde(default)]
        retry_after: Option<u64>,
        /// Whether the whole integration is blocked, which waiting does not resolve.
        #[serde(default)]
        blocked: bool,
    },
    /// 429, nothing done: all connections of the workspace together make too many requests. The wait is only
    /// in the body, and may exceed a minute.
    WorkspaceLimited {
        /// The `additional_data.retry_after`, in seconds.
        retry_after: u64,
    },
    /// 529, nothing done.
    Overloaded {
        /// The `Retry-After`, in seconds.
        #[serde(default)]
        retry_after: Option<u64>,
    },
    /// 409, nothing done.
    Conflict,
    /// 401: the token was revoked.
    Unauthorized,
    /// 403: the integration may not do this.
    Restricted,
    /// 404: the user no longer shares the database with the integration.
    Unshared,
    /// 400 about this one request.
    Invalid {
        /// What Notion says is wrong.
        #[serde(default = "invalid_message")]
        message: String,
    },
    /// An error such as 500, 502, 503 or 504 before anything was done.
    Error {
        /// The HTTP status.
        status: u16,
    },
    /// An error such as 500 or 503 after the write was done; the response does not mention the write.
    ErrorAfterWrite {
        /// The HTTP status.
        status: u16,
    },
    /// 503 after the write was done, naming in `committed_resource_id` what was written.
    Committed,
    /// The answer has only the id of the page that was written or read: the integration may not read content.
    Partial,
    /// 502 with a page of HTML from the edge, nothing done.
    Html,
    /// The connection is closed without an answer, nothing done.
    Drop,
    /// The connection is closed without an answer after the write was done.
    DropAfterWrite,
    /// The connection is closed without an answer, and the write is done later.
    DropThenWrite {
        /// The delay.
        delay_ms: u64,
    },
    /// A query ignores its filter.
    Unfiltered,
    /// The request is executed at once and answered late; combines with other faults.
    Slow {
        /// The delay.
        delay_ms: u64,
    },
    /// A new page is hidden from queries for a while; combines with other faults.
    QueryLag {
        /// The delay.
        delay_ms: u64,
    },
}

/// The requests that a rule applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// All of them.
    #[default]
    Any,
    /// `POST /v1/pages`
    Create,
    /// `PATCH /v1/pages/{id}`
    Update,
    /// `GET /v1/pages/{id}`
    Read,
    /// `POST /v1/data_sources/{id}/query`
    Query,
    /// Databases and data sources, read or changed.
    Schema,
    /// `PATCH /v1/blocks/{id}/children`
    Children,
    /// `GET /v1/users/me`
    Me,
    /// `POST /v1/search`
    Search,
    /// Views, created or read.
    Views,
}

/// When a fault happens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FaultRule {
    /// What happens.
    #[serde(flatten)]
    pub fault: Fault,
    /// How many times, by default once; in JSON `null` means always.
    #[serde(default = "once")]
    pub times: Option<u32>,
    /// To which requests.
    #[serde(default)]
    pub route: Route,
    /// Only if the body contains this text, such as an event's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub containing: Option<String>,
    /// With which probability, from 0 to 1.
    #[serde(default = "certain")]
    pub probability: f64,
}

/// Why a rule is rejected.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FaultError {
    /// The probability is out of range.
    #[error("the probability must be from 0 to 1, not {0}")]
    Probability(f64),
    /// The delay is too long.
    #[error("the delay must be at most {DELAY_MS_MAX} ms, not {0}")]
    Delay(u64),
    /// The status is not that of an error.
    #[error("the status of an error must be from 400 to 599, not {0}")]
    Status(u16),
    /// Too many rules.
    #[error("there are {RULES_MAX} rules already; clear them first")]
    Full,
}

const RULES_MAX: usize = 1000;
const DELAY_MS_MAX: u64 = 600_000;

impl FaultRule {
    /// The fault happens once, to the next request of any kind.
    pub fn once(fault: Fault) -> Self {
        Self { fault, times: Some(1), route: Route::Any, containing: None, probability: 1.0 }
    }

    /// The fault happens until the rules are cleared.
    pub fn always(fault: Fault) -> Self {
        Self { times: None, ..Self::once(fault) }
    }

    /// Only to these requests.
    #[must_use]
    pub fn on(self, route: Route) -> Self {
        Self { route, ..self }
    }

    /// Only to those whose body has this text.
    #[must_use]
    pub fn containing(self, text: &str) -> Self {
        Self { containing: Some(text.to_owned()), ..self }
    }

    /// This many times.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times: Some(times), ..self }
    }

    /// With this probability.
    #[must_use]
    pub fn with_probability(self, probability: f64) -> Self {
        Self { probability, ..self }
    }

    fn check(&self) -> Result<(), FaultError> {
        if !(0.0..=1.0).contains(&self.probability) {
            return Err(FaultError::Probability(self.probability));
        }
        match self.fault {
            Fault::DropThenWrite { delay_ms } | Fault::Slow { delay_ms } | Fault::QueryLag { delay_ms }
                if delay_ms > DELAY_MS_MAX =>
            {
                Err(FaultError::Delay(delay_ms))
            }
            Fault::Error { status } | Fault::ErrorAfterWrite { status } if !(400..600).contains(&status) => {
                Err(FaultError::Status(status))
            }
            _ => Ok(()),
        }
    }
}

/// The rules in force, tried in the order in which they were given.
#[derive(Debug)]
pub struct Faults {
    rules: Vec<FaultRule>,
    rng: StdRng,
}

/// The effect of the rules on one request.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct DrawnFault {
    /// How late the response is sent.
    pub slow: Duration,
    /// How long a new page stays hidden from queries.
    pub lag: Duration,
    /// What else happens.
    pub fault: Option<Fault>,
}

impl Faults {
    /// No rules; chance follows from the seed.
    pub fn new(seed: u64) -> Self {
        Self { rules: Vec::new(), rng: StdRng::seed_from_u64(seed) }
    }

    /// Adds a rule.
    pub fn add(&mut self, rule: FaultRule) -> Result<(), FaultError> {
        rule.check()?;
        if self.rules.len() >= RULES_MAX {
            return Err(FaultError::Full);
        }
        if rule.times != Some(0) {
            self.rules.push(rule);
        }
        Ok(())
    }

    /// Removes all rules.
    pub fn clear(&mut self) {
        self.rules.clear();
    }

    /// The remaining rules.
    pub fn rules(&self) -> &[FaultRule] {
        &self.rules
    }

    /// The faults of a request of this kind with this body. Delays add up; of the other rules the first
    /// one applies, and the rest stay for later requests.
    pub fn draw(&mut self, route: Route, body: &Value) -> DrawnFault {
        let mut text = None;
        let mut drawn = DrawnFault::default();
        let rng = &mut self.rng;
        for rule in &mut self.rules {
            if rule.route != Route::Any && rule.route != route {
                continue;
            }
            if let Some(wanted) = &rule.containing
                && !text.get_or_insert_with(|| body.to_string()).contains(wanted)
            {
                continue;
            }
            let delay = match rule.fault {
                Fault::Slow { delay_ms } | Fault::QueryLag { delay_ms } => Some(delay_ms),
                _ => None,
            };
            if delay.is_none() && drawn.fault.is_some() || !rng.random_bool(rule.probability) {
                continue;
            }
            rule.times = rule.times.map(|times| times.saturating_sub(1));
            match (&rule.fault, delay.map(Duration::from_millis)) {
                (Fault::QueryLag { .. }, Some(delay)) => drawn.lag += delay,
                (_, Some(delay)) => drawn.slow += delay,
                (fault, None) => drawn.fault = Some(fault.clone()),
            }
        }
        self.rules.retain(|rule| rule.times != Some(0));
        drawn
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the type of the field that it fills")]
fn once() -> Option<u32> {
    Some(1)
}

fn certain() -> f64 {
    1.0
}

fn invalid_message() -> String {
    "body failed validation: body.properties should be an object, instead was `undefined`.".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn faults(rules: &[FaultRule]) -> Faults {
        let mut faults = Faults::new(7);
        for rule in rules {
            faults.add(rule.clone()).unwrap();
        }
        faults
    }

    #[test]
    fn a_rule_ends_after_its_times_and_the_next_takes_over() {
        let mut faults = faults(&[FaultRule::once(Fault::Conflict).times(2), FaultRule::once(Fault::Drop)]);
        let drawn: Vec<_> = (0..4).map(|_| faults.draw(Route::Create, &Value::Null).fault).collect();
        assert_eq!(drawn, [Some(Fault::Conflict), Some(Fault::Conflict), Some(Fault::Drop), None]);
    }

    #[test]
    fn a_rule_applies_only_to_its_route() {
        let mut faults = faults(&[FaultRule::always(Fault::Conflict).on(Route::Update)]);
        assert_eq!(faults.draw(Route::Create, &Value::Null).fault, None);
        assert_eq!(faults.draw(Route::Update, &Value::Null).fault, Some(Fault::Conflict));
    }

    #[test]
    fn a_rule_can_select_requests_by_their_body() {
        let mut faults = faults(&[FaultRule::always(Fault::Conflict).containing("evt_2")]);
        let page = |id: &str| json!({"properties": {"EventId": {"title": [{"text": {"content": id}}]}}});
        assert_eq!(faults.draw(Route::Create, &page("evt_1")).fault, None);
        assert_eq!(faults.draw(Route::Create, &page("evt_2")).fault, Some(Fault::Conflict));
    }

    #[test]
    fn delays_combine_with_another_fault() {
        let mut faults = faults(&[
            FaultRule::once(Fault::Conflict),
            FaultRule::once(Fault::Slow { delay_ms: 5 }),
            FaultRule::once(Fault::QueryLag { delay_ms: 9 }),
        ]);
        let drawn = faults.draw(Route::Create, &Value::Null);
        assert_eq!(drawn.fault, Some(Fault::Conflict));
        assert_eq!((drawn.slow.as_millis(), drawn.lag.as_millis()), (5, 9));
    }

    #[test]
    fn the_same_seed_draws_the_same_faults() {
        let draw = || {
            let mut faults = faults(&[FaultRule::always(Fault::Conflict).with_probability(0.5)]);
            (0..64).map(|_| faults.draw(Route::Any, &Value::Null).fault.is_some()).collect::<Vec<_>>()
        };
        assert_eq!(draw(), draw());
        assert!(draw().contains(&true) && draw().contains(&false));
    }

    #[test]
    fn a_rule_reads_from_json_with_sensible_defaults() {
        let rule: FaultRule = serde_json::from_value(json!({ "kind": "slow", "delay_ms": 3 })).unwrap();
        assert_eq!(rule, FaultRule::once(Fault::Slow { delay_ms: 3 }));
        let forever = json!({ "kind": "drop", "times": null, "route": "create" });
        let rule: FaultRule = serde_json::from_value(forever).unwrap();
        assert_eq!(rule, FaultRule::always(Fault::Drop).on(Route::Create));
    }

    #[test]
    fn invalid_rules_are_rejected() {
        let mut faults = Faults::new(0);
        let rule = FaultRule::once(Fault::Drop);
        assert!(faults.add(rule.clone().with_probability(f64::NAN)).is_err());
        assert!(faults.add(FaultRule::once(Fault::Error { status: 200 })).is_err());
        assert!(faults.add(FaultRule::once(Fault::Slow { delay_ms: u64::MAX })).is_err());
    }
}
