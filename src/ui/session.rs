//! Sessions of the dashboard: a signed cookie that stands for a key of `API_KEYS` without holding it.
//!
//! What signs is derived from the key itself. So a session is good at every replica, nothing is
//! stored, and it ends when its key is changed or taken out of `API_KEYS`. Tokens of forms are
//! bound to the session, and each is written differently, so that compression tells nothing of it.

use crate::config::{ApiKey, Scope};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::ExposeSecret;
use sha2::Sha256;

/// The cookie's name. Browsers take a `__Host-` cookie only with Secure, for this host and all paths.
pub(super) const COOKIE: &str = "__Host-eventbridge";

/// How long a session lasts, counted from the login.
const LIFETIME: TimeDelta = TimeDelta::hours(12);

const FORM: &str = "1";
const NONCE_BYTES: usize = 16;

/// A session that is good now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Session {
    /// The name of its key.
    pub holder: String,
    /// What its key may do.
    pub scope: Scope,
    /// What makes this session another than every other one of the key.
    nonce: String,
    expires: i64,
}

impl Session {
    /// A new session for the holder of a key.
    pub fn begin(key: &ApiKey, now: DateTime<Utc>) -> Self {
        Self {
            holder: key.name.clone(),
            scope: key.scope,
            nonce: nonce(),
            expires: (now + LIFETIME).timestamp(),
        }
    }

    /// The text that the browser keeps.
    pub fn cookie(&self, key: &ApiKey) -> String {
        let signature = BASE64_URL_SAFE_NO_PAD.encode(self.mac(key).finalize().into_bytes());
        format!("{FORM}.{}.{}.{}.{signature}", self.holder, self.expires, self.nonce)
    }

    /// Reads what [`Session::cookie`] wrote; nothing where it is forged, over, or its key is gone.
    pub fn read(cookie: &str, keys: &[ApiKey], now: DateTime<Utc>) -> Option<Self> {
        let mut parts = cookie.split('.');
        let (form, holder, expires, nonce, signature) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if form != FORM || parts.next().is_some() {
            return None;
        }
        let key = keys.iter().find(|key| key.name == holder)?;
        let session = Self {
            holder: key.name.clone(),
            scope: key.scope,
            nonce: nonce.to_owned(),
            expires: expires.parse().ok()?,
        };
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).ok()?;
        session.mac(key).verify_slice(&signature).ok()?;
        (session.expires > now.timestamp()).then_some(session)
    }

    /// A token for the forms of one page.
    pub fn form_token(&self, key: &ApiKey) -> String {
        let salt = nonce();
        let signature = BASE64_URL_SAFE_NO_PAD.encode(self.form_mac(key, &salt).finalize().into_bytes());
        format!("{salt}.{signature}")
    }

    /// Whether a token was made for a form of this session.
    pub fn owns_form(&self, key: &ApiKey, token: &str) -> bool {
        let Some((salt, signature)) = token.split_once('.') else { return false };
        let Ok(signature) = BASE64_URL_SAFE_NO_PAD.decode(signature) else { return false };
        self.form_mac(key, salt).verify_slice(&signature).is_ok()
    }

    fn mac(&self, key: &ApiKey) -> Hmac<Sha256> {
        let expires = self.expires.to_string();
        signed(key, &["session", &self.holder, scope_word(self.scope), &expires, &self.nonce])
    }

    fn form_mac(&self, key: &ApiKey, salt: &str) -> Hmac<Sha256> {
        signed(key, &["form", &self.holder, &self.nonce, salt])
    }
}

/// The name of a scope for people.
pub(super) const fn scope_word(scope: Scope) -> &'static str {
    match scope {
        Scope::Read => "read",
        Scope::Write => "write",
    }
}

/// Signs parts, each with its length, under a secret that is derived from the key for this use alone.
fn signed(key: &ApiKey, parts: &[&str]) -> Hmac<Sha256> {
    let mut derived = mac(key.key.expose_secret().as_bytes());
    derived.update(b"eventbridge dashboard 1");
    let mut signature = mac(&derived.finalize().into_bytes());
    for part in parts {
        signature.update(&part.len().to_be_bytes());
        signature.update(part.as_bytes());
    }
    signature
}

fn mac(secret: &[u8]) -> Hmac<Sha256> {
    #[expect(clippy::expect_used, reason = "HMAC takes secrets of any length")]
    Hmac::new_from_slice(secret).expect("any length will do")
}

fn nonce() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; NONCE_BYTES]>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::SecretString;

    fn key(name: &str, scope: Scope, key: &str) -> ApiKey {
        ApiKey { name: name.to_owned(), scope, key: SecretString::from(key) }
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).expect("a time")
    }

    #[test]
    fn a_session_reads_back_until_it_is_over_or_its_key_is_gone_or_changed() {
        let ops = key("ops", Scope::Write, "0123456789abcdef0123456789abcdef");
        let session = Session::begin(&ops, at(1000));
        let cookie = session.cookie(&ops);
        let read = |keys: &[ApiKey], now| Session::read(&cookie, keys, at(now));
        assert_eq!(read(std::slice::from_ref(&ops), 1000), Some(session.clone()));
        let end = 1000 + LIFETIME.num_seconds();
        assert_eq!(read(std::slice::from_ref(&ops), end - 1), Some(session));
        assert_eq!(read(std::slice::from_ref(&ops), end), None);
        assert_eq!(read(&[], 1000), None);
        assert_eq!(read(&[key("ops", Scope::Write, "fedcba9876543210fedcba9876543210")], 1000), None);
        assert_eq!(read(&[ApiKey { scope: Scope::Read, ..ops }], 1000), None);
    }

    #[test]
    fn a_cookie_that_was_changed_anywhere_is_no_session_and_holds_no_key() {
        let ops = key("ops", Scope::Read, "0123456789abcdef0123456789abcdef");
        let cookie = Session::begin(&ops, at(1000)).cookie(&ops);
        assert!(!cookie.contains(ops.key.expose_secret()));
        for position in 0..cookie.len() {
            let mut bytes = cookie.clone().into_bytes();
            bytes[position] = if bytes[position] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).expect("text");
            // The last character of a signature has bits that stand for nothing; base64 refuses them.
            assert_eq!(Session::read(&changed, std::slice::from_ref(&ops), at(1000)), None, "{changed}");
        }
        for text in ["", "....", "1.ops.9999999999.n", &format!("{cookie}.more")] {
            assert_eq!(Session::read(text, std::slice::from_ref(&ops), at(1000)), None, "{text}");
        }
    }

    #[test]
    fn a_form_belongs_to_one_session_and_is_written_anew_each_time() {
        let ops = key("ops", Scope::Write, "0123456789abcdef0123456789abcdef");
        let (one, other) = (Session::begin(&ops, at(1000)), Session::begin(&ops, at(1000)));
        let token = one.form_token(&ops);
        assert!(one.owns_form(&ops, &token));
        assert!(!other.owns_form(&ops, &token));
        assert_ne!(token, one.form_token(&ops));
        for forged in ["", ".", "x", "x.y"] {
            assert!(!one.owns_form(&ops, forged), "{forged}");
        }
    }
}
