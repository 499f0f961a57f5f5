//! API keys: their modes, and which one may read an event's object.

use crate::domain::finding::Finding;
use secrecy::{ExposeSecret, SecretString};
use std::fmt;
use std::sync::Arc;

/// Which data of its account a key reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyMode {
    /// Real money.
    Live,
    /// Test data, or those of a sandbox.
    Test,
}

impl KeyMode {
    /// The mode of an event.
    pub fn of_event(livemode: bool) -> Self {
        if livemode { Self::Live } else { Self::Test }
    }
}

impl fmt::Display for KeyMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Live => "live mode",
            Self::Test => "test mode",
        })
    }
}

/// An API key and the name by which messages refer to it.
#[derive(Debug, Clone)]
pub struct NamedKey {
    /// The name; `key-1`, `key-2`, … if none is given.
    pub name: String,
    /// The key.
    pub key: SecretString,
    /// Which data it reads.
    pub mode: KeyMode,
    /// Whether its permissions are restricted: `rk_…`.
    pub is_restricted: bool,
}

impl NamedKey {
    /// Reads a key that was given to a command; the error is what is wrong with it, as the rest of a sentence that
    /// names it.
    pub fn given(key: &str) -> Result<Self, &'static str> {
        Ok(Self { name: "given".to_owned(), ..Self::parse(key.trim())? })
    }

    /// Reads a key; the error is what is wrong with it, as the rest of a sentence that names it.
    pub(super) fn parse(key: &str) -> Result<Self, &'static str> {
        const BYTES_MAX: usize = 500;
        const FORMS: [(&str, KeyMode, bool); 4] = [
            ("rk_live_", KeyMode::Live, true),
            ("rk_test_", KeyMode::Test, true),
            ("sk_live_", KeyMode::Live, false),
            ("sk_test_", KeyMode::Test, false),
        ];
        if key.starts_with("whsec_") {
            return Err("is the signing secret of a webhook: copy an API key (rk_live_… or rk_test_…)");
        }
        if key.starts_with("pk_") {
            return Err("is a publishable key, which reads nothing: copy a restricted key (rk_…)");
        }
        let form = FORMS.iter().find_map(|(prefix, mode, is_restricted)| {
            Some((key.strip_prefix(prefix)?, *mode, *is_restricted))
        });
        let Some((rest, mode, is_restricted)) = form else {
            return Err("does not begin with rk_live_, rk_test_, sk_live_ or sk_test_: copy an API key");
        };
        let is_whole = !rest.is_empty() && key.len() <= BYTES_MAX;
        if !is_whole || !rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err("has characters that are in no API key, or is not complete: copy it again");
        }
        Ok(Self { name: String::new(), key: SecretString::from(key), mode, is_restricted })
    }
}

/// The keys of an instance.
#[derive(Debug, Clone)]
pub struct Keys {
    setting: Arc<str>,
    keys: Arc<[NamedKey]>,
}

impl Keys {
    /// The keys of this setting.
    pub fn new(setting: &str, keys: Vec<NamedKey>) -> Self {
        Self { setting: setting.into(), keys: keys.into() }
    }

    /// All keys, in the order of the setting.
    pub fn iter(&self) -> impl Iterator<Item = &NamedKey> {
        self.keys.iter()
    }

    /// The full name of the setting that holds them.
    pub fn setting(&self) -> &str {
        &self.setting
    }

    /// The key that reads what an event of this mode is about. `secret` names the webhook secret that verified
    /// the event, or the key that fetched it. A key of this name and mode comes first, then the only key of the
    /// mode.
    pub fn for_event(&self, secret: &str, livemode: Option<bool>) -> Result<&NamedKey, NoKey> {
        let mode = livemode.map(KeyMode::of_event);
        let fits = |key: &&NamedKey| mode.is_none_or(|mode| key.mode == mode);
        if let Some(key) = self.keys.iter().filter(fits).find(|key| key.name == secret) {
            return Ok(key);
        }
        let mut fitting = self.keys.iter().filter(fits);
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Ok(key),
            (None, _) => Err(NoKey::OfMode { setting: self.setting.clone(), mode }),
            (Some(_), Some(_)) => {
                Err(NoKey::Several { setting: self.setting.clone(), mode, secret: secret.to_owned() })
            }
        }
    }

    /// Checks the form of the keys.
    pub(in crate::sources::stripe) fn check(&self) -> Vec<Finding> {
        let mut findings: Vec<Finding> = self.keys.iter().map(form).collect();
        for (place, one) in self.keys.iter().enumerate() {
            let is_same = |other: &&NamedKey| other.key.expose_secret() == one.key.expose_secret();
            if let Some(other) = self.keys.iter().take(place).find(is_same) {
                findings.push(Finding::warning(
                    format!("the API keys {:?} and {:?} are the same", other.name, one.name),
                    format!("remove one of them from {}", self.setting),
                ));
            }
        }
        findings
    }
}

fn form(key: &NamedKey) -> Finding {
    let NamedKey { name, mode, .. } = key;
    let name_says = match name.to_lowercase() {
        lower if lower.starts_with("test") || lower.starts_with("sandbox") => Some(KeyMode::Test),
        lower if lower == "live" || lower.starts_with("live-") => Some(KeyMode::Live),
        _ => None,
    };
    if name_says.is_some_and(|said| said != *mode) {
        return Finding::warning(
            format!("the API key {name:?} is one of {mode}, which its name contradicts"),
            "give it another name, or set the key that you meant",
        );
    }
    if key.is_restricted {
        Finding::good(format!("the API key {name:?} is a restricted key of {mode}"))
    } else {
        Finding::warning(
            format!("the API key {name:?} is a secret key of {mode}, which may do everything in the account"),
            "create a restricted key (rk_…) that may only read: https://dashboard.stripe.com/apikeys/create",
        )
    }
}

/// Why no key reads what an event is about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoKey {
    /// No key is of the event's mode.
    #[error("{setting} has no key{}", of_mode(*mode))]
    OfMode {
        /// The setting of the keys.
        setting: Arc<str>,
        /// The mode.
        mode: Option<KeyMode>,
    },
    /// Several keys are, and none has the name of the webhook secret.
    #[error(
        "{setting} has several keys{}, and none is named {secret:?} as the webhook secret of the event is",
        of_mode(*mode)
    )]
    Several {
        /// The setting of the keys.
        setting: Arc<str>,
        /// The mode.
        mode: Option<KeyMode>,
        /// The name of the webhook secret.
        secret: String,
    },
}

fn of_mode(mode: Option<KeyMode>) -> String {
    mode.map_or_else(String::new, |mode| format!(" of {mode}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::finding::Level;

    fn keys(named: &[(&str, &str)]) -> Keys {
        let key = |(name, text): &(&str, &str)| NamedKey {
            name: (*name).to_owned(),
            ..NamedKey::parse(text).expect("a key")
        };
        Keys::new("STRIPE_API_KEY", named.iter().map(key).collect())
    }

    #[test]
    fn a_key_has_the_form_of_stripes_keys() {
        let mode = |text| NamedKey::parse(text).map(|key| (key.mode, key.is_restricted));
        assert_eq!(mode("rk_live_1a"), Ok((KeyMode::Live, true)));
        assert_eq!(mode("rk_test_1a"), Ok((KeyMode::Test, true)));
        assert_eq!(mode("sk_live_1a"), Ok((KeyMode::Live, false)));
        assert_eq!(mode("sk_test_1a_b"), Ok((KeyMode::Test, false)));
        for (text, why) in [
            ("whsec_1", "signing secret"),
            ("pk_live_1", "publishable"),
            ("rk_live_", "not complete"),
            ("rk_live_1/2", "characters"),
            ("rk_1", "does not begin"),
            ("", "does not begin"),
        ] {
            let error = NamedKey::parse(text).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn an_event_has_the_key_of_its_secrets_name_or_the_only_one_of_its_mode() {
        let several = keys(&[("live", "rk_live_1"), ("eu", "rk_live_2"), ("test", "rk_test_3")]);
        let name = |secret, livemode| several.for_event(secret, livemode).map(|key| key.name.as_str());
        assert_eq!(name("eu", Some(true)), Ok("eu"));
        assert_eq!(name("secret-1", Some(false)), Ok("test"), "the only one of test mode");
        assert_eq!(name("eu", Some(false)), Ok("test"), "a name does not make a live key read test data");
        assert_eq!(name("live", None), Ok("live"));
        let none = several.for_event("secret-1", Some(true)).expect_err("two would fit").to_string();
        assert!(none.contains("several keys of live mode") && none.contains("secret-1"), "{none}");
        let live = keys(&[("key-1", "rk_live_1")]);
        assert_eq!(live.for_event("x", None).map(|key| key.name.as_str()), Ok("key-1"));
        let none = live.for_event("x", Some(false)).expect_err("a live key").to_string();
        assert_eq!(none, "STRIPE_API_KEY has no key of test mode");
    }

    #[test]
    fn a_key_that_may_do_everything_a_double_one_and_a_misleading_name_are_warned_of() {
        let levels = |named: &[(&str, &str)]| {
            keys(named).check().iter().map(|finding| finding.level).collect::<Vec<_>>()
        };
        assert_eq!(levels(&[("live", "rk_live_1"), ("test", "rk_test_1")]), [Level::Good, Level::Good]);
        assert_eq!(levels(&[("key-1", "sk_live_1")]), [Level::Warning]);
        assert_eq!(levels(&[("test", "rk_live_1")]), [Level::Warning]);
        assert_eq!(
            levels(&[("a", "rk_live_1"), ("b", "rk_live_1")]),
            [Level::Good, Level::Good, Level::Warning]
        );
        let shown =
            format!("{:?}{:?}", keys(&[("a", "sk_live_hidden")]), keys(&[("a", "sk_live_hidden")]).check());
        assert!(!shown.contains("hidden"), "{shown}");
    }
}
