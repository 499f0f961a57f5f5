//! Sends events to endpoints on this machine, and makes time pass in the shop.

use crate::clock::machine_now;
use crate::deliveries::Delivery;
use crate::endpoints::Payload;
use crate::shared::Shared;
use crate::signature;
use crate::state::State;
use axum::http::{Request, header};
use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

/// How many attempts run at once.
const ATTEMPTS_MAX: usize = 16;

/// How long an endpoint may take to answer.
const TIMEOUT: Duration = Duration::from_secs(20);

/// How often the clock is looked at while nothing else happens, at the latest.
const TICK: Duration = Duration::from_millis(500);

/// Runs until the stand-in stops.
pub async fn run(shared: Arc<Shared>) {
    let mut changes = shared.changes();
    while !shared.stopped.is_cancelled() {
        changes.mark_unchanged();
        let wait = send_due(&shared);
        tokio::select! {
            () = shared.stopped.cancelled() => return,
            _ = changes.changed() => {}
            () = tokio::time::sleep(wait.min(TICK)) => {}
        }
    }
}

/// Starts the attempts that are due. Returns how long it takes until the next.
fn send_due(shared: &Arc<Shared>) -> Duration {
    loop {
        let (attempt, events_before, events_after, wait) = {
            let mut state = shared.state();
            let before = state.events.len();
            let now = state.advance();
            let has_room = shared.attempts.len() < ATTEMPTS_MAX;
            let delivery = if has_room { state.deliveries.take_due(now) } else { None };
            let attempt = delivery.map(|delivery| Attempt::prepare(&state, delivery));
            let next = state.next_at().and_then(|next| state.clock.until(next));
            (attempt, before, state.events.len(), next.unwrap_or(TICK))
        };
        if events_after != events_before {
            shared.changed();
        }
        let Some(attempt) = attempt else { return wait.max(Duration::from_millis(1)) };
        let shared = Arc::clone(shared);
        shared.clone().attempts.spawn(async move {
            let result = tokio::select! {
                () = shared.stopped.cancelled() => Err("the stand-in stopped".to_owned()),
                result = tokio::time::timeout(TIMEOUT, attempt.send()) => {
                    result.unwrap_or_else(|_| Err("timed out".to_owned()))
                }
            };
            shared.state().tried(&attempt.delivery, result);
            shared.changed();
        });
    }
}

/// One attempt to deliver an event.
struct Attempt {
    delivery: Delivery,
    url: Result<Url, String>,
    body: Bytes,
    signature: String,
}

impl Attempt {
    fn prepare(state: &State, delivery: Delivery) -> Self {
        let endpoint = state.endpoints.iter().find(|endpoint| endpoint.id == delivery.endpoint);
        let event = state.events.get(&delivery.event);
        let (Some(endpoint), Some(event)) = (endpoint, event) else {
            let url = Err("the endpoint or the event is gone".to_owned());
            return Self { delivery, url, body: Bytes::new(), signature: String::new() };
        };
        let version = endpoint.api_version.as_deref().unwrap_or(&state.options.api_version);
        let body = match endpoint.payload {
            Payload::Snapshot if !event.is_only_thin() => event.snapshot(version),
            _ => event.thin(false),
        };
        let body = Bytes::from(body.to_string());
        // Receivers compare the time with their own clock, which does not run as fast as the stand-in's.
        let signed_at = machine_now() + state.clock.skew;
        let signature = signature::header(&endpoint.signing(state.clock.now()), signed_at, &body);
        let url = address(&endpoint.url, state.options.deliver_to.as_deref());
        Self { delivery, url, body, signature }
    }

    /// Sends it on a connection of its own: without TLS, a proxy or redirects. Returns the status of the answer.
    async fn send(&self) -> Result<u16, String> {
        let url = self.url.clone()?;
        let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(80));
        let address = format!("{host}:{port}");
        let stream = TcpStream::connect(&address).await.map_err(|_| "connection refused".to_owned())?;
        let no_answer = |_| "no answer".to_owned();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(no_answer)?;
        let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
        let target =
            url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        let request = Request::post(target)
            .header(header::HOST, address)
            .header(header::USER_AGENT, "Stripe/1.0 (+https://stripe.com/docs/webhooks)")
            .header(header::CONTENT_TYPE, "application/json; charset=utf-8")
            .header(header::ACCEPT, "*/*; q=0.5, application/xml")
            .header(header::CACHE_CONTROL, "no-cache")
            .header("stripe-signature", &self.signature)
            .body(Full::new(self.body.clone()))
            .map_err(|error| error.to_string())?;
        let answer = sender.send_request(request).await.map_err(|_| "no answer".to_owned())?;
        Ok(answer.status().as_u16())
    }
}

/// Where an endpoint's events go. Only this machine is reached.
fn address(url: &str, deliver_to: Option<&str>) -> Result<Url, String> {
    let mut address = Url::parse(url).map_err(|error| error.to_string())?;
    if let Some(origin) = deliver_to {
        let mut moved = Url::parse(origin).map_err(|error| error.to_string())?;
        moved.set_path(address.path());
        moved.set_query(address.query());
        address = moved;
    }
    let host = address.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let is_here = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    match (address.scheme(), is_here) {
        ("http", true) => Ok(address),
        (_, true) => Err("the stand-in sends only by HTTP".to_owned()),
        _ => Err("the stand-in sends only to this machine".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_go_only_to_this_machine() {
        let to = |url: &str, deliver_to: Option<&str>| address(url, deliver_to).map(String::from);
        assert_eq!(to("http://127.0.0.1:8000/hook?a=1", None).unwrap(), "http://127.0.0.1:8000/hook?a=1");
        assert!(to("https://example.com/hook", None).is_err());
        let moved = to("https://example.com/hook?a=1", Some("http://localhost:8000"));
        assert_eq!(moved.unwrap(), "http://localhost:8000/hook?a=1");
    }
}
