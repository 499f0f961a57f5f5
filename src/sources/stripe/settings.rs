//! The settings of a source of kind `stripe`.

use super::links::is_account_id;
use super::named;
use crate::config::{InstanceName, Reader, report_timezone};
use crate::domain::finding::Finding;
use crate::sources::{PullSettings, Rejection};
use chrono::{DateTime, NaiveDate, TimeZone, Utc};
use chrono_tz::Tz;
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;

/// A webhook secret and the name by which logs and events refer to it.
#[derive(Debug, Clone)]
pub struct NamedSecret {
    /// The name; `secret-1`, `secret-2`, … if none is given.
    pub name: String,
    /// The whole secret, including `whsec_`.
    pub secret: SecretString,
}

impl NamedSecret {
    /// Whether it is named `test` or `test-…`: then it does not vouch for an event of live mode. Test secrets
    /// are in the hands of everybody who develops, and in their `.env` files.
    pub(super) fn is_of_test_mode(&self) -> bool {
        let name = self.name.to_lowercase();
        name.strip_prefix("test").is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_']))
    }
}

/// The check that rejects an event of live mode that is signed with a secret of test mode.
pub(super) const LIVE_WITH_TEST_SECRET: &str = "live_event_with_test_secret";

/// The rejection of such an event.
pub(super) fn live_with_test_secret(name: &str, setting: &str) -> Rejection {
    Rejection {
        check: LIVE_WITH_TEST_SECRET,
        detail: format!(
            "The event is of live mode, but it is signed with the secret {name:?} of {setting}, whose name says \
             that it is one of test mode. Give a secret of a live endpoint another name."
        )
        .into(),
    }
}

/// The webhook secrets of an instance, from its `…_WEBHOOK_SECRET`; none if it is not set or cannot be read.
pub fn webhook_secrets(reader: &mut Reader<'_>, instance: &InstanceName) -> Vec<NamedSecret> {
    reader.parsed(&setting(instance), Vec::new(), parse_webhook_secrets)
}

/// The full name of the setting that holds an instance's secrets.
pub(super) fn setting(instance: &InstanceName) -> String {
    instance.setting("WEBHOOK_SECRET")
}

/// The instance's own account, from its `…_ACCOUNT`.
pub(super) fn account(reader: &mut Reader<'_>, instance: &InstanceName) -> Option<String> {
    reader.parsed(&instance.setting("ACCOUNT"), None, |text| match text.trim() {
        id if is_account_id(id) => Ok(Some(id.to_owned())),
        _ => Err("must be the id of an account, such as acct_1Q0example"),
    })
}

/// How the instance's events are fetched, from its `…_PULL`; nothing if they are not.
pub(super) fn pull(
    reader: &mut Reader<'_>,
    instance: &InstanceName,
    has_webhooks: bool,
) -> Option<PullSettings> {
    /// Stripe lists events for 30 days.
    const LISTED_FOR: Duration = Duration::from_hours(24 * 30);
    /// Most webhooks arrive within seconds.
    const WEBHOOK_FIRST: Duration = Duration::from_secs(20);
    let is_on = reader.switch(&instance.setting("PULL"), false);
    let interval = reader.number(&instance.setting("PULL_SECONDS"), 15, 1, 20);
    let zone = report_timezone(reader);
    let since = reader.parsed(&instance.setting("PULL_SINCE"), None, |text| {
        let day: Option<NaiveDate> = text.parse().ok();
        day.and_then(|day| start_of(day, zone)).map(Some).ok_or("must be a date such as 2026-11-01")
    });
    is_on.then_some(PullSettings {
        interval: Duration::from_secs(interval),
        since,
        listed_for: LISTED_FOR,
        webhook_first: if has_webhooks { WEBHOOK_FIRST } else { Duration::ZERO },
    })
}

/// The first moment of a day in a zone. Where a clock is set forward at midnight, the day begins an hour later.
fn start_of(day: NaiveDate, zone: Tz) -> Option<DateTime<Utc>> {
    (0..=3).find_map(|hour| {
        let local = day.and_hms_opt(hour, 0, 0)?;
        Some(zone.from_local_datetime(&local).earliest()?.to_utc())
    })
}

/// Checks the form of the webhook secrets.
pub(super) fn check(secrets: &[NamedSecret]) -> Vec<Finding> {
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
            "copy it again, without spaces and quotes",
        );
    }
    if body.len() < 24 {
        return Finding::warning(
            format!("the webhook secret {name:?} is shorter than Stripe's secrets"),
            "copy it again, up to its end",
        );
    }
    let old = ["old", "previous", "expired", "former"].iter().any(|word| name.to_lowercase().contains(word));
    let origin = if is_of_cli(text) { "one of the Stripe CLI" } else { "one of an endpoint" };
    let mode = if named.is_of_test_mode() { ", and accepts no event of live mode" } else { "" };
    let finding = Finding::good(format!("the webhook secret {name:?} has the form of {origin}{mode}"));
    if old {
        Finding::note(format!("the name of the webhook secret {name:?} suggests that it is an old one"))
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

/// Parses `whsec_a,live=whsec_b`.
fn parse_webhook_secrets(text: &str) -> Result<Vec<NamedSecret>, String> {
    let secrets = named::parse(
        text,
        "secret",
        |entry| entry.starts_with("whsec_"),
        |secret| match secret.strip_prefix("whsec_") {
            Some(rest) if !rest.is_empty() => Ok(SecretString::from(secret)),
            _ => Err("does not begin with whsec_: copy the signing secret of the endpoint, not an API key"),
        },
    )?;
    Ok(secrets.into_iter().map(|(name, secret)| NamedSecret { name, secret }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ConfigError, Vars};
    use crate::domain::finding::Level;
    use crate::domain::source::Origin;
    use crate::sources::Source;

    fn named(name: &str, secret: &str) -> NamedSecret {
        NamedSecret { name: name.to_owned(), secret: SecretString::from(secret) }
    }

    fn read(text: &str) -> Result<Vec<NamedSecret>, ConfigError> {
        let vars: Vars = [("STRIPE_EU_WEBHOOK_SECRET", text)].into_iter().collect();
        let instance = InstanceName { name: "stripe-eu".to_owned(), kind: "stripe".to_owned() };
        let mut reader = Reader::new(&vars);
        crate::sources::stripe::configure(&mut reader, &instance);
        let secrets = webhook_secrets(&mut reader, &instance);
        reader.finish(secrets)
    }

    #[test]
    fn secrets_are_separated_as_people_write_them_and_nothing_else_may_be_in_them() {
        for text in ["whsec_a;whsec_b", "whsec_a\r\nwhsec_b\n", " whsec_a , whsec_b ,", "whsec_a,\n\nwhsec_b"]
        {
            let secrets = read(text).expect(text);
            let texts: Vec<_> = secrets.iter().map(|secret| secret.secret.expose_secret()).collect();
            assert_eq!(texts, ["whsec_a", "whsec_b"], "{text:?}");
        }
        for (text, what) in [
            ("whsec_a whsec_b", "a blank"),
            ("whsec_a\"", "a quotation mark"),
            ("live=whsec_a’", "a quotation mark"),
            ("whsec_a\u{200b}", "an invisible character"),
            ("whsec_a\u{7}", "a control character"),
            ("\"whsec_a\",\"whsec_b\"", "a quotation mark"),
        ] {
            let error = read(text).expect_err(text).to_string();
            assert!(error.contains(what) && !error.contains("whsec_a"), "{error}");
        }
    }

    #[test]
    fn links_lead_to_the_account_that_the_event_or_the_setting_names() {
        let source = |account: &str| {
            let vars: Vars =
                [("STRIPE_WEBHOOK_SECRET", "whsec_a"), ("STRIPE_ACCOUNT", account)].into_iter().collect();
            let mut reader = Reader::new(&vars);
            let source = crate::sources::stripe::configure(&mut reader, &InstanceName::of_kind("stripe"));
            reader.finish(source)
        };
        let at = |account| Origin { source: "stripe", account, livemode: Some(false) };
        let link = |source: &dyn Source, account| source.object_link("pi_1", at(account)).expect("a link");
        let sandbox = source("acct_sandbox").expect("valid");
        assert_eq!(link(&*sandbox, None), "https://dashboard.stripe.com/acct_sandbox/test/payments/pi_1");
        assert_eq!(link(&*sandbox, Some("acct_1")), "https://dashboard.stripe.com/acct_1/test/payments/pi_1");
        let url = sandbox.event_link("evt_1", at(None)).expect("a link");
        assert_eq!(url, "https://dashboard.stripe.com/acct_sandbox/test/events/evt_1");
        assert_eq!(
            link(&*source("").expect("valid"), None),
            "https://dashboard.stripe.com/test/payments/pi_1"
        );
        let error = source("sandbox/..").err().expect("refused").to_string();
        assert!(error.contains("STRIPE_ACCOUNT must be the id of an account"), "{error}");
    }

    #[test]
    fn secrets_may_have_names_and_are_hidden_in_debug() {
        let secrets = read("whsec_a, live=whsec_b").expect("valid");
        let names: Vec<_> = secrets.iter().map(|secret| secret.name.as_str()).collect();
        assert_eq!(names, ["secret-1", "live"]);
        assert!(!format!("{secrets:?}").contains("whsec_"), "{secrets:?}");
    }

    #[test]
    fn a_secret_named_test_is_one_of_test_mode() {
        let is_of_test_mode = |name| named(name, "whsec_a").is_of_test_mode();
        for name in ["test", "Test", "test-eu", "TEST_2"] {
            assert!(is_of_test_mode(name), "{name}");
        }
        for name in ["live", "secret-1", "latest", "testing", "eu-test", "cli"] {
            assert!(!is_of_test_mode(name), "{name}");
        }
    }

    #[test]
    fn a_missing_secret_is_named_by_its_instance_and_a_wrong_one_is_not_quoted() {
        for text in [" ", " , ,"] {
            let error = read(text).expect_err("missing").to_string();
            assert!(error.contains("STRIPE_EU_WEBHOOK_SECRET is missing"), "{error}");
        }
        let error = read("sk_live_secret").expect_err("refused").to_string();
        assert!(error.contains("STRIPE_EU_WEBHOOK_SECRET") && !error.contains("sk_live"), "{error}");
    }

    #[test]
    fn a_secret_is_judged_by_its_form_and_never_quoted() {
        let (cli, endpoint) = (format!("whsec_{}", "0a".repeat(32)), format!("whsec_{}", "aZ9k".repeat(8)));
        let levels = |found: &[Finding]| found.iter().map(|finding| finding.level).collect::<Vec<_>>();
        let both = check(&[named("cli", &cli), named("live", &endpoint)]);
        assert_eq!(levels(&both), [Level::Good, Level::Good]);
        let alone = check(&[named("cli", &cli)]);
        assert_eq!(levels(&alone), [Level::Good, Level::Warning]);
        let twice = check(&[named("live-old", &endpoint), named("live", &endpoint)]);
        assert_eq!(levels(&twice), [Level::Note, Level::Good, Level::Warning]);
        let broken = check(&[named("a", "whsec_short"), named("b", "whsec_with blank in it, and long")]);
        assert_eq!(levels(&broken), [Level::Warning, Level::Warning]);
        let said = format!("{both:?}{alone:?}{twice:?}{broken:?}");
        assert!(!said.contains("0a0a") && !said.contains("aZ9k") && !said.contains("whsec_short"), "{said}");
    }
}
