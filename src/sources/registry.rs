//! The configured sources, by name.

use super::{KINDS, Kind, Source};
use crate::config::{InstanceName, Reader};
use crate::domain::event::{EventFacts, StoredEvent};
use crate::domain::finding::Finding;
use crate::domain::rejection::{Diagnose, Diagnosis, Kept};
use crate::domain::search::IndexEntry;
use crate::domain::source::{Origin, SourceCatalog};
use crate::domain::subscription::TypeVocabulary;
use crate::domain::summary::EventSummary;
use chrono::{DateTime, Utc};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The sources that this process serves. An event whose source is not among them is read by its stored
/// columns alone. Cheap to clone.
#[derive(Clone, Default)]
pub struct Registry {
    instances: Arc<[Instance]>,
    types: TypeVocabulary,
}

struct Instance {
    kind: &'static Kind,
    source: Arc<dyn Source>,
}

impl Registry {
    /// Reads the settings of these instances. Anything wrong is noted in the reader.
    pub fn configure(reader: &mut Reader<'_>, names: &[InstanceName]) -> Self {
        Self::of_kinds(KINDS, reader, names)
    }

    /// The same with other kinds than the program's own.
    pub fn of_kinds(kinds: &'static [Kind], reader: &mut Reader<'_>, names: &[InstanceName]) -> Self {
        let instances = names.iter().filter_map(|name| {
            let kind = kinds.iter().find(|kind| kind.name == name.kind);
            if kind.is_none() {
                let known: Vec<_> = kinds.iter().map(|kind| kind.name).collect();
                let message =
                    format!("{:?} is no kind of source; the kinds are: {}", name.kind, known.join(", "));
                reader.problem("SOURCES", message);
            }
            kind.map(|kind| Instance { kind, source: (kind.configure)(reader, name) })
        });
        Self { instances: instances.collect(), types: types_of(kinds) }
    }

    /// The source of this name.
    pub fn get(&self, name: &str) -> Option<&dyn Source> {
        self.instance(name).map(|instance| instance.source.as_ref())
    }

    /// What a stored event says.
    pub fn summarize(&self, event: &StoredEvent) -> EventSummary {
        match self.get(&event.source) {
            Some(source) => source.summarize(event),
            None => EventSummary::from_envelope(event),
        }
    }

    /// The search index's entry of an event of this source.
    pub fn index_entry(&self, source: &str, facts: &EventFacts, body: &[u8]) -> IndexEntry {
        match self.get(source) {
            Some(source) => source.index_entry(facts, body),
            None => IndexEntry::from_facts(facts),
        }
    }

    /// What strikes about the settings of each source, under its name.
    pub fn check(&self) -> impl Iterator<Item = (String, Vec<Finding>)> {
        self.instances.iter().map(|instance| (instance.title(), instance.source.check()))
    }

    /// The checks by which these sources reject requests, each once.
    pub fn checks(&self) -> BTreeSet<&'static str> {
        self.instances.iter().flat_map(|instance| instance.kind.checks.iter().copied()).collect()
    }

    fn instance(&self, name: &str) -> Option<&Instance> {
        self.instances.iter().find(|instance| instance.source.name() == name)
    }
}

impl Diagnose for Registry {
    fn diagnose(&self, rejections: &[Kept], accepted_at: Option<DateTime<Utc>>) -> Vec<Diagnosis> {
        let mut found: Vec<_> = self
            .instances
            .iter()
            .flat_map(|instance| {
                let is_its_own = |kept: &&Kept| kept.sample.source == instance.source.name();
                let its_own: Vec<_> = rejections.iter().filter(is_its_own).cloned().collect();
                instance.source.diagnose(&its_own, accepted_at)
            })
            .collect();
        found.sort_by_key(|one| std::cmp::Reverse(one.last_at));
        found
    }
}

impl SourceCatalog for Registry {
    fn sender_of(&self, source: &str) -> String {
        self.instance(source).map_or(source, |instance| instance.kind.sender).to_owned()
    }

    fn event_link(&self, event_id: &str, origin: Origin<'_>) -> Option<String> {
        self.get(origin.source)?.event_link(event_id, origin)
    }

    fn object_link(&self, object_id: &str, origin: Origin<'_>) -> Option<String> {
        self.get(origin.source)?.object_link(object_id, origin)
    }

    fn types(&self) -> &TypeVocabulary {
        &self.types
    }
}

impl Instance {
    /// `Stripe`, and for an instance that is not called as its kind `Stripe (stripe-eu)`.
    fn title(&self) -> String {
        match (self.kind, self.source.name()) {
            (kind, name) if kind.name == name => kind.sender.to_owned(),
            (kind, name) => format!("{} ({name})", kind.sender),
        }
    }
}

/// The presets and spellings of these kinds together.
fn types_of(kinds: &[Kind]) -> TypeVocabulary {
    let presets = kinds.iter().flat_map(|kind| kind.presets.iter().copied());
    TypeVocabulary::new(presets, kinds.iter().filter_map(|kind| kind.spelling))
}
