//! What is wrong with the endpoints of this service. The judgement is pure; [`EndpointChecker`] asks Stripe.

use super::calls::{Endpoints, Listed};
use super::endpoint::{Endpoint, Format, has_webhook_path, is_same_url, webhook_url};
use super::event_types::Needs;
use crate::domain::endpoint::{
    CheckedPart, EndpointFound, EndpointProblem, UndeliveredEvent, UnknownPart, WantedEndpoint,
};
use crate::sources::CheckEndpoint;
use crate::sources::stripe::api::{Account, Api, ApiError, ErrorClass, KeyMode, NamedKey, VERSION};
use crate::sources::stripe::event_type::without_thin_prefix;
use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, TimeDelta};
use futures_util::TryStreamExt;
use serde::Deserialize;
use std::collections::BTreeSet;
use url::Url;

/// The oldest version of the API whose shapes the program reads.
const OLDEST_VERSION: &str = "2020-03-02";

/// Stripe tries to deliver for three days; what is older is no longer tried.
const TRIED_FOR: TimeDelta = TimeDelta::days(3);

/// A younger event may still be on its way.
const ON_ITS_WAY: TimeDelta = TimeDelta::seconds(90);

/// How many pages of undelivered events are read.
const PAGES_MAX: usize = 2;

/// Checks the endpoints that one key sees.
pub struct EndpointChecker {
    api: Api,
    key: NamedKey,
    source: String,
}

impl EndpointChecker {
    /// One for each key of an instance.
    pub fn all(api: &Api, source: &str) -> Vec<Self> {
        let of_key = |key: &NamedKey| Self { api: api.clone(), key: key.clone(), source: source.to_owned() };
        api.keys.iter().map(of_key).collect()
    }

    /// The undelivered events of the types that these endpoints send.
    async fn undelivered(&self, endpoints: &[&Endpoint]) -> Result<Vec<UndeliveredEvent>, ApiError> {
        #[derive(Deserialize)]
        struct Undelivered {
            id: String,
            created: i64,
            #[serde(rename = "type")]
            event_type: String,
        }
        let Some(reference) = self.api.client.clock() else { return Ok(Vec::new()) };
        let now = reference.0 + TimeDelta::from_std(reference.1.elapsed()).unwrap_or_default();
        let from = endpoints.iter().filter_map(|endpoint| endpoint.created).min();
        let from = from.unwrap_or(now).max(now - TRIED_FOR).timestamp();
        let until = (now - ON_ITS_WAY).timestamp();
        let list = format!("/v1/events?delivery_success=false&created[gte]={from}&created[lte]={until}");
        let pages: Vec<_> =
            self.api.client.pages(Account::of(&self.key), list, PAGES_MAX).try_collect().await?;
        let sent = SentTypes::of(endpoints);
        let events = pages.iter().flat_map(|page| &page.items).filter_map(|item| {
            let event: Undelivered = serde_json::from_slice(&item.json).ok()?;
            sent.has(&event.event_type).then_some(())?;
            Some(UndeliveredEvent {
                created: DateTime::from_timestamp(event.created, 0)?,
                event_id: event.id,
            })
        });
        Ok(events.collect())
    }
}

#[async_trait]
impl CheckEndpoint for EndpointChecker {
    fn key(&self) -> &str {
        &self.key.name
    }

    fn livemode(&self) -> bool {
        self.key.mode == KeyMode::Live
    }

    async fn check(&self, wanted: &WantedEndpoint) -> Result<EndpointFound, UnknownPart> {
        let endpoints = Endpoints::new(&self.api.client, Account::of(&self.key));
        let Listed { endpoints, refused } =
            endpoints.list().await.map_err(|error| unknown(CheckedPart::Endpoints, error))?;
        let mut found = judge(&endpoints, &self.source, self.livemode(), wanted);
        if let Some(error) = refused {
            // What is not seen cannot be missed.
            found.problems.retain(|problem| !depends_on_all(problem));
            found.unknown.push(unknown(CheckedPart::Endpoints, error));
        }
        // Stripe's list of undelivered events has only snapshots.
        let ours: Vec<_> = endpoints
            .iter()
            .filter(|endpoint| found.enabled.contains(&endpoint.id) && endpoint.format == Format::Snapshot)
            .collect();
        if !ours.is_empty() {
            match self.undelivered(&ours).await {
                Ok(undelivered) => found.undelivered = undelivered,
                Err(error) => found.unknown.push(unknown(CheckedPart::Deliveries, error)),
            }
        }
        Ok(found)
    }
}

fn unknown(part: CheckedPart, error: ApiError) -> UnknownPart {
    UnknownPart {
        part,
        lacks_permission: matches!(error.class, ErrorClass::Refused { .. }),
        why: error.message,
        remedy: error.remedy,
    }
}

/// Whether an endpoint in a list that the key may not read could solve this problem.
const fn depends_on_all(problem: &EndpointProblem) -> bool {
    matches!(
        problem,
        EndpointProblem::Disabled { .. }
            | EndpointProblem::Missing { .. }
            | EndpointProblem::OtherUrl { .. }
            | EndpointProblem::MissingTypes { .. }
    )
}

/// The types that endpoints send.
struct SentTypes<'a>(BTreeSet<&'a str>);

impl<'a> SentTypes<'a> {
    fn of(endpoints: &[&'a Endpoint]) -> Self {
        let names = endpoints.iter().flat_map(|endpoint| &endpoint.events);
        Self(names.map(|name| without_thin_prefix(name)).collect())
    }

    fn has(&self, event_type: &str) -> bool {
        self.0.contains("*") || self.0.contains(event_type)
    }
}

/// Compares the endpoints with what is wanted of them.
fn judge(endpoints: &[Endpoint], source: &str, livemode: bool, wanted: &WantedEndpoint) -> EndpointFound {
    let url = wanted.public_url.as_ref().map(|base| webhook_url(base, source));
    let is_ours = |endpoint: &&Endpoint| match &url {
        Some(url) => is_same_url(&endpoint.url, url),
        None => has_webhook_path(&endpoint.url, source),
    };
    let (ours, others): (Vec<_>, Vec<_>) = endpoints.iter().partition(is_ours);
    let (enabled, disabled): (Vec<_>, Vec<_>) = ours.into_iter().partition(|endpoint| endpoint.is_enabled);
    if enabled.is_empty() {
        let problem = nothing_arrives(&disabled, &others, source, url.as_ref());
        return EndpointFound { problems: vec![problem], ..EndpointFound::default() };
    }
    // Thin events have types of their own, which snapshots do not replace.
    let is_snapshot = enabled.iter().any(|endpoint| endpoint.format == Format::Snapshot);
    let format = if is_snapshot { Format::Snapshot } else { Format::Thin };
    let needs = Needs::of(&wanted.subscriptions, livemode, format);
    let missing = needs.missing_in(&enabled).into_iter().map(str::to_owned).collect();
    let problems = EndpointProblem::missing_types(missing)
        .into_iter()
        .chain(enabled.iter().filter_map(|endpoint| other_version(endpoint)))
        .collect();
    let enabled = enabled.iter().map(|endpoint| endpoint.id.clone()).collect();
    EndpointFound { enabled, problems, ..EndpointFound::default() }
}

fn nothing_arrives(
    disabled: &[&Endpoint],
    others: &[&Endpoint],
    source: &str,
    url: Option<&Url>,
) -> EndpointProblem {
    if !disabled.is_empty() {
        return EndpointProblem::Disabled {
            endpoints: disabled.iter().map(|endpoint| endpoint.id.clone()).collect(),
        };
    }
    let elsewhere =
        others.iter().find(|endpoint| endpoint.is_enabled && has_webhook_path(&endpoint.url, source));
    match (elsewhere, url) {
        (Some(other), Some(wanted)) => {
            EndpointProblem::OtherUrl { url: other.url.clone(), wanted: wanted.to_string() }
        }
        (_, url) => EndpointProblem::Missing { url: url.map(ToString::to_string) },
    }
}

/// A version that is newer or older than those whose shapes the program reads. The account's own is unknown.
fn other_version(endpoint: &Endpoint) -> Option<EndpointProblem> {
    let version = endpoint.api_version.as_deref()?;
    let day = |version: &str| version.get(..10).and_then(|day| day.parse::<NaiveDate>().ok());
    let is_known = match (day(version), day(OLDEST_VERSION), day(VERSION)) {
        (Some(day), Some(oldest), Some(newest)) => (oldest..=newest).contains(&day),
        // A preview, or a form that Stripe introduced later.
        _ => false,
    };
    (!is_known).then(|| EndpointProblem::OtherVersion {
        endpoint: endpoint.id.clone(),
        version: version.to_owned(),
        known: VERSION.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::event_types::tests::subscription;
    use super::*;
    use crate::domain::subscription::LivemodeFilter;

    const URL: &str = "https://a.example/api/v1/webhooks/stripe";

    fn endpoint(id: &str, url: &str) -> Endpoint {
        Endpoint {
            id: id.to_owned(),
            url: url.to_owned(),
            is_enabled: true,
            events: vec!["*".to_owned()],
            api_version: Some(VERSION.to_owned()),
            ..Endpoint::default()
        }
    }

    fn wanted(public_url: Option<&str>, types: &str) -> WantedEndpoint {
        WantedEndpoint {
            public_url: public_url.map(|url| url.parse().expect("a URL")),
            subscriptions: [subscription(types, LivemodeFilter::All)].into(),
        }
    }

    fn words(endpoints: &[Endpoint], wanted: &WantedEndpoint) -> Vec<&'static str> {
        judge(endpoints, "stripe", true, wanted).problems.iter().map(EndpointProblem::as_str).collect()
    }

    #[test]
    fn an_enabled_endpoint_with_the_right_address_has_no_problem() {
        let (all, here) = (wanted(Some("https://a.example"), "*"), [endpoint("we_1", URL)]);
        let found = judge(&here, "stripe", true, &all);
        assert_eq!((found.problems, found.enabled), (Vec::new(), vec!["we_1".to_owned()]));
        assert!(words(&here, &wanted(None, "invoice.*")).is_empty(), "the path shows that it is ours");
    }

    #[test]
    fn a_disabled_endpoint_counts_if_no_enabled_one_replaces_it() {
        let all = wanted(Some("https://a.example"), "*");
        let disabled = Endpoint { is_enabled: false, ..endpoint("we_1", URL) };
        assert_eq!(words(std::slice::from_ref(&disabled), &all), ["disabled"]);
        assert!(words(&[disabled, endpoint("we_2", URL)], &all).is_empty());
    }

    #[test]
    fn an_endpoint_at_another_address_is_another_problem_than_none() {
        let all = wanted(Some("https://a.example"), "*");
        let old = endpoint("we_1", "https://old.example/api/v1/webhooks/stripe");
        assert_eq!(words(std::slice::from_ref(&old), &all), ["other_url"]);
        let of_a_shop = endpoint("we_2", "https://a.example/shop");
        assert_eq!(words(std::slice::from_ref(&of_a_shop), &all), ["missing"]);
        assert_eq!(words(&[Endpoint { is_enabled: false, ..old }, of_a_shop], &all), ["missing"]);
        assert_eq!(words(&[], &wanted(None, "*")), ["missing"]);
    }

    #[test]
    fn types_that_a_filter_names_must_be_sent_by_one_of_the_endpoints() {
        let here = wanted(Some("https://a.example"), "invoice.paid,payout.paid");
        let sends = |events: &[&str]| Endpoint {
            events: events.iter().map(|name| (*name).to_owned()).collect(),
            ..endpoint("we_1", URL)
        };
        assert_eq!(words(&[sends(&["invoice.paid"])], &here), ["missing_types"]);
        assert!(words(&[sends(&["invoice.paid"]), sends(&["payout.paid"])], &here).is_empty());
        let thin = Endpoint { format: Format::Thin, ..sends(&["v1.invoice.paid", "v1.payout.paid"]) };
        assert!(words(&[thin], &here).is_empty());
        assert!(words(&[sends(&["invoice.paid"])], &wanted(None, "*")).is_empty(), "it takes what comes");
    }

    #[test]
    fn a_version_is_known_up_to_the_one_of_this_program() {
        let all = wanted(Some("https://a.example"), "*");
        for (version, expected) in [
            (Some("2026-10-28.endive"), vec![]),
            (Some("2020-08-27"), vec![]),
            (None, vec![]),
            (Some("2027-03-31.fennel"), vec!["other_version"]),
            (Some("2015-10-16"), vec!["other_version"]),
            (Some("é"), vec!["other_version"]),
        ] {
            let one = Endpoint { api_version: version.map(str::to_owned), ..endpoint("we_1", URL) };
            assert_eq!(words(&[one], &all), expected, "{version:?}");
        }
    }
}
