//! The requests about endpoints. Nothing here deletes one.

use super::endpoint::{Created, Endpoint, Format, REPLACES, REQUEST, SECRET_FINGERPRINT, fingerprint};
use crate::sources::stripe::api::{Account, Answer, ApiError, Client, ErrorClass, Request, VERSION};
use futures_util::TryStreamExt;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

/// The lists of endpoints.
const V1: &str = "/v1/webhook_endpoints";
const V2: &str = "/v2/core/event_destinations";

/// The most pages of each list that are read. Stripe allows 16 endpoints, and more on request.
const PAGES_MAX: usize = 5;

/// The name and the description of an endpoint that this program creates.
const NAME: &str = "EventBridge";
const DESCRIPTION: &str = "Created by eventbridge stripe init";

/// Requests about the endpoints of one account and mode.
#[derive(Debug, Clone, Copy)]
pub struct Endpoints<'a> {
    client: &'a Client,
    account: Account<'a>,
}

/// The endpoints that can be seen.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The endpoints.
    pub endpoints: Vec<Endpoint>,
    /// Why the others cannot be seen, if one of Stripe's two lists is refused to the key.
    pub refused: Option<ApiError>,
}

/// An endpoint to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEndpoint {
    /// Where it leads.
    pub url: String,
    /// How it sends.
    pub format: Format,
    /// What it sends.
    pub events: Vec<String>,
    /// The endpoints that it is to replace, by their ids, separated by commas.
    pub replaces: Option<String>,
    /// The idempotency key: with the same one, Stripe repeats its answer, for a day.
    pub request: Uuid,
}

/// A ping that Stripe sends to an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ping {
    /// The id of its event.
    pub event_id: String,
}

impl<'a> Endpoints<'a> {
    /// Those that this key sees.
    pub const fn new(client: &'a Client, account: Account<'a>) -> Self {
        Self { client, account }
    }

    /// All endpoints, of both APIs. If the key may read only one of the lists, the other one is missing.
    pub async fn list(&self) -> Result<Listed, ApiError> {
        let mut refused = None;
        let mut endpoints = match self.of_v1().await {
            Err(error) if matches!(error.class, ErrorClass::Refused { .. }) => {
                refused = Some(error);
                Vec::new()
            }
            read => read?,
        };
        match (self.of_v2().await, &refused) {
            (Ok(others), _) => {
                // An endpoint of v1 may be in both lists.
                let is_new = |other: &Endpoint| !endpoints.iter().any(|known| known.id == other.id);
                let others: Vec<_> = others.into_iter().filter(is_new).collect();
                endpoints.extend(others);
            }
            (Err(error), None) if matches!(error.class, ErrorClass::Refused { .. }) => refused = Some(error),
            // Without v2, as at an older stand-in of Stripe, there are no destinations.
            (Err(error), None) if error.class == ErrorClass::Gone => {}
            (Err(error), _) => return Err(error),
        }
        Ok(Listed { endpoints, refused })
    }

    async fn of_v1(&self) -> Result<Vec<Endpoint>, ApiError> {
        let pages: Vec<_> = self.client.pages(self.account, V1, PAGES_MAX).try_collect().await?;
        let values = pages.into_iter().flat_map(|page| page.items);
        Ok(values.filter_map(|item| Endpoint::of_v1(&serde_json::from_slice(&item.json).ok()?)).collect())
    }

    async fn of_v2(&self) -> Result<Vec<Endpoint>, ApiError> {
        #[derive(Deserialize)]
        struct Page {
            data: Vec<Value>,
            next_page_url: Option<String>,
        }
        let mut endpoints = Vec::new();
        let mut next = Some(format!("{V2}?include[0]=webhook_endpoint.url"));
        for _page in 0..PAGES_MAX {
            let Some(address) = next else { break };
            let page: Page = self.client.get(&self.account, &address).await?.json()?;
            endpoints.extend(page.data.iter().filter_map(Endpoint::of_v2));
            next = page.next_page_url.map(|url| path_and_query(&url));
        }
        Ok(endpoints)
    }

    /// Creates an endpoint.
    pub async fn create(&self, new: &NewEndpoint) -> Result<Created, ApiError> {
        let request = match new.format {
            Format::Snapshot => of_v1_creation(new),
            Format::Thin => of_v2_creation(new),
        };
        let answer = self.client.send(&self.account, &request.identified_by(new.request)).await?;
        let value: Value = answer.json()?;
        let (endpoint, secret) = match new.format {
            Format::Snapshot => (Endpoint::of_v1(&value), value.get("secret")),
            Format::Thin => (Endpoint::of_v2(&value), value.pointer("/webhook_endpoint/signing_secret")),
        };
        let secret = secret.and_then(Value::as_str).filter(|secret| secret.starts_with("whsec_"));
        match (endpoint, secret) {
            (Some(endpoint), Some(secret)) => Ok(Created { endpoint, secret: SecretString::from(secret) }),
            _ => Err(answer.unreadable()),
        }
    }

    /// Records at the endpoint which secret is its own, by a part of the secret's hash.
    pub async fn record_secret(&self, endpoint: &Endpoint, secret: &SecretString) -> Result<(), ApiError> {
        let fingerprint = fingerprint(secret);
        let request = if endpoint.is_of_v1 {
            let name = format!("metadata[{SECRET_FINGERPRINT}]");
            Request::post_form(format!("{V1}/{}", endpoint.id), &[(&name, &fingerprint)])
        } else {
            let mut metadata = endpoint.metadata.clone();
            metadata.insert(SECRET_FINGERPRINT.to_owned(), fingerprint);
            Request::post_json(format!("{V2}/{}", endpoint.id), &json!({ "metadata": metadata }))
        };
        self.client.send(&self.account, &request).await.map(|_answer| ())
    }

    /// Replaces the types that an endpoint sends.
    pub async fn set_events(&self, endpoint: &Endpoint, events: &[String]) -> Result<(), ApiError> {
        let request = if endpoint.is_of_v1 {
            let form: Vec<_> = events.iter().map(|name| ("enabled_events[]", name.as_str())).collect();
            Request::post_form(format!("{V1}/{}", endpoint.id), &form)
        } else {
            Request::post_json(format!("{V2}/{}", endpoint.id), &json!({ "enabled_events": events }))
        };
        self.client.send(&self.account, &request).await.map(|_answer| ())
    }

    /// Enables or disables an endpoint.
    pub async fn set_enabled(&self, endpoint: &Endpoint, is_enabled: bool) -> Result<(), ApiError> {
        let request = if endpoint.is_of_v1 {
            let disabled = if is_enabled { "false" } else { "true" };
            Request::post_form(format!("{V1}/{}", endpoint.id), &[("disabled", disabled)])
        } else {
            let verb = if is_enabled { "enable" } else { "disable" };
            Request::post_json(format!("{V2}/{}/{verb}", endpoint.id), &json!({}))
        };
        self.client.send(&self.account, &request).await.map(|_answer| ())
    }

    /// Makes Stripe send a ping to an endpoint.
    pub async fn ping(&self, endpoint: &Endpoint) -> Result<Ping, ApiError> {
        #[derive(Deserialize)]
        struct Event {
            id: String,
        }
        let request = Request::post_json(format!("{V2}/{}/ping", endpoint.id), &json!({}));
        let answer: Answer = self.client.send(&self.account, &request).await?;
        Ok(Ping { event_id: answer.json::<Event>()?.id })
    }
}

fn of_v1_creation(new: &NewEndpoint) -> Request {
    let request = new.request.to_string();
    let [of_request, of_replaced] = [REQUEST, REPLACES].map(|name| format!("metadata[{name}]"));
    let mut form = vec![("url", new.url.as_str()), ("api_version", VERSION), ("description", DESCRIPTION)];
    form.extend(new.events.iter().map(|name| ("enabled_events[]", name.as_str())));
    form.push((&of_request, &request));
    form.extend(new.replaces.as_deref().map(|replaced| (of_replaced.as_str(), replaced)));
    Request::post_form(V1, &form)
}

fn of_v2_creation(new: &NewEndpoint) -> Request {
    let mut metadata = json!({ REQUEST: new.request.to_string() });
    if let (Some(replaced), Some(entries)) = (&new.replaces, metadata.as_object_mut()) {
        entries.insert(REPLACES.to_owned(), json!(replaced));
    }
    Request::post_json(
        V2,
        &json!({
            "name": NAME,
            "description": DESCRIPTION,
            "type": "webhook_endpoint",
            "event_payload": "thin",
            "enabled_events": new.events,
            "webhook_endpoint": { "url": new.url },
            "include": ["webhook_endpoint.signing_secret", "webhook_endpoint.url"],
            "metadata": metadata,
        }),
    )
}

/// The path and the query of the next page, which Stripe gives with or without its host.
fn path_and_query(url: &str) -> String {
    match Url::parse(url) {
        Ok(url) => match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        },
        Err(_) => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_a_path_with_or_without_the_host() {
        for url in
            ["/v2/core/event_destinations?page=a", "https://api.stripe.com/v2/core/event_destinations?page=a"]
        {
            assert_eq!(path_and_query(url), "/v2/core/event_destinations?page=a");
        }
    }
}
