//! Which events a destination instance wants: patterns of types, presets, and live or test mode.
//!
//! A pattern is a type in which `*` stands for any text: `invoice.*`, `*.failed`, `*`. A word that
//! starts with `@` is a preset: a named list of patterns.

use crate::domain::event::EventFacts;
use crate::domain::execution::{Mode, NewExecution};
use crate::domain::lane::lane;
use wildmatch::WildMatch;

/// The presets and what they stand for.
pub const PRESETS: &[(&str, &[&str])] = &[
    ("@all", &["*"]),
    ("@payments", &["payment_intent.*", "charge.*", "refund.*", "checkout.session.*", "payment_link.*"]),
    ("@invoices", &["invoice.*", "invoiceitem.*", "invoice_payment.*", "credit_note.*"]),
    ("@subscriptions", &["customer.subscription.*", "subscription_schedule.*"]),
    ("@disputes", &["charge.dispute.*", "radar.early_fraud_warning.*", "review.*"]),
    ("@customers", &["customer.created", "customer.updated", "customer.deleted"]),
    ("@payouts", &["payout.*", "transfer.*", "balance.*"]),
];

/// A list of type patterns; an event matches when any of them does.
#[derive(Debug, Clone)]
pub struct TypeFilter {
    patterns: Vec<WildMatch>,
}

/// Why a list of patterns could not be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TypeFilterError {
    /// A word with `@` that is no preset.
    #[error("{0:?} is no preset; the presets are {presets}", presets = preset_names())]
    UnknownPreset(String),
    /// A pattern with characters that no event type has.
    #[error("{0:?} is no pattern of event types; write for instance invoice.*,charge.refunded or @payments")]
    BadPattern(String),
}

impl TypeFilter {
    /// Every type.
    pub fn all() -> Self {
        Self { patterns: vec![WildMatch::new("*")] }
    }

    /// Reads a comma-separated list of patterns and presets; an empty list means every type.
    pub fn parse(list: &str) -> Result<Self, TypeFilterError> {
        let mut patterns = Vec::new();
        for word in list.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            if word.starts_with('@') {
                let (_, preset) = PRESETS
                    .iter()
                    .find(|(name, _)| *name == word)
                    .ok_or_else(|| TypeFilterError::UnknownPreset(word.to_owned()))?;
                patterns.extend(preset.iter().map(|pattern| WildMatch::new(pattern)));
            } else if word.chars().all(|c| c.is_ascii_alphanumeric() || "._-*".contains(c)) {
                patterns.push(WildMatch::new(word));
            } else {
                return Err(TypeFilterError::BadPattern(word.to_owned()));
            }
        }
        Ok(if patterns.is_empty() { Self::all() } else { Self { patterns } })
    }

    /// Whether the filter wants this type. A thin event's `v1.` in front is ignored.
    pub fn matches(&self, event_type: &str) -> bool {
        let bare = without_thin_prefix(event_type);
        self.patterns.iter().any(|pattern| pattern.matches(bare) || pattern.matches(event_type))
    }
}

/// The type as snapshot events spell it: thin events put `v1.` in front.
fn without_thin_prefix(event_type: &str) -> &str {
    event_type.strip_prefix("v1.").unwrap_or(event_type)
}

/// Whether events of real money, of tests, or both are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LivemodeFilter {
    /// Both, and those that do not say.
    #[default]
    All,
    /// Only events marked as live.
    Live,
    /// Only events not marked as live.
    Test,
}

impl LivemodeFilter {
    /// Whether the filter wants an event with this mark.
    pub fn matches(self, livemode: Option<bool>) -> bool {
        match self {
            Self::All => true,
            Self::Live => livemode == Some(true),
            Self::Test => livemode != Some(true),
        }
    }
}

/// What one destination instance subscribes to.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// The instance's name; executions bear it.
    pub destination: String,
    /// The types wanted.
    pub types: TypeFilter,
    /// The modes wanted.
    pub livemode: LivemodeFilter,
    /// What its executions deliver.
    pub mode: Mode,
}

impl Subscription {
    /// The execution that the instance gets for this event, where it wants one.
    pub fn execution_for(&self, facts: &EventFacts) -> Option<NewExecution> {
        if !self.livemode.matches(facts.livemode) || !self.types.matches(&facts.event_type) {
            return None;
        }
        let lane = match self.mode {
            Mode::Event => None,
            Mode::Object => lane(facts).map(|lane| format!("{} {lane}", self.destination)),
        };
        Some(NewExecution { destination: self.destination.clone(), mode: self.mode, lane })
    }
}

fn preset_names() -> String {
    PRESETS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_list_wants_every_type() {
        let filter = TypeFilter::parse(" , ").expect("valid");
        assert!(filter.matches("invoice.paid") && filter.matches(""));
    }

    #[test]
    fn patterns_and_presets_may_be_mixed() {
        let filter = TypeFilter::parse("@invoices, *.failed").expect("valid");
        for wanted in ["invoice.paid", "payout.failed", "v1.invoice.paid"] {
            assert!(filter.matches(wanted), "{wanted}");
        }
        assert!(!filter.matches("customer.created"));
    }

    #[test]
    fn an_unknown_preset_names_those_that_exist() {
        let error = TypeFilter::parse("@money").expect_err("unknown").to_string();
        assert!(error.contains("@payments"), "{error}");
        assert!(TypeFilter::parse("invoice paid").is_err());
    }

    #[test]
    fn live_only_leaves_out_what_does_not_say_it_is_live() {
        assert!(!LivemodeFilter::Live.matches(None));
        assert!(LivemodeFilter::Test.matches(None));
        assert!(LivemodeFilter::All.matches(Some(true)));
    }
}
