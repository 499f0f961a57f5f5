//! The digest: one message with what was held during the quiet hours.

use super::message::{Written, at, plain_header};
use super::settings::Format;
use crate::health::Urgency;
use crate::store::{DueAlert, Held};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde_json::{Value, json};
use url::Url;

/// The most alerts that a digest lists; the others are counted.
const LINES_MAX: usize = 20;

/// The most characters of all lines together: Discord accepts 2,000 in a message.
const LINES_CHARACTERS_MAX: usize = 1_400;

/// The most characters of one line.
const LINE_CHARACTERS_MAX: usize = 300;

/// What is sent at the end of the quiet hours.
#[derive(Debug, Clone, Copy)]
pub(super) struct Digest<'a> {
    /// The alerts, in any order.
    pub(super) held: &'a [DueAlert],
    /// The zone in which people read its times.
    pub(super) zone: Tz,
    /// The dashboard.
    pub(super) link: Option<&'a Url>,
}

impl Digest<'_> {
    /// The message in this format.
    pub(super) fn write(&self, format: Format) -> Written {
        match format {
            Format::Slack => Written::slack(&self.text()),
            Format::Discord => Written::discord(&self.text()),
            Format::Ntfy => {
                let mut headers = vec![
                    ("title", plain_header(&self.title())),
                    ("priority", "default".to_owned()),
                    ("tags", "sunrise".to_owned()),
                ];
                headers.extend(self.link.map(|link| ("click", link.to_string())));
                Written { headers, body: self.body() }
            }
            Format::Json => Written::json(&self.for_programs()),
        }
    }

    fn title(&self) -> String {
        let lasting = self.held.iter().filter(|alert| alert.held() == Held::Lasts).count();
        let over = self.held.len() - lasting;
        let alerts =
            |number: usize| if number == 1 { "1 alert".to_owned() } else { format!("{number} alerts") };
        match (lasting, over) {
            (_, 0) => format!("EventBridge, after the quiet hours: {} not over.", alerts(lasting)),
            (0, _) => format!("EventBridge, after the quiet hours: {} of the night, all over.", alerts(over)),
            _ => format!("EventBridge, after the quiet hours: {} not over, {over} over.", alerts(lasting)),
        }
    }

    /// Those that last come first, then what is over; of each, the oldest first.
    fn in_order(&self) -> Vec<&DueAlert> {
        let mut alerts: Vec<_> = self.held.iter().collect();
        alerts.sort_by_key(|alert| (alert.held() != Held::Lasts, alert.condition.since));
        alerts
    }

    fn body(&self) -> String {
        let alerts = self.in_order();
        let (mut lines, mut characters) = (Vec::new(), 0);
        for alert in alerts.iter().take(LINES_MAX) {
            let line = self.line(alert);
            characters += line.chars().count();
            if characters > LINES_CHARACTERS_MAX {
                break;
            }
            lines.push(line);
        }
        let more = alerts.len() - lines.len();
        if more > 0 {
            lines.push(format!("and {more} more"));
        }
        lines.push("What to do: \"eventbridge status\" and the dashboard show each remedy.".to_owned());
        lines.extend(self.link.map(ToString::to_string));
        lines.join("\n")
    }

    fn line(&self, alert: &DueAlert) -> String {
        let summary: String = alert.condition.summary.chars().take(LINE_CHARACTERS_MAX).collect();
        let since = at(alert.condition.since, self.zone);
        let until = alert.resolved_at.map(|end| at(end, self.zone)).unwrap_or_default();
        match alert.held() {
            Held::Lasts => format!("• {summary} Since {since}."),
            Held::Over => format!("• Over: {summary} It lasted from {since} to {until}."),
            Held::Passed => format!("• Began and ended: {summary} From {since} to {until}."),
        }
    }

    fn text(&self) -> String {
        format!("{}\n{}", self.title(), self.body())
    }

    fn for_programs(&self) -> Value {
        let alerts = self.in_order();
        let listed: Vec<_> = alerts.iter().take(LINES_MAX).map(|alert| one(alert)).collect();
        json!({
            "service": "eventbridge",
            "state": "digest",
            "urgency": "morning",
            "key": "digest",
            "summary": self.title(),
            "alerts": listed,
            "more": alerts.len().saturating_sub(LINES_MAX),
            "url": self.link.map(Url::as_str),
        })
    }
}

fn one(alert: &DueAlert) -> Value {
    let state = match alert.held() {
        Held::Lasts => "raised",
        Held::Over => "resolved",
        Held::Passed => "passed",
    };
    let resolved_at: Option<DateTime<Utc>> = alert.resolved_at;
    let urgency = if alert.condition.is_urgent { Urgency::Wake } else { Urgency::Morning };
    json!({
        "state": state,
        "urgency": urgency.as_str(),
        "key": alert.condition.key,
        "summary": alert.condition.summary,
        "remedy": alert.condition.remedy,
        "since": alert.condition.since,
        "resolved_at": resolved_at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Condition;
    use chrono::TimeDelta;

    fn time(minutes: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).expect("a time") + TimeDelta::minutes(minutes)
    }

    fn alert(number: i64, ended: Option<i64>, was_notified: bool) -> DueAlert {
        let condition = Condition {
            key: format!("key {number}"),
            kind: "paused".to_owned(),
            failure_group: None,
            is_urgent: false,
            summary: format!("<{number}> is paused."),
            remedy: "fix it".to_owned(),
            since: time(number),
        };
        DueAlert { condition, resolved_at: ended.map(time), was_notified }
    }

    fn written(held: &[DueAlert], format: Format) -> Written {
        let link = "https://eventbridge.example.com/".parse().expect("a URL");
        Digest { held, zone: chrono_tz::Europe::Berlin, link: Some(&link) }.write(format)
    }

    fn json_of(held: &[DueAlert], format: Format) -> Value {
        serde_json::from_str(&written(held, format).body).expect("JSON")
    }

    #[test]
    fn what_lasts_comes_first_and_what_is_over_has_a_short_line() {
        let held = [alert(1, Some(61), true), alert(2, Some(3), false), alert(3, None, false)];
        assert_eq!(
            json_of(&held, Format::Slack)["text"],
            "EventBridge, after the quiet hours: 1 alert not over, 2 over.\n\
             • &lt;3&gt; is paused. Since 2027-01-15 09:03 CET.\n\
             • Over: &lt;1&gt; is paused. It lasted from 2027-01-15 09:01 CET to 2027-01-15 10:01 CET.\n\
             • Began and ended: &lt;2&gt; is paused. From 2027-01-15 09:02 CET to 2027-01-15 09:03 CET.\n\
             What to do: \"eventbridge status\" and the dashboard show each remedy.\n\
             https://eventbridge.example.com/"
        );
    }

    #[test]
    fn it_lists_a_bounded_number_and_counts_the_others() {
        let held: Vec<_> = (0..27).map(|number| alert(number, None, false)).collect();
        let body = written(&held, Format::Ntfy).body;
        assert_eq!(body.matches('•').count(), 20);
        assert!(body.contains("\nand 7 more\n"), "{body}");
        let digest = json_of(&held, Format::Json);
        assert_eq!((digest["alerts"].as_array().map(Vec::len), &digest["more"]), (Some(20), &json!(7)));

        let mut long = held;
        for alert in &mut long {
            alert.condition.summary = "é".repeat(5_000);
        }
        let text = json_of(&long, Format::Discord)["content"].as_str().expect("text").to_owned();
        assert!(text.chars().count() < 2_000 && text.contains("\nand 23 more\n"), "{text}");
    }

    #[test]
    fn programs_get_each_alert_with_its_state() {
        let held = [alert(1, Some(61), true), alert(2, Some(3), false), alert(3, None, false)];
        let digest = json_of(&held, Format::Json);
        assert_eq!((&digest["state"], &digest["urgency"]), (&json!("digest"), &json!("morning")));
        let each = |field: &str| -> Vec<_> {
            digest["alerts"].as_array().expect("a list").iter().map(|one| one[field].clone()).collect()
        };
        assert_eq!(each("state"), ["raised", "resolved", "passed"]);
        assert_eq!(each("urgency"), ["morning", "morning", "morning"]);
    }

    #[test]
    fn a_phone_shows_it_with_the_default_priority() {
        let headers = written(&[alert(3, None, false)], Format::Ntfy).headers;
        assert!(headers.contains(&("priority", "default".to_owned())), "{headers:?}");
    }
}
