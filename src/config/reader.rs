//! Reads settings one by one and collects their problems.

use super::vars::Vars;
use secrecy::SecretString;
use std::fmt::{self, Display};
use std::ops::RangeInclusive;
use std::str::FromStr;

/// What is wrong with one setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting} {message}")]
pub struct SettingError {
    /// The setting's full name, such as `NOTION_API_KEY`.
    pub setting: String,
    /// What is wrong, as the rest of a sentence that begins with the name. It quotes no secret.
    pub message: String,
}

impl SettingError {
    /// Whether the setting is required and not set. All such messages begin alike.
    pub fn is_missing(&self) -> bool {
        self.message.starts_with("is missing")
    }
}

/// Every problem of a configuration, in the order in which the settings were read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// The problems; at least one.
    pub problems: Vec<SettingError>,
}

impl ConfigError {
    /// The settings that have a problem, each once.
    pub fn names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for problem in &self.problems {
            if !names.contains(&problem.setting.as_str()) {
                names.push(problem.setting.as_str());
            }
        }
        names
    }
}

impl Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the settings cannot be used:")?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n  - {problem}"))?;
        f.write_str("\nSettings come from the environment or a .env file; .env-model lists them all.")
    }
}

/// Reads settings and collects all problems instead of stopping at the first.
pub struct Reader<'a> {
    vars: &'a Vars,
    problems: Vec<SettingError>,
    warnings: Vec<SettingError>,
}

impl<'a> Reader<'a> {
    /// Reads from this map.
    pub fn new(vars: &'a Vars) -> Self {
        Self { vars, problems: Vec::new(), warnings: Vec::new() }
    }

    /// Whether a setting was given at all, even if it was set to nothing.
    pub(super) fn is_given(&self, name: &str) -> bool {
        self.vars.is_given(name)
    }

    /// The text of a setting, if it is set. If its text cannot be read, that is a problem.
    pub fn text(&mut self, name: &str) -> Option<&'a str> {
        let vars = self.vars;
        if let Some(why) = vars.why_unreadable(name) {
            self.first_problem(name, why);
            return None;
        }
        if vars.was_quoted(name) {
            self.warning(
                name,
                "was read without the quotes around it; docker run --env-file and some panels keep quotes, so leave them out there",
            );
        }
        vars.get(name)
    }

    /// A secret, if it is set.
    pub fn secret(&mut self, name: &str) -> Option<SecretString> {
        self.text(name).map(SecretString::from)
    }

    /// A setting read by `parse`; `default` if it is not set, or if it has a problem.
    pub fn parsed<T, E: Display>(
        &mut self,
        name: &str,
        default: T,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> T {
        match self.text(name).map(parse) {
            None => default,
            Some(Ok(value)) => value,
            Some(Err(error)) => {
                self.problem(name, error);
                default
            }
        }
    }

    /// A number from `min` to `max`.
    pub fn number<T>(&mut self, name: &str, default: T, min: T, max: T) -> T
    where
        T: FromStr + PartialOrd + Display + Copy,
    {
        self.parsed(name, default, |text| number_within(text, min..=max))
    }

    /// A setting that is `on` or `off`.
    pub fn switch(&mut self, name: &str, default: bool) -> bool {
        self.parsed(name, default, |text| match text {
            "on" => Ok(true),
            "off" => Ok(false),
            _ => Err("must be on or off"),
        })
    }

    /// Adds a problem of a setting. The message must not quote a secret.
    pub fn problem(&mut self, name: &str, message: impl Display) {
        self.problems.push(SettingError { setting: name.to_owned(), message: message.to_string() });
    }

    /// Adds a problem unless the setting has one already: one that cannot be read is not missing too.
    pub fn first_problem(&mut self, name: &str, message: impl Display) {
        if !self.has_problem(name) {
            self.problem(name, message);
        }
    }

    /// Adds a warning of a setting, once. The message must not quote a secret.
    pub fn warning(&mut self, name: &str, message: impl Display) {
        let warning = SettingError { setting: name.to_owned(), message: message.to_string() };
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// Takes the warnings so far: what works, and may not be what the operator meant.
    pub fn take_warnings(&mut self) -> Vec<SettingError> {
        std::mem::take(&mut self.warnings)
    }

    /// Whether a setting has a problem.
    pub fn has_problem(&self, name: &str) -> bool {
        self.problems.iter().any(|problem| problem.setting == name)
    }

    /// Returns the settings if there is no problem, otherwise all problems.
    pub fn finish<T>(self, settings: T) -> Result<T, ConfigError> {
        if self.problems.is_empty() { Ok(settings) } else { Err(ConfigError { problems: self.problems }) }
    }
}

/// Parses a number within a range.
pub(super) fn number_within<T>(text: &str, range: RangeInclusive<T>) -> Result<T, String>
where
    T: FromStr + PartialOrd + Display,
{
    match text.parse::<T>() {
        Ok(number) if range.contains(&number) => Ok(number),
        // The text is not quoted: it may be a secret that was pasted into the wrong line.
        _ => Err(format!("must be a number from {} to {}", range.start(), range.end())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_reported_with_its_setting_and_each_setting_is_named_once() {
        let vars: Vars = [("PORT", "many"), ("AUTH", "maybe")].into_iter().collect();
        let mut reader = Reader::new(&vars);
        let port = reader.number("PORT", 8000_u16, 0, u16::MAX);
        let auth = reader.switch("AUTH", true);
        assert_eq!((port, auth), (8000, true), "the default is used");
        reader.first_problem("AUTH", "is missing");
        reader.problem("PORT", "is taken: by another service");
        let error = reader.finish(()).expect_err("three problems");
        assert_eq!(error.names(), ["PORT", "AUTH"]);
        let problems: Vec<_> = error.problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            problems,
            [
                "PORT must be a number from 0 to 65535",
                "AUTH must be on or off",
                "PORT is taken: by another service",
            ]
        );
    }

    #[test]
    fn a_text_in_quotes_is_read_without_them_and_warned_of_once() {
        let mut vars = Vars::default();
        vars.set_unquoted("API_KEYS", "key");
        let mut reader = Reader::new(&vars);
        assert_eq!((reader.text("API_KEYS"), reader.text("API_KEYS")), (Some("key"), Some("key")));
        let warnings = reader.take_warnings();
        assert!(matches!(&warnings[..], [one] if one.to_string().starts_with("API_KEYS was read without")));
        assert!(reader.finish(()).is_ok());
    }

    #[test]
    fn a_setting_that_cannot_be_read_has_one_problem_however_often_it_is_read() {
        let mut vars = Vars::default();
        vars.set_unreadable("API_KEYS", "its file is empty");
        let mut reader = Reader::new(&vars);
        assert!(reader.text("API_KEYS").is_none() && reader.secret("API_KEYS").is_none());
        reader.first_problem("API_KEYS", "is missing");
        let error = reader.finish(()).expect_err("one problem");
        assert_eq!(error.problems.len(), 1, "{error}");
    }
}
