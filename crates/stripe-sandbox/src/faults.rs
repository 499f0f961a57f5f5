//! Faults of the API: what can go wrong with a request, and the rules that select requests for it.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::{Deserialize, Serialize};
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
        /// The `Stripe-Should-Retry`.
        #[serde(default)]
        should_retry: Option<bool>,
    },
    /// An error such as 409, 500 or 503, nothing done.
    Error {
        /// The HTTP status.
        status: u16,
        /// The `Stripe-Should-Retry`.
        #[serde(default)]
        should_retry: Option<bool>,
    },
    /// An error such as 500 after the write was done.
    ErrorAfterWrite {
        /// The HTTP status.
        status: u16,
    },
    /// A page of HTML from the edge, nothing done.
    Html {
        /// The HTTP status.
        status: u16,
    },
    /// No answer, until the client gives up.
    Timeout,
    /// The connection is closed without an answer, nothing done.
    Drop,
    /// The connection is closed in the middle of the answer's body.
    DropBody,
    /// The answer comes late; combines with other faults.
    Slow {
        /// The delay.
        delay_ms: u64,
    },
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
    /// To which requests: `any`, or the resource of the path, such as `events` or `v2/core/events`.
    #[serde(default = "any")]
    pub route: String,
    /// After so many requests that it would apply to.
    #[serde(default)]
    pub after: u32,
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
        Self { fault, times: Some(1), route: any(), after: 0, probability: 1.0 }
    }

    /// The fault happens until the rules are cleared.
    pub fn always(fault: Fault) -> Self {
        Self { times: None, ..Self::once(fault) }
    }

    /// Only to requests for this resource, such as `events` or `v2/core/events`.
    #[must_use]
    pub fn on(self, route: &str) -> Self {
        Self { route: route.to_owned(), ..self }
    }

    /// Only after so many other requests that it would apply to.
    #[must_use]
    pub fn after(self, requests: u32) -> Self {
        Self { after: requests, ..self }
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
            Fault::Slow { delay_ms } if delay_ms > DELAY_MS_MAX => Err(FaultError::Delay(delay_ms)),
            Fault::Error { status, .. } | Fault::ErrorAfterWrite { status } | Fault::Html { status }
                if !(400..600).contains(&status) =>
            {
                Err(FaultError::Status(status))
            }
            _ => Ok(()),
        }
    }

    fn applies_to(&self, path: &str) -> bool {
        let below = path.strip_prefix("/v1/").or_else(|| path.strip_prefix('/')).unwrap_or(path);
        let rest = below.strip_prefix(self.route.as_str());
        self.route == "any" || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
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
    /// How late the answer is sent.
    pub slow: Duration,
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

    /// The faults of a request. Delays add up; of the other rules the first one applies, and the rest stay
    /// for later requests.
    pub fn draw(&mut self, path: &str) -> DrawnFault {
        let mut drawn = DrawnFault::default();
        for rule in &mut self.rules {
            let is_late = matches!(rule.fault, Fault::Slow { .. });
            if !rule.applies_to(path) || (drawn.fault.is_some() && !is_late) {
                continue;
            }
            if rule.after > 0 {
                rule.after -= 1;
                continue;
            }
            if !self.rng.random_bool(rule.probability) {
                continue;
            }
            rule.times = rule.times.map(|times| times.saturating_sub(1));
            match &rule.fault {
                Fault::Slow { delay_ms } => drawn.slow += Duration::from_millis(*delay_ms),
                fault => drawn.fault = Some(fault.clone()),
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

fn any() -> String {
    "any".to_owned()
}

fn certain() -> f64 {
    1.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_rule_applies_to_its_route_after_some_requests_and_ends() {
        let mut faults = Faults::new(1);
        faults.add(FaultRule::once(Fault::Drop).on("events").after(1)).unwrap();
        let paths = ["/v1/charges", "/v1/events", "/v1/events_of", "/v1/events/evt_1", "/v1/events"];
        let drawn: Vec<_> = paths.iter().map(|path| faults.draw(path).fault.is_some()).collect();
        assert_eq!(drawn, [false, false, false, true, false]);
        faults.add(FaultRule::once(Fault::Drop).on("v2/core/events")).unwrap();
        assert!(faults.draw("/v1/events").fault.is_none() && faults.draw("/v2/core/events").fault.is_some());
    }

    #[test]
    fn delays_combine_with_another_fault() {
        let mut faults = Faults::new(1);
        faults.add(FaultRule::once(Fault::Error { status: 503, should_retry: None })).unwrap();
        faults.add(FaultRule::once(Fault::Slow { delay_ms: 5 })).unwrap();
        let drawn = faults.draw("/v1/charges");
        assert_eq!((drawn.slow.as_millis(), drawn.fault.is_some()), (5, true));
    }

    #[test]
    fn a_rule_reads_from_json_and_invalid_ones_are_rejected() {
        let text = json!({"kind": "rate_limited", "retry_after": 3, "route": "events", "times": null});
        let rule: FaultRule = serde_json::from_value(text).unwrap();
        let fault = Fault::RateLimited { retry_after: Some(3), should_retry: None };
        assert_eq!(rule, FaultRule::always(fault).on("events"));
        let mut faults = Faults::new(0);
        assert!(faults.add(FaultRule::once(Fault::Drop).with_probability(f64::NAN)).is_err());
        assert!(faults.add(FaultRule::once(Fault::Html { status: 200 })).is_err());
        assert!(faults.add(FaultRule::once(Fault::Slow { delay_ms: u64::MAX })).is_err());
    }
}
