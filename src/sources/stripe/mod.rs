//! Stripe: verifies the signature first and reads the event after that; knows Stripe's objects, their
//! states and links.

pub mod api;
mod awaited;
mod damage;
mod diagnosis;
pub mod endpoints;
mod envelope;
mod event_type;
mod json;
mod links;
mod named;
mod object;
pub mod ordering;
mod sample;
mod search_terms;
mod settings;
mod signature;
mod summary;

pub use settings::{NamedSecret, webhook_secrets};
pub use signature::{HEADER, TOLERANCE_SECONDS, sign};
pub use summary::summarize;

use crate::config::{InstanceName, Reader};
use crate::domain::event::{EventFacts, EventOrigin, NewEvent, StoredEvent};
use crate::domain::finding::Finding;
use crate::domain::rejection::{Diagnosis, RejectionSample, StoredSample};
use crate::domain::search::IndexEntry;
use crate::domain::source::{Examples, Origin};
use crate::domain::summary::EventSummary;
use crate::domain::unanswered::ClaimedEvent;
use crate::sources::{AccessCheck, CheckEndpoint, EventList, Kind, PullSettings, Rejection, Source};
use api::{Api, KeyCheck, StripeEvents};
use axum::http::HeaderMap;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use diagnosis::Configured;
use endpoints::EndpointChecker;
use envelope::Envelope;
use signature::Verifier;
use std::sync::Arc;

/// This kind of source.
pub const KIND: Kind = Kind {
    secrets: &[(
        "WEBHOOK_SECRET",
        "the signing secret (whsec_…) of the endpoint that you add at Stripe, see below",
    )],
    optional_secrets: &["API_KEY"],
    signature_header: Some(HEADER),
    set_up: "At Stripe, under Developers › Webhooks, add an endpoint with this URL, and copy its signing secret:",
    checks: &[
        "signature_missing",
        "signature_malformed",
        "signature_no_match",
        "signature_too_old",
        "signature_clock_ahead",
        "body_not_an_event",
        "event_id_invalid",
        settings::LIVE_WITH_TEST_SECRET,
    ],
    presets: event_type::PRESETS,
    is_person_id: object::is_customer_id,
    person_ids: "cus_…, gcus_…",
    examples: Examples {
        event_id: "evt_1Q0example",
        event_type: "invoice.paid",
        type_pattern: "invoice.*",
        object_id: "in_…",
        account: "acct_…",
    },
    spelling: Some(event_type::without_thin_prefix),
    pings: &["v2.core.event_destination.ping"],
    ..Kind::new("stripe", "Stripe", configure)
};

/// Webhooks signed with any of the configured secrets.
pub struct Stripe {
    name: Arc<str>,
    instance: InstanceName,
    /// The full name of the setting that holds the secrets.
    setting: String,
    secrets: Vec<NamedSecret>,
    secret_names: Vec<String>,
    verifier: Verifier,
    /// The instance's own account, for links to it.
    account: Option<String>,
    /// The access to Stripe's API, if there is a key.
    api: Option<Api>,
    /// How events are fetched, if they are.
    pull: Option<PullSettings>,
}

impl Stripe {
    /// An instance that accepts requests signed with one of these secrets.
    pub fn new(instance: &InstanceName, secrets: Vec<NamedSecret>) -> Self {
        let setting = settings::setting(instance);
        let verifier = Verifier::new(&setting, &secrets);
        let secret_names = secrets.iter().map(|secret| secret.name.clone()).collect();
        let name = instance.name.as_str().into();
        let instance = instance.clone();
        Self {
            name,
            instance,
            setting,
            secrets,
            secret_names,
            verifier,
            account: None,
            api: None,
            pull: None,
        }
    }

    /// The same instance, whose links name its own account where an event names none.
    #[must_use]
    pub fn of_account(self, account: Option<String>) -> Self {
        Self { account, ..self }
    }

    /// The same instance with access to Stripe's API.
    #[must_use]
    pub fn with_api(self, api: Option<Api>) -> Self {
        Self { api, ..self }
    }

    /// The same instance, whose events are fetched with each of its API keys.
    #[must_use]
    pub fn with_pull(self, pull: Option<PullSettings>) -> Self {
        Self { pull, ..self }
    }
}

fn configure(reader: &mut Reader<'_>, instance: &InstanceName) -> Arc<dyn Source> {
    let secrets = webhook_secrets(reader, instance);
    let (account, api) = (settings::account(reader, instance), Api::configure(reader, instance));
    let pull = settings::pull(reader, instance, !secrets.is_empty());
    if secrets.is_empty() && pull.is_none() {
        let message = "is missing: the signing secret (whsec_…) of your Stripe endpoint";
        reader.first_problem(&settings::setting(instance), message);
    }
    if pull.is_some() && api.is_none() {
        let message = "is missing: a key of Stripe's API (rk_live_… or rk_test_…) that may read events";
        reader.first_problem(&instance.setting("API_KEY"), message);
    }
    Arc::new(Stripe::new(instance, secrets).of_account(account).with_api(api).with_pull(pull))
}

impl Source for Stripe {
    fn name(&self) -> &str {
        &self.name
    }

    fn receive(&self, headers: &HeaderMap, body: Bytes, now: DateTime<Utc>) -> Result<NewEvent, Rejection> {
        let verified = self.verifier.verify(headers, &body, now.timestamp())?;
        let Envelope { event_id, facts, carries_state } = envelope::read(&body)?;
        if verified.is_of_test_mode && facts.livemode == Some(true) {
            return Err(settings::live_with_test_secret(verified.secret_name, &self.setting));
        }
        Ok(NewEvent {
            source: self.name.clone(),
            event_id,
            facts,
            carries_state,
            origin: EventOrigin::Webhook,
            signature: verified.header.to_owned(),
            secret_name: verified.secret_name.to_owned(),
            payload: body,
        })
    }

    fn related_object(&self, event: &StoredEvent) -> Option<String> {
        summary::related_object(event)
    }

    fn summarize(&self, event: &StoredEvent, related: &[StoredEvent]) -> EventSummary {
        summary::summarize_at(event, related, self.account.as_deref())
    }

    fn newest(&self, events: &[&StoredEvent]) -> Option<usize> {
        ordering::newest_event(events)
    }

    fn index_entry(&self, facts: &EventFacts, body: &[u8]) -> IndexEntry {
        search_terms::index_entry(facts, body)
    }

    fn sample(&self, headers: &HeaderMap, body: &[u8], rejection: &Rejection) -> RejectionSample {
        sample::sample(&self.name, headers, body, rejection.check)
    }

    fn awaits_answer(&self, facts: &EventFacts) -> bool {
        awaited::is_awaited(&facts.event_type)
    }

    fn claimed(&self, headers: &HeaderMap, body: &[u8], rejection: &Rejection) -> Option<ClaimedEvent> {
        awaited::claimed(&self.name, headers, body, rejection.check)
    }

    fn diagnose(&self, rejections: &[StoredSample], accepted_at: Option<DateTime<Utc>>) -> Vec<Diagnosis> {
        let configured = Configured { setting: &self.setting, secrets: &self.secret_names };
        diagnosis::diagnose(rejections, accepted_at, configured)
    }

    fn event_lists(&self) -> Vec<Arc<dyn EventList>> {
        let (Some(api), Some(pull)) = (&self.api, self.pull) else { return Vec::new() };
        let list = |key| Arc::new(StripeEvents::new(&self.name, api, key, pull)) as Arc<dyn EventList>;
        api.keys.iter().map(list).collect()
    }

    fn access_check(&self) -> Option<Arc<dyn AccessCheck>> {
        let api = self.api.as_ref()?;
        let pull = self.pull.map(|_| self.instance.setting("PULL"));
        let account_setting = self.instance.setting("ACCOUNT");
        Some(Arc::new(KeyCheck::new(api, self.account.clone(), account_setting, pull)))
    }

    fn check(&self) -> Vec<Finding> {
        let keys = self.api.iter().flat_map(|api| api.keys.check());
        settings::check(&self.secrets).into_iter().chain(keys).collect()
    }

    fn endpoint_checkers(&self) -> Vec<Arc<dyn CheckEndpoint>> {
        let checkers = self.api.iter().flat_map(|api| EndpointChecker::all(api, &self.name));
        checkers.map(|checker| Arc::new(checker) as Arc<dyn CheckEndpoint>).collect()
    }

    fn event_link(&self, event_id: &str, origin: Origin<'_>) -> Option<String> {
        links::of_event(event_id, origin.account.or(self.account.as_deref()), origin.livemode)
    }

    fn object_link(&self, object_id: &str, origin: Origin<'_>) -> Option<String> {
        links::of_object(object_id, origin.account.or(self.account.as_deref()), origin.livemode)
    }
}
