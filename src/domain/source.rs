//! What the API, the dashboard and the health assessment need from the sources, without importing them.
//!
//! `app` passes the registry of sources as a [`SourceCatalog`].

use super::rejection::Diagnose;
use super::subscription::TypeVocabulary;

/// The path of a source's webhook, up to its name.
pub const WEBHOOKS: &str = "/api/v1/webhooks/";

/// Whether a path leads to the webhooks, perhaps with further slashes, in another case, or below the path of
/// `PUBLIC_URL`. No other route has these segments in this order.
pub fn is_below_webhooks(path: &str) -> bool {
    let segments = |path: &str| -> Vec<String> {
        path.split('/').filter(|segment| !segment.is_empty()).map(str::to_ascii_lowercase).collect()
    };
    let wanted = segments(WEBHOOKS);
    segments(path).windows(wanted.len()).any(|window| window == wanted)
}

/// The configured sources, for modules that must not import them.
pub trait SourceCatalog: Diagnose + Send + Sync {
    /// The display name of a source's sender, such as `Stripe`.
    fn sender_of(&self, source: &str) -> String;

    /// Whether the list of this name is read for events of a source that no webhook brought.
    fn reads_list(&self, source: &str, name: &str) -> bool;

    /// The page of an event at its sender.
    fn event_link(&self, event_id: &str, origin: Origin<'_>) -> Option<String>;

    /// The page of an object, such as an invoice or a customer, at its sender.
    fn object_link(&self, object_id: &str, origin: Origin<'_>) -> Option<String>;

    /// The name of the first source, as an example; empty if there is none.
    fn first_name(&self) -> &str;

    /// Examples from the first source's sender.
    fn examples(&self) -> Examples;

    /// How the sources write the types of events, and which lists of types have names.
    fn types(&self) -> &TypeVocabulary;
}

/// Examples of a sender's texts, for input fields and the API's description. An empty text is no example.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Examples {
    /// An event's id.
    pub event_id: &'static str,
    /// An event's type.
    pub event_type: &'static str,
    /// A pattern of types, as filters accept it.
    pub type_pattern: &'static str,
    /// The beginning of an object's id.
    pub object_id: &'static str,
    /// The beginning of an account's id.
    pub account: &'static str,
}

impl Examples {
    /// No examples.
    pub const NONE: Self =
        Self { event_id: "", event_type: "", type_pattern: "", object_id: "", account: "" };
}

/// Where an event came from.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// The name of its source.
    pub source: &'a str,
    /// The account at the sender.
    pub account: Option<&'a str>,
    /// Whether real money is concerned.
    pub livemode: Option<bool>,
}
