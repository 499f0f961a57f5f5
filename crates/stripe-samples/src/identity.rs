//! The ids, times and amounts of one sample, derived from its seed so that samples are repeatable.

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

/// The objects of a sample, and when they changed.
pub(super) struct Identity<'a> {
    seed: u64,
    created: DateTime<Utc>,
    since: DateTime<Utc>,
    /// As Stripe writes it, such as `eur`.
    currency: &'a str,
}

impl<'a> Identity<'a> {
    pub(super) fn new(seed: u64, created: DateTime<Utc>, since: DateTime<Utc>, currency: &'a str) -> Self {
        Self { seed, created, since, currency }
    }

    /// The id of the seed's object with that prefix, such as `ch_…`.
    pub(super) fn id(&self, prefix: &str) -> String {
        format!("{prefix}_{}", token(&[prefix, &self.seed.to_string()]))
    }

    /// The id of the event of that name at that time.
    pub(super) fn event_id(&self, name: &str) -> String {
        format!("evt_{}", token(&["evt", name, &self.seed.to_string(), &self.created.to_rfc3339()]))
    }

    /// When the event happened, in seconds since 1970.
    pub(super) fn created(&self) -> i64 {
        self.created.timestamp()
    }

    /// When the event happened, in the format of thin events.
    pub(super) fn created_text(&self) -> String {
        self.created.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
    }

    /// When the object was created, in seconds since 1970.
    pub(super) fn since(&self) -> i64 {
        self.since.timestamp()
    }

    /// The currency as Stripe writes it.
    pub(super) fn currency(&self) -> &str {
        self.currency
    }

    /// The amount in minor units: between 10 and 200 major units and a fraction, or that many
    /// hundreds if the currency has no fraction.
    pub(super) fn amount(&self) -> i64 {
        let major = 10 + self.small(190);
        match self.currency {
            // It has no minor unit.
            "jpy" => major * 100,
            "kwd" => major * 1000 + 345,
            _ => major * 100 + 45,
        }
    }

    /// The invoice's number.
    pub(super) fn invoice_number(&self) -> String {
        format!("SAMPLE-{:04}", self.small(10_000))
    }

    pub(super) fn email(&self) -> String {
        format!("customer-{}@example.com", self.small(10_000))
    }

    pub(super) fn name(&self) -> String {
        format!("Sample Customer {}", self.small(10_000))
    }

    /// The seed modulo `limit`.
    fn small(&self, limit: u32) -> i64 {
        i64::try_from(self.seed % u64::from(limit)).unwrap_or_default()
    }
}

/// 24 letters and digits that depend on all parts.
fn token(parts: &[&str]) -> String {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    const LENGTH: usize = 24;
    Sha256::digest(parts.join("/"))
        .iter()
        .take(LENGTH)
        .filter_map(|byte| ALPHABET.get(usize::from(*byte) % ALPHABET.len()))
        .map(|letter| char::from(*letter))
        .collect()
}
