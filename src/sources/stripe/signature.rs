//! `Stripe-Signature`, scheme `v1`, as Stripe documents it and its SDKs check it.
//!
//! <https://docs.stripe.com/webhooks#verify-manually>: HMAC-SHA256 over `t`, a dot and the raw body,
//! keyed with the whole secret. Any `v1` that matches any of the secrets is enough; other schemes
//! are ignored. Every request that Stripe sends and its libraries accept is accepted here too. For
//! requests that Stripe never sends, this check is stricter than some libraries. It rejects a time that is
//! ahead of this machine's clock by more than the tolerance, or not a plain number, and ignores all
//! signatures after the sixteenth.

use super::settings::NamedSecret;
use crate::sources::Rejection;
use axum::http::{HeaderMap, HeaderValue};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::ExposeSecret;
use sha2::Sha256;

/// The header with the signature.
pub const HEADER: &str = "Stripe-Signature";

/// How old a signature may be, in seconds; one of exactly this age still passes.
pub const TOLERANCE_SECONDS: i64 = 300;

/// More signatures than Stripe ever sends; further ones are ignored.
const SIGNATURES_MAX: usize = 16;

/// Stripe sends one header; further ones come from proxies.
const HEADERS_MAX: usize = 4;

/// Stripe sends no longer header.
const HEADER_BYTES_MAX: usize = 4096;

/// The header that Stripe would send for this body at this time.
pub fn sign(secret: &str, body: &[u8], unix_seconds: i64) -> String {
    let time = unix_seconds.to_string();
    let digest = keyed(secret).chain_update(time.as_bytes()).chain_update(b".").chain_update(body);
    format!("t={time},v1={}", hex::encode(digest.finalize().into_bytes()))
}

/// The time that a header claims, in Unix seconds. It is not verified.
pub(super) fn claimed_time(header: &str) -> Option<i64> {
    Parsed::read(header).map(|parsed| parsed.seconds)
}

/// Checks signatures against a set of secrets.
pub(super) struct Verifier {
    /// Those of test mode come last: if a request is signed with several, the others vouch for more.
    keys: Vec<Key>,
    /// The full name of the setting that holds the secrets.
    setting: String,
}

struct Key {
    name: String,
    is_of_test_mode: bool,
    mac: Hmac<Sha256>,
}

/// The result of a successful check.
#[derive(Debug)]
pub(super) struct Verified<'a> {
    /// The header, unchanged.
    pub header: &'a str,
    /// The configured name of the secret that matched.
    pub secret_name: &'a str,
    /// Whether that secret does not vouch for an event of live mode.
    pub is_of_test_mode: bool,
}

impl Verifier {
    /// Prepares the keys, so that a check only hashes.
    pub fn new(setting: &str, secrets: &[NamedSecret]) -> Self {
        let mut keys: Vec<Key> = secrets
            .iter()
            .map(|secret| Key {
                name: secret.name.clone(),
                is_of_test_mode: secret.is_of_test_mode(),
                mac: keyed(secret.secret.expose_secret()),
            })
            .collect();
        keys.sort_by_key(|key| key.is_of_test_mode);
        Self { keys, setting: setting.to_owned() }
    }

    /// Checks the header against the body and the time now (Unix seconds).
    pub fn verify<'a>(
        &'a self,
        headers: &'a HeaderMap,
        body: &[u8],
        now: i64,
    ) -> Result<Verified<'a>, Rejection> {
        // A proxy may pass the header twice. The last error is as good as the first: they differ only if the
        // headers do.
        let mut outcome = Err(MISSING);
        for value in headers.get_all(HEADER).iter().take(HEADERS_MAX) {
            outcome = self.verify_one(value, body, now);
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    fn verify_one<'a>(
        &'a self,
        value: &'a HeaderValue,
        body: &[u8],
        now: i64,
    ) -> Result<Verified<'a>, Rejection> {
        let header = value.to_str().ok().filter(|text| text.len() <= HEADER_BYTES_MAX).ok_or(MALFORMED)?;
        let parsed = Parsed::read(header).ok_or(MALFORMED)?;
        // The signature is checked before the time: a caller without a secret must not learn this clock.
        let key = self.matching_key(&parsed, body).ok_or_else(|| no_match(&self.setting))?;
        let age = now.saturating_sub(parsed.seconds);
        if age > TOLERANCE_SECONDS {
            return Err(too_old(age));
        }
        if age < -TOLERANCE_SECONDS {
            return Err(clock_ahead(age.saturating_neg()));
        }
        Ok(Verified { header, secret_name: &key.name, is_of_test_mode: key.is_of_test_mode })
    }

    fn matching_key(&self, parsed: &Parsed<'_>, body: &[u8]) -> Option<&Key> {
        self.keys.iter().find(|one| {
            let signed =
                one.mac.clone().chain_update(parsed.time.as_bytes()).chain_update(b".").chain_update(body);
            parsed.signatures.iter().any(|signature| signed.clone().verify_slice(signature).is_ok())
        })
    }
}

/// The parts of a header that matter.
struct Parsed<'a> {
    /// The text of `t`: it is what was signed.
    time: &'a str,
    seconds: i64,
    signatures: Vec<[u8; 32]>,
}

impl<'a> Parsed<'a> {
    /// Reads `t=…,v1=…`: the last `t` wins, and a `v1` that is not lower-case hex is ignored. Blanks after a
    /// comma are allowed, as in Stripe's library for Ruby: a proxy that joins two headers writes them.
    fn read(header: &'a str) -> Option<Self> {
        let mut time = None;
        let mut seen_signature = false;
        let mut signatures = Vec::new();
        for item in header.split(',') {
            match item.trim_start().split_once('=') {
                Some(("t", text)) => time = Some(text),
                Some(("v1", text)) => {
                    seen_signature = true;
                    if signatures.len() < SIGNATURES_MAX {
                        signatures.extend(lower_hex(text));
                    }
                }
                _ => {}
            }
        }
        let time = time?;
        let is_decimal = !time.is_empty() && time.bytes().all(|byte| byte.is_ascii_digit());
        let seconds = time.parse().ok().filter(|_| is_decimal && seen_signature)?;
        Some(Self { time, seconds, signatures })
    }
}

fn lower_hex(text: &str) -> Option<[u8; 32]> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(bytes)
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of any length: RFC 2104, section 2")]
fn keyed(secret: &str) -> Hmac<Sha256> {
    Hmac::new_from_slice(secret.as_bytes()).expect("any length will do")
}

const MISSING: Rejection = rejection(
    "signature_missing",
    "There is no Stripe-Signature header: this URL accepts only webhooks that Stripe has signed.",
);
const MALFORMED: Rejection = rejection(
    "signature_malformed",
    "The Stripe-Signature header is malformed: it must have t=<unix seconds> and at least one v1=<hex>.",
);
const fn rejection(check: &'static str, detail: &'static str) -> Rejection {
    Rejection { check, detail: std::borrow::Cow::Borrowed(detail) }
}

fn no_match(setting: &str) -> Rejection {
    Rejection {
        check: "signature_no_match",
        detail: format!(
            "No signature matches: {setting} is not the secret of the endpoint that sent this (test mode, live \
             mode, the Stripe CLI and each endpoint have their own), or the body was changed on its way."
        )
        .into(),
    }
}

fn too_old(age: i64) -> Rejection {
    Rejection {
        check: "signature_too_old",
        detail: format!("The signature is {age} s old; the limit is {TOLERANCE_SECONDS} s.").into(),
    }
}

fn clock_ahead(ahead: i64) -> Rejection {
    Rejection {
        check: "signature_clock_ahead",
        detail: format!(
            "The signature's time is {ahead} s in the future; the limit is {TOLERANCE_SECONDS} s. One of the clocks is wrong."
        )
        .into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use secrecy::SecretString;

    const SECRET: &str = "whsec_test_secret";
    const BODY: &[u8] = br#"{"id":"evt_test","object":"event"}"#;
    const TIME: i64 = 1_700_000_000;
    const DIGEST: &str = "8042376f6ca064adbe037642a718227dfd59047137eb49497a54c49eb0cfb724";

    fn verifier(secrets: &[&str]) -> Verifier {
        let secrets: Vec<_> = secrets
            .iter()
            .enumerate()
            .map(|(position, secret)| NamedSecret {
                name: format!("s{position}"),
                secret: SecretString::from(*secret),
            })
            .collect();
        Verifier::new("STRIPE_WEBHOOK_SECRET", &secrets)
    }

    fn check(header: &str, now: i64) -> Result<String, &'static str> {
        check_with(&[SECRET], header, BODY, now)
    }

    fn check_with(secrets: &[&str], header: &str, body: &[u8], now: i64) -> Result<String, &'static str> {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, header.parse().map_err(|_| "no header value")?);
        verifier(secrets)
            .verify(&headers, body, now)
            .map(|verified| verified.secret_name.to_owned())
            .map_err(|rejection| rejection.check)
    }

    #[test]
    fn the_known_vector_is_signed_and_verified() {
        assert_eq!(sign(SECRET, BODY, TIME), format!("t={TIME},v1={DIGEST}"));
        assert_eq!(check(&sign(SECRET, BODY, TIME), TIME), Ok("s0".into()));
    }

    #[test]
    fn the_tolerance_holds_to_the_second_on_both_sides() {
        let header = sign(SECRET, BODY, TIME);
        assert!(check(&header, TIME + 300).is_ok());
        assert_eq!(check(&header, TIME + 301), Err("signature_too_old"));
        assert!(check(&header, TIME - 300).is_ok());
        assert_eq!(check(&header, TIME - 301), Err("signature_clock_ahead"));
    }

    #[test]
    fn what_the_sdks_let_pass_passes() {
        let bad = "0".repeat(64);
        for header in [
            format!("t={TIME},v1={bad},v1={DIGEST}"),
            format!("v1={DIGEST},t={TIME}"),
            format!("t=1,v1={DIGEST},t={TIME}"),
            format!("t={TIME},v0={bad},v1={DIGEST}"),
            format!("t={TIME},v1=nonsense,v1={DIGEST},v2=x,,"),
            format!("t={TIME}, v1={DIGEST}"),
            format!("t={TIME},v1={DIGEST}, t={TIME},v1={DIGEST}"),
        ] {
            assert!(check(&header, TIME).is_ok(), "{header}");
        }
    }

    #[test]
    fn what_the_sdks_refuse_is_refused() {
        assert_eq!(check(&format!("t={TIME},v1={}", DIGEST.to_uppercase()), TIME), Err("signature_no_match"));
        assert_eq!(check(&format!("t={TIME},v0={DIGEST}"), TIME), Err("signature_malformed"));
        assert_eq!(check(&format!("v1={DIGEST}"), TIME), Err("signature_malformed"));
        assert_eq!(check(&format!("t=,v1={DIGEST}"), TIME), Err("signature_malformed"));
        assert_eq!(check(&format!("t=+{TIME},v1={DIGEST}"), TIME), Err("signature_malformed"));
        assert_eq!(check("", TIME), Err("signature_malformed"));
        assert_eq!(check(&format!("t=99999999999999999999,v1={DIGEST}"), TIME), Err("signature_malformed"));
    }

    #[test]
    fn of_several_headers_any_one_that_verifies_is_enough() {
        let verifier = verifier(&[SECRET]);
        let (wrong, right) = (sign("whsec_other", BODY, TIME), sign(SECRET, BODY, TIME));
        for order in [[&wrong, &right], [&right, &wrong]] {
            let mut headers = HeaderMap::new();
            for header in order {
                headers.append(HEADER, header.parse().expect("value"));
            }
            let accepted = verifier.verify(&headers, BODY, TIME).expect("one verifies");
            assert_eq!(accepted.header, right);
        }
    }

    #[test]
    fn a_missing_header_is_told_apart() {
        let error = verifier(&[SECRET]).verify(&HeaderMap::new(), BODY, TIME).expect_err("no header");
        assert_eq!(error.check, "signature_missing");
    }

    #[test]
    fn any_of_several_secrets_and_signatures_is_enough_and_named() {
        let old = sign("whsec_old", BODY, TIME);
        assert_eq!(check_with(&["whsec_new", "whsec_old"], &old, BODY, TIME), Ok("s1".into()));
        let rolled = format!("{old},{}", sign("whsec_new", BODY, TIME).split_once(',').expect("two parts").1);
        assert_eq!(check_with(&["whsec_new"], &rolled, BODY, TIME), Ok("s0".into()));
        assert_eq!(check_with(&["whsec_other"], &rolled, BODY, TIME), Err("signature_no_match"));
        assert_eq!(check_with(&[], &rolled, BODY, TIME), Err("signature_no_match"));
    }

    #[test]
    fn a_rejection_never_tells_the_secret_or_the_right_signature() {
        let header = format!("t={TIME},v1={}", "0".repeat(64));
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, header.parse().expect("value"));
        let rejection = verifier(&[SECRET]).verify(&headers, BODY, TIME).expect_err("wrong");
        assert!(!rejection.detail.contains(SECRET) && !rejection.detail.contains(DIGEST));
    }

    proptest! {
        #[test]
        fn any_flipped_bit_of_the_body_is_refused(body in prop::collection::vec(any::<u8>(), 1..200), at in any::<prop::sample::Index>(), bit in 0_u8..8) {
            let header = sign(SECRET, &body, TIME);
            prop_assert!(check_with(&[SECRET], &header, &body, TIME).is_ok());
            let mut flipped = body.clone();
            flipped[at.index(body.len())] ^= 1 << bit;
            prop_assert!(check_with(&[SECRET], &header, &flipped, TIME).is_err());
        }

        #[test]
        fn any_changed_byte_of_time_or_signature_is_refused(at in any::<prop::sample::Index>(), byte in 0x20_u8..0x7f) {
            let header = sign(SECRET, BODY, TIME);
            let mut bytes = header.clone().into_bytes();
            let at = at.index(bytes.len());
            prop_assume!(bytes[at] != byte);
            bytes[at] = byte;
            let changed = String::from_utf8(bytes).expect("ascii");
            prop_assert!(check(&changed, TIME).is_err(), "{}", changed);
        }

        #[test]
        fn no_header_makes_it_panic(header in "\\PC{0,300}", now in any::<i64>()) {
            let _outcome = check(&header, now);
        }
    }
}
