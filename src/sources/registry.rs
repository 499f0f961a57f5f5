//! The configured sources, by name.

use super::{AccessCheck, CheckEndpoint, EventList, KINDS, Kind, Source, astray};
use crate::config::{InstanceName, Reader};
use crate::domain::event::{EventFacts, StoredEvent};
use crate::domain::finding::Finding;
use crate::domain::rejection::{Accepted, Diagnose, Diagnosis, StoredSample};
use crate::domain::search::IndexEntry;
use crate::domain::source::{Examples, Origin, SourceCatalog};
use crate::domain::subscription::TypeVocabulary;
use crate::domain::summary::EventSummary;
use crate::domain::visible::quoted;
use axum::http::HeaderMap;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The sources that this process serves. If an event's source is not among them, only its stored columns
/// are read. Cheap to clone.
#[derive(Clone, Default)]
pub struct Registry {
    kinds: &'static [Kind],
    instances: Arc<[Instance]>,
    types: TypeVocabulary,
}

/// The check of a source's settings.
pub struct SourceCheck {
    /// Names the source.
    pub title: String,
    /// The display name of its sender.
    pub sender: &'static str,
    /// What its settings show.
    pub findings: Vec<Finding>,
    /// Asks its sender for more, if it has access.
    pub access: Option<Arc<dyn AccessCheck>>,
}

struct Instance {
    kind: &'static Kind,
    source: Arc<dyn Source>,
}

impl Registry {
    /// Reads the settings of these instances. The reader collects the problems.
    pub fn configure(reader: &mut Reader<'_>, names: &[InstanceName]) -> Self {
        Self::of_kinds(KINDS, reader, names)
    }

    /// The same with these kinds instead of the program's own.
    pub fn of_kinds(kinds: &'static [Kind], reader: &mut Reader<'_>, names: &[InstanceName]) -> Self {
        let instances = names.iter().filter_map(|name| {
            let kind = kinds.iter().find(|kind| kind.name == name.kind);
            if kind.is_none() {
                let known: Vec<_> = kinds.iter().map(|kind| kind.name).collect();
                let message = format!(
                    "{} is not a kind of source; the kinds are: {}",
                    quoted(&name.kind),
                    known.join(", ")
                );
                reader.problem("SOURCES", message);
            }
            kind.map(|kind| Instance { kind, source: (kind.configure)(reader, name) })
        });
        Self { kinds, instances: instances.collect(), types: types_of(kinds) }
    }

    /// The source of this name.
    pub fn get(&self, name: &str) -> Option<&dyn Source> {
        self.instance(name).map(|instance| instance.source.as_ref())
    }

    /// The source that a path names: the one of this name, or the only one whose name differs by case.
    pub fn meant(&self, name: &str) -> Option<&dyn Source> {
        self.get(name).or_else(|| {
            let mut alike = self.sources().filter(|source| source.name().eq_ignore_ascii_case(name));
            alike.next().filter(|_| alike.next().is_none())
        })
    }

    /// The sources whose sender signs requests in a header that is among these.
    pub fn signed_for(&self, headers: &HeaderMap) -> impl Iterator<Item = &dyn Source> {
        let instances = self.instances.iter();
        let signed = instances
            .filter(|instance| instance.kind.signature_header.is_some_and(|name| headers.contains_key(name)));
        signed.map(|instance| instance.source.as_ref())
    }

    /// The id of an object whose other events the summary of this event needs.
    pub fn related_object(&self, event: &StoredEvent) -> Option<String> {
        self.get(&event.source)?.related_object(event)
    }

    /// Summarizes a stored event. `related` are other events of its related object.
    pub fn summarize(&self, event: &StoredEvent, related: &[StoredEvent]) -> EventSummary {
        match self.get(&event.source) {
            Some(source) => source.summarize(event, related),
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

    /// Whether a text has the form of a person's id at any known sender.
    pub fn is_person_id(&self, text: &str) -> bool {
        self.kinds.iter().any(|kind| (kind.is_person_id)(text))
    }

    /// Examples of the ids of persons at the known senders: `cus_…`.
    pub fn person_ids(&self) -> String {
        let examples = self.kinds.iter().map(|kind| kind.person_ids).filter(|examples| !examples.is_empty());
        examples.collect::<Vec<_>>().join(", ")
    }

    /// The lists of events that are read for what no webhook brought, each with the name of its source.
    pub fn event_lists(&self) -> Vec<(String, Arc<dyn EventList>)> {
        let lists = self
            .sources()
            .flat_map(|source| source.event_lists().into_iter().map(|list| (source.name().to_owned(), list)));
        lists.collect()
    }

    /// Checks the settings of each source, by its title.
    pub fn check(&self) -> impl Iterator<Item = SourceCheck> {
        self.instances.iter().map(|instance| SourceCheck {
            title: instance.title(),
            sender: instance.kind.sender,
            findings: instance.source.check(),
            access: instance.source.access_check(),
        })
    }

    /// What checks at the senders whether they send to this service, each with the name of its source.
    pub fn endpoint_checkers(&self) -> Vec<(String, Arc<dyn CheckEndpoint>)> {
        let of_source = |source: &dyn Source| {
            let name = source.name().to_owned();
            source.endpoint_checkers().into_iter().map(move |checker| (name.clone(), checker))
        };
        self.sources().flat_map(of_source).collect()
    }

    /// The checks with which these sources can reject a request, without duplicates.
    pub fn checks(&self) -> BTreeSet<&'static str> {
        self.instances.iter().flat_map(|instance| instance.kind.checks.iter().copied()).collect()
    }

    fn sources(&self) -> impl Iterator<Item = &dyn Source> {
        self.instances.iter().map(|instance| instance.source.as_ref())
    }

    fn instance(&self, name: &str) -> Option<&Instance> {
        self.instances.iter().find(|instance| instance.source.name() == name)
    }
}

impl Diagnose for Registry {
    fn diagnose(&self, rejections: &[StoredSample], accepted: &Accepted) -> Vec<Diagnosis> {
        let mut found: Vec<_> = self
            .instances
            .iter()
            .flat_map(|instance| {
                let name = instance.source.name();
                let accepted_at = accepted.of(name);
                let its_own = rejections.iter().filter(|kept| kept.sample.source == name).cloned();
                let (astray, others): (Vec<_>, Vec<_>) = its_own.partition(astray::is_astray);
                let mut found = instance.source.diagnose(&others, accepted_at);
                found.extend(astray::diagnose(name, instance.kind.sender, &astray, accepted_at));
                found
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

    fn reads_list(&self, source: &str, name: &str) -> bool {
        self.get(source).is_some_and(|source| source.event_lists().iter().any(|list| list.name() == name))
    }

    fn event_link(&self, event_id: &str, origin: Origin<'_>) -> Option<String> {
        self.get(origin.source)?.event_link(event_id, origin)
    }

    fn object_link(&self, object_id: &str, origin: Origin<'_>) -> Option<String> {
        self.get(origin.source)?.object_link(object_id, origin)
    }

    fn first_name(&self) -> &str {
        self.instances.first().map_or("", |instance| instance.source.name())
    }

    fn examples(&self) -> Examples {
        self.instances.first().map_or(Examples::NONE, |instance| instance.kind.examples)
    }

    fn types(&self) -> &TypeVocabulary {
        &self.types
    }
}

impl Instance {
    /// `Stripe`, or `Stripe (stripe-eu)` if the instance's name differs from its kind's.
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
        .with_pings(kinds.iter().flat_map(|kind| kind.pings.iter().copied()))
}
