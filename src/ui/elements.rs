//! Small elements that pages share: states, times, durations, ids, messages, tables, the pager.

use crate::domain::execution::Status;
pub(super) use crate::domain::humanize::{humanize, humanize_age};
use crate::domain::quantity;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use maud::{Markup, html};
use std::time::Duration;
use url::form_urlencoded;

/// A state or the outcome of an attempt, as words with a colour.
pub(super) fn status(word: &str) -> Markup {
    let shown = Status::name_in_words(word).replace('_', " ");
    html! { span class=(format!("status {}", tone(word))) { (shown) } }
}

/// A time in UTC. The script shows it in the reader's time zone.
pub(super) fn time(at: DateTime<Utc>) -> Markup {
    html! {
        time datetime=(at.to_rfc3339_opts(SecondsFormat::Millis, true)) {
            (at.format("%Y-%m-%d %H:%M:%S"))
        }
    }
}

/// How long ago a time was. The script keeps it up to date.
pub(super) fn ago(at: DateTime<Utc>, now: DateTime<Utc>) -> Markup {
    html! {
        time data-ago="" datetime=(at.to_rfc3339_opts(SecondsFormat::Millis, true)) {
            (humanize_age(now - at)) " ago"
        }
    }
}

/// A duration of this many seconds; `None` if it is too long to represent.
pub(super) fn time_delta(seconds: u64) -> Option<TimeDelta> {
    i64::try_from(seconds).ok().and_then(TimeDelta::try_seconds)
}

/// How long an attempt took.
pub(super) fn took(duration_ms: i32) -> String {
    humanize(Duration::from_millis(duration_ms.try_into().unwrap_or_default()))
}

/// A number with separated thousands.
pub(super) fn count(number: i64) -> String {
    let sign = if number < 0 { "-" } else { "" };
    format!("{sign}{}", quantity::count(number.unsigned_abs(), false))
}

/// A text such as the type of an event, with possible line breaks after dots and underscores.
pub(super) fn in_parts(text: &str) -> Markup {
    html! { @for part in text.split_inclusive(['.', '_']) { (part) wbr; } }
}

/// The sign for a missing value.
pub(super) fn none() -> Markup {
    html! { span.none aria-label="none" { "–" } }
}

/// A text, or the sign for a missing value.
pub(super) fn maybe(text: Option<&str>) -> Markup {
    match text {
        Some(text) => html! { (text) },
        None => none(),
    }
}

/// The message of a list without rows.
pub(super) fn empty(title: &str, hint: &str) -> Markup {
    html! { div.empty { strong { (title) } p { (hint) } } }
}

/// A column of a [`table`], by its name.
#[derive(Debug, Clone, Copy)]
pub(super) enum Head<'a> {
    /// A column of text.
    Text(&'a str),
    /// A column of numbers, which are aligned.
    Number(&'a str),
}

/// A table of these rows. `label` is its name for screen readers. It scrolls if it is too wide.
pub(super) fn table(label: &str, heads: &[Head<'_>], rows: &Markup) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label=(label) {
            table {
                thead { tr {
                    @for head in heads {
                        @match head {
                            Head::Text(name) => th scope="col" { (name) },
                            Head::Number(name) => th.number scope="col" { (name) },
                        }
                    }
                } }
                tbody { (rows) }
            }
        }
    }
}

/// The message about the last action, by the word in the redirect's query; empty for unknown words. It stays
/// on an open page, so it states what was done and not what is so.
pub(super) fn done(word: Option<&str>) -> Markup {
    let text = match word {
        Some("retried") => "The execution was queued for another attempt.",
        Some("sent") => "The test event was sent and accepted.",
        Some("cancelled") => "The execution was cancelled. It is delivered only if it is retried.",
        Some("restored") => "The repetition was cancelled. The execution is again what it was before.",
        Some("acknowledged") => "Acknowledged. Further failures with this cause are reported again.",
        Some("unacknowledged") => "The acknowledgement was removed.",
        Some("paused") => {
            "The destination was paused. Nothing is delivered to it until an operator resumes it."
        }
        Some("resumed") => {
            "The destination was resumed. If the cause of the pause persists, the next delivery pauses it again."
        }
        _ => return html! {},
    };
    html! { p.done role="status" { (text) } }
}

/// A link to another site, which opens in a new tab without a referrer. If the link is not a web address,
/// such as a script, only its text is shown.
pub(super) fn outside(href: &str, text: &str) -> Markup {
    if !is_web(href) {
        return html! { (text) };
    }
    html! { a href=(href) target="_blank" rel="noopener noreferrer" { (text) span.arrow aria-hidden="true" { "↗" } span.hidden { " (opens in a new tab)" } } }
}

/// Whether an external link is a web address, and not a script.
pub(super) fn is_web(link: &str) -> bool {
    link.starts_with("https://") || link.starts_with("http://")
}

/// Capitalises the first letter of a text.
pub(super) fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// A path with a query; pairs without a value are left out.
pub(super) fn address(path: &str, pairs: &[(&str, Option<&str>)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in pairs {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    let query = query.finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// The links to older rows and back to the newest ones.
pub(super) fn pager(newest: Option<&str>, older: Option<&str>) -> Markup {
    html! {
        @if newest.is_some() || older.is_some() {
            nav.pager aria-label="Pages" {
                @if let Some(newest) = newest { a.button href=(newest) { "Newest" } }
                @if let Some(older) = older { a.button href=(older) rel="next" { "Older" } }
            }
        }
    }
}

/// The colour of a state.
fn tone(word: &str) -> &'static str {
    match word {
        "success" | "succeeded" | "delivered" | "ok" | "working" => "good",
        // A paused destination makes the headline red.
        "failed" | "permanent" | "gone" | "silent" | "paused" => "bad",
        "pending" | "queued" | "transient" | "throttled" | "ambiguous" | "in_doubt" | "blocked"
        | "backing off" | "worker_lost" => "waits",
        "running" => "runs",
        _ => "still",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_counts_read_as_people_write_them() {
        for (ms, expected) in
            [(85, "85 ms"), (999, "999 ms"), (1250, "1.2 s"), (61_000, "1 min 1 s"), (-1, "0 s")]
        {
            assert_eq!(took(ms), expected);
        }
        for (number, expected) in [(0, "0"), (999, "999"), (1000, "1,000"), (-1_234_567, "-1,234,567")] {
            assert_eq!(count(number), expected);
        }
    }

    #[test]
    fn an_address_leaves_out_what_is_not_given_and_encodes_the_rest() {
        assert_eq!(address("/events", &[("type", None)]), "/events");
        assert_eq!(
            address("/events", &[("type", Some("a&b")), ("cursor", Some("x"))]),
            "/events?type=a%26b&cursor=x"
        );
    }
}
