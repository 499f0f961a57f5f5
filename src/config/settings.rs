//! The settings of the core.

use super::database::{Database, database, required_database};
use super::instances::{DefaultKinds, InstanceName, instances, sources};
use super::reader::{Reader, number_within};
use super::secrets::{ApiKey, parse_api_keys};
use chrono_tz::Tz;
use secrecy::ExposeSecret;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;
use url::Url;

/// The settings of the core.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The address of the database.
    pub database: Database,
    /// The most connections to the database.
    pub database_connections: u32,
    /// The source instances.
    pub sources: Vec<InstanceName>,
    /// The destination instances.
    pub instances: Vec<InstanceName>,
    /// Who may use the API.
    pub access: Access,
    /// Whether `/metrics` needs no key.
    pub metrics_are_open: bool,
    /// How many executions run at once in this process.
    pub worker_concurrency: Concurrency,
    /// When failed deliveries run again.
    pub retry: RetrySettings,
    /// The time between two probes of a paused destination.
    pub probe_every: Duration,
    /// How long running work may continue after the signal to stop.
    pub shutdown_grace: Duration,
    /// How long events are kept.
    pub retention: Retention,
}

impl Settings {
    /// Reads the settings for production. Each one that is missing is a problem.
    pub fn for_production(reader: &mut Reader<'_>, kinds: DefaultKinds) -> Self {
        let access = access(reader);
        let mut settings = Self::read(reader, kinds, IpAddr::V4(Ipv4Addr::UNSPECIFIED), access);
        let is_local = settings.listen.ip().is_loopback();
        if !is_local && matches!(settings.access, Access::Open { public_host: None }) {
            reader.warning(
                "AUTH",
                "is off and PUBLIC_URL is not set, so the service answers only at localhost and at IP addresses; set PUBLIC_URL to the address that you use",
            );
        }
        settings.database = required_database(reader);
        settings
    }

    /// Reads the settings for `dev` and `demo`. The caller fills in what is not set.
    pub fn for_development(reader: &mut Reader<'_>, kinds: DefaultKinds) -> Self {
        let is_exposed = reader.switch("DEV_EXPOSE", false);
        let access = Access::LocalOnly { public_host: public_host(reader), is_exposed };
        let mut settings = Self::read(reader, kinds, IpAddr::V4(Ipv4Addr::LOCALHOST), access);
        if !is_exposed && !settings.listen.ip().is_loopback() {
            reader.problem(
                "LISTEN_ADDR",
                "can be reached from other machines, and dev requires no key: use serve, or set DEV_EXPOSE=on if something else restricts access, such as a container's port published on 127.0.0.1",
            );
        }
        settings.database = database(reader).unwrap_or_default();
        settings
    }

    /// Whether a database is configured.
    pub fn has_database(&self) -> bool {
        !self.database.url.expose_secret().is_empty()
    }

    fn read(reader: &mut Reader<'_>, kinds: DefaultKinds, ip: IpAddr, access: Access) -> Self {
        Self {
            listen: listen(reader, ip),
            database: Database::default(),
            database_connections: reader.number("DATABASE_CONNECTIONS", 10, 4, 500),
            sources: sources(reader, kinds),
            instances: instances(reader, kinds),
            access,
            metrics_are_open: !reader.switch("METRICS_AUTH", true),
            worker_concurrency: concurrency(reader),
            retry: retry(reader),
            probe_every: Duration::from_secs(reader.number("PROBE_SECONDS", 15, 1, 3600)),
            shutdown_grace: Duration::from_secs(reader.number("SHUTDOWN_GRACE_SECONDS", 25, 1, 600)),
            retention: retention(reader),
        }
    }
}

/// Who may use the API.
#[derive(Debug, Clone)]
pub enum Access {
    /// Those who hold one of these keys.
    Keys(Vec<ApiKey>),
    /// Anyone who can reach it at a known host: `AUTH=off`.
    Open {
        /// The host of `PUBLIC_URL`.
        public_host: Option<String>,
    },
    /// Only programs on this machine, by Host and Origin: `dev`.
    LocalOnly {
        /// The host of `PUBLIC_URL`, such as that of a tunnel. It may send webhooks, which are signed.
        public_host: Option<String>,
        /// Whether it may also do everything else: `DEV_EXPOSE=on`.
        is_exposed: bool,
    },
}

/// How many executions run at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concurrency {
    /// Always so many: `WORKER_CONCURRENCY`.
    Fixed(usize),
    /// For each destination as many as it can use.
    Adaptive {
        /// The most for one destination: `WORKER_CONCURRENCY_MAX`.
        most: usize,
    },
}

impl Concurrency {
    /// How many executions run at once before the worker has measured the destination.
    pub fn initial(self) -> usize {
        match self {
            Self::Fixed(count) => count,
            Self::Adaptive { most } => ADAPTIVE_START.min(most),
        }
    }

    /// The most executions of one destination that may run at once.
    pub fn most(self) -> usize {
        match self {
            Self::Fixed(count) => count,
            Self::Adaptive { most } => most,
        }
    }

    /// The most executions of so many destinations together. A fixed number is shared. A number that adapts is
    /// each destination's own, so that none waits for another one's slow answers.
    pub fn slots(self, destinations: usize) -> usize {
        match self {
            Self::Fixed(count) => count,
            Self::Adaptive { most } => most.saturating_mul(destinations.max(1)),
        }
    }
}

/// How many executions of a destination run at once before the worker has measured it.
const ADAPTIVE_START: usize = 8;

/// When failed deliveries run again.
#[derive(Debug, Clone, Copy)]
pub struct RetrySettings {
    /// Attempts until an execution fails for good.
    pub attempts_max: u32,
    /// The wait after the first failed attempt. It doubles with each further one.
    pub base: Duration,
    /// The longest wait.
    pub cap: Duration,
}

impl Default for RetrySettings {
    /// 24 attempts, with waits from 5 s to 2 h: together more than 24 hours.
    fn default() -> Self {
        Self { attempts_max: 24, base: Duration::from_secs(5), cap: Duration::from_hours(2) }
    }
}

/// How long events are kept; forever by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Events, their executions and everything that belongs to these.
    pub rows: Option<Duration>,
    /// The bodies of events.
    pub payloads: Option<Duration>,
}

/// The fewest days for which rows are kept. An event that arrives again after its row was removed
/// counts as new, and a sender can repeat an event for a month.
pub const RETENTION_DAYS_MIN: u64 = 30;

/// Where to listen, from `LISTEN_ADDR` and `PORT`; at `ip` if neither names an address.
pub fn listen(reader: &mut Reader<'_>, ip: IpAddr) -> SocketAddr {
    let port = reader.number("PORT", 8000_u16, 0, u16::MAX);
    let address: SocketAddr = reader.parsed("LISTEN_ADDR", SocketAddr::new(ip, port), |text| {
        text.parse().map_err(|_| "must be an address and a port, such as 0.0.0.0:8000 or [::]:8000")
    });
    if address.port() != port && reader.text("PORT").is_some() {
        let message = format!(
            "has no effect: LISTEN_ADDR sets the port {}. If a platform sets PORT, remove LISTEN_ADDR",
            address.port()
        );
        reader.warning("PORT", message);
    }
    address
}

/// The zone in which people read times and months, from `REPORT_TIMEZONE`.
pub fn report_timezone(reader: &mut Reader<'_>) -> Tz {
    match reader.text("REPORT_TIMEZONE").map(str::parse) {
        None => Tz::UTC,
        Some(Ok(zone)) => zone,
        Some(Err(_)) => {
            // Several parts read it.
            reader.first_problem("REPORT_TIMEZONE", "must be the name of a time zone, such as Europe/Berlin");
            Tz::UTC
        }
    }
}

/// How long events are kept, from `RETENTION_DAYS` and `RETENTION_PAYLOAD_DAYS`.
pub fn retention(reader: &mut Reader<'_>) -> Retention {
    const DAYS_MAX: u64 = 36_500;
    let days = |min: u64, why: &'static str| {
        move |text: &str| match text.parse::<u64>() {
            Ok(0) => Ok(None),
            Ok(days) if (min..=DAYS_MAX).contains(&days) => Ok(Some(Duration::from_hours(24 * days))),
            _ => Err(format!("must be 0, which keeps everything, or {min} to {DAYS_MAX} days{why}")),
        }
    };
    let why = ": an event that arrives again after its row was removed would count as new, and a sender can repeat an event for a month";
    Retention {
        rows: reader.parsed("RETENTION_DAYS", None, days(RETENTION_DAYS_MIN, why)),
        payloads: reader.parsed("RETENTION_PAYLOAD_DAYS", None, days(1, "")),
    }
}

/// The host of `PUBLIC_URL`. Who uses the rest of it reports whether it is valid.
fn public_host(reader: &mut Reader<'_>) -> Option<String> {
    Url::parse(reader.text("PUBLIC_URL")?).ok()?.host_str().map(str::to_owned)
}

fn access(reader: &mut Reader<'_>) -> Access {
    if !reader.switch("AUTH", true) {
        return Access::Open { public_host: public_host(reader) };
    }
    let keys = reader.parsed("API_KEYS", Vec::new(), parse_api_keys);
    if keys.is_empty() {
        reader.first_problem(
            "API_KEYS",
            "is missing: name:read:key or name:write:key, keys of at least 32 characters, separated by commas (or AUTH=off)",
        );
    }
    Access::Keys(keys)
}

fn concurrency(reader: &mut Reader<'_>) -> Concurrency {
    const RANGE: RangeInclusive<usize> = 1..=1000;
    let fixed = reader.parsed("WORKER_CONCURRENCY", None, |text| {
        number_within(text, RANGE).map(Concurrency::Fixed).map(Some)
    });
    let most = reader.number("WORKER_CONCURRENCY_MAX", 256, *RANGE.start(), *RANGE.end());
    fixed.unwrap_or(Concurrency::Adaptive { most })
}

fn retry(reader: &mut Reader<'_>) -> RetrySettings {
    let default = RetrySettings::default();
    RetrySettings {
        attempts_max: reader.number("RETRY_ATTEMPTS_MAX", default.attempts_max, 1, 1000),
        base: Duration::from_secs(reader.number("RETRY_BASE_SECONDS", default.base.as_secs(), 1, 3600)),
        cap: Duration::from_secs(reader.number("RETRY_CAP_SECONDS", default.cap.as_secs(), 1, 86_400)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ConfigError, Vars};

    const KEY: &str = "0123456789abcdef0123456789abcdef";

    const KINDS: DefaultKinds = DefaultKinds { source: "stripe", destination: "notion" };

    fn complete() -> Vars {
        [("DATABASE_URL", "postgres://u:p@db/events"), ("API_KEYS", &format!("ops:write:{KEY}"))]
            .into_iter()
            .collect()
    }

    fn read(vars: &Vars) -> Result<Settings, ConfigError> {
        let mut reader = Reader::new(vars);
        let settings = Settings::for_production(&mut reader, KINDS);
        reader.finish(settings)
    }

    fn with(name: &str, text: &str) -> Result<Settings, ConfigError> {
        let mut vars = complete();
        vars.set(name, text);
        read(&vars)
    }

    #[test]
    fn all_missing_settings_are_reported_together() {
        let error = read(&Vars::default()).expect_err("nothing is set").to_string();
        for name in ["DATABASE_URL", "API_KEYS"] {
            assert!(error.contains(name), "{name} in {error}");
        }
    }

    #[test]
    fn a_name_set_to_nothing_is_missing_but_empty_destinations_store_only() {
        assert!(with("API_KEYS", " ").is_err());
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
    fn secrets_are_hidden_in_debug() {
        let debug = format!("{:?}", read(&complete()).expect("valid"));
        assert!(!debug.contains(KEY) && !debug.contains("u:p@"), "{debug}");
    }

    #[test]
    fn an_error_never_quotes_a_secret() {
        for (name, text) in [
            ("API_KEYS", "ops:write:short-secret"),
            ("API_KEYS", "ops:admin:short-secret"),
            ("API_KEYS", "short-secret:write:ops"),
            (
                "API_KEYS",
                "short-secret:write:0123456789abcdef0123456789abcdef,a:read:0123456789abcdef0123456789abcdef",
            ),
            ("API_KEYS", "short-secret"),
            ("API_KEYS", "write:short-secret:ops"),
            ("DATABASE_URL", "mysql://u:secret@db"),
        ] {
            let error = with(name, text).expect_err("refused").to_string();
            assert!(
                error.contains(name) && !error.contains("secret@") && !error.contains("short-secret"),
                "{error}"
            );
        }
    }

    #[test]
    fn numbers_out_of_range_and_unknown_words_are_refused() {
        for (name, text) in [
            ("PORT", "70000"),
            ("WORKER_CONCURRENCY", "0"),
            ("WORKER_CONCURRENCY_MAX", "1001"),
            ("AUTH", "maybe"),
            ("LISTEN_ADDR", "localhost"),
            ("DESTINATIONS", "notion,notion"),
            ("SOURCES", "stripe,stripe"),
        ] {
            assert!(with(name, text).is_err(), "{name}={text}");
        }
    }

    #[test]
    fn concurrency_adapts_unless_it_is_set() {
        let concurrency = |vars: &Vars| read(vars).expect("valid").worker_concurrency;
        let mut vars = complete();
        assert_eq!(concurrency(&vars), Concurrency::Adaptive { most: 256 });
        assert_eq!((concurrency(&vars).initial(), concurrency(&vars).most()), (8, 256));
        vars.set("WORKER_CONCURRENCY_MAX", "4");
        assert_eq!((concurrency(&vars).initial(), concurrency(&vars).most()), (4, 4));
        assert_eq!(concurrency(&vars).slots(3), 12);
        vars.set("WORKER_CONCURRENCY", "100");
        assert_eq!(concurrency(&vars), Concurrency::Fixed(100));
        assert_eq!((concurrency(&vars).initial(), concurrency(&vars).most()), (100, 100));
        assert_eq!(concurrency(&vars).slots(3), 100);
    }

    #[test]
    fn a_fixed_concurrency_does_not_hide_a_wrong_maximum() {
        let mut vars = complete();
        vars.set("WORKER_CONCURRENCY", "many");
        vars.set("WORKER_CONCURRENCY_MAX", "0");
        let error = read(&vars).expect_err("both are wrong");
        assert_eq!(error.names(), ["WORKER_CONCURRENCY", "WORKER_CONCURRENCY_MAX"]);
    }

    #[test]
    fn everything_is_kept_unless_days_are_set_and_rows_for_a_month_at_least() {
        let kept = |name: &str, text: &str| with(name, text).map(|settings| settings.retention);
        assert_eq!(kept("RETENTION_DAYS", "0").expect("off"), Retention::default());
        let month = Some(Duration::from_hours(720));
        assert_eq!(kept("RETENTION_DAYS", "30").expect("a month").rows, month);
        assert!(
            kept("RETENTION_DAYS", "29").expect_err("too few").to_string().contains("would count as new")
        );
        assert_eq!(kept("RETENTION_PAYLOAD_DAYS", "30").expect("a month").payloads, month);
        for text in ["-1", "many", "40000"] {
            assert!(kept("RETENTION_PAYLOAD_DAYS", text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_list_of_nothing_is_missing() {
        for name in ["API_KEYS", "DESTINATIONS", "SOURCES"] {
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
            let settings = Settings::for_development(&mut reader, KINDS);
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

    #[test]
    fn a_port_beside_an_address_with_another_one_is_warned_of() {
        let warnings = |port: &str, address: &str| {
            let vars: Vars = [("PORT", port), ("LISTEN_ADDR", address)].into_iter().collect();
            let mut reader = Reader::new(&vars);
            let listen = listen(&mut reader, IpAddr::V4(Ipv4Addr::LOCALHOST));
            (listen.port(), reader.take_warnings().iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        let (port, found) = warnings("8080", "0.0.0.0:9000");
        assert!(port == 9000 && found.len() == 1 && found[0].starts_with("PORT has no effect"), "{found:?}");
        assert_eq!(warnings("9000", "0.0.0.0:9000"), (9000, Vec::new()));
        assert_eq!(warnings("", "0.0.0.0:9000"), (9000, Vec::new()));
        assert_eq!(warnings("8080", ""), (8080, Vec::new()));
    }
}
