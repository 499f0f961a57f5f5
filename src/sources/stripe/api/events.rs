//! Stripe's list of events. It has snapshot events of the last 30 days, in the version of the account's API that
//! each was created in, and none of connected accounts.

use super::{Account, Api, ApiError, ErrorClass, Item, ListPage, NamedKey};
use crate::domain::event::{BODY_BYTES_MAX, EventOrigin, NewEvent};
use crate::sources::stripe::envelope::{self, Envelope};
use crate::sources::{CreatedRange, EventList, EventPage, ListError, PullSettings};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// The events that one key lists.
pub struct StripeEvents {
    source: Arc<str>,
    api: Api,
    key: NamedKey,
    identity: String,
    settings: PullSettings,
}

impl StripeEvents {
    /// The events that this key lists, stored as those of this source.
    pub fn new(source: &Arc<str>, api: &Api, key: &NamedKey, settings: PullSettings) -> Self {
        const IDENTITY_BYTES: usize = 8;
        let digest = Sha256::digest(key.key.expose_secret().as_bytes());
        let identity = hex::encode(digest.iter().take(IDENTITY_BYTES).copied().collect::<Vec<_>>());
        Self { source: source.clone(), api: api.clone(), key: key.clone(), identity, settings }
    }

    fn event(&self, item: Item) -> Result<NewEvent, (String, String)> {
        let bytes = item.json.len();
        if bytes > BODY_BYTES_MAX {
            return Err((item.id, format!("it has {bytes} bytes, and {BODY_BYTES_MAX} are accepted")));
        }
        match envelope::read(&item.json) {
            Ok(Envelope { event_id, facts, carries_state }) => Ok(NewEvent {
                source: self.source.clone(),
                event_id,
                facts,
                carries_state,
                origin: EventOrigin::Api,
                signature: String::new(),
                secret_name: self.key.name.clone(),
                payload: item.json,
            }),
            Err(rejection) => Err((item.id, rejection.detail.into_owned())),
        }
    }

    fn page(&self, page: ListPage) -> EventPage {
        let (mut events, mut unreadable) = (Vec::new(), Vec::new());
        for item in page.items {
            match self.event(item) {
                Ok(event) => events.push(event),
                Err(reason) => unreadable.push(reason),
            }
        }
        EventPage { events, unreadable, has_more: page.has_more, asked_at: page.asked_at }
    }
}

impl EventList for StripeEvents {
    fn name(&self) -> &str {
        &self.key.name
    }

    fn identity(&self) -> &str {
        &self.identity
    }

    fn settings(&self) -> PullSettings {
        self.settings
    }

    fn read(&self, range: CreatedRange, pages_max: usize) -> BoxStream<'_, Result<EventPage, ListError>> {
        let pages = self.api.client.pages(Account::of(&self.key), address(range), pages_max);
        pages.map(|page| page.map(|page| self.page(page)).map_err(ListError::from)).boxed()
    }
}

fn address(range: CreatedRange) -> String {
    let from = range.from.map(|time| format!("created[gte]={}", time.timestamp()));
    let until = range.until.map(|time| format!("created[lt]={}", time.timestamp()));
    let filter: Vec<_> = from.into_iter().chain(until).collect();
    if filter.is_empty() { "/v1/events".to_owned() } else { format!("/v1/events?{}", filter.join("&")) }
}

impl From<ApiError> for ListError {
    fn from(error: ApiError) -> Self {
        Self {
            class: error.class.as_str(),
            is_temporary: error.class.is_temporary(),
            retry_after: match error.class {
                ErrorClass::Throttled { retry_after } => retry_after,
                _ => None,
            },
            message: error.message,
            remedy: error.remedy,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    #[test]
    fn a_range_has_a_beginning_and_an_end_in_seconds() {
        let at = |seconds| DateTime::from_timestamp(seconds, 500_000_000);
        let of = |from: Option<i64>, until: Option<i64>| {
            address(CreatedRange { from: from.and_then(at), until: until.and_then(at) })
        };
        assert_eq!(of(None, None), "/v1/events");
        assert_eq!(of(Some(5), None), "/v1/events?created[gte]=5");
        assert_eq!(of(Some(5), Some(9)), "/v1/events?created[gte]=5&created[lt]=9");
    }
}
