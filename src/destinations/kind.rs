//! Kinds of destinations: what the rest of the service must know of one without knowing its code.

use super::Destination;
use crate::config::{InstanceName, Reader};
use crate::domain::destination_summary::{DestinationSummary, Noun};
use crate::domain::subscription::Subscription;
use std::sync::Arc;

/// Reads an instance's section of the settings. Returns nothing if the settings cannot be used; the
/// reader then holds the problems.
pub type Configure = fn(&mut Reader<'_>, &InstanceName) -> Option<Arc<dyn Destination>>;

/// A kind of destination.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// Its name in `DESTINATIONS`.
    pub name: &'static str,
    /// Configures an instance.
    pub configure: Configure,
    /// What one delivery writes.
    pub noun: Noun,
    /// The settings without which an instance cannot work, as suffixes such as `API_KEY`, and where the
    /// operator finds each value.
    pub required_settings: &'static [(&'static str, &'static str)],
    /// The settings of an instance that are secrets, as suffixes. Each may come from a file.
    pub secrets: &'static [&'static str],
    /// The remote ids that a text names, such as a link that an operator pasted into the search.
    pub remote_ids: fn(&str) -> Vec<String>,
}

impl Kind {
    /// A kind that writes messages and has no links.
    pub const fn new(name: &'static str, configure: Configure) -> Self {
        Self {
            name,
            configure,
            noun: Noun { one: "message", many: "messages" },
            required_settings: &[],
            secrets: &[],
            remote_ids: |_text| Vec::new(),
        }
    }

    /// Summarizes an instance of this kind whose rate is not known, because its settings are missing.
    pub const fn summary(self, subscription: Subscription) -> DestinationSummary {
        DestinationSummary {
            subscription,
            connection: None,
            per_minute: None,
            token_expires: None,
            noun: self.noun,
            remote_ids: self.remote_ids,
        }
    }
}
