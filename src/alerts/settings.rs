//! The settings of alerts: where to, in which form, and from when on.

use crate::config::Reader;
use crate::http_client;
use reqwest::Client;
use std::fmt;
use std::time::Duration;
use url::{Host, Url};

/// The time between two looks at what there is to tell.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// How long the database must have been in trouble before a process tells so by itself.
const DATABASE_TROUBLE: Duration = Duration::from_mins(1);

/// How long a receiver may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Alerts as configured.
#[derive(Debug, Clone)]
pub struct AlertSettings {
    /// Who is told, where anybody is.
    pub receiver: Option<Receiver>,
    /// Who hears, every minute, that all is well.
    pub heartbeat: Option<Address>,
    /// Where people reach the service, for links.
    pub public_url: Option<Url>,
    /// From when on something is worth an alert.
    pub thresholds: Thresholds,
    /// The time between two looks.
    pub look_every: Duration,
    /// How long the database must have been in trouble before it is told.
    pub database_trouble: Duration,
}

/// From when on something is worth an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// A destination has been held for so long; never where nothing is said.
    pub held: Option<Duration>,
    /// An execution has waited for so long; never where nothing is said.
    pub pending: Option<Duration>,
    /// So many webhooks were rejected with none accepted between; never for 0.
    pub rejected_in_a_row: u64,
    /// Nothing came in for so many times the usual gap; never for 0.
    pub silence_factor: u32,
    /// Executions were given up.
    pub failures: bool,
}

/// Who is told.
#[derive(Debug, Clone)]
pub struct Receiver {
    /// Where.
    pub address: Address,
    /// In which form.
    pub format: Format,
}

/// The form of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// An incoming webhook of Slack, or of what takes the same.
    Slack,
    /// A webhook of Discord.
    Discord,
    /// A topic of ntfy.
    Ntfy,
    /// JSON for programs.
    Json,
}

/// An address that is a secret: whoever knows it can write there. Only its host is ever shown.
#[derive(Clone)]
pub struct Address {
    pub(super) url: Url,
    pub(super) http: Client,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({})", self.host())
    }
}

impl Address {
    /// The host, for logs.
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or("?")
    }

    fn new(text: &str) -> Result<Self, String> {
        // Nothing of the text is quoted.
        let url: Url = text.parse().map_err(|_| "is no URL".to_owned())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("must begin with https://".to_owned());
        }
        let http = http_client::client(&url, ANSWER_WITHIN).map_err(|error| error.to_string())?;
        Ok(Self { url, http })
    }
}

/// Reads the settings; whatever is wrong is noted in the reader.
pub fn settings(reader: &mut Reader<'_>) -> AlertSettings {
    let format = reader.parsed("ALERT_KIND", None, |text| match text {
        "slack" => Ok(Some(Format::Slack)),
        "discord" => Ok(Some(Format::Discord)),
        "ntfy" => Ok(Some(Format::Ntfy)),
        "json" => Ok(Some(Format::Json)),
        _ => Err("must be slack, discord, ntfy or json"),
    });
    let address = reader.parsed("ALERT_URL", None, |text| Address::new(text).map(Some));
    let receiver = address.map(|address| {
        let format = format.unwrap_or_else(|| format_of(&address.url));
        Receiver { address, format }
    });
    let heartbeat = reader.parsed("HEARTBEAT_URL", None, |text| Address::new(text).map(Some));
    let public_url = reader.parsed("PUBLIC_URL", None, |text| match text.parse::<Url>() {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(Some(url)),
        _ => Err("must be where people reach the service, such as https://eventbridge.example.com"),
    });
    let minutes = |minutes: u64| (minutes > 0).then(|| Duration::from_mins(minutes));
    let thresholds = Thresholds {
        held: minutes(reader.number("ALERT_HELD_MINUTES", 5, 0, 10_080)),
        pending: minutes(reader.number("ALERT_PENDING_MINUTES", 15, 0, 10_080)),
        rejected_in_a_row: reader.number("ALERT_REJECTED_IN_A_ROW", 5, 0, 1_000_000),
        silence_factor: reader.number("ALERT_SILENCE_FACTOR", 10, 0, 1_000),
        failures: reader.switch("ALERT_FAILURES", true),
    };
    AlertSettings {
        receiver,
        heartbeat,
        public_url,
        thresholds,
        look_every: LOOK_EVERY,
        database_trouble: DATABASE_TROUBLE,
    }
}

fn format_of(url: &Url) -> Format {
    let Some(Host::Domain(host)) = url.host() else { return Format::Json };
    let is_at =
        |domain: &str| host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    match () {
        () if is_at("slack.com") => Format::Slack,
        () if is_at("discord.com") || is_at("discordapp.com") => Format::Discord,
        () if is_at("ntfy.sh") || host.starts_with("ntfy.") => Format::Ntfy,
        () => Format::Json,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Vars;

    fn read(pairs: &[(&str, &str)]) -> Result<AlertSettings, String> {
        let vars: Vars = pairs.iter().copied().collect();
        let mut reader = Reader::new(&vars);
        let settings = settings(&mut reader);
        reader.finish(settings).map_err(|error| error.to_string())
    }

    #[test]
    fn the_form_is_told_by_the_host_or_said() {
        for (url, expected) in [
            ("https://hooks.slack.com/services/T/B/x", Format::Slack),
            ("https://discord.com/api/webhooks/1/x", Format::Discord),
            ("https://ntfy.sh/topic", Format::Ntfy),
            ("https://ntfy.example.com/topic", Format::Ntfy),
            ("https://notslack.com/x", Format::Json),
            ("https://example.com/x", Format::Json),
            ("http://127.0.0.1:9/x", Format::Json),
        ] {
            let receiver = read(&[("ALERT_URL", url)]).expect(url).receiver.expect("a receiver");
            assert_eq!(receiver.format, expected, "{url}");
        }
        let said = read(&[("ALERT_URL", "https://example.com/x"), ("ALERT_KIND", "slack")]).expect("valid");
        assert_eq!(said.receiver.expect("a receiver").format, Format::Slack);
    }

    #[test]
    fn an_address_is_never_shown_and_never_plain_http_to_others() {
        let settings = read(&[
            ("ALERT_URL", "https://user:pass@example.com/secret-path?token=secret"),
            ("HEARTBEAT_URL", "https://example.com/secret-beat"),
        ]);
        let debug = format!("{:?}", settings.expect("valid"));
        assert!(
            !debug.contains("secret") && !debug.contains("pass") && debug.contains("example.com"),
            "{debug}"
        );
        for url in ["http://example.com/secret", "ftp://example.com/secret", "secret words"] {
            let error = read(&[("ALERT_URL", url)]).expect_err(url);
            assert!(error.contains("ALERT_URL") && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_threshold_of_nothing_is_never_reached() {
        let thresholds =
            read(&[("ALERT_HELD_MINUTES", "0"), ("ALERT_FAILURES", "off")]).expect("valid").thresholds;
        assert_eq!((thresholds.held, thresholds.failures), (None, false));
        assert_eq!(thresholds.pending, Some(Duration::from_mins(15)));
        assert!(read(&[("ALERT_SILENCE_FACTOR", "-1")]).is_err());
    }
}
