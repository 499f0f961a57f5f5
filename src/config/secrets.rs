//! Parses `API_KEYS`.

use super::is_name;
use secrecy::{ExposeSecret, SecretString};

/// What an API key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Read.
    Read,
    /// Read, retry, and everything else that changes something.
    Write,
}

/// A key of our own API.
#[derive(Debug, Clone)]
pub struct ApiKey {
    /// The holder's name, for logs.
    pub name: String,
    /// What it may do.
    pub scope: Scope,
    /// The key.
    pub key: SecretString,
}

/// Parses `API_KEYS`: `name:read:key,name:write:key`. An error names a key only by its number: in a mistyped
/// entry, any part may be the key.
pub(super) fn parse_api_keys(text: &str) -> Result<Vec<ApiKey>, String> {
    const KEY_CHARACTERS_MIN: usize = 32;
    let mut keys: Vec<ApiKey> = Vec::new();
    for (position, entry) in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).enumerate() {
        let number = position + 1;
        let mut parts = entry.splitn(3, ':');
        let (Some(name), Some(scope), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(format!("key {number} must be written as name:scope:key"));
        };
        let scope = match scope {
            "read" => Scope::Read,
            "write" => Scope::Write,
            _ => return Err(format!("the scope of key {number} must be read or write")),
        };
        if !is_name(name) || keys.iter().any(|earlier| earlier.name == name) {
            return Err(format!(
                "the name of key {number} must be unique and may only have letters, digits, - and _"
            ));
        }
        if key.chars().count() < KEY_CHARACTERS_MIN || !key.chars().all(|c| c.is_ascii_graphic()) {
            return Err(format!(
                "key {number} must have at least {KEY_CHARACTERS_MIN} ASCII characters without spaces; make one with: openssl rand -hex 32"
            ));
        }
        if keys.iter().any(|earlier| earlier.key.expose_secret() == key) {
            return Err(format!("key {number} equals an earlier one: give each holder a key of its own"));
        }
        keys.push(ApiKey { name: name.to_owned(), scope, key: SecretString::from(key) });
    }
    Ok(keys)
}
