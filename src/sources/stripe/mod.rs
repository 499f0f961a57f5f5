//! Stripe: verifies the signature first, reads the event after.

mod event;
mod forensics;
mod signature;

pub use signature::{HEADER, TOLERANCE_SECONDS, sign};

use crate::config::NamedSecret;
use crate::domain::event::NewEvent;
use crate::domain::rejection::Sighting;
use crate::sources::{Rejection, Source};
use axum::http::HeaderMap;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use signature::Verifier;

/// The name of this source.
pub const NAME: &str = "stripe";

/// Webhooks signed with any of the configured secrets.
pub struct Stripe {
    verifier: Verifier,
}

impl Stripe {
    /// Accepts what one of these secrets has signed.
    pub fn new(secrets: &[NamedSecret]) -> Self {
        Self { verifier: Verifier::new(secrets) }
    }
}

impl Source for Stripe {
    fn name(&self) -> &'static str {
        NAME
    }

    fn receive(&self, headers: &HeaderMap, body: Bytes, now: DateTime<Utc>) -> Result<NewEvent, Rejection> {
        let verified = self.verifier.verify(headers, &body, now.timestamp())?;
        let (event_id, facts) = event::read(&body)?;
        Ok(NewEvent {
            source: NAME,
            event_id,
            facts,
            signature: verified.header.to_owned(),
            secret_name: verified.secret_name.to_owned(),
            payload: body,
        })
    }

    fn sight(&self, headers: &HeaderMap, body: &[u8], rejection: &Rejection) -> Sighting {
        forensics::sight(headers, body, rejection.check)
    }
}
