//! The settings of alerts: the receiver, the format, and the thresholds of health.

use crate::config::Reader;
use crate::health::{AlertRules, Thresholds};
use crate::http_client;
use reqwest::Client;
use std::fmt;
use std::time::Duration;
use tokio::sync::watch;
use url::{Host, Url};

/// The time between two evaluations.
const EVALUATE_EVERY: Duration = Duration::from_secs(15);

/// How long a receiver may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Alerts as configured.
#[derive(Debug, Clone)]
pub struct AlertSettings {
    /// Where alerts are sent, if anywhere.
    pub receiver: Option<Receiver>,
    /// Where a heartbeat is sent every minute, if anywhere.
    pub heartbeat: Option<Address>,
    /// Where people reach the service, for links.
    pub public_url: Option<Url>,
    /// The thresholds of health; the dashboard, the API and the `status` command use the same.
    pub thresholds: Thresholds,
    /// The time between two evaluations.
    pub evaluate_every: Duration,
    /// Counts the evaluations that have ended, including failed ones, so that tests can wait for one.
    pub rounds: watch::Sender<u64>,
}

/// The receiver of alerts.
#[derive(Debug, Clone)]
pub struct Receiver {
    /// Its address.
    pub address: Address,
    /// The format of its messages.
    pub format: Format,
}

/// The format of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// An incoming webhook of Slack, or a compatible one.
    Slack,
    /// A webhook of Discord.
    Discord,
    /// A topic of ntfy.
    Ntfy,
    /// JSON for programs.
    Json,
}

/// An address that is a secret: anyone who knows it can post to it. Only its host is ever shown.
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
        // The error does not quote the text.
        let url: Url = text.parse().map_err(|_| "is not a URL".to_owned())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("must begin with https://".to_owned());
        }
        let http = http_client::client(&url, ANSWER_WITHIN).map_err(|error| error.to_string())?;
        Ok(Self { url, http })
    }
}

/// Reads the settings; the reader collects the problems.
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
    AlertSettings {
        receiver,
        heartbeat,
        public_url,
        thresholds: thresholds(reader),
        evaluate_every: EVALUATE_EVERY,
        rounds: watch::Sender::new(0),
    }
}

/// Reads the thresholds. 0 switches an alert off; the assessment then uses the default, except that a
/// silence factor of 0 switches the check off.
fn thresholds(reader: &mut Reader<'_>) -> Thresholds {
    let default = Thresholds::default();
    let paused_minutes = reader.number("ALERT_PAUSED_MINUTES", 5, 0, 10_080);
    let backlog_minutes = reader.number("ALERT_PENDING_MINUTES", 15, 0, 10_080);
    let rejected_in_a_row = reader.number("ALERT_REJECTED_IN_A_ROW", 5, 0, 1_000_000);
    let minutes = |minutes: u64| (minutes > 0).then(|| Duration::from_mins(minutes));
    Thresholds {
        backlog: minutes(backlog_minutes).unwrap_or(default.backlog),
        rejected_in_a_row: if rejected_in_a_row > 0 { rejected_in_a_row } else { default.rejected_in_a_row },
        silence_factor: reader.number("ALERT_SILENCE_FACTOR", 10, 0, 1_000),
        alerts: AlertRules {
            paused_after: minutes(paused_minutes),
            backlog: backlog_minutes > 0,
            rejected: rejected_in_a_row > 0,
            failures: reader.switch("ALERT_FAILURES", true),
            ..default.alerts
        },
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
    fn the_format_is_chosen_by_the_host_or_explicitly() {
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
        let explicit =
            read(&[("ALERT_URL", "https://example.com/x"), ("ALERT_KIND", "slack")]).expect("valid");
        assert_eq!(explicit.receiver.expect("a receiver").format, Format::Slack);
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
    fn without_settings_the_thresholds_are_the_defaults() {
        assert_eq!(read(&[]).expect("valid").thresholds, Thresholds::default());
    }

    #[test]
    fn zero_switches_an_alert_off_and_leaves_the_assessment_at_its_default() {
        let read = |pairs: &[(&str, &str)]| read(pairs).expect("valid").thresholds;
        let off = read(&[
            ("ALERT_PAUSED_MINUTES", "0"),
            ("ALERT_PENDING_MINUTES", "0"),
            ("ALERT_REJECTED_IN_A_ROW", "0"),
            ("ALERT_FAILURES", "off"),
        ]);
        let none = AlertRules {
            paused_after: None,
            backlog: false,
            rejected: false,
            failures: false,
            ..AlertRules::default()
        };
        assert_eq!(off, Thresholds { alerts: none, ..Thresholds::default() });
        assert_eq!(read(&[("ALERT_PENDING_MINUTES", "60")]).backlog, Duration::from_hours(1));
        assert_eq!(read(&[("ALERT_REJECTED_IN_A_ROW", "9")]).rejected_in_a_row, 9);
    }

    #[test]
    fn a_negative_threshold_is_refused() {
        assert!(read(&[("ALERT_SILENCE_FACTOR", "-1")]).is_err());
    }
}
