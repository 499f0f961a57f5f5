//! Settings of the core, read from a map of names and texts.
//!
//! Nothing here touches the process's environment: `cli` builds the map from the environment and
//! `.env`, tests and the demo build their own. All that is wrong is told at once. Secrets stay
//! hidden in `Debug`.

use crate::domain::execution::Mode;
use crate::domain::subscription::{LivemodeFilter, Subscription, TypeFilter};
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

/// Names and texts, such as the environment's. Names set to nothing count as not set.
#[derive(Clone, Default)]
pub struct Vars {
    texts: BTreeMap<String, String>,
    /// Why the text of a name cannot be told, though there is one.
    unreadable: BTreeMap<String, String>,
}

impl Vars {
    /// The text of a name, trimmed; nothing where it is absent or blank.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(|text| text.trim()).filter(|text| !text.is_empty())
    }

    /// Whether the name was given at all, be it set to nothing.
    pub fn is_given(&self, name: &str) -> bool {
        self.texts.contains_key(name) || self.unreadable.contains_key(name)
    }

    /// Whether somebody meant to set the name: it has a text, or one that cannot be read.
    pub fn is_meant(&self, name: &str) -> bool {
        self.get(name).is_some() || self.unreadable.contains_key(name)
    }

    /// Sets a name.
    pub fn set(&mut self, name: impl Into<String>, text: impl Into<String>) {
        self.texts.insert(name.into(), text.into());
    }

    /// Says why a name's text cannot be read; whoever asks for it gets this as a problem.
    pub fn set_unreadable(&mut self, name: impl Into<String>, why: impl Into<String>) {
        self.unreadable.insert(name.into(), why.into());
    }
}

impl<N: Into<String>, T: Into<String>> FromIterator<(N, T)> for Vars {
    fn from_iter<I: IntoIterator<Item = (N, T)>>(pairs: I) -> Self {
        let texts = pairs.into_iter().map(|(name, text)| (name.into(), text.into())).collect();
        Self { texts, unreadable: BTreeMap::new() }
    }
}

/// Everything that is wrong with the settings.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.listing())]
pub struct ConfigError {
    /// One sentence for each problem, beginning with the setting's name.
    pub problems: Vec<String>,
}

impl ConfigError {
    /// The settings concerned, each once.
    pub fn names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for (name, _) in self.problems.iter().filter_map(|problem| problem.split_once(':')) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    fn listing(&self) -> String {
        let mut text = String::from("the settings cannot be used:");
        for problem in &self.problems {
            text.push_str("\n  - ");
            text.push_str(problem);
        }
        text.push_str("\nSettings come from the environment or a .env file; .env-model lists them all.");
        text
    }
}

/// Reads settings one by one and collects what is wrong instead of stopping at the first.
pub struct Reader<'a> {
    vars: &'a Vars,
    problems: Vec<String>,
}

impl<'a> Reader<'a> {
    /// Starts to read.
    pub fn new(vars: &'a Vars) -> Self {
        Self { vars, problems: Vec::new() }
    }

    /// The text of a setting, where it is set; one that cannot be read is noted.
    pub fn text(&mut self, name: &str) -> Option<&'a str> {
        let vars = self.vars;
        if let Some(why) = vars.unreadable.get(name) {
            self.first_problem(name, why);
            return None;
        }
        vars.get(name)
    }

    /// A secret, where it is set.
    pub fn secret(&mut self, name: &str) -> Option<SecretString> {
        self.text(name).map(SecretString::from)
    }

    /// A setting read by `parse`, or `default` where it is not set or cannot be read (which is noted).
    pub fn parsed<T, E: std::fmt::Display>(
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

    /// A number between two bounds, both allowed.
    pub fn number<T>(&mut self, name: &str, default: T, min: T, max: T) -> T
    where
        T: FromStr + PartialOrd + std::fmt::Display + Copy,
    {
        self.parsed(name, default, |text| match text.parse::<T>() {
            Ok(number) if number >= min && number <= max => Ok(number),
            _ => Err(format!("must be a number from {min} to {max}, not {text:?}")),
        })
    }

    /// A setting that is `on` or `off`.
    pub fn switch(&mut self, name: &str, default: bool) -> bool {
        self.parsed(name, default, |text| match text {
            "on" => Ok(true),
            "off" => Ok(false),
            _ => Err("must be on or off"),
        })
    }

    /// Notes that a setting is wrong. The sentence must not quote a secret.
    pub fn problem(&mut self, name: &str, what: impl std::fmt::Display) {
        self.problems.push(format!("{name}: {what}"));
    }

    /// Notes what is wrong with a setting unless something was noted of it already, as that it is
    /// missing where it only could not be read.
    pub fn first_problem(&mut self, name: &str, what: impl std::fmt::Display) {
        if !self.has_problem(name) {
            self.problem(name, what);
        }
    }

    /// Whether something was noted about a setting.
    pub fn has_problem(&self, name: &str) -> bool {
        self.problems
            .iter()
            .any(|problem| problem.strip_prefix(name).is_some_and(|rest| rest.starts_with(':')))
    }

    /// The settings read, unless something was wrong.
    pub fn finish<T>(self, settings: T) -> Result<T, ConfigError> {
        if self.problems.is_empty() { Ok(settings) } else { Err(ConfigError { problems: self.problems }) }
    }
}

/// A webhook secret and the name under which logs and events speak of it.
#[derive(Debug, Clone)]
pub struct NamedSecret {
    /// The name; `secret-1` and so on where none is given.
    pub name: String,
    /// The whole secret, `whsec_` included.
    pub secret: SecretString,
}

/// What an API key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Look.
    Read,
    /// Look, retry, and whatever else changes something.
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

/// Who may use the API.
#[derive(Debug, Clone)]
pub enum Access {
    /// Those who hold one of these keys.
    Keys(Vec<ApiKey>),
    /// Anybody who can reach it: `AUTH=off`.
    Open,
    /// Only programs on this machine, by Host and Origin: `dev`.
    LocalOnly,
}

/// One destination instance as configured: executions bear its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceName {
    /// The instance's name.
    pub name: String,
    /// The kind that serves it, such as `notion`.
    pub kind: String,
}

impl InstanceName {
    /// The full name of one of the instance's settings: `notion` and `API_KEY` give `NOTION_API_KEY`.
    pub fn setting(&self, suffix: &str) -> String {
        format!("{}_{suffix}", self.name.to_uppercase().replace('-', "_"))
    }
}

/// How failed deliveries are tried again.
#[derive(Debug, Clone, Copy)]
pub struct RetrySettings {
    /// Attempts until an execution is given up.
    pub attempts_max: u32,
    /// The wait after the first failed attempt; it doubles with each further one.
    pub base: Duration,
    /// The longest wait.
    pub cap: Duration,
}

impl Default for RetrySettings {
    /// 24 attempts from 5 s up to 2 h: together more than 24 hours.
    fn default() -> Self {
        Self { attempts_max: 24, base: Duration::from_secs(5), cap: Duration::from_hours(2) }
    }
}

/// Where the database is.
#[derive(Debug, Clone, Default)]
pub struct Database {
    /// Its URL.
    pub url: SecretString,
    /// Where `url` leads to a pooler that gives a connection away after each transaction: the server
    /// itself, for what needs a session.
    pub direct_url: Option<SecretString>,
}

/// The settings of the core.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where the database is.
    pub database: Database,
    /// The most connections to it.
    pub database_connections: u32,
    /// The webhook secrets of Stripe.
    pub stripe_secrets: Vec<NamedSecret>,
    /// The destination instances.
    pub instances: Vec<InstanceName>,
    /// Who may use the API.
    pub access: Access,
    /// Whether `/metrics` needs no key.
    pub metrics_are_open: bool,
    /// How many executions run at once in this process.
    pub worker_concurrency: usize,
    /// How failed deliveries are tried again.
    pub retry: RetrySettings,
    /// The time between two probes of a destination that is held.
    pub probe_every: Duration,
    /// How long running work may go on after the signal to stop.
    pub shutdown_grace: Duration,
    /// How long what came is kept.
    pub retention: Retention,
}

/// How long what came is kept; without end where nothing is set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Events, their executions and all that belongs to these.
    pub rows: Option<Duration>,
    /// The bodies of events.
    pub payloads: Option<Duration>,
}

/// The fewest days for which rows are kept: an event that comes again after its row was removed
/// counts as new, and Stripe lets events be sent again for a month.
pub const RETENTION_DAYS_MIN: u64 = 30;

impl Settings {
    /// Reads the settings for production: whatever is missing is noted as a problem.
    pub fn for_production(reader: &mut Reader<'_>) -> Self {
        let access = access(reader);
        let mut settings = Self::read(reader, IpAddr::V4(Ipv4Addr::UNSPECIFIED), access);
        if settings.stripe_secrets.is_empty() {
            reader.first_problem(
                "STRIPE_WEBHOOK_SECRET",
                "is missing: the signing secret (whsec_…) of your Stripe endpoint",
            );
        }
        settings.database = required_database(reader);
        settings
    }

    /// Reads the settings for `dev` and `demo`: the caller fills in what is not set.
    pub fn for_development(reader: &mut Reader<'_>) -> Self {
        let mut settings = Self::read(reader, IpAddr::V4(Ipv4Addr::LOCALHOST), Access::LocalOnly);
        let is_exposed = reader.switch("DEV_EXPOSE", false);
        if !is_exposed && !settings.listen.ip().is_loopback() {
            reader.problem(
                "LISTEN_ADDR",
                "is an address that others can reach, and dev asks for no key: use serve, or DEV_EXPOSE=on where something else keeps others out, as a container's published port on 127.0.0.1 does",
            );
        }
        settings.database = database(reader).unwrap_or_default();
        settings
    }

    /// Whether a database was configured.
    pub fn has_database(&self) -> bool {
        !self.database.url.expose_secret().is_empty()
    }

    fn read(reader: &mut Reader<'_>, ip: IpAddr, access: Access) -> Self {
        Self {
            listen: listen(reader, ip),
            database: Database::default(),
            database_connections: reader.number("DATABASE_CONNECTIONS", 10, 4, 500),
            stripe_secrets: webhook_secrets(reader),
            instances: instances(reader),
            access,
            metrics_are_open: !reader.switch("METRICS_AUTH", true),
            worker_concurrency: reader.number("WORKER_CONCURRENCY", 8, 1, 1000),
            retry: retry(reader),
            probe_every: Duration::from_secs(reader.number("PROBE_SECONDS", 15, 1, 3600)),
            shutdown_grace: Duration::from_secs(reader.number("SHUTDOWN_GRACE_SECONDS", 25, 1, 600)),
            retention: retention(reader),
        }
    }
}

/// Where the database is, or a noted problem where nothing says so.
pub fn required_database(reader: &mut Reader<'_>) -> Database {
    database(reader).unwrap_or_else(|| {
        reader.first_problem(
            "DATABASE_URL",
            "is missing: postgres://user:password@host:5432/database, or set POSTGRES_HOST, POSTGRES_DB, …",
        );
        Database::default()
    })
}

/// The webhook secrets of Stripe alone, for sending as Stripe does.
pub fn webhook_secrets(reader: &mut Reader<'_>) -> Vec<NamedSecret> {
    reader.parsed("STRIPE_WEBHOOK_SECRET", Vec::new(), stripe_secrets)
}

/// What an instance wants, by its `…_EVENT_TYPES`, `…_LIVEMODE` and `…_MODE`.
pub fn subscription(reader: &mut Reader<'_>, instance: &InstanceName) -> Subscription {
    let types = reader.parsed(&instance.setting("EVENT_TYPES"), TypeFilter::all(), TypeFilter::parse);
    let livemode = reader.parsed(&instance.setting("LIVEMODE"), LivemodeFilter::All, |text| match text {
        "all" => Ok(LivemodeFilter::All),
        "live" => Ok(LivemodeFilter::Live),
        "test" => Ok(LivemodeFilter::Test),
        _ => Err("must be all, live or test"),
    });
    let mode = reader.parsed(&instance.setting("MODE"), Mode::Event, str::parse);
    Subscription { destination: instance.name.clone(), types, livemode, mode }
}

/// Where to listen, by `LISTEN_ADDR` and `PORT`; at `ip` where neither says otherwise.
pub fn listen(reader: &mut Reader<'_>, ip: IpAddr) -> SocketAddr {
    let port = reader.number("PORT", 8000_u16, 0, u16::MAX);
    reader.parsed("LISTEN_ADDR", SocketAddr::new(ip, port), |text| {
        text.parse().map_err(|_| "must be an address and a port, such as 0.0.0.0:8000 or [::]:8000")
    })
}

fn database(reader: &mut Reader<'_>) -> Option<Database> {
    let direct_url = reader.parsed("DATABASE_DIRECT_URL", None, |text| postgres_url(text).map(Some));
    Some(Database { url: database_url(reader)?, direct_url })
}

fn database_url(reader: &mut Reader<'_>) -> Option<SecretString> {
    let url = reader.parsed("DATABASE_URL", None, |text| postgres_url(text).map(Some));
    if url.is_some() || reader.has_problem("DATABASE_URL") {
        return Some(url.unwrap_or_default());
    }
    let host = reader.text("POSTGRES_HOST");
    let database = reader.text("POSTGRES_DB");
    if host.is_none() && database.is_none() {
        return None;
    }
    let port = reader.number("POSTGRES_PORT", 5432_u16, 1, u16::MAX);
    let host = host.unwrap_or("localhost");
    let mut url = url::Url::parse("postgres://localhost/").ok()?;
    let host_is_fine = match host.parse::<IpAddr>() {
        Ok(address) => url.set_ip_host(address).is_ok(),
        // The folder of a socket cannot stand in a URL's place for the host.
        Err(_) if host.starts_with('/') => {
            url.query_pairs_mut().append_pair("host", host);
            true
        }
        Err(_) => url.set_host(Some(host)).is_ok(),
    };
    let is_complete = host_is_fine
        && url.set_port(Some(port)).is_ok()
        && url.set_username(reader.text("POSTGRES_USER").unwrap_or("postgres")).is_ok()
        && url.set_password(reader.text("POSTGRES_PASSWORD")).is_ok();
    if !is_complete {
        reader.problem("POSTGRES_HOST", "is neither a host name, nor an address, nor the folder of a socket");
    }
    if let Ok(mut path) = url.path_segments_mut() {
        path.clear().push(database.unwrap_or("postgres"));
    }
    Some(SecretString::from(url.to_string()))
}

fn postgres_url(text: &str) -> Result<SecretString, &'static str> {
    match url::Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "postgres" | "postgresql") => Ok(SecretString::from(text)),
        _ => Err("must begin with postgres:// and be a URL; encode special characters of the password"),
    }
}

/// Reads `whsec_a,live=whsec_b`.
fn stripe_secrets(text: &str) -> Result<Vec<NamedSecret>, String> {
    let mut secrets: Vec<NamedSecret> = Vec::new();
    for (position, entry) in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).enumerate() {
        let (name, secret) = match entry.split_once('=') {
            Some((name, secret)) if !entry.starts_with("whsec_") => (name.trim().to_owned(), secret.trim()),
            _ => (format!("secret-{}", position + 1), entry),
        };
        if !is_name(&name) {
            return Err(format!(
                "the name of secret {} may hold letters, digits, - and _ only",
                position + 1
            ));
        }
        if secret.strip_prefix("whsec_").is_none_or(str::is_empty) {
            return Err(format!(
                "secret {} is not whsec_ and what follows it: copy the signing secret of the endpoint, not an API key",
                position + 1
            ));
        }
        if secrets.iter().any(|earlier| earlier.name == name) {
            return Err(format!("the name {name:?} is given twice"));
        }
        secrets.push(NamedSecret { name, secret: SecretString::from(secret) });
    }
    Ok(secrets)
}

/// Reads `DESTINATIONS`: `notion` by default; set to nothing it means that events are only stored.
pub fn instances(reader: &mut Reader<'_>) -> Vec<InstanceName> {
    if reader.vars.is_given("DESTINATIONS") && reader.text("DESTINATIONS").is_none() {
        return Vec::new();
    }
    let default = vec![InstanceName { name: "notion".to_owned(), kind: "notion".to_owned() }];
    reader.parsed("DESTINATIONS", default, |text| {
        let mut found: Vec<InstanceName> = Vec::new();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let (name, kind) = entry.split_once(':').unwrap_or((entry, entry));
            if !is_name(name) || found.iter().any(|earlier| earlier.name == name) {
                return Err(format!("{name:?} is given twice, or holds more than letters, digits, - and _"));
            }
            found.push(InstanceName { name: name.to_owned(), kind: kind.to_owned() });
        }
        if found.is_empty() {
            return Err("names no instance; set it to nothing where events are only to be stored".to_owned());
        }
        Ok(found)
    })
}

fn access(reader: &mut Reader<'_>) -> Access {
    if !reader.switch("AUTH", true) {
        return Access::Open;
    }
    let keys = reader.parsed("API_KEYS", Vec::new(), api_keys);
    if keys.is_empty() {
        reader.first_problem(
            "API_KEYS",
            "is missing: name:read:key or name:write:key, keys of 32 characters or more, separated by commas (or AUTH=off)",
        );
    }
    Access::Keys(keys)
}

fn api_keys(text: &str) -> Result<Vec<ApiKey>, String> {
    const KEY_CHARACTERS_MIN: usize = 32;
    let mut keys: Vec<ApiKey> = Vec::new();
    for (position, entry) in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).enumerate() {
        let number = position + 1;
        let mut parts = entry.splitn(3, ':');
        let (Some(name), Some(scope), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(format!("key {number} must be written name:scope:key"));
        };
        let scope = match scope {
            "read" => Scope::Read,
            "write" => Scope::Write,
            _ => return Err(format!("the scope of key {number} must be read or write")),
        };
        if !is_name(name) || keys.iter().any(|earlier| earlier.name == name) {
            return Err(format!("the name of key {number} must be its own and of letters, digits, - and _"));
        }
        if key.chars().count() < KEY_CHARACTERS_MIN || !key.chars().all(|c| c.is_ascii_graphic()) {
            return Err(format!(
                "key {number} ({name}) must have at least {KEY_CHARACTERS_MIN} plain characters; make one with: openssl rand -hex 32"
            ));
        }
        if keys.iter().any(|earlier| earlier.key.expose_secret() == key) {
            return Err(format!(
                "key {number} ({name}) is the same as an earlier one: each holder needs one of their own"
            ));
        }
        keys.push(ApiKey { name: name.to_owned(), scope, key: SecretString::from(key) });
    }
    Ok(keys)
}

fn retry(reader: &mut Reader<'_>) -> RetrySettings {
    let default = RetrySettings::default();
    RetrySettings {
        attempts_max: reader.number("RETRY_ATTEMPTS_MAX", default.attempts_max, 1, 1000),
        base: Duration::from_secs(reader.number("RETRY_BASE_SECONDS", default.base.as_secs(), 1, 3600)),
        cap: Duration::from_secs(reader.number("RETRY_CAP_SECONDS", default.cap.as_secs(), 1, 86_400)),
    }
}

/// How long what came is kept, by `RETENTION_DAYS` and `RETENTION_PAYLOAD_DAYS`.
pub fn retention(reader: &mut Reader<'_>) -> Retention {
    const DAYS_MAX: u64 = 36_500;
    let days = |min: u64, why: &'static str| {
        move |text: &str| match text.parse::<u64>() {
            Ok(0) => Ok(None),
            Ok(days) if (min..=DAYS_MAX).contains(&days) => Ok(Some(Duration::from_hours(24 * days))),
            _ => Err(format!("must be 0, which keeps everything, or {min} to {DAYS_MAX} days{why}")),
        }
    };
    let why = ": an event that comes again after its row was removed would count as new, and Stripe lets events be sent again for a month";
    Retention {
        rows: reader.parsed("RETENTION_DAYS", None, days(RETENTION_DAYS_MIN, why)),
        payloads: reader.parsed("RETENTION_PAYLOAD_DAYS", None, days(1, "")),
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 40
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0123456789abcdef0123456789abcdef";

    fn complete() -> Vars {
        [
            ("DATABASE_URL", "postgres://u:p@db/events"),
            ("STRIPE_WEBHOOK_SECRET", "whsec_a"),
            ("API_KEYS", &format!("ops:write:{KEY}")),
        ]
        .into_iter()
        .collect()
    }

    fn read(vars: &Vars) -> Result<Settings, ConfigError> {
        let mut reader = Reader::new(vars);
        let settings = Settings::for_production(&mut reader);
        reader.finish(settings)
    }

    fn with(name: &str, text: &str) -> Result<Settings, ConfigError> {
        let mut vars = complete();
        vars.set(name, text);
        read(&vars)
    }

    #[test]
    fn all_that_is_missing_is_named_at_once() {
        let error = read(&Vars::default()).expect_err("nothing is set").to_string();
        for name in ["STRIPE_WEBHOOK_SECRET", "DATABASE_URL", "API_KEYS"] {
            assert!(error.contains(name), "{name} in {error}");
        }
    }

    #[test]
    fn a_name_set_to_nothing_is_missing_but_empty_destinations_store_only() {
        assert!(with("STRIPE_WEBHOOK_SECRET", " ").is_err());
        let mut vars = complete();
        vars.set("DESTINATIONS", "");
        assert!(read(&vars).expect("store only").instances.is_empty());
    }

    #[test]
    fn the_originals_postgres_settings_make_a_url_and_database_url_wins() {
        let mut vars = complete();
        vars.set("POSTGRES_HOST", "elsewhere");
        let settings = read(&vars).expect("valid");
        assert_eq!(settings.database.url.expose_secret(), "postgres://u:p@db/events");
        vars.set("DATABASE_URL", "");
        vars.set("POSTGRES_DB", "events db");
        vars.set("POSTGRES_USER", "me");
        vars.set("POSTGRES_PASSWORD", "p@ss/word");
        let settings = read(&vars).expect("valid");
        assert_eq!(
            settings.database.url.expose_secret(),
            "postgres://me:p%40ss%2Fword@elsewhere:5432/events%20db"
        );
    }

    #[test]
    fn secrets_may_have_names_and_are_hidden_in_debug() {
        let settings = with("STRIPE_WEBHOOK_SECRET", "whsec_a, live=whsec_b").expect("valid");
        let names: Vec<_> = settings.stripe_secrets.iter().map(|secret| secret.name.as_str()).collect();
        assert_eq!(names, ["secret-1", "live"]);
        let debug = format!("{settings:?}");
        assert!(!debug.contains("whsec_") && !debug.contains(KEY) && !debug.contains("u:p@"), "{debug}");
    }

    #[test]
    fn an_error_never_quotes_a_secret() {
        for (name, text) in [
            ("STRIPE_WEBHOOK_SECRET", "sk_live_secret"),
            ("API_KEYS", "ops:write:short-secret"),
            ("API_KEYS", "ops:admin:short-secret"),
            ("DATABASE_URL", "mysql://u:secret@db"),
        ] {
            let error = with(name, text).expect_err("refused").to_string();
            assert!(
                error.contains(name) && !error.contains("secret@") && !error.contains("short-secret"),
                "{error}"
            );
            assert!(!error.contains("sk_live_secret"), "{error}");
        }
    }

    #[test]
    fn numbers_out_of_range_and_unknown_words_are_refused() {
        for (name, text) in [
            ("PORT", "70000"),
            ("WORKER_CONCURRENCY", "0"),
            ("AUTH", "maybe"),
            ("LISTEN_ADDR", "localhost"),
            ("DESTINATIONS", "notion,notion"),
        ] {
            assert!(with(name, text).is_err(), "{name}={text}");
        }
    }

    #[test]
    fn everything_is_kept_unless_days_are_set_and_rows_for_a_month_at_least() {
        let kept = |name: &str, text: &str| with(name, text).map(|settings| settings.retention);
        assert_eq!(kept("RETENTION_DAYS", "0").expect("off"), Retention::default());
        let month = Some(Duration::from_hours(720));
        assert_eq!(kept("RETENTION_DAYS", "30").expect("a month").rows, month);
        assert!(kept("RETENTION_DAYS", "29").expect_err("too few").to_string().contains("sent again"));
        assert_eq!(kept("RETENTION_PAYLOAD_DAYS", "30").expect("a month").payloads, month);
        for text in ["-1", "many", "40000"] {
            assert!(kept("RETENTION_PAYLOAD_DAYS", text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_list_of_nothing_is_missing() {
        for name in ["STRIPE_WEBHOOK_SECRET", "API_KEYS", "DESTINATIONS"] {
            assert!(with(name, " , ,").is_err(), "{name}");
        }
    }

    #[test]
    fn the_database_may_be_at_an_address_or_behind_a_socket() {
        for (host, expected) in [
            ("::1", "postgres://postgres@[::1]:5432/postgres"),
            ("10.0.0.1", "postgres://postgres@10.0.0.1:5432/postgres"),
            (
                "/var/run/postgresql",
                "postgres://postgres@localhost:5432/postgres?host=%2Fvar%2Frun%2Fpostgresql",
            ),
        ] {
            let mut vars = complete();
            vars.set("DATABASE_URL", "");
            vars.set("POSTGRES_HOST", host);
            assert_eq!(read(&vars).expect(host).database.url.expose_secret(), expected);
        }
        assert!(with("POSTGRES_HOST", "fine where DATABASE_URL wins").is_ok());
    }

    #[test]
    fn dev_listens_to_others_only_when_told_to() {
        let dev = |vars: Vars| {
            let mut reader = Reader::new(&vars);
            let settings = Settings::for_development(&mut reader);
            reader.finish(settings).is_ok()
        };
        assert!(dev([("LISTEN_ADDR", "127.0.0.1:9")].into_iter().collect()));
        assert!(!dev([("LISTEN_ADDR", "0.0.0.0:9")].into_iter().collect()));
        assert!(dev([("LISTEN_ADDR", "0.0.0.0:9"), ("DEV_EXPOSE", "on")].into_iter().collect()));
    }

    #[test]
    fn the_port_alone_is_enough() {
        assert_eq!(with("PORT", "9000").expect("valid").listen.to_string(), "0.0.0.0:9000");
        assert_eq!(with("LISTEN_ADDR", "127.0.0.1:1").expect("valid").listen.to_string(), "127.0.0.1:1");
    }
}
