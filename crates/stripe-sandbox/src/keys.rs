//! API keys: their mode, account and permissions.

use crate::api_error::ApiError;
use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeSet;

/// An API key that the stand-in knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    key: String,
    /// What a restricted key may do; `None` for a secret key, which may do everything.
    permissions: Option<BTreeSet<String>>,
    /// Another account than the shop's.
    account: Option<String>,
    is_expired: bool,
}

impl ApiKey {
    /// A secret key, such as `sk_test_…`. The mode follows from its prefix.
    pub fn secret(key: &str) -> Self {
        Self { key: key.to_owned(), permissions: None, account: None, is_expired: false }
    }

    /// A restricted key, such as `rk_live_…`, with permissions such as `rak_charge_read`.
    pub fn restricted<T: AsRef<str>>(key: &str, permissions: &[T]) -> Self {
        let permissions = permissions.iter().map(|permission| permission.as_ref().to_owned()).collect();
        Self { permissions: Some(permissions), ..Self::secret(key) }
    }

    /// The same key of another account, which has nothing.
    #[must_use]
    pub fn of_account(self, account: &str) -> Self {
        Self { account: Some(account.to_owned()), ..self }
    }

    /// The whole key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Whether it is of live mode.
    pub fn is_live(&self) -> bool {
        self.key.split('_').nth(1) == Some("live")
    }

    /// Whether it belongs to another account than the shop.
    pub fn is_foreign(&self, account: &str) -> bool {
        self.account.as_deref().is_some_and(|own| own != account)
    }

    /// The account that it belongs to, if it is not the shop's.
    pub fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }

    /// Its permissions, if it is restricted.
    pub fn permissions(&self) -> Option<&BTreeSet<String>> {
        self.permissions.as_ref()
    }

    /// Answers 403 as Stripe does if the key lacks that permission.
    pub fn require(&self, permission: &str, account: &str) -> Result<(), ApiError> {
        let Some(permissions) = &self.permissions else { return Ok(()) };
        let write = permission.strip_suffix("_read").map(|name| format!("{name}_write"));
        if permissions.contains(permission) || write.is_some_and(|write| permissions.contains(&write)) {
            return Ok(());
        }
        Err(ApiError::new(
            403,
            format!(
                "The provided key '{}' does not have the required permissions for this endpoint on account \
                 '{}'. Having the '{permission}' permission would allow this request to continue.",
                masked(&self.key),
                self.account.as_deref().unwrap_or(account),
            ),
        ))
    }
}

/// The keys of a stand-in.
#[derive(Debug, Default)]
pub struct Keys(Vec<ApiKey>);

const KEYS_MAX: usize = 1000;

impl Keys {
    /// Adds a key, or replaces the one with this text. Beyond 1,000 keys the oldest goes.
    pub fn put(&mut self, key: ApiKey) {
        self.0.retain(|known| known.key != key.key);
        if self.0.len() >= KEYS_MAX {
            self.0.remove(0);
        }
        self.0.push(key);
    }

    /// All keys.
    pub fn iter(&self) -> impl Iterator<Item = &ApiKey> {
        self.0.iter()
    }

    /// The owner revokes a key. Returns whether it existed.
    pub fn revoke(&mut self, key: &str) -> bool {
        let found = self.0.iter_mut().find(|known| known.key == key);
        found.map(|known| known.is_expired = true).is_some()
    }

    /// Gives a restricted key other permissions. Returns whether it existed.
    pub fn set_permissions<T: AsRef<str>>(&mut self, key: &str, permissions: &[T]) -> bool {
        let found = self.0.iter_mut().find(|known| known.key == key);
        let set = permissions.iter().map(|permission| permission.as_ref().to_owned()).collect();
        found.map(|known| known.permissions = Some(set)).is_some()
    }

    /// The key of a request, or 401.
    pub fn authenticate(&self, headers: &HeaderMap) -> Result<ApiKey, ApiError> {
        let Some(given) = given_key(headers) else {
            return Err(ApiError::new(
                401,
                "You did not provide an API key. You need to provide your API key in the Authorization \
                 header, using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY'). See \
                 https://stripe.com/docs/api#authentication for details, or we can help at \
                 https://support.stripe.com/.",
            ));
        };
        match self.0.iter().find(|known| known.key == given) {
            None => Err(ApiError::new(401, format!("Invalid API Key provided: {}", masked(&given)))),
            Some(known) if known.is_expired => {
                let message = format!("Expired API Key provided: {}", masked(&given));
                Err(ApiError::new(401, message).code("api_key_expired"))
            }
            Some(known) => Ok(known.clone()),
        }
    }
}

/// The key of the `Authorization` header: a bearer token, or the user name of the basic scheme.
pub fn given_key(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    let key = if scheme.eq_ignore_ascii_case("bearer") {
        rest.trim().to_owned()
    } else if scheme.eq_ignore_ascii_case("basic") {
        let text = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
        text.split(':').next()?.to_owned()
    } else {
        return None;
    };
    (!key.is_empty()).then_some(key)
}

/// A key as messages show it: the prefix and the last four characters.
pub fn masked(key: &str) -> String {
    let shown = key.match_indices('_').nth(1).map_or(0, |(at, _)| at + 1);
    let count = key.chars().count();
    let is_shown = |place: usize| place < shown || place + 4 >= count;
    key.chars().enumerate().map(|(place, character)| if is_shown(place) { character } else { '*' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())])
    }

    #[test]
    fn a_key_is_found_by_both_schemes_and_revoked() {
        let mut keys = Keys::default();
        keys.put(ApiKey::secret("sk_test_abcdefgh"));
        assert!(keys.authenticate(&headers("Bearer sk_test_abcdefgh")).is_ok());
        let basic = format!("Basic {}", STANDARD.encode("sk_test_abcdefgh:"));
        assert!(keys.authenticate(&headers(&basic)).is_ok());
        assert_eq!(keys.authenticate(&HeaderMap::new()).unwrap_err().status, 401);
        let unknown = keys.authenticate(&headers("Bearer sk_test_other")).unwrap_err();
        assert_eq!(unknown.message, "Invalid API Key provided: sk_test_*ther");
        assert!(keys.revoke("sk_test_abcdefgh"));
        let expired = keys.authenticate(&headers("Bearer sk_test_abcdefgh")).unwrap_err();
        assert_eq!(expired.code, Some("api_key_expired"));
    }

    #[test]
    fn a_missing_permission_is_named_and_writing_includes_reading() {
        let key = ApiKey::restricted("rk_live_abcdefgh", &["rak_charge_read", "rak_webhook_write"]);
        assert!(key.is_live());
        assert!(key.require("rak_charge_read", "acct_1").is_ok());
        assert!(key.require("rak_webhook_read", "acct_1").is_ok());
        let error = key.require("rak_charge_write", "acct_1").unwrap_err();
        assert_eq!(
            (error.status, error.message.as_str()),
            (
                403,
                "The provided key 'rk_live_****efgh' does not have the required permissions for this \
                 endpoint on account 'acct_1'. Having the 'rak_charge_write' permission would allow this \
                 request to continue."
            )
        );
    }
}
