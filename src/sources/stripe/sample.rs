//! Samples of rejected requests: what shows the cause, without the body.

use super::signature::{HEADER, claimed_time};
use super::{damage, envelope};
use crate::domain::rejection::{BodyForm, RejectionSample};
use crate::sources::names_of;
use axum::http::{HeaderMap, header};
use serde::de::IgnoredAny;

/// Stripe writes snapshot events on several lines and indents each level by two spaces.
const LAYOUT: &str = "{\n  \"";

/// Thin events contain this text. Their layout is not known.
const THIN: &str = "\"v2.core.event\"";

/// Samples a request that failed `check`.
pub(super) fn sample(source: &str, headers: &HeaderMap, body: &[u8], check: &str) -> RejectionSample {
    let (form, livemode) = form(body);
    RejectionSample {
        by_sender: is_by_stripe(headers),
        form,
        claimed_at: headers.get_all(HEADER).iter().find_map(|value| claimed_time(value.to_str().ok()?)),
        livemode,
        ..RejectionSample::new(source, check, names_of(headers), body)
    }
}

/// Whether a request claims to be Stripe's, which anyone can.
pub(super) fn is_by_stripe(headers: &HeaderMap) -> bool {
    let user_agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    user_agent.is_some_and(|agent| agent.starts_with("Stripe/"))
}

/// The body's form, and the mode that it claims.
fn form(body: &[u8]) -> (BodyForm, Option<bool>) {
    if body.iter().all(u8::is_ascii_whitespace) {
        return (BodyForm::Empty, None);
    }
    let Ok(envelope) = envelope::read(body) else {
        let other = if is_json(body) { BodyForm::NotAnEvent } else { BodyForm::NotJson };
        return (damage::form(body).unwrap_or(other), None);
    };
    let text = String::from_utf8_lossy(body);
    let form = match () {
        // What is around the event has an id of its own.
        () if damage::is_wrapped(body) => BodyForm::Wrapped,
        () if text.contains(THIN) => BodyForm::Unclear,
        () if text.starts_with(LAYOUT) => BodyForm::AsSent,
        () => BodyForm::Rewritten,
    };
    (form, envelope.facts.livemode)
}

fn is_json(body: &[u8]) -> bool {
    // The parser does not check the encoding of what it skips.
    std::str::from_utf8(body).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_layout_tells_who_wrote_the_body() {
        let event = json!({"id": "evt_1", "object": "event", "livemode": true, "type": "invoice.paid"});
        let pretty = serde_json::to_string_pretty(&event).expect("JSON");
        assert_eq!(form(pretty.as_bytes()), (BodyForm::AsSent, Some(true)));
        assert_eq!(form(event.to_string().as_bytes()), (BodyForm::Rewritten, Some(true)));
        let windows = pretty.replace('\n', "\r\n");
        assert_eq!(form(windows.as_bytes()), (BodyForm::Rewritten, Some(true)));
        let thin = json!({"id": "evt_1", "object": "v2.core.event", "livemode": false});
        assert_eq!(form(thin.to_string().as_bytes()), (BodyForm::Unclear, Some(false)));
        for (body, expected) in [
            (" \n", BodyForm::Empty),
            ("a=b", BodyForm::NotJson),
            ("{\"id\"", BodyForm::NotJson),
            ("{\"id\":\"evt_1\"", BodyForm::Truncated),
            ("[]", BodyForm::NotAnEvent),
            ("{}", BodyForm::NotAnEvent),
        ] {
            assert_eq!(form(body.as_bytes()), (expected, None), "{body}");
        }
        assert_eq!(form(b"\xff"), (BodyForm::NotJson, None));
        let of_a_bus = json!({"id": "7f3c", "detail": event});
        assert_eq!(form(of_a_bus.to_string().as_bytes()).0, BodyForm::Wrapped);
    }

    #[test]
    fn names_of_headers_are_kept_and_their_texts_are_not() {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, "t=1700000000,v1=secret-looking".parse().expect("value"));
        headers.insert(
            header::USER_AGENT,
            "Stripe/1.0 (+https://stripe.com/docs/webhooks)".parse().expect("value"),
        );
        headers.insert(header::COOKIE, "session=hidden".parse().expect("value"));
        let long: axum::http::HeaderName = "x".repeat(65).parse().expect("name");
        headers.insert(long, "1".parse().expect("value"));
        let sample = sample("stripe", &headers, b"{}", "signature_no_match");
        assert_eq!(sample.header_names, ["cookie", "stripe-signature", "user-agent"]);
        assert!(sample.by_sender);
        assert_eq!(sample.claimed_at, Some(1_700_000_000));
        let debug = format!("{sample:?}");
        assert!(!debug.contains("hidden") && !debug.contains("secret-looking"), "{debug}");
    }
}
