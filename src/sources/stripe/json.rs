//! The one reader of bodies that intake has accepted.
//!
//! Intake reads only the envelope and skips the rest, so a body may contain what is valid JSON and what a
//! parser of all values refuses: half of a surrogate pair, a number that no float can hold, nesting without
//! end. Such a value is replaced, and every other value of the body is read.

use serde_json::Value;
use std::str;

/// Deeper values are read as null. Stripe's objects have ten levels at most.
const DEPTH_MAX: usize = 100;

/// 2^53: from here on a float no longer stands for one integer.
const FLOAT_EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// The value of a body. If it is not JSON, which intake does not accept, the value is null.
pub(super) fn value(body: &[u8]) -> Value {
    serde_json::from_slice(body).or_else(|_| serde_json::from_slice(&mended(body))).unwrap_or_default()
}

/// The integer that a value stands for, however it is spelled: `1234`, `"1234"`, `1234.0`. `None` if it is
/// not exactly an integer.
pub(super) fn exact_integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| whole(number.as_f64()?)),
        Value::String(text) => {
            let digits = text.strip_prefix('-').unwrap_or(text);
            let is_decimal = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|_| is_decimal)
        }
        _ => None,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a whole number that an integer can hold")]
fn whole(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() < FLOAT_EXACT_MAX).then_some(number as i64)
}

/// The body with everything replaced that the parser refuses although it is JSON.
fn mended(body: &[u8]) -> Vec<u8> {
    let mut mended = Vec::with_capacity(body.len());
    let mut rest = body;
    let mut depth: usize = 0;
    while let Some(first) = rest.first() {
        let length = match first {
            b'"' => {
                let length = string_length(rest);
                mend_string(rest.get(..length).unwrap_or_default(), &mut mended);
                length
            }
            b'-' | b'0'..=b'9' => {
                let length = rest.iter().take_while(|byte| is_of_number(**byte)).count();
                let number = rest.get(..length).unwrap_or_default();
                mended.extend_from_slice(if is_readable(number) { number } else { b"null" });
                length
            }
            b'[' | b'{' if depth == DEPTH_MAX => {
                mended.extend_from_slice(b"null");
                nested_length(rest)
            }
            _ => {
                depth = match first {
                    b'[' | b'{' => depth + 1,
                    b']' | b'}' => depth.saturating_sub(1),
                    _ => depth,
                };
                mended.push(*first);
                1
            }
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    mended
}

/// The length of the string that begins here, with its quotes.
fn string_length(text: &[u8]) -> usize {
    let mut is_escaped = false;
    let end = text.iter().skip(1).position(|byte| {
        let ends = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        ends
    });
    end.map_or(text.len(), |end| end + 2)
}

/// The length of the array or object that begins here.
fn nested_length(text: &[u8]) -> usize {
    let (mut place, mut depth) = (0, 0_usize);
    while let Some(byte) = text.get(place) {
        match byte {
            b'"' => place += string_length(text.get(place..).unwrap_or_default()) - 1,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        place += 1;
        if depth == 0 {
            break;
        }
    }
    place.min(text.len())
}

/// Copies a string. Half of a surrogate pair stands for no character: U+FFFD takes its place.
fn mend_string(string: &[u8], mended: &mut Vec<u8>) {
    let mut rest = string;
    while let Some(first) = rest.first() {
        let unit = escaped_unit(rest);
        let length = match unit {
            Some(0xD800..=0xDBFF)
                if matches!(escaped_unit(rest.get(6..).unwrap_or_default()), Some(0xDC00..=0xDFFF)) =>
            {
                12
            }
            Some(_) => 6,
            None if *first == b'\\' => 2.min(rest.len()),
            None => 1,
        };
        match unit {
            Some(0xD800..=0xDFFF) if length == 6 => mended.extend_from_slice(br"\ufffd"),
            _ => mended.extend_from_slice(rest.get(..length).unwrap_or_default()),
        }
        rest = rest.get(length..).unwrap_or_default();
    }
}

/// The UTF-16 code unit that an escape here (`\uXXXX`) stands for.
fn escaped_unit(text: &[u8]) -> Option<u16> {
    let digits = str::from_utf8(text.strip_prefix(br"\u")?.get(..4)?).ok()?;
    u16::from_str_radix(digits, 16).ok()
}

fn is_of_number(byte: u8) -> bool {
    matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9')
}

fn is_readable(number: &[u8]) -> bool {
    let number = str::from_utf8(number).ok().and_then(|number| number.parse::<f64>().ok());
    number.is_some_and(f64::is_finite)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn an_odd_value_costs_no_other_one() {
        let deep = format!("{}1{}", "[".repeat(500), "]".repeat(500));
        for odd in [r#""\ud800""#, r#""a\udc00b""#, r#""\ud83d\ud83d\ude00""#, "1e400", "-1e999", &deep] {
            let body =
                format!(r#"{{"before":"a\\\"b","odd":{odd},"{{":[1.5,true],"after":{{"amount":49}}}}"#);
            let read = value(body.as_bytes());
            assert_eq!(read["before"], r#"a\"b"#, "{body}");
            assert_eq!((&read["{"], &read["after"]["amount"]), (&json!([1.5, true]), &json!(49)), "{body}");
        }
        let key = value(br#"{"\udfff":1,"id":"evt_1"}"#);
        assert_eq!((&key["\u{fffd}"], &key["id"]), (&json!(1), &json!("evt_1")));
    }

    #[test]
    fn a_replaced_value_is_as_near_as_can_be() {
        assert_eq!(value(br#"["a\ud800b\ud83d\ude00c"]"#), json!(["a\u{fffd}b\u{1F600}c"]));
        assert_eq!(value(br"[1e400,12]"), json!([null, 12]));
        let digits = format!("[{},1]", "9".repeat(400));
        assert_eq!(value(digits.as_bytes()), json!([null, 1]));
    }

    #[test]
    fn what_is_no_json_has_no_value() {
        for body in [&b""[..], b"{", b"{\"a\":}", b"\"\\", b"[\"\\u12", b"\xff"] {
            assert_eq!(value(body), Value::Null);
        }
    }

    #[test]
    fn an_integer_is_read_in_each_exact_spelling() {
        for exact in [json!(1234), json!("1234"), json!(1234.0), json!(1.234e3)] {
            assert_eq!(exact_integer(&exact), Some(1234), "{exact}");
        }
        assert_eq!(exact_integer(&json!("-7")), Some(-7));
        for other in
            [json!(12.34), json!("12.34"), json!("+1"), json!(""), json!("1e3"), json!(1e18), json!(null)]
        {
            assert_eq!(exact_integer(&other), None, "{other}");
        }
    }

    fn any_json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,3})?(e[+-]?[0-9]{1,3})?",
            r#""([a-z{}\[\]:, ]|\\u[0-9a-f]{4}|\\["\\/bnt]){0,12}""#,
        ];
        leaf.prop_recursive(6, 60, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(|all| format!("[{}]", all.join(","))),
                prop::collection::vec(inner, 0..5).prop_map(|all| {
                    let fields: Vec<_> =
                        all.iter().enumerate().map(|(place, one)| format!("\"k{place}\":{one}")).collect();
                    format!("{{{}}}", fields.join(","))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn whatever_intake_accepts_has_a_value_with_the_same_id(odd in any_json()) {
            let body = format!(r#"{{"odd":{odd},"id":"evt_1","data":{{"object":{{"id":"in_1","x":{odd}}}}}}}"#);
            if let Ok(envelope) = super::super::envelope::read(body.as_bytes()) {
                let read = value(body.as_bytes());
                prop_assert_eq!(&read["id"], &json!(envelope.event_id), "{}", body);
                prop_assert_eq!(&read["data"]["object"]["id"], &json!(envelope.facts.object_id), "{}", body);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _value = value(&body);
            let _mended = mended(&body);
        }
    }
}
