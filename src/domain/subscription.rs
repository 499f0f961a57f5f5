//! Which events a destination instance receives: patterns of types, presets, and live or test mode.
//!
//! A pattern is a type in which `*` stands for any text: `invoice.*`, `*.failed`, `*`. A word that
//! starts with `@` is a preset: a named list of patterns.

use crate::domain::event::EventFacts;
use crate::domain::execution::{Mode, NewExecution};
use crate::domain::lane::lane;
use crate::domain::visible::quoted;
use std::sync::Arc;
use wildmatch::WildMatch;

/// The preset that every source has: all types.
const ALL: Preset = ("@all", &["*"]);

/// A named list of patterns.
pub type Preset = (&'static str, &'static [&'static str]);

/// Returns another spelling of a type, which patterns also match, or the type itself if it has none.
pub type Spelling = fn(&str) -> &str;

/// How the sources write the types of events, and which lists of types have names.
#[derive(Debug, Clone, Default)]
pub struct TypeVocabulary {
    presets: Vec<Preset>,
    spellings: Arc<[Spelling]>,
    pings: Arc<[&'static str]>,
}

impl TypeVocabulary {
    /// The presets and spellings of several sources together.
    pub fn new(
        presets: impl IntoIterator<Item = Preset>,
        spellings: impl IntoIterator<Item = Spelling>,
    ) -> Self {
        Self {
            presets: presets.into_iter().collect(),
            spellings: spellings.into_iter().collect(),
            pings: Arc::default(),
        }
    }

    /// The same with these types, by which senders only test that they reach this service.
    #[must_use]
    pub fn with_pings(self, pings: impl IntoIterator<Item = &'static str>) -> Self {
        Self { pings: pings.into_iter().collect(), ..self }
    }

    fn presets(&self) -> impl Iterator<Item = Preset> {
        std::iter::once(ALL).chain(self.presets.iter().copied())
    }

    fn preset_names(&self) -> String {
        self.presets().map(|(name, _)| name).collect::<Vec<_>>().join(", ")
    }
}

/// A list of type patterns; an event matches if at least one of them does.
#[derive(Debug, Clone)]
pub struct TypeFilter {
    patterns: Vec<WildMatch>,
    spellings: Arc<[Spelling]>,
    except: Arc<[&'static str]>,
}

/// Why a list of patterns is invalid.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TypeFilterError {
    /// A word with `@` that is not a preset.
    #[error("{} is not a preset; the presets are {presets}", quoted(word))]
    UnknownPreset {
        /// The word.
        word: String,
        /// The known presets.
        presets: String,
    },
    /// A pattern with characters that do not occur in event types.
    #[error("{} is not a pattern of event types; examples are invoice.*,charge.refunded and @payments", quoted(.0))]
    BadPattern(String),
}

impl TypeFilter {
    /// Every type.
    pub fn all() -> Self {
        Self { patterns: vec![WildMatch::new("*")], spellings: Arc::default(), except: Arc::default() }
    }

    /// The same without the types by which senders only test the connection: they are nothing to deliver.
    #[must_use]
    pub fn without_pings(self, types: &TypeVocabulary) -> Self {
        Self { except: types.pings.clone(), ..self }
    }

    /// Reads a comma-separated list of patterns and presets; an empty list means every type.
    pub fn parse(list: &str, types: &TypeVocabulary) -> Result<Self, TypeFilterError> {
        let mut patterns = Vec::new();
        for word in list.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            if word.starts_with('@') {
                let (_, preset) = types.presets().find(|(name, _)| *name == word).ok_or_else(|| {
                    TypeFilterError::UnknownPreset { word: word.to_owned(), presets: types.preset_names() }
                })?;
                patterns.extend(preset.iter().map(|pattern| WildMatch::new(pattern)));
            } else if word.chars().all(|c| c.is_ascii_alphanumeric() || "._-*[]".contains(c)) {
                patterns.push(WildMatch::new(word));
            } else {
                return Err(TypeFilterError::BadPattern(word.to_owned()));
            }
        }
        if patterns.is_empty() {
            return Ok(Self::all());
        }
        Ok(Self { patterns, spellings: types.spellings.clone(), except: Arc::default() })
    }

    /// Whether it names no types, so that it takes whatever is sent.
    pub fn takes_everything(&self) -> bool {
        self.patterns.iter().any(|pattern| pattern.pattern() == "*")
    }

    /// Whether the filter matches this type in any of its spellings.
    pub fn matches(&self, event_type: &str) -> bool {
        if self.except.contains(&event_type) {
            return false;
        }
        let is_wanted = |spelt: &str| self.patterns.iter().any(|pattern| pattern.matches(spelt));
        let others = self.spellings.iter().map(|spelling| spelling(event_type));
        is_wanted(event_type) || others.filter(|spelt| *spelt != event_type).any(is_wanted)
    }
}

/// A filter for events of live mode, of test mode, or of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LivemodeFilter {
    /// Both, and events without a mode.
    #[default]
    All,
    /// Only events marked as live.
    Live,
    /// Only events not marked as live.
    Test,
}

impl LivemodeFilter {
    /// Whether the filter matches an event of this mode.
    pub fn matches(self, livemode: Option<bool>) -> bool {
        match self {
            Self::All => true,
            Self::Live => livemode == Some(true),
            Self::Test => livemode != Some(true),
        }
    }
}

/// The subscription of one destination instance.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// The instance's name, which its executions also have.
    pub destination: String,
    /// The types.
    pub types: TypeFilter,
    /// The modes.
    pub livemode: LivemodeFilter,
    /// What its executions deliver.
    pub mode: Mode,
}

impl Subscription {
    /// The execution to create for an event of this source; `None` if the event does not match.
    pub fn execution_for(&self, source: &str, facts: &EventFacts) -> Option<NewExecution> {
        if !self.livemode.matches(facts.livemode) || !self.types.matches(&facts.event_type) {
            return None;
        }
        let lane = match self.mode {
            Mode::Event => None,
            Mode::Object => lane(facts).map(|lane| format!("{} {source} {lane}", self.destination)),
        };
        Some(NewExecution { destination: self.destination.clone(), mode: self.mode, lane })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(list: &str) -> Result<TypeFilter, TypeFilterError> {
        let without_prefix: Spelling = |event_type| event_type.strip_prefix("v1.").unwrap_or(event_type);
        let invoices: Preset = ("@invoices", &["invoice.*", "credit_note.*"]);
        TypeFilter::parse(list, &TypeVocabulary::new([invoices], [without_prefix]))
    }

    #[test]
    fn an_empty_list_wants_every_type() {
        let filter = parse(" , ").expect("valid");
        assert!(filter.matches("invoice.paid") && filter.matches("") && filter.takes_everything());
    }

    #[test]
    fn patterns_and_presets_may_be_mixed() {
        let filter = parse("@invoices, *.failed").expect("valid");
        for wanted in ["invoice.paid", "payout.failed", "v1.invoice.paid", "v1.payout.failed"] {
            assert!(filter.matches(wanted), "{wanted}");
        }
        assert!(!filter.matches("customer.created") && !filter.takes_everything());
        assert!(parse("@all").expect("valid").takes_everything());
    }

    #[test]
    fn an_unknown_preset_names_those_that_exist() {
        let error = parse("@money").expect_err("unknown").to_string();
        assert!(error.contains("@all, @invoices"), "{error}");
        assert!(parse("invoice paid").is_err());
    }

    #[test]
    fn live_only_leaves_out_what_does_not_say_it_is_live() {
        assert!(!LivemodeFilter::Live.matches(None));
        assert!(LivemodeFilter::Test.matches(None));
        assert!(LivemodeFilter::All.matches(Some(true)));
    }
}
