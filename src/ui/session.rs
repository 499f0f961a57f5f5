//! Sessions of the dashboard: a signed cookie that represents a key of `API_KEYS` without containing it.
//!
//! The signing secret is derived from the key itself. So a session is valid at every replica, nothing is
//! stored while it is valid, and it ends when its key is changed or removed from `API_KEYS`. Logging out removes
//! the cookie from the browser and revokes the session at all replicas (`RevokedSessions` of the store), so a copy
//! of the cookie is worth nothing. Form tokens are bound to the
//! session, and each has its own salt, so that compression reveals nothing about it.

use crate::config::{ApiKey, Scope};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::ExposeSecret;
use sha2::Sha256;

/// The cookie's name. Browsers accept a `__Host-` cookie only with Secure, for this host and all paths.
pub(super) const COOKIE: &str = "__Host-eventbridge";

/// The duration of a session from the login.
const LIFETIME: TimeDelta = TimeDelta::hours(12);

const VERSION: &str = "1";
const NONCE_BYTES: usize = 16;

/// A valid session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Session {
    /// The name of its key.
    pub holder: String,
    /// The scope of its key.
    pub scope: Scope,
    /// Distinguishes this session from others of the same key.
    nonce: String,
    expires: i64,
}

impl Session {
    /// Starts a session for the holder of a key.
    pub fn start(key: &ApiKey, now: DateTime<Utc>) -> Self {
        Self {
            holder: key.name.clone(),
            scope: key.scope,
            nonce: nonce(),
            expires: (now + LIFETIME).timestamp(),
        }
    }

    /// The value of the cookie.
    pub fn cookie(&self, key: &ApiKey) -> String {
        let signature = BASE64_URL_SAFE_NO_PAD.encode(self.mac(key).finalize().into_bytes());
        format!("{VERSION}.{}.{}.{}.{signature}", self.holder, self.expires, self.nonce)
    }

    /// Reads a value of [`Session::cookie`]; `None` if it is forged or expired, or its key was removed.
    pub fn read(cookie: &str, keys: &[ApiKey], now: DateTime<Utc>) -> Option<Self> {
        let mut parts = cookie.split('.');
        let (version, holder, expires, nonce, signature) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if version != VERSION || parts.next().is_some() {
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

    /// Identifies the session. It is a part of the cookie and useless without the rest.
    pub fn id(&self) -> &str {
        &self.nonce
    }

    /// When it expires.
    pub fn expires_at(&self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp(self.expires, 0)
    }

    /// A token for the forms of one page.
    pub fn form_token(&self, key: &ApiKey) -> String {
        let salt = nonce();
        let signature = BASE64_URL_SAFE_NO_PAD.encode(self.form_mac(key, &salt).finalize().into_bytes());
        format!("{salt}.{signature}")
    }

    /// Whether a token belongs to a form of this session.
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

/// Signs parts, each with its length, with a secret that is derived from the key only for this purpose.
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
    #[expect(clippy::expect_used, reason = "HMAC accepts secrets of any length")]
    Hmac::new_from_slice(secret).expect("any length is valid")
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
    fn a_session_is_valid_until_it_expires_or_its_key_changes() {
        let ops = key("ops", Scope::Write, "0123456789abcdef0123456789abcdef");
        let session = Session::start(&ops, at(1000));
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
    fn a_changed_cookie_is_no_session_and_a_cookie_contains_no_key() {
        let ops = key("ops", Scope::Read, "0123456789abcdef0123456789abcdef");
        let cookie = Session::start(&ops, at(1000)).cookie(&ops);
        assert!(!cookie.contains(ops.key.expose_secret()));
        for position in 0..cookie.len() {
            let mut bytes = cookie.clone().into_bytes();
            bytes[position] = if bytes[position] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).expect("text");
            // The last character of a signature has unused bits; base64 rejects it if they are set.
            assert_eq!(Session::read(&changed, std::slice::from_ref(&ops), at(1000)), None, "{changed}");
        }
        for text in ["", "....", "1.ops.9999999999.n", &format!("{cookie}.more")] {
            assert_eq!(Session::read(text, std::slice::from_ref(&ops), at(1000)), None, "{text}");
        }
    }

    #[test]
    fn a_form_token_belongs_to_one_session_and_is_never_repeated() {
        let ops = key("ops", Scope::Write, "0123456789abcdef0123456789abcdef");
        let (one, other) = (Session::start(&ops, at(1000)), Session::start(&ops, at(1000)));
        let token = one.form_token(&ops);
        assert!(one.owns_form(&ops, &token));
        assert!(!other.owns_form(&ops, &token));
        assert_ne!(token, one.form_token(&ops));
        for forged in ["", ".", "x", "x.y"] {
            assert!(!one.owns_form(&ops, forged), "{forged}");
        }
    }
}
