//! Checks the settings: mistyped names and the log level.

use crate::cli::environment;
use crate::config::InstanceName;
use crate::destinations::check::Finding;
use crate::domain::visible::quoted;
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
pub(super) fn names(sources: &[InstanceName], destinations: &[InstanceName]) -> Vec<Finding> {
    let known = known_names(sources, destinations);
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
        format!("LOG_LEVEL: {} is not a level, so the log may have nothing or everything", quoted(wrong)),
        "use a level (error, warn, info, debug, trace), or several: info,eventbridge=debug",
    ))
}

/// Every setting, including those of these instances.
pub(in crate::cli) fn known_names(
    sources: &[InstanceName],
    destinations: &[InstanceName],
) -> BTreeSet<String> {
    let of_model = || {
        MODEL.lines().filter_map(|line| {
            let (name, _) = line.strip_prefix('#').unwrap_or(line).split_once('=')?;
            is_setting(name).then_some(name)
        })
    };
    let mut known: BTreeSet<String> =
        of_model().chain(MORE_NAMES.iter().copied()).map(str::to_owned).collect();
    for instance in sources.iter().chain(destinations) {
        let of_kind = InstanceName::of_kind(&instance.kind).setting("");
        let suffixes = of_model().filter_map(|name| name.strip_prefix(of_kind.as_str()));
        known.extend(suffixes.map(|suffix| instance.setting(suffix)));
    }
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

    fn instance(name: &str) -> InstanceName {
        InstanceName { name: name.to_owned(), kind: "notion".to_owned() }
    }

    #[test]
    fn a_mistyped_name_is_reported_with_the_setting_that_was_meant() {
        let stripe_eu = InstanceName { name: "stripe-eu".to_owned(), kind: "stripe".to_owned() };
        let known = known_names(&[stripe_eu], &[instance("notion"), instance("team-b")]);
        for (name, meant) in [
            ("NOTION_DATABSE_ID", "NOTION_DATABASE_ID"),
            ("NOTION_DATABASEID", "NOTION_DATABASE_ID"),
            ("TEAM_B_API_KEYS", "TEAM_B_API_KEY"),
            ("STRIPE_WEBHOOK_SECRETS", "STRIPE_WEBHOOK_SECRET"),
            ("STRIPE_EU_WEBHOOK_SECRETS", "STRIPE_EU_WEBHOOK_SECRET"),
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
}
