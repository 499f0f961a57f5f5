//! What the API, the dashboard and the health assessment need from the sources, without importing them.
//!
//! `app` passes the registry of sources as a [`SourceCatalog`].

use super::rejection::Diagnose;
use super::subscription::TypeVocabulary;

/// The configured sources, for modules that must not import them.
pub trait SourceCatalog: Diagnose + Send + Sync {
    /// The display name of a source's sender, such as `Stripe`.
    fn sender_of(&self, source: &str) -> String;

    /// The page of an event at its sender.
    fn event_link(&self, event_id: &str, origin: Origin<'_>) -> Option<String>;

    /// The page of an object, such as an invoice or a customer, at its sender.
    fn object_link(&self, object_id: &str, origin: Origin<'_>) -> Option<String>;

    /// How the sources write the types of events, and which lists of types have names.
    fn types(&self) -> &TypeVocabulary;
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
