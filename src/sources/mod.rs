//! Where events come from: a source verifies a request and reads an event off it.
//!
//! A new source is a folder here and one line in [`Registry::new`]'s caller.

pub mod stripe;

use crate::domain::event::NewEvent;
use crate::domain::rejection::Sighting;
use axum::http::HeaderMap;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use std::borrow::Cow;
use std::sync::Arc;

/// Turns a request into an event, or says why not. Knows nothing of the database.
pub trait Source: Send + Sync {
    /// The name that events bear and that stands in the webhook's path.
    fn name(&self) -> &'static str;

    /// Verifies the request, then reads the event off it.
    fn receive(&self, headers: &HeaderMap, body: Bytes, now: DateTime<Utc>) -> Result<NewEvent, Rejection>;

    /// Notes what tells why a request was rejected; holds nothing that a customer wrote.
    fn sight(&self, headers: &HeaderMap, body: &[u8], rejection: &Rejection) -> Sighting;
}

/// Why a request is no event. It may be shown to the sender: it holds no secret and no signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Rejection {
    /// The check that failed, as a stable word.
    pub check: &'static str,
    /// What was wrong and what to do.
    pub detail: Cow<'static, str>,
}

/// The sources that this process serves.
#[derive(Clone, Default)]
pub struct Registry(Arc<[Arc<dyn Source>]>);

impl Registry {
    /// A registry of these sources.
    pub fn new(sources: Vec<Arc<dyn Source>>) -> Self {
        Self(sources.into())
    }

    /// The source of this name.
    pub fn get(&self, name: &str) -> Option<&dyn Source> {
        self.0.iter().find(|source| source.name() == name).map(AsRef::as_ref)
    }
}
