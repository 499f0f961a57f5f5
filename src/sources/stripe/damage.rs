//! What has become of an event's body on its way, by its form alone. Pure.
//!
//! A signature cannot tell a changed body from a wrong secret, and the two have different remedies. Every
//! form here is recognized by the event that it still contains, except compressed bodies, which are not
//! unpacked.

use super::{envelope, json};
use crate::domain::rejection::BodyForm;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_PAD_INDIFFERENT, URL_SAFE_PAD_INDIFFERENT};
use serde::de::IgnoredAny;
use serde_json::Value;
use url::form_urlencoded;

/// Larger bodies are not looked into: parsed, they would take many times their size. Most events have a few
/// kilobytes.
const LOOK_BYTES_MAX: usize = 256 * 1024;

/// How deep an event may be in an envelope. Queues put it into a list of records: `Records[0].body`.
const ENVELOPE_DEPTH_MAX: usize = 4;

/// The ids of Stripe's events. Without this beginning, other JSON with an `id` would be taken for one.
const ID_PREFIX: &str = "evt_";

/// What the beginning of every event contains.
const MARKS: &[&str] = &["\"evt_", "\"object\": \"event\"", "\"object\":\"event\""];

/// The form of a body that is not an event but was one. `None` if nothing in it shows that.
pub(super) fn form(body: &[u8]) -> Option<BodyForm> {
    if is_compressed(body) {
        return Some(BodyForm::Compressed);
    }
    if whole_characters(body).is_some_and(|text| is_cut_off(text.trim())) {
        return Some(BodyForm::Truncated);
    }
    if body.len() > LOOK_BYTES_MAX {
        return None;
    }
    // Text of ASCII characters in UTF-16 is valid UTF-8 with NULs.
    if recoded(body).is_some_and(|text| is_event(&text)) {
        return Some(BodyForm::Reencoded);
    }
    let text = std::str::from_utf8(body).ok()?.trim();
    match () {
        () if is_in_envelope(&json::value(body), ENVELOPE_DEPTH_MAX) => Some(BodyForm::Wrapped),
        () if is_base64(text) => Some(BodyForm::Base64),
        () if is_form(text) => Some(BodyForm::FormEncoded),
        () => None,
    }
}

/// Whether an event is somewhere inside of this JSON, as an object or as a text.
pub(super) fn is_wrapped(body: &[u8]) -> bool {
    if body.len() > LOOK_BYTES_MAX {
        return false;
    }
    match json::value(body) {
        Value::Object(fields) if !is_events(fields.get("id")) => {
            fields.values().any(|value| is_in_envelope(value, ENVELOPE_DEPTH_MAX))
        }
        _ => false,
    }
}

fn is_in_envelope(value: &Value, depth: usize) -> bool {
    match value {
        Value::String(text) => {
            let text = text.trim();
            is_event(text) || is_base64(text)
        }
        Value::Object(fields) if is_events(fields.get("id")) => true,
        Value::Object(fields) if depth > 0 => fields.values().any(|value| is_in_envelope(value, depth - 1)),
        Value::Array(values) if depth > 0 => values.iter().any(|value| is_in_envelope(value, depth - 1)),
        _ => false,
    }
}

fn is_events(id: Option<&Value>) -> bool {
    id.and_then(Value::as_str).is_some_and(|id| id.starts_with(ID_PREFIX))
}

fn is_event(text: &str) -> bool {
    text.starts_with('{')
        && envelope::read(text.as_bytes()).is_ok_and(|event| event.event_id.starts_with(ID_PREFIX))
}

/// Whether it begins as gzip, zlib or Zstandard data.
fn is_compressed(body: &[u8]) -> bool {
    matches!(body, [0x1f, 0x8b, ..] | [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..])
}

/// The text of a body that is not in plain UTF-8.
fn recoded(body: &[u8]) -> Option<String> {
    let utf_16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units = bytes.chunks_exact(2).filter_map(|pair| pair.try_into().ok()).map(unit);
        char::decode_utf16(units).collect::<Result<String, _>>().ok()
    };
    match body {
        [0xff, 0xfe, rest @ ..] => utf_16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf_16(rest, u16::from_be_bytes),
        [b'{', 0, ..] => utf_16(body, u16::from_le_bytes),
        [0, b'{', ..] => utf_16(body, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => std::str::from_utf8(rest).ok().map(str::to_owned),
        _ if std::str::from_utf8(body).is_ok() => None,
        // Each byte of Latin-1 is the character of its number.
        _ => Some(body.iter().copied().map(char::from).collect()),
    }
}

fn is_base64(text: &str) -> bool {
    // The first characters of `{"` and of a brace with white space after it.
    if !["ey", "ew"].iter().any(|beginning| text.starts_with(beginning)) {
        return false;
    }
    // Mail's variant has lines of 76 characters.
    let text: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let decoded = STANDARD_PAD_INDIFFERENT.decode(&text).or_else(|_| URL_SAFE_PAD_INDIFFERENT.decode(&text));
    decoded.is_ok_and(|bytes| std::str::from_utf8(&bytes).is_ok_and(is_event))
}

/// Whether it is a form with the event, or with its fields.
fn is_form(text: &str) -> bool {
    if text.starts_with("--") && text.to_ascii_lowercase().contains("content-disposition: form-data") {
        return MARKS.iter().any(|mark| text.contains(mark));
    }
    if text.starts_with('{') {
        return false;
    }
    form_urlencoded::parse(text.as_bytes()).any(|(name, value)| {
        is_event(&name) || is_event(&value) || (name == "id" && value.starts_with(ID_PREFIX))
    })
}

/// The text of a body, without a character at its end of which only the beginning is there.
fn whole_characters(body: &[u8]) -> Option<&str> {
    match std::str::from_utf8(body) {
        Ok(text) => Some(text),
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(body.get(..error.valid_up_to())?).ok()
        }
        Err(_) => None,
    }
}

/// Whether the end of an event is missing.
fn is_cut_off(text: &str) -> bool {
    text.starts_with('{')
        && MARKS.iter().any(|mark| text.contains(mark))
        && serde_json::from_str::<IgnoredAny>(text).is_err_and(|error| error.is_eof())
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::prelude::BASE64_STANDARD;
    use serde_json::json;

    const EVENT: &str = "{\n  \"id\": \"evt_1\",\n  \"object\": \"event\",\n  \"type\": \"invoice.paid\",\n  \"name\": \"Zoë\"\n}";

    fn forms(bodies: &[Vec<u8>]) -> Vec<Option<BodyForm>> {
        bodies.iter().map(|body| form(body)).collect()
    }

    #[test]
    fn an_event_is_recognized_in_whatever_form_it_arrives() {
        let base64 = BASE64_STANDARD.encode(EVENT);
        let lines: Vec<_> = base64.as_bytes().chunks(76).map(<[u8]>::to_vec).collect();
        let of_base64 =
            [base64.clone().into(), base64.trim_end_matches('=').into(), lines.join(&b"\r\n"[..])];
        assert_eq!(forms(&of_base64), [Some(BodyForm::Base64); 3]);

        let event: Value = serde_json::from_str(EVENT).expect("JSON");
        for wrapped in [
            json!(EVENT),
            json!([event]),
            json!({"body": EVENT, "headers": {"Stripe-Signature": "t=1"}}),
            json!({"body": base64, "isBase64Encoded": true}),
            json!({"Records": [{"messageId": "1", "body": EVENT}]}),
            json!({"data": {"payload": event}}),
        ] {
            assert_eq!(form(wrapped.to_string().as_bytes()), Some(BodyForm::Wrapped), "{wrapped}");
        }
        let of_a_bus = json!({"id": "7f3c", "detail-type": "invoice.paid", "detail": event});
        assert!(is_wrapped(of_a_bus.to_string().as_bytes()) && !is_wrapped(EVENT.as_bytes()));

        let field = form_urlencoded::Serializer::new(String::new()).append_pair("payload", EVENT).finish();
        let name = form_urlencoded::Serializer::new(String::new()).append_pair(EVENT, "").finish();
        let multipart = format!("--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n{EVENT}\r\n--x--");
        for body in [field, name, "object=event&id=evt_1&type=invoice.paid".to_owned(), multipart] {
            assert_eq!(form(body.as_bytes()), Some(BodyForm::FormEncoded), "{body}");
        }

        // Also in the middle of the `ë`.
        for length in 20..EVENT.len() {
            assert_eq!(form(&EVENT.as_bytes()[..length]), Some(BodyForm::Truncated), "{length}");
        }

        let utf_16 = |unit: fn(u16) -> [u8; 2]| EVENT.encode_utf16().flat_map(unit).collect::<Vec<_>>();
        let latin_1: Vec<u8> = EVENT.chars().map(|c| u8::try_from(u32::from(c)).expect("a byte")).collect();
        let reencoded = [
            utf_16(u16::to_le_bytes),
            utf_16(u16::to_be_bytes),
            [&[0xff, 0xfe][..], &utf_16(u16::to_le_bytes)].concat(),
            format!("\u{feff}{EVENT}").into(),
            latin_1,
        ];
        assert_eq!(forms(&reencoded), [Some(BodyForm::Reencoded); 5]);

        let compressed = [vec![0x1f, 0x8b, 8, 0], vec![0x78, 0x9c, 1], vec![0x28, 0xb5, 0x2f, 0xfd, 0]];
        assert_eq!(forms(&compressed), [Some(BodyForm::Compressed); 3]);
    }

    #[test]
    fn other_bodies_are_not_taken_for_events() {
        for body in [
            "",
            "a=b",
            "hello",
            "[]",
            "{\"user\": {\"id\": \"7\"}}",
            "{\"user\"",
            "xyz",
            "eyJhbGciOiJIUzI1NiJ9.e30.x",
            "<xml/>",
        ] {
            assert_eq!(form(body.as_bytes()), None, "{body}");
        }
        assert_eq!(form(b"\xff\xd8 a picture"), None);
        assert!(!is_wrapped(b"{\"id\":\"x\",\"data\":{\"object\":{\"id\":\"in_1\"}}}"));
    }

    proptest::proptest! {
        #[test]
        fn no_body_makes_it_panic(body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            let _form = form(&body);
            let _wrapped = is_wrapped(&body);
        }
    }
}
