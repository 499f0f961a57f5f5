//! The destination instances and the events that each one receives.

use super::is_name;
use super::reader::Reader;
use crate::domain::execution::Mode;
use crate::domain::subscription::{LivemodeFilter, Subscription, TypeFilter};

/// A configured destination instance. Executions carry its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceName {
    /// The instance's name.
    pub name: String,
    /// The kind that serves it, such as `notion`.
    pub kind: String,
}

impl InstanceName {
    /// The full name of one of the instance's settings: `notion` and `API_KEY` give `NOTION_API_KEY`.
    pub fn setting(&self, suffix: &str) -> String {
        format!("{}_{suffix}", self.name.to_uppercase().replace('-', "_"))
    }
}

/// The instances of `DESTINATIONS`: `notion` by default; none if it is set to nothing, which only stores events.
pub fn instances(reader: &mut Reader<'_>) -> Vec<InstanceName> {
    if reader.is_given("DESTINATIONS") && reader.text("DESTINATIONS").is_none() {
        return Vec::new();
    }
    let default = vec![InstanceName { name: "notion".to_owned(), kind: "notion".to_owned() }];
    reader.parsed("DESTINATIONS", default, parse_instances)
}

/// What an instance receives, from its `…_EVENT_TYPES`, `…_LIVEMODE` and `…_MODE`.
pub fn subscription(reader: &mut Reader<'_>, instance: &InstanceName) -> Subscription {
    let types = reader.parsed(&instance.setting("EVENT_TYPES"), TypeFilter::all(), TypeFilter::parse);
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
            return Err(format!("{name:?} is given twice, or has more than letters, digits, - and _"));
        }
        instances.push(InstanceName { name: name.to_owned(), kind: kind.to_owned() });
    }
    if instances.is_empty() {
        return Err(
            "names no instance; to store events without delivering them, set it to nothing".to_owned()
        );
    }
    Ok(instances)
}
