//! The settings of alerts: the receiver and the format.

use super::quiet_hours::QuietHours;
use crate::config::{self, Reader};
use crate::http_client;
use chrono_tz::Tz;
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
    /// When alerts that need not wake anyone are held, if ever.
    pub quiet_hours: Option<QuietHours>,
    /// The zone of the quiet hours, and of the times in messages.
    pub zone: Tz,
    /// Where people reach the service, for links.
    pub public_url: Option<Url>,
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
    let quiet_hours = reader.parsed("ALERT_QUIET_HOURS", None, |text| text.parse().map(Some));
    AlertSettings {
        receiver,
        heartbeat,
        quiet_hours,
        zone: config::report_timezone(reader),
        public_url,
        evaluate_every: EVALUATE_EVERY,
        rounds: watch::Sender::new(0),
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
    fn quiet_hours_are_off_unless_they_are_set_and_a_wrong_text_is_reported() {
        assert_eq!(read(&[]).expect("valid").quiet_hours, None);
        assert_eq!(read(&[("ALERT_QUIET_HOURS", "")]).expect("valid").quiet_hours, None);
        let night = read(&[("ALERT_QUIET_HOURS", "22:00-07:00"), ("REPORT_TIMEZONE", "Europe/Berlin")]);
        let night = night.expect("valid");
        assert_eq!(night.quiet_hours, Some("22:00-07:00".parse().expect("quiet hours")));
        assert_eq!(night.zone, chrono_tz::Europe::Berlin);
        let error = read(&[("ALERT_QUIET_HOURS", "10pm-7am")]).expect_err("wrong");
        assert!(error.contains("ALERT_QUIET_HOURS must be two different times of the day"), "{error}");
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
}
