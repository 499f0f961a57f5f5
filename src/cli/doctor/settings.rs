//! Checks the settings: mistyped names, the log level, and the form of the secrets.

use crate::cli::environment;
use crate::config::{InstanceName, NamedSecret};
use crate::destinations::check::Finding;
use secrecy::ExposeSecret;
use std::collections::BTreeSet;

/// The model of `.env`. A test checks that it has every setting.
const MODEL: &str = include_str!("../../../.env-model");

/// Settings outside the model: only from the environment, or in place of another.
const MORE_NAMES: &[&str] = &["PG_BIN_DIR", "RUST_LOG"];

/// Prefixes of the settings of Docker Compose, which reads the same file.
const OF_OTHERS: &[&str] = &["COMPOSE_", "DOCKER_", "BUILDKIT_"];

/// Shorter names are too similar to each other.
const NAME_LENGTH_MIN: usize = 5;

/// Names that look like settings and are not.
pub(super) fn names(instances: &[InstanceName]) -> Vec<Finding> {
    let known = known_names(instances);
    let (_, in_environment) = environment::of_environment();
    let in_file = environment::names_in_file().unwrap_or_default();
    let from_file = in_file.iter().filter_map(|name| of_file(name, &known));
    let from_environment = in_environment
        .iter()
        .filter(|name| !in_file.contains(name))
        .filter_map(|name| of_environment(name, &known));
    from_file.chain(from_environment).collect()
}

/// A log level that is invalid.
pub(super) fn log_level(directives: Option<&str>) -> Option<Finding> {
    const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace", "0", "1", "2", "3", "4", "5"];
    let directives = directives?;
    let is_level = |word: &str| LEVELS.contains(&word.trim().to_lowercase().as_str());
    let wrong = directives.split(',').map(str::trim).find(|directive| match directive.rsplit_once('=') {
        Some((_, level)) => !is_level(level),
        None => !is_level(directive),
    })?;
    Some(Finding::warning(
        format!("LOG_LEVEL: {wrong:?} is not a level, so the log may have nothing or everything"),
        "use a level (error, warn, info, debug, trace), or several: info,eventbridge=debug",
    ))
}

/// The webhook secrets, by their form.
pub(super) fn secrets(secrets: &[NamedSecret]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = secrets.iter().map(secret).collect();
    for (place, one) in secrets.iter().enumerate() {
        let is_same = |other: &&NamedSecret| other.secret.expose_secret() == one.secret.expose_secret();
        if let Some(other) = secrets.iter().take(place).find(is_same) {
            findings.push(Finding::warning(
                format!("the secrets {:?} and {:?} are the same", other.name, one.name),
                "each endpoint has a secret of its own: copy the missing one, or remove one of these",
            ));
        }
    }
    if !secrets.is_empty() && secrets.iter().all(|secret| is_of_cli(secret.secret.expose_secret())) {
        findings.push(Finding::warning(
            "every webhook secret looks like one of the Stripe CLI",
            "webhooks of an endpoint in the Stripe dashboard are rejected: add the endpoint's own secret (Developers › \
             Webhooks › the endpoint › Signing secret)",
        ));
    }
    findings
}

fn secret(named: &NamedSecret) -> Finding {
    let (name, text) = (&named.name, named.secret.expose_secret());
    let body = text.strip_prefix("whsec_").unwrap_or_default();
    if !body.chars().all(|c| c.is_ascii_alphanumeric() || "_-+/=".contains(c)) {
        return Finding::warning(
            format!("the webhook secret {name:?} has characters that are not in Stripe's secrets"),
            "copy it again, without blanks and quotes",
        );
    }
    if body.len() < 24 {
        return Finding::warning(
            format!("the webhook secret {name:?} is shorter than Stripe's secrets"),
            "copy it again, to its end",
        );
    }
    let old = ["old", "previous", "expired", "former"].iter().any(|word| name.to_lowercase().contains(word));
    let origin = if is_of_cli(text) { "one of the Stripe CLI" } else { "one of an endpoint" };
    let finding = Finding::good(format!("the webhook secret {name:?} has the form of {origin}"));
    if old {
        Finding::note(format!("the name of the webhook secret {name:?} says that it is an old one"))
            .with_remedy("Stripe keeps a rolled secret valid for at most 24 hours: remove it after that")
    } else {
        finding
    }
}

/// The CLI's secrets are long and have hex digits; those of the dashboard have letters and digits.
fn is_of_cli(secret: &str) -> bool {
    const LENGTH: usize = 64;
    let body = secret.strip_prefix("whsec_").unwrap_or_default();
    body.len() == LENGTH && body.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Every setting, including those of these instances.
fn known_names(instances: &[InstanceName]) -> BTreeSet<String> {
    let of_model = || {
        MODEL.lines().filter_map(|line| {
            let (name, _) = line.strip_prefix('#').unwrap_or(line).split_once('=')?;
            is_setting(name).then_some(name)
        })
    };
    let mut known: BTreeSet<String> =
        of_model().chain(MORE_NAMES.iter().copied()).map(str::to_owned).collect();
    let suffixes: Vec<_> = of_model().filter_map(|name| name.strip_prefix("NOTION_")).collect();
    known
        .extend(instances.iter().flat_map(|instance| suffixes.iter().map(|suffix| instance.setting(suffix))));
    known
}

fn is_setting(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Every name in the file is meant to be a setting.
fn of_file(name: &str, known: &BTreeSet<String>) -> Option<Finding> {
    if known.contains(name) || OF_OTHERS.iter().any(|prefix| name.starts_with(prefix)) {
        return None;
    }
    let what = format!("{name} in .env is not a setting and has no effect");
    let remedy = match nearest(name, known) {
        Some(meant) => format!("did you mean {meant}?"),
        None => "remove it; .env-model lists all settings".to_owned(),
    };
    Some(Finding::warning(what, remedy))
}

/// The environment has many names of other programs. Only those similar to a setting are reported.
fn of_environment(name: &str, known: &BTreeSet<String>) -> Option<Finding> {
    if known.contains(name) || name.len() < NAME_LENGTH_MIN {
        return None;
    }
    let meant = nearest(name, known)?;
    Some(Finding::warning(
        format!("{name} in the environment is not a setting and has no effect"),
        format!("did you mean {meant}?"),
    ))
}

/// The setting whose name differs by one or two typing errors.
fn nearest<'a>(name: &str, known: &'a BTreeSet<String>) -> Option<&'a str> {
    let errors_max = if name.len() < 10 { 1 } else { 2 };
    let upper = name.to_uppercase();
    known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(&upper, candidate), candidate.as_str()))
        .filter(|(errors, _)| *errors <= errors_max)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destinations::check::Level;
    use secrecy::SecretString;

    fn instance(name: &str) -> InstanceName {
        InstanceName { name: name.to_owned(), kind: "notion".to_owned() }
    }

    fn named(name: &str, secret: &str) -> NamedSecret {
        NamedSecret { name: name.to_owned(), secret: SecretString::from(secret) }
    }

    #[test]
    fn a_mistyped_name_is_reported_with_the_setting_that_was_meant() {
        let known = known_names(&[instance("notion"), instance("team-b")]);
        for (name, meant) in [
            ("NOTION_DATABSE_ID", "NOTION_DATABASE_ID"),
            ("NOTION_DATABASEID", "NOTION_DATABASE_ID"),
            ("TEAM_B_API_KEYS", "TEAM_B_API_KEY"),
            ("STRIPE_WEBHOOK_SECRETS", "STRIPE_WEBHOOK_SECRET"),
            ("LOG_LEVLE", "LOG_LEVEL"),
            ("notion_api_key", "NOTION_API_KEY"),
        ] {
            let finding = of_environment(name, &known).unwrap_or_else(|| panic!("{name}"));
            assert!(finding.remedy.unwrap().contains(meant), "{name}");
        }
        for name in ["NOTION_API_KEY", "TEAM_B_DATABASE_ID", "HOME", "LOGNAME", "EDITOR", "SHELL", "HOSTNAME"]
        {
            assert_eq!(of_environment(name, &known), None, "{name}");
        }
        assert!(of_file("ANYTHING_ELSE", &known).is_some() && of_file("COMPOSE_FILE", &known).is_none());
    }

    #[test]
    fn an_invalid_log_level_is_reported() {
        for fine in ["info", "info,eventbridge=debug", "OFF", "warn, sqlx::query=trace"] {
            assert_eq!(log_level(Some(fine)), None, "{fine}");
        }
        for wrong in ["verbose", "info,eventbridge=loud", "eventbridge"] {
            assert!(log_level(Some(wrong)).is_some(), "{wrong}");
        }
    }

    #[test]
    fn a_secret_is_judged_by_its_form_and_never_quoted() {
        let (cli, endpoint) = (format!("whsec_{}", "0a".repeat(32)), format!("whsec_{}", "aZ9k".repeat(8)));
        let levels = |found: &[Finding]| found.iter().map(|finding| finding.level).collect::<Vec<_>>();
        let both = secrets(&[named("cli", &cli), named("live", &endpoint)]);
        assert_eq!(levels(&both), [Level::Good, Level::Good]);
        let alone = secrets(&[named("cli", &cli)]);
        assert_eq!(levels(&alone), [Level::Good, Level::Warning]);
        let twice = secrets(&[named("live-old", &endpoint), named("live", &endpoint)]);
        assert_eq!(levels(&twice), [Level::Note, Level::Good, Level::Warning]);
        let broken = secrets(&[named("a", "whsec_short"), named("b", "whsec_with blank in it, and long")]);
        assert_eq!(levels(&broken), [Level::Warning, Level::Warning]);
        let said = format!("{both:?}{alone:?}{twice:?}{broken:?}");
        assert!(!said.contains("0a0a") && !said.contains("aZ9k") && !said.contains("whsec_short"), "{said}");
    }
}
