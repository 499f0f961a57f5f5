//! The settings looked at: all that is wrong, names that are mistyped, the log's level, the secrets.

use crate::cli::environment;
use crate::config::{InstanceName, NamedSecret};
use crate::destinations::check::Finding;
use secrecy::ExposeSecret;
use std::collections::BTreeSet;

/// Every setting stands in the model of `.env`, which a test holds to be so.
const MODEL: &str = include_str!("../../../.env-model");

/// Read though it is not in the model: from the environment alone, or in place of another.
const MORE_NAMES: &[&str] = &["PG_BIN_DIR", "RUST_LOG"];

/// Settings of docker compose, which reads the same file.
const OF_OTHERS: &[&str] = &["COMPOSE_", "DOCKER_", "BUILDKIT_"];

/// Shorter names are too easily near one another.
const NAME_LENGTH_MIN: usize = 5;

/// The names that nobody reads though they look like settings.
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

/// Whether the log's level says what its author thinks it says.
pub(super) fn log_level(directives: Option<&str>) -> Option<Finding> {
    const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace", "0", "1", "2", "3", "4", "5"];
    let directives = directives?;
    let is_level = |word: &str| LEVELS.contains(&word.trim().to_lowercase().as_str());
    let wrong = directives.split(',').map(str::trim).find(|directive| match directive.rsplit_once('=') {
        Some((_, level)) => !is_level(level),
        None => !is_level(directive),
    })?;
    Some(Finding::warning(
        format!("LOG_LEVEL: {wrong:?} is no level, so the log may say nothing or everything"),
        "write a level (error, warn, info, debug, trace), or more of them: info,eventbridge=debug",
    ))
}

/// The webhook secrets, by their form alone.
pub(super) fn secrets(secrets: &[NamedSecret]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = secrets.iter().map(secret).collect();
    for (place, one) in secrets.iter().enumerate() {
        let is_same = |other: &&NamedSecret| other.secret.expose_secret() == one.secret.expose_secret();
        if let Some(other) = secrets.iter().take(place).find(is_same) {
            findings.push(Finding::warning(
                format!("the secrets {:?} and {:?} are the same", other.name, one.name),
                "each endpoint has a secret of its own: copy the other one too, or drop one of them",
            ));
        }
    }
    if !secrets.is_empty() && secrets.iter().all(|secret| is_of_cli(secret.secret.expose_secret())) {
        findings.push(Finding::warning(
            "every webhook secret looks like one of the Stripe CLI",
            "what an endpoint of the dashboard sends is refused: add the endpoint's own secret (Developers › \
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
            format!("the webhook secret {name:?} holds characters that no secret of Stripe's has"),
            "copy it once more, without blanks and quotes",
        );
    }
    if body.len() < 24 {
        return Finding::warning(
            format!("the webhook secret {name:?} is shorter than those of Stripe"),
            "copy it once more, to its end",
        );
    }
    let old = ["old", "previous", "expired", "former"].iter().any(|word| name.to_lowercase().contains(word));
    let whose = if is_of_cli(text) { "one of the Stripe CLI" } else { "one of an endpoint" };
    let finding = Finding::good(format!("the webhook secret {name:?} has the form of {whose}"));
    if old {
        Finding::note(format!("the webhook secret {name:?} is called an old one"))
            .with_remedy("Stripe lets a rolled secret live for 24 hours at most: remove it after that")
    } else {
        finding
    }
}

/// The CLI's secrets are long and of hex digits; those of the dashboard are of letters and digits.
fn is_of_cli(secret: &str) -> bool {
    const LENGTH: usize = 64;
    let body = secret.strip_prefix("whsec_").unwrap_or_default();
    body.len() == LENGTH && body.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Every name that is read, for these instances.
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

/// All that stands in the file is meant for us.
fn of_file(name: &str, known: &BTreeSet<String>) -> Option<Finding> {
    if known.contains(name) || OF_OTHERS.iter().any(|prefix| name.starts_with(prefix)) {
        return None;
    }
    let what = format!("{name} in .env is no setting, so nobody reads it");
    let remedy = match nearest(name, known) {
        Some(meant) => format!("did you mean {meant}?"),
        None => "remove it, or see .env-model for what there is".to_owned(),
    };
    Some(Finding::warning(what, remedy))
}

/// In the environment there is much that is others'; only what is nearly ours is told.
fn of_environment(name: &str, known: &BTreeSet<String>) -> Option<Finding> {
    if known.contains(name) || name.len() < NAME_LENGTH_MIN {
        return None;
    }
    let meant = nearest(name, known)?;
    // A name that is set as well was not mistyped.
    Some(Finding::warning(
        format!("{name} in the environment is no setting, so nobody reads it"),
        format!("did you mean {meant}?"),
    ))
}

/// The known name that differs by a slip or two of the fingers.
fn nearest<'a>(name: &str, known: &'a BTreeSet<String>) -> Option<&'a str> {
    let slips_max = if name.len() < 10 { 1 } else { 2 };
    let upper = name.to_uppercase();
    known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(&upper, candidate), candidate.as_str()))
        .filter(|(slips, _)| *slips <= slips_max)
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
    fn a_mistyped_name_is_told_with_what_was_meant() {
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
    fn a_level_that_is_none_is_told() {
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
