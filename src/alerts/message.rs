//! Messages in each format. A message contains no payload and no other received data.

use super::settings::Format;
use crate::health::{FindingKind, Urgency};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde_json::{Value, json};
use url::Url;

/// A longer text is cut: Discord accepts 2,000 characters.
const TEXT_CHARACTERS_MAX: usize = 1_800;

/// What is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) state: State,
    /// The key of the condition.
    pub(super) key: String,
    /// What the condition is about; `None` for one that only a newer version knows, and for a test.
    pub(super) kind: Option<FindingKind>,
    pub(super) urgency: Urgency,
    pub(super) summary: String,
    pub(super) remedy: String,
    pub(super) since: DateTime<Utc>,
    /// The zone in which people read its times.
    pub(super) zone: Tz,
    /// The page that shows more.
    pub(super) link: Option<Url>,
}

/// The kind of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// A condition has begun.
    Raised,
    /// A condition has ended.
    Resolved {
        /// When it ended.
        at: DateTime<Utc>,
    },
    /// A test, sent by an operator.
    Test,
}

/// The body and the headers of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: String,
}

impl Written {
    pub(super) fn json(body: &Value) -> Self {
        Self { headers: vec![("content-type", "application/json".to_owned())], body: body.to_string() }
    }

    pub(super) fn slack(text: &str) -> Self {
        Self::json(&json!({ "text": slack_escaped(text) }))
    }

    /// It mentions no person, whatever the text contains.
    pub(super) fn discord(text: &str) -> Self {
        Self::json(&json!({ "content": text, "allowed_mentions": { "parse": [] } }))
    }
}

impl Message {
    /// The message in this format.
    pub(super) fn write(&self, format: Format) -> Written {
        match format {
            Format::Slack => Written::slack(&self.text()),
            Format::Discord => Written::discord(&self.text()),
            Format::Ntfy => Written { headers: self.ntfy_headers(), body: self.body() },
            Format::Json => Written::json(&self.for_programs()),
        }
    }

    fn title(&self) -> String {
        match self.state {
            State::Raised => format!("EventBridge: {}", self.summary),
            State::Resolved { .. } => format!("EventBridge, over: {}", self.ended()),
            State::Test => "EventBridge: this is a test, nothing is wrong.".to_owned(),
        }
    }

    /// What is over. A summary that states what is not so any more would mislead.
    fn ended(&self) -> &str {
        match self.kind {
            Some(FindingKind::Rejected) => "webhooks are no longer rejected.",
            Some(
                FindingKind::UnansweredInvoice
                | FindingKind::UnansweredTestInvoice
                | FindingKind::UnansweredUnverified,
            ) => "no such invoice.created is unanswered any more.",
            Some(FindingKind::BlockLimit) => "no new page waits for blocks any more.",
            Some(FindingKind::ExpiringToken) => "the token has a later date.",
            Some(FindingKind::NotArriving | FindingKind::Silence) => "webhooks arrive again.",
            Some(FindingKind::EndpointStopped) => "Stripe sends events to this service again.",
            Some(FindingKind::Endpoint) => "Stripe's endpoint has no such problem any more.",
            Some(FindingKind::EndpointUnknown) => "it is known again whether Stripe sends events.",
            Some(FindingKind::Database) => "the database can be used again.",
            _ => &self.summary,
        }
    }

    fn body(&self) -> String {
        let at = |time| at(time, self.zone);
        let mut lines = match self.state {
            State::Raised => {
                vec![format!("Since {}.", at(self.since)), format!("What to do: {}", self.remedy)]
            }
            State::Resolved { at: end } => vec![format!("It lasted from {} to {}.", at(self.since), at(end))],
            State::Test => vec!["Alerts of this service arrive here.".to_owned()],
        };
        lines.extend(self.link.as_ref().map(ToString::to_string));
        lines.join("\n")
    }

    fn text(&self) -> String {
        let text = format!("{}\n{}", self.title(), self.body());
        text.chars().take(TEXT_CHARACTERS_MAX).collect()
    }

    fn ntfy_headers(&self) -> Vec<(&'static str, String)> {
        let (priority, tags) = match (self.state, self.urgency) {
            // Urgent is the priority that breaks through a phone's own quiet hours.
            (State::Raised, Urgency::Wake) => ("urgent", "rotating_light"),
            (State::Raised, Urgency::Morning) => ("default", "warning"),
            (State::Resolved { .. } | State::Test, _) => ("default", "white_check_mark"),
        };
        let title = plain_header(&self.title());
        let mut headers =
            vec![("title", title), ("priority", priority.to_owned()), ("tags", tags.to_owned())];
        headers.extend(self.link.as_ref().map(|link| ("click", link.to_string())));
        headers
    }

    fn for_programs(&self) -> Value {
        let (state, resolved_at) = match self.state {
            State::Raised => ("raised", None),
            State::Resolved { at } => ("resolved", Some(at)),
            State::Test => ("test", None),
        };
        json!({
            "service": "eventbridge",
            "state": state,
            "urgency": self.urgency.as_str(),
            "key": self.key,
            "summary": self.summary,
            "remedy": self.remedy,
            "since": self.since,
            "resolved_at": resolved_at,
            "url": self.link.as_ref().map(Url::as_str),
        })
    }
}

/// A time as people of a zone read it, with the zone.
pub(super) fn at(time: DateTime<Utc>, zone: Tz) -> String {
    time.with_timezone(&zone).format("%Y-%m-%d %H:%M %Z").to_string()
}

/// A header may contain printable ASCII characters only.
pub(super) fn plain_header(text: &str) -> String {
    text.chars().map(|c| if matches!(c, ' '..='~') { c } else { '?' }).collect()
}

/// Escapes the three characters that begin Slack's markup.
fn slack_escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(state: State) -> Message {
        Message {
            state,
            key: "paused notion".to_owned(),
            kind: Some(FindingKind::Paused),
            urgency: Urgency::Morning,
            summary: "Deliveries to notion are paused (columns).".to_owned(),
            remedy: "add a text column <EventId> & wait".to_owned(),
            since: time(0),
            zone: Tz::UTC,
            link: Some("https://eventbridge.example.com/api/v1/health".parse().expect("a URL")),
        }
    }

    fn time(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).expect("a time")
    }

    fn body(state: State, format: Format) -> Value {
        serde_json::from_str(&message(state).write(format).body).expect("JSON")
    }

    #[test]
    fn slack_gets_one_text_with_its_markup_escaped() {
        assert_eq!(
            body(State::Raised, Format::Slack)["text"],
            "EventBridge: Deliveries to notion are paused (columns).\nSince 2027-01-15 08:00 UTC.\n\
             What to do: add a text column &lt;EventId&gt; &amp; wait\n\
             https://eventbridge.example.com/api/v1/health"
        );
    }

    #[test]
    fn discord_gets_a_text_that_calls_nobody_and_is_short_enough() {
        let mut long = message(State::Raised);
        long.remedy = "@everyone é".repeat(1_000);
        let body: Value = serde_json::from_str(&long.write(Format::Discord).body).expect("JSON");
        assert_eq!(body["allowed_mentions"]["parse"], json!([]));
        assert!(body["content"].as_str().expect("text").chars().count() < 2_000);
    }

    #[test]
    fn ntfy_gets_a_body_and_headers_of_plain_characters() {
        let mut resolved = message(State::Resolved { at: time(3_600) });
        resolved.summary = "naïve\nname".to_owned();
        let written = resolved.write(Format::Ntfy);
        assert!(written.body.starts_with("It lasted from 2027-01-15 08:00 UTC to 2027-01-15 09:00 UTC."));
        assert_eq!(written.headers[0], ("title", "EventBridge, over: na?ve?name".to_owned()));
        assert!(
            written.headers.contains(&("click", "https://eventbridge.example.com/api/v1/health".to_owned()))
        );
    }

    #[test]
    fn an_alert_that_wakes_somebody_is_urgent_until_it_is_over() {
        let priority = |state, urgency| {
            let headers = Message { urgency, ..message(state) }.write(Format::Ntfy).headers;
            headers.into_iter().find(|(name, _)| *name == "priority").map(|(_, priority)| priority)
        };
        let over = State::Resolved { at: time(60) };
        assert_eq!(priority(State::Raised, Urgency::Wake).as_deref(), Some("urgent"));
        assert_eq!(priority(State::Raised, Urgency::Morning).as_deref(), Some("default"));
        assert_eq!(priority(over, Urgency::Wake).as_deref(), Some("default"));
        let wake = Message { urgency: Urgency::Wake, ..message(State::Raised) }.write(Format::Json);
        assert_eq!(serde_json::from_str::<Value>(&wake.body).expect("JSON")["urgency"], "wake");
    }

    #[test]
    fn people_read_times_in_their_own_zone() {
        let message = Message { zone: chrono_tz::Europe::Berlin, ..message(State::Raised) };
        assert!(message.text().contains("Since 2027-01-15 09:00 CET."), "{}", message.text());
    }

    #[test]
    fn the_end_of_rejections_does_not_say_that_they_last() {
        let mut resolved = message(State::Resolved { at: time(60) });
        resolved.kind = Some(FindingKind::Rejected);
        resolved.summary = "The last 5 webhooks were rejected, and nothing was accepted since.".to_owned();
        assert_eq!(resolved.title(), "EventBridge, over: webhooks are no longer rejected.");
    }

    #[test]
    fn json_has_every_part_by_its_name() {
        let sent = body(State::Resolved { at: time(60) }, Format::Json);
        assert_eq!((&sent["state"], &sent["key"]), (&json!("resolved"), &json!("paused notion")));
        assert_eq!(
            (&sent["since"], &sent["resolved_at"]),
            (&json!("2027-01-15T08:00:00Z"), &json!("2027-01-15T08:01:00Z"))
        );
        assert_eq!(body(State::Test, Format::Json)["state"], "test");
    }
}
