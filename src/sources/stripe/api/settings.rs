//! The settings of the access to Stripe's API.

use super::keys::{Keys, NamedKey};
use crate::config::{InstanceName, Reader};
use crate::http_client::is_loopback;
use crate::sources::stripe::named;
use url::Url;

const API_URL: &str = "https://api.stripe.com";

/// Stripe's address and the keys.
#[derive(Debug, Clone)]
pub struct ApiSettings {
    /// The base address, without `/v1`.
    pub base: Url,
    /// The keys; at least one.
    pub keys: Keys,
    /// The full name of the setting that holds the address.
    pub address_setting: String,
}

impl ApiSettings {
    /// Reads the address and the keys of an instance. The reader collects the problems. `None` without a key, or
    /// if the settings cannot be used.
    pub fn read(reader: &mut Reader<'_>, instance: &InstanceName) -> Option<Self> {
        let setting = instance.setting("API_KEY");
        let keys = reader.parsed(&setting, Vec::new(), parse_keys);
        let (base, address_setting) = address(reader, instance);
        let base = base?;
        (!keys.is_empty()).then(|| Self { base, keys: Keys::new(&setting, keys), address_setting })
    }

    /// Reads the address of an instance, for a key that only one command uses. `None` if the address cannot be
    /// used.
    pub fn for_command(reader: &mut Reader<'_>, instance: &InstanceName, key: NamedKey) -> Option<Self> {
        let (base, address_setting) = address(reader, instance);
        Some(Self { base: base?, keys: Keys::new("this command", vec![key]), address_setting })
    }
}

/// The base address and the name of its setting.
fn address(reader: &mut Reader<'_>, instance: &InstanceName) -> (Option<Url>, String) {
    let setting = instance.setting("API_URL");
    (reader.parsed(&setting, Url::parse(API_URL).ok(), base), setting)
}

/// Parses `rk_live_a,sandbox=rk_test_b`.
fn parse_keys(text: &str) -> Result<Vec<NamedKey>, String> {
    // No key has `=` in it.
    let keys = named::parse(text, "key", |_entry| false, NamedKey::parse)?;
    Ok(keys.into_iter().map(|(name, key)| NamedKey { name, ..key }).collect())
}

/// Accepts a base address, also one that ends in `/v1`.
fn base(text: &str) -> Result<Option<Url>, &'static str> {
    let mut url = Url::parse(text).map_err(|_| "must be a URL such as https://api.stripe.com")?;
    if url.scheme() != "https" && !(url.scheme() == "http" && is_loopback(&url)) {
        return Err("must begin with https://; plain http is only allowed for this machine");
    }
    let path = url.path().trim_end_matches('/');
    let path = path.strip_suffix("/v1").unwrap_or(path).to_owned();
    url.set_path(&path);
    url.set_query(None);
    url.set_fragment(None);
    Ok(Some(url))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ConfigError, Vars};

    fn read(vars: &[(&str, &str)]) -> Result<Option<ApiSettings>, ConfigError> {
        let vars: Vars = vars.iter().copied().collect();
        let mut reader = Reader::new(&vars);
        let settings = ApiSettings::read(&mut reader, &InstanceName::of_kind("stripe"));
        reader.finish(settings)
    }

    #[test]
    fn keys_may_have_names_and_are_hidden_in_debug() {
        let settings = read(&[("STRIPE_API_KEY", "rk_live_hidden1\nsandbox = rk_test_hidden2")]);
        let settings = settings.expect("valid").expect("two keys");
        let names: Vec<_> = settings.keys.iter().map(|key| key.name.as_str()).collect();
        assert_eq!(names, ["key-1", "sandbox"]);
        assert!(!format!("{settings:?}").contains("hidden"), "{settings:?}");
        assert_eq!(settings.base.as_str(), "https://api.stripe.com/");
    }

    #[test]
    fn without_a_key_there_is_no_access_and_no_problem() {
        assert!(read(&[("STRIPE_API_URL", "http://127.0.0.1:1")]).expect("valid").is_none());
    }

    #[test]
    fn a_wrong_key_is_named_by_its_place_and_not_quoted() {
        for text in
            ["rk_live_good,pk_live_hidden", "live=hidden", "rk_live_hidden,key-1=rk_live_x", "x y=hidden"]
        {
            let error = read(&[("STRIPE_API_KEY", text)]).expect_err(text).to_string();
            assert!(error.contains("STRIPE_API_KEY") && !error.contains("hidden"), "{error}");
        }
    }

    #[test]
    fn only_this_machine_is_reached_without_encryption() {
        let address = |url| read(&[("STRIPE_API_KEY", "rk_live_1"), ("STRIPE_API_URL", url)]);
        for url in ["http://127.0.0.1:9/v1", "http://localhost:9", "https://stripe.example.com/v1/"] {
            assert!(!address(url).expect(url).expect(url).base.path().contains("v1"), "{url}");
        }
        for url in ["http://api.stripe.com", "file:///etc/passwd", "api.stripe.com"] {
            assert!(address(url).expect_err(url).to_string().contains("STRIPE_API_URL"), "{url}");
        }
    }
}
