//! The instances of sources and destinations, and the events that each destination receives.

use super::is_name;
use super::reader::Reader;
use crate::domain::execution::Mode;
use crate::domain::subscription::{LivemodeFilter, Subscription, TypeFilter, TypeVocabulary};
use crate::domain::visible::quoted;

/// A configured instance of a source or a destination. Events and executions carry its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceName {
    /// The instance's name.
    pub name: String,
    /// The kind that serves it, such as `stripe` or `notion`.
    pub kind: String,
}

impl InstanceName {
    /// The instance that has the name of its kind.
    pub fn of_kind(kind: &str) -> Self {
        Self { name: kind.to_owned(), kind: kind.to_owned() }
    }

    /// The full name of one of the instance's settings: `notion` and `API_KEY` give `NOTION_API_KEY`.
    pub fn setting(&self, suffix: &str) -> String {
        format!("{}_{suffix}", self.name.to_uppercase().replace('-', "_"))
    }
}

/// The kinds that serve if `SOURCES` and `DESTINATIONS` are not set, each with one instance of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DefaultKinds {
    /// The kind of the source.
    pub source: &'static str,
    /// The kind of the destination.
    pub destination: &'static str,
}

/// The instances of `SOURCES`.
pub fn sources(reader: &mut Reader<'_>, kinds: DefaultKinds) -> Vec<InstanceName> {
    let default = vec![InstanceName::of_kind(kinds.source)];
    reader.parsed("SOURCES", default, |text| match parse_instances(text) {
        Ok(instances) if instances.is_empty() => Err("names no instance".to_owned()),
        read => read,
    })
}

/// The instances of `DESTINATIONS`; none if it is set to nothing, which only stores events.
pub fn instances(reader: &mut Reader<'_>, kinds: DefaultKinds) -> Vec<InstanceName> {
    if reader.is_given("DESTINATIONS") && reader.text("DESTINATIONS").is_none() {
        return Vec::new();
    }
    let default = vec![InstanceName::of_kind(kinds.destination)];
    reader.parsed("DESTINATIONS", default, |text| match parse_instances(text) {
        Ok(instances) if instances.is_empty() => {
            Err("names no instance; to store events without delivering them, set it to nothing".to_owned())
        }
        read => read,
    })
}

/// What an instance receives, from its `…_EVENT_TYPES`, `…_LIVEMODE` and `…_MODE`. `types` are those of
/// the sources.
pub fn subscription(
    reader: &mut Reader<'_>,
    instance: &InstanceName,
    types: &TypeVocabulary,
) -> Subscription {
    let parse = |text: &str| TypeFilter::parse(text, types);
    let types =
        reader.parsed(&instance.setting("EVENT_TYPES"), TypeFilter::all(), parse).without_pings(types);
    let livemode = reader.parsed(&instance.setting("LIVEMODE"), LivemodeFilter::All, |text| match text {
        "all" => Ok(LivemodeFilter::All),
        "live" => Ok(LivemodeFilter::Live),
        "test" => Ok(LivemodeFilter::Test),
        _ => Err("must be all, live or test"),
    });
    let mode = reader.parsed(&instance.setting("MODE"), Mode::Event, str::parse);
    Subscription { destination: instance.name.clone(), types, livemode, mode }
}

/// Parses `notion,team-b:notion`.
fn parse_instances(text: &str) -> Result<Vec<InstanceName>, String> {
    let mut instances: Vec<InstanceName> = Vec::new();
    for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let (name, kind) = entry.split_once(':').unwrap_or((entry, entry));
        if !is_name(name) || instances.iter().any(|earlier| earlier.name == name) {
            let name = quoted(name);
            return Err(format!("{name} is given twice, or has more than letters, digits, - and _"));
        }
        instances.push(InstanceName { name: name.to_owned(), kind: kind.to_owned() });
    }
    Ok(instances)
}
