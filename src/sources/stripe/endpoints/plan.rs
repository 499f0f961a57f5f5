//! What `stripe init` has to do, given the endpoints that lead to this service. Pure.
//!
//! Stripe shows a secret only when it creates an endpoint. So an endpoint is adopted if a configured secret is known
//! to verify its events. If none does, another one is created beside it, and the first one is disabled once the
//! service accepts what the other one sends. Nothing is ever deleted.

use super::endpoint::{Endpoint, Format};
use super::event_types::{Needs, spelt};

/// What is known of the secret that signs an endpoint's events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    /// A configured secret is its secret.
    Verified {
        /// The name of the secret.
        secret: String,
    },
    /// The service received its events, and no configured secret verifies them.
    Rejected,
    /// Nothing is known.
    Unknown {
        /// Why, as a sentence without its full stop.
        why: String,
    },
}

/// An endpoint that leads to this service in the wanted format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// What is known of its secret.
    pub evidence: Evidence,
}

/// What the plan depends on.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// The endpoints with the wanted address and format.
    pub candidates: &'a [Candidate],
    /// Whether a secret is configured.
    pub has_secrets: bool,
    /// What the destinations need.
    pub needs: &'a Needs,
    /// Whether the operator wants a new endpoint in place of the present ones.
    pub replace: bool,
}

/// A step of the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Keep this endpoint.
    Adopt {
        /// The endpoint.
        endpoint: Endpoint,
        /// The name of its secret.
        secret: String,
    },
    /// Create an endpoint in place of these.
    Create {
        /// The endpoints, by their ids.
        replaces: Vec<String>,
    },
    /// Ask for the secret of an endpoint again that an interrupted run created.
    Recover {
        /// The endpoint.
        endpoint: Endpoint,
    },
    /// Enable an endpoint.
    Enable {
        /// The endpoint.
        endpoint: Endpoint,
        /// The name of its secret.
        secret: String,
    },
    /// Make an endpoint send more types.
    AddEvents {
        /// The endpoint.
        endpoint: Endpoint,
        /// The types that are new, as Stripe's API writes them.
        added: Vec<String>,
    },
    /// Wait until the service accepts what the kept or new endpoint sends, then disable these.
    Replace {
        /// The endpoints.
        old: Vec<Endpoint>,
    },
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// These steps, in this order. Only [`Step::Adopt`] alone changes nothing.
    Steps(Vec<Step>),
    /// It is not known whether a configured secret verifies this endpoint's events.
    Undecided {
        /// The endpoint.
        endpoint: Endpoint,
        /// Why it is not known, as a sentence without its full stop.
        why: String,
    },
}

/// Decides what is to be done.
pub fn plan(situation: Situation<'_>) -> Plan {
    let Situation { candidates, has_secrets, needs, replace } = situation;
    let enabled: Vec<_> = candidates.iter().filter(|one| one.endpoint.is_enabled).collect();
    let replaces_another =
        |one: &&&Candidate| enabled.iter().any(|other| one.endpoint.replaces(&other.endpoint.id));
    let is_recovered = |one: &Candidate| {
        let of_the_same_request = |other: &&&Candidate| other.endpoint.request() == one.endpoint.request();
        enabled.iter().filter(of_the_same_request).any(|other| other.endpoint.has_recorded_secret())
    };
    if let Some(interrupted) = enabled.iter().find(|one| one.is_interrupted() && !is_recovered(one)) {
        let old = enabled.iter().filter(|other| interrupted.endpoint.replaces(&other.endpoint.id));
        let recover = Step::Recover { endpoint: interrupted.endpoint.clone() };
        return Plan::Steps(std::iter::once(recover).chain(replacing(old.copied())).collect());
    }
    let mut verified = enabled.iter().filter_map(|one| Some((one, one.secret()?)));
    let successor = verified.clone().find(|(one, _)| replaces_another(one));
    let kept = if replace { successor } else { successor.or_else(|| verified.next()) };
    if let Some((kept, secret)) = kept {
        let is_old = |other: &&&Candidate| {
            other.endpoint.id != kept.endpoint.id
                && (other.evidence == Evidence::Rejected
                    || kept.endpoint.replaces(&other.endpoint.id)
                    // Stripe had forgotten the request when it was repeated.
                    || other.is_interrupted() && other.endpoint.request() == kept.endpoint.request())
        };
        let adopt = Step::Adopt { endpoint: kept.endpoint.clone(), secret: secret.to_owned() };
        let old = enabled.iter().filter(is_old).copied();
        return Plan::Steps(
            std::iter::once(adopt).chain(more_events(&kept.endpoint, needs)).chain(replacing(old)).collect(),
        );
    }
    let disabled = || candidates.iter().filter(|one| !one.endpoint.is_enabled);
    if !replace && let Some((found, secret)) = disabled().find_map(|one| Some((one, one.secret()?))) {
        let enable = Step::Enable { endpoint: found.endpoint.clone(), secret: secret.to_owned() };
        let old = enabled.iter().filter(|one| one.evidence == Evidence::Rejected).copied();
        return Plan::Steps(
            std::iter::once(enable)
                .chain(more_events(&found.endpoint, needs))
                .chain(replacing(old))
                .collect(),
        );
    }
    let doubtful = if enabled.is_empty() { disabled().collect() } else { enabled.clone() };
    let undecided = doubtful.into_iter().find(|one| one.may_be_verified(has_secrets));
    if let Some(one) = undecided.filter(|_| !replace) {
        return Plan::Undecided { endpoint: one.endpoint.clone(), why: one.why().to_owned() };
    }
    let create = Step::Create { replaces: enabled.iter().map(|one| one.endpoint.id.clone()).collect() };
    Plan::Steps(std::iter::once(create).chain(replacing(enabled.iter().copied())).collect())
}

impl Candidate {
    fn secret(&self) -> Option<&str> {
        match &self.evidence {
            Evidence::Verified { secret } => Some(secret),
            Evidence::Rejected | Evidence::Unknown { .. } => None,
        }
    }

    fn why(&self) -> &str {
        match &self.evidence {
            Evidence::Unknown { why } => why,
            Evidence::Verified { .. } | Evidence::Rejected => "",
        }
    }

    /// Whether a run created it and ended before it recorded the secret.
    fn is_interrupted(&self) -> bool {
        self.secret().is_none() && self.endpoint.request().is_some() && !self.endpoint.has_recorded_secret()
    }

    /// Whether a secret of the service may verify its events, although none is known to. Without any secret here,
    /// only that of an earlier run may: it was printed and set elsewhere.
    fn may_be_verified(&self, has_secrets: bool) -> bool {
        matches!(self.evidence, Evidence::Unknown { .. })
            && (has_secrets || self.endpoint.has_recorded_secret())
    }
}

fn replacing<'a>(old: impl Iterator<Item = &'a Candidate>) -> Option<Step> {
    let old: Vec<_> = old.map(|one| one.endpoint.clone()).collect();
    (!old.is_empty()).then_some(Step::Replace { old })
}

/// The types that filters name and that the endpoint does not send. A selection that was made at Stripe stays if the
/// destinations take whatever is sent.
fn more_events(endpoint: &Endpoint, needs: &Needs) -> Option<Step> {
    let missing = needs.missing_in(&[endpoint]).into_iter();
    let added: Vec<_> = match endpoint.format {
        Format::Snapshot => missing.map(str::to_owned).collect(),
        Format::Thin => missing.map(spelt).collect(),
    };
    (!added.is_empty()).then(|| Step::AddEvents { endpoint: endpoint.clone(), added })
}

#[cfg(test)]
mod tests {
    use super::super::endpoint::{REPLACES, REQUEST, SECRET_FINGERPRINT};
    use super::*;
    use std::collections::BTreeSet;

    fn candidate(id: &str, evidence: Evidence) -> Candidate {
        let endpoint = Endpoint {
            id: id.to_owned(),
            is_enabled: true,
            events: vec!["invoice.paid".to_owned()],
            ..Endpoint::default()
        };
        Candidate { endpoint, evidence }
    }

    fn verified() -> Evidence {
        Evidence::Verified { secret: "live".to_owned() }
    }

    fn unknown() -> Evidence {
        Evidence::Unknown { why: "nothing runs".to_owned() }
    }

    fn with(mut candidate: Candidate, name: &str, text: &str) -> Candidate {
        candidate.endpoint.metadata.insert(name.to_owned(), text.to_owned());
        candidate
    }

    fn disabled(mut candidate: Candidate) -> Candidate {
        candidate.endpoint.is_enabled = false;
        candidate
    }

    /// The plan in words, for endpoints that send what is needed.
    fn words(candidates: &[Candidate], has_secrets: bool, replace: bool) -> Vec<String> {
        let needs = Needs { everything: false, types: BTreeSet::from(["invoice.paid"]) };
        let ids = |endpoints: &[Endpoint]| {
            endpoints.iter().map(|one| one.id.as_str()).collect::<Vec<_>>().join(" ")
        };
        match plan(Situation { candidates, has_secrets, needs: &needs, replace }) {
            Plan::Undecided { endpoint, .. } => vec![format!("undecided {}", endpoint.id)],
            Plan::Steps(steps) => steps
                .iter()
                .map(|step| match step {
                    Step::Adopt { endpoint, .. } => format!("adopt {}", endpoint.id),
                    Step::Create { replaces } => format!("create {}", replaces.join(" ")),
                    Step::Recover { endpoint } => format!("recover {}", endpoint.id),
                    Step::Enable { endpoint, .. } => format!("enable {}", endpoint.id),
                    Step::AddEvents { added, .. } => format!("add {}", added.join(" ")),
                    Step::Replace { old } => format!("replace {}", ids(old)),
                })
                .collect(),
        }
    }

    #[test]
    fn without_an_endpoint_one_is_created_and_a_verified_one_is_kept() {
        assert_eq!(words(&[], true, false), ["create "]);
        assert_eq!(words(&[candidate("we_1", verified())], true, false), ["adopt we_1"]);
    }

    #[test]
    fn an_endpoint_with_a_foreign_secret_is_replaced() {
        assert_eq!(
            words(&[candidate("we_1", Evidence::Rejected)], true, false),
            ["create we_1", "replace we_1"]
        );
        // Without any secret none can verify it.
        assert_eq!(words(&[candidate("we_1", unknown())], false, false), ["create we_1", "replace we_1"]);
    }

    #[test]
    fn what_is_not_known_changes_nothing_unless_the_operator_decides() {
        let one = [candidate("we_1", unknown())];
        assert_eq!(words(&one, true, false), ["undecided we_1"]);
        assert_eq!(words(&one, true, true), ["create we_1", "replace we_1"]);
        // An earlier run printed its secret, which is set elsewhere.
        let printed = [with(candidate("we_1", unknown()), SECRET_FINGERPRINT, "x")];
        assert_eq!(words(&printed, false, false), ["undecided we_1"]);
    }

    #[test]
    fn a_second_run_goes_on_where_the_first_one_ended() {
        let old = candidate("we_1", unknown());
        let new = with(candidate("we_2", verified()), REPLACES, "we_0,we_1");
        assert_eq!(words(&[old.clone(), new.clone()], true, false), ["adopt we_2", "replace we_1"]);
        assert_eq!(words(&[old.clone(), new.clone()], true, true), ["adopt we_2", "replace we_1"]);
        assert_eq!(words(&[disabled(old.clone()), new], true, false), ["adopt we_2"]);
        let unrecorded = with(
            with(candidate("we_2", unknown()), REQUEST, &uuid::Uuid::nil().to_string()),
            REPLACES,
            "we_1",
        );
        assert_eq!(words(&[old, unrecorded.clone()], true, false), ["recover we_2", "replace we_1"]);
        assert_eq!(words(&[unrecorded], false, false), ["recover we_2"]);
    }

    #[test]
    fn an_endpoint_that_is_verified_by_another_secret_stays() {
        let two = [candidate("we_1", verified()), candidate("we_2", verified())];
        assert_eq!(words(&two, true, false), ["adopt we_1"]);
        assert_eq!(
            words(&[candidate("we_1", unknown()), candidate("we_2", verified())], true, false),
            ["adopt we_2"]
        );
    }

    #[test]
    fn a_disabled_endpoint_is_enabled_if_its_secret_is_configured() {
        assert_eq!(words(&[disabled(candidate("we_1", verified()))], true, false), ["enable we_1"]);
        assert_eq!(words(&[disabled(candidate("we_1", unknown()))], true, false), ["undecided we_1"]);
        assert_eq!(words(&[disabled(candidate("we_1", unknown()))], false, false), ["create "]);
    }

    #[test]
    fn missing_types_are_added_and_none_is_taken_away() {
        let mut one = candidate("we_1", verified());
        one.endpoint.events = vec!["payout.paid".to_owned()];
        assert_eq!(words(std::slice::from_ref(&one), true, false), ["adopt we_1", "add invoice.paid"]);
        one.endpoint.format = Format::Thin;
        assert_eq!(words(&[one], true, false), ["adopt we_1", "add v1.invoice.paid"]);
    }
}
