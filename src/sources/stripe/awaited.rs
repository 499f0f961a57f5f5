//! Events for whose acceptance Stripe waits. It finalizes an invoice, and so charges its customer, only after
//! `invoice.created` was answered with 2xx, or after 72 hours.

use super::envelope::{self, Envelope};
use super::sample::is_by_stripe;
use super::settings::LIVE_WITH_TEST_SECRET;
use crate::domain::unanswered::ClaimedEvent;
use crate::sources::astray;
use axum::http::HeaderMap;

/// The type of these events.
const AWAITED: &str = "invoice.created";

/// Whether Stripe waits for an event of this type.
pub(super) fn is_awaited(event_type: &str) -> bool {
    event_type == AWAITED
}

/// The awaited event in the body of a request that failed `check`. Its signature proves nothing unless only its
/// time or its mode is wrong, so anything else only has to look like a request of Stripe.
pub(super) fn claimed(source: &str, headers: &HeaderMap, body: &[u8], check: &str) -> Option<ClaimedEvent> {
    let is_signed = match check {
        "signature_too_old" | "signature_clock_ahead" | LIVE_WITH_TEST_SECRET => true,
        "signature_no_match" | "signature_malformed" | astray::CHECK => false,
        "signature_missing" if is_by_stripe(headers) => false,
        _ => return None,
    };
    // Most bodies need not be parsed for this.
    body.windows(AWAITED.len()).any(|window| window == AWAITED.as_bytes()).then_some(())?;
    let Envelope { event_id, facts, .. } = envelope::read(body).ok()?;
    is_awaited(&facts.event_type).then(|| ClaimedEvent {
        source: source.to_owned(),
        event_id,
        event_type: facts.event_type,
        livemode: facts.livemode,
        is_signed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn body(event_type: &str) -> Vec<u8> {
        json!({"id": "evt_1", "object": "event", "type": event_type, "livemode": true})
            .to_string()
            .into_bytes()
    }

    fn is_signed(check: &str, user_agent: &'static str, body: &[u8]) -> Option<bool> {
        let mut headers = HeaderMap::new();
        headers.insert("user-agent", user_agent.parse().expect("a value"));
        let event = claimed("stripe", &headers, body, check)?;
        assert_eq!((event.event_id.as_str(), event.livemode), ("evt_1", Some(true)));
        Some(event.is_signed)
    }

    #[test]
    fn only_a_request_with_a_valid_signature_proves_its_event() {
        let body = body("invoice.created");
        for (check, expected) in [
            ("signature_too_old", Some(true)),
            ("signature_clock_ahead", Some(true)),
            (LIVE_WITH_TEST_SECRET, Some(true)),
            ("signature_no_match", Some(false)),
            ("signature_malformed", Some(false)),
            ("wrong_path", Some(false)),
            ("signature_missing", None),
            ("event_id_invalid", None),
        ] {
            assert_eq!(is_signed(check, "curl/8", &body), expected, "{check}");
        }
        assert_eq!(is_signed("signature_missing", "Stripe/1.0", &body), Some(false));
    }

    #[test]
    fn only_the_type_counts_and_not_what_a_body_mentions() {
        assert_eq!(is_signed("signature_no_match", "curl/8", &body("invoice.paid")), None);
        let mentions = json!({"id": "evt_1", "type": "invoice.paid", "note": "invoice.created"}).to_string();
        assert_eq!(is_signed("signature_no_match", "curl/8", mentions.as_bytes()), None);
        assert_eq!(is_signed("signature_no_match", "curl/8", b"invoice.created"), None);
    }
}
