//! Where the endpoint's secret goes: into `.env`, beside those that are configured, or as a line that the operator
//! sets where the service runs.

use crate::cli::{env_file, environment};
use crate::config::{InstanceName, Reader, Vars};
use crate::sources::stripe::{NamedSecret, webhook_secrets};
use secrecy::{ExposeSecret, SecretString};
use std::path::Path;

/// Where a setting of the service is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Place {
    /// Fly.io
    Fly,
    /// Docker Compose
    Compose,
    /// systemd
    Systemd,
}

impl Place {
    const ALL: [Self; 3] = [Self::Fly, Self::Compose, Self::Systemd];

    const fn name(self) -> &'static str {
        match self {
            Self::Fly => "Fly.io",
            Self::Compose => "Docker Compose, in .env",
            Self::Systemd => "systemd, in /etc/eventbridge/env",
        }
    }

    /// The line that sets it.
    pub(super) fn line(self, name: &str, text: &str) -> String {
        match self {
            Self::Fly => format!("fly secrets set {name}='{text}'"),
            Self::Compose | Self::Systemd => format!("{name}={text}"),
        }
    }

    /// What makes the service read it.
    const fn then(self) -> &'static str {
        match self {
            Self::Fly => "which restarts the service",
            Self::Compose => "then: docker compose up -d",
            Self::Systemd => "then: systemctl restart eventbridge",
        }
    }
}

/// The secrets that are configured, and the setting that holds them.
pub(super) struct SecretSetting {
    pub(super) name: String,
    pub(super) secrets: Vec<NamedSecret>,
    /// Why `.env` is not where it is set, if it is not.
    pub(super) elsewhere: Option<&'static str>,
}

impl SecretSetting {
    /// Reads the instance's. A setting that cannot be read is an error: nothing is added to it.
    pub(super) fn read(vars: &Vars, instance: &InstanceName) -> anyhow::Result<Self> {
        let name = instance.setting("WEBHOOK_SECRET");
        let mut reader = Reader::new(vars);
        let secrets = webhook_secrets(&mut reader, instance);
        let secrets = reader.finish(secrets)?;
        let (of_environment, _) = environment::of_environment();
        let elsewhere = if vars.is_meant(&format!("{name}_FILE")) {
            Some("its text is in a file that a setting names")
        } else if of_environment.is_meant(&name) {
            Some("the environment sets it, which takes precedence over .env")
        } else {
            None
        };
        Ok(Self { name, secrets, elsewhere })
    }

    /// A name for a further secret of this mode. One named `test` accepts no event of live mode.
    pub(super) fn new_name(&self, is_live: bool) -> String {
        let word = if is_live { "live" } else { "test" };
        let is_free = |name: &String| !self.secrets.iter().any(|known| known.name == *name);
        let numbered = (2..=self.secrets.len() + 2).map(|number| format!("{word}-{number}"));
        std::iter::once(word.to_owned()).chain(numbered).find(is_free).unwrap_or_default()
    }

    /// The name of this secret, if it is configured.
    pub(super) fn name_of(&self, secret: &SecretString) -> Option<&str> {
        let is_it = |known: &&NamedSecret| known.secret.expose_secret() == secret.expose_secret();
        self.secrets.iter().find(is_it).map(|known| known.name.as_str())
    }

    /// The text of the setting with a further secret. The others keep their names.
    pub(super) fn text_with(&self, name: &str, secret: &SecretString) -> SecretString {
        let known = self.secrets.iter().map(|known| (known.name.as_str(), &known.secret));
        let entries: Vec<_> = known
            .chain([(name, secret)])
            .map(|(name, secret)| format!("{name}={}", secret.expose_secret()))
            .collect();
        SecretString::from(entries.join(","))
    }

    /// Writes a text to `.env`.
    pub(super) fn write(&self, text: &SecretString) -> anyhow::Result<()> {
        env_file::set(Path::new(environment::FILE), &self.name, text.expose_secret())
    }

    /// What to set where the service runs: one line for the place, or one for each.
    pub(super) fn instructions(&self, text: &SecretString, place: Option<Place>) -> String {
        let line = |place: Place| place.line(&self.name, text.expose_secret());
        if let Some(place) = place {
            return line(place);
        }
        let described = |place: Place| format!("# {} ({})\n{}", place.name(), place.then(), line(place));
        Place::ALL.map(described).join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(text: &str) -> SecretSetting {
        let vars: Vars = [("STRIPE_WEBHOOK_SECRET", text)].into_iter().collect();
        SecretSetting::read(&vars, &InstanceName::of_kind("stripe")).expect("valid")
    }

    #[test]
    fn a_further_secret_stands_beside_the_others_under_a_name_of_its_mode() {
        let new = SecretString::from("whsec_new");
        let with = |text: &str, is_live| {
            let setting = setting(text);
            let name = setting.new_name(is_live);
            setting.text_with(&name, &new).expose_secret().to_owned()
        };
        assert_eq!(with("", true), "live=whsec_new");
        assert_eq!(with("whsec_a;live=whsec_b", true), "secret-1=whsec_a,live=whsec_b,live-2=whsec_new");
        assert_eq!(
            with("test=whsec_a\ntest-2=whsec_b", false),
            "test=whsec_a,test-2=whsec_b,test-3=whsec_new"
        );
        assert_eq!(setting("a=whsec_new").name_of(&new), Some("a"));
    }

    #[test]
    fn a_place_has_one_line_and_without_one_each_has_its_own() {
        let (setting, text) = (setting("whsec_a"), SecretString::from("live=whsec_b"));
        assert_eq!(
            setting.instructions(&text, Some(Place::Fly)),
            "fly secrets set STRIPE_WEBHOOK_SECRET='live=whsec_b'"
        );
        let all = setting.instructions(&text, None);
        assert!(all.contains("systemctl restart") && all.contains("docker compose up -d"), "{all}");
    }

    #[test]
    fn a_wrong_setting_is_not_added_to() {
        let vars: Vars = [("STRIPE_WEBHOOK_SECRET", "sk_live_hidden")].into_iter().collect();
        let error = SecretSetting::read(&vars, &InstanceName::of_kind("stripe")).err().expect("invalid");
        assert!(!error.to_string().contains("hidden"), "{error}");
    }
}
