//! An event's summary as the properties of a Notion page.
//!
//! Each value takes the type of its column and keeps to Notion's limits, so that Notion never rejects a
//! page for what a customer wrote. A value that the type cannot express is left out with a note.

use crate::destinations::notion::column::{Column, ColumnKind};
use crate::destinations::notion::field::{Field, FieldValue, folded, rfc3339};
use crate::destinations::notion::schema::Bindings;
use crate::domain::summary::EventSummary;
use chrono_tz::Tz;
use serde_json::{Map, Value, json};
use std::fmt;
use url::Url;

/// The longest text, in UTF-16 code units: the stricter reading of Notion's "characters".
pub const TEXT_UNITS_MAX: usize = 2000;
/// The longest link.
pub const URL_UNITS_MAX: usize = 2000;
/// The longest e-mail address and telephone number.
pub const CONTACT_UNITS_MAX: usize = 200;
/// The longest name of an option.
pub const OPTION_UNITS_MAX: usize = 100;

/// The properties of a page, and notes about values that did not fit.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapped {
    /// Values by the ids of their columns, which renaming does not change.
    /// [`Bindings::by_name`] makes the body of a request of them.
    pub properties: Map<String, Value>,
    /// What was left out although the event has it.
    pub notes: Vec<Note>,
}

/// A value that its column cannot hold. It contains no customer's data, so it may be shown anywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The property left out.
    pub field: Field,
    /// The name of its column.
    pub column: String,
    /// Why, and what would help.
    pub reason: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} was not written to the column {:?}: {}", self.field.name(), self.column, self.reason)
    }
}

/// The page of an event: every known property that has a column and a value. `zone` decides to which month the
/// event belongs.
pub fn properties(summary: &EventSummary, zone: Tz, bindings: &Bindings) -> Mapped {
    page(summary, zone, bindings, &summary.event_id, &summary.title)
}

/// Every known property that has a column, under `key`, with `line` in a title that does not hold the key.
pub(super) fn page(summary: &EventSummary, zone: Tz, bindings: &Bindings, key: &str, line: &str) -> Mapped {
    let mut properties = Map::new();
    let mut notes = Vec::new();
    for (field, column) in &bindings.columns {
        let Some(value) = field.value(summary, zone) else { continue };
        match write(*field, &value, column) {
            Ok(Some(written)) => {
                properties.insert(column.id.clone(), written);
            }
            Ok(None) => {}
            Err(reason) => notes.push(Note { field: *field, column: column.name.clone(), reason }),
        }
    }
    if !bindings.is_key_in_title() {
        properties.insert(bindings.title.id.clone(), text_property(&bindings.title.kind, line));
    }
    properties.insert(bindings.key.id.clone(), text_property(&bindings.key.kind, key));
    Mapped { properties, notes }
}

/// A key, the id of an event or of an object, exactly as it is written into its column: the text to
/// search for.
pub fn key_text(key: &str) -> String {
    shortened(&cleaned(key), TEXT_UNITS_MAX)
}

/// The value in the column's type; `None` if nothing of it is left. An error is the reason why the column
/// cannot hold it.
pub(super) fn write(field: Field, value: &FieldValue<'_>, column: &Column) -> Result<Option<Value>, String> {
    let text = cleaned(&value.to_text());
    if text.is_empty() {
        return Ok(None);
    }
    let written = match (&column.kind, value) {
        (ColumnKind::Title | ColumnKind::RichText, _) => text_property(&column.kind, &text),
        (ColumnKind::Number, FieldValue::Money(money)) => {
            let number = money.json_number().ok_or(
                "the amount has more digits than a number in Notion can hold exactly; AmountText has all of them",
            )?;
            json!({ "number": number })
        }
        (ColumnKind::Number, FieldValue::Count(count)) => json!({ "number": count }),
        (ColumnKind::Date, FieldValue::Time(at)) => json!({ "date": { "start": rfc3339(*at) } }),
        (ColumnKind::Checkbox, FieldValue::Flag { set, .. }) => json!({ "checkbox": set }),
        (ColumnKind::Select, _) => json!({ "select": { "name": option(&text, column) } }),
        (ColumnKind::MultiSelect, _) => json!({ "multi_select": [{ "name": option(&text, column) }] }),
        (ColumnKind::Status, _) => json!({ "status": { "name": status_option(field, &text, column)? } }),
        (ColumnKind::Url, _) => json!({ "url": web_link(&text)? }),
        (ColumnKind::Email, _) => json!({ "email": email(&text)? }),
        (ColumnKind::PhoneNumber, _) => json!({ "phone_number": shortened(&text, CONTACT_UNITS_MAX) }),
        (ColumnKind::Number | ColumnKind::Date | ColumnKind::Checkbox | ColumnKind::Other(_), _) => {
            return Err(format!("a column of type {} cannot hold it; a text column can", column.kind));
        }
    };
    Ok(Some(written))
}

fn text_property(kind: &ColumnKind, text: &str) -> Value {
    let content = shortened(&cleaned(text), TEXT_UNITS_MAX);
    json!({ (kind.as_str()): [{ "text": { "content": content } }] })
}

/// The name of a select's option: an existing one if it matches, otherwise a new one that Notion accepts
/// (a comma separates options there).
fn option(text: &str, column: &Column) -> String {
    existing_option(text, column).unwrap_or_else(|| shortened(&text.replace(',', ";"), OPTION_UNITS_MAX))
}

/// The name of a status' option; unlike a select's, writing a new one does not create it.
fn status_option(field: Field, text: &str, column: &Column) -> Result<String, String> {
    existing_option(text, column).ok_or_else(|| {
        if field.is_vocabulary() {
            format!("the status has no option {:?}; add it in Notion", shortened(text, OPTION_UNITS_MAX))
        } else {
            "the status has no such option; a text column can hold it".to_owned()
        }
    })
}

fn existing_option(text: &str, column: &Column) -> Option<String> {
    let options = || column.options.iter();
    let wanted = folded(text);
    options().find(|option| *option == text).or_else(|| options().find(|o| folded(o) == wanted)).cloned()
}

fn web_link(text: &str) -> Result<&str, String> {
    let fits = units(text) <= URL_UNITS_MAX && !text.contains(char::is_whitespace);
    let is_web = Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    (fits && is_web).then_some(text).ok_or_else(|| "Notion does not accept it as a web link".to_owned())
}

fn email(text: &str) -> Result<&str, String> {
    let fits = units(text) <= CONTACT_UNITS_MAX && !text.contains(char::is_whitespace);
    let has_parts = text.split_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty());
    (fits && has_parts)
        .then_some(text)
        .ok_or_else(|| "Notion does not accept it as an e-mail address".to_owned())
}

/// `text`, trimmed and without control characters; a line break becomes a blank.
fn cleaned(text: &str) -> String {
    let kept = text.chars().filter_map(|c| match c {
        '\n' | '\t' => Some(' '),
        c if c.is_control() => None,
        c => Some(c),
    });
    kept.collect::<String>().trim().to_owned()
}

/// `text`, cut to so many UTF-16 units at a character boundary; an ellipsis marks the cut.
fn shortened(text: &str, units_max: usize) -> String {
    if units(text) <= units_max {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut room = units_max.saturating_sub(1);
    for character in text.chars() {
        match room.checked_sub(character.len_utf16()) {
            Some(left) => room = left,
            None => break,
        }
        kept.push(character);
    }
    kept.push('…');
    kept
}

fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::money::Money;
    use chrono::DateTime;

    fn column(kind: &str, options: &[&str]) -> Column {
        Column {
            id: "id".to_owned(),
            name: "Column".to_owned(),
            kind: kind.to_owned().into(),
            options: options.iter().map(|option| (*option).to_owned()).collect(),
        }
    }

    fn write_as(kind: &str, value: &FieldValue<'_>) -> Result<Option<Value>, String> {
        write(Field::Status, value, &column(kind, &["Done", "Success"]))
    }

    fn text(text: &str) -> FieldValue<'_> {
        FieldValue::Text(text.into())
    }

    fn written(kind: &str, value: &FieldValue<'_>) -> Value {
        write_as(kind, value).expect("expressible").expect("a value")
    }

    #[test]
    fn a_text_fits_into_the_types_that_hold_text() {
        for (kind, expected) in [
            ("title", json!({"title": [{"text": {"content": "success"}}]})),
            ("rich_text", json!({"rich_text": [{"text": {"content": "success"}}]})),
            ("select", json!({"select": {"name": "Success"}})),
            ("multi_select", json!({"multi_select": [{"name": "Success"}]})),
            ("status", json!({"status": {"name": "Success"}})),
            ("phone_number", json!({"phone_number": "success"})),
        ] {
            assert_eq!(written(kind, &text("success")), expected);
        }
        for kind in ["number", "date", "checkbox", "url", "email", "formula"] {
            assert!(write_as(kind, &text("success")).is_err(), "{kind}");
        }
    }

    #[test]
    fn money_is_an_exact_number_or_its_decimal() {
        let amount = |minor| FieldValue::Money(Money::from_minor(minor, "eur".parse().expect("a currency")));
        assert_eq!(written("number", &amount(1_010)).to_string(), r#"{"number":10.1}"#);
        assert_eq!(written("number", &amount(12_000)).to_string(), r#"{"number":120}"#);
        assert_eq!(written("rich_text", &amount(1_010))["rich_text"][0]["text"]["content"], "10.10");
        assert!(
            write_as("number", &amount(9_007_199_254_740_991)).expect_err("inexact").contains("AmountText")
        );
        assert!(write_as("date", &amount(1)).is_err());
    }

    #[test]
    fn instants_and_flags_fit_their_types_and_text() {
        let at = FieldValue::Time(DateTime::UNIX_EPOCH);
        assert_eq!(written("date", &at), json!({"date": {"start": "1970-01-01T00:00:00Z"}}));
        assert_eq!(written("rich_text", &at)["rich_text"][0]["text"]["content"], "1970-01-01T00:00:00Z");
        let live = FieldValue::Flag { set: true, word: "live" };
        assert_eq!(written("checkbox", &live), json!({"checkbox": true}));
        assert_eq!(written("select", &live), json!({"select": {"name": "live"}}));
        assert!(write_as("number", &live).is_err());
    }

    #[test]
    fn a_status_without_the_option_says_which_one_to_add() {
        let status = column("status", &["Not started"]);
        let reason = write(Field::Status, &text("pending"), &status).expect_err("no option");
        assert!(reason.contains("\"pending\""), "{reason}");
        let private = write(Field::CustomerName, &text("Jane"), &status).expect_err("no option");
        assert!(!private.contains("Jane"), "{private}");
    }

    #[test]
    fn a_new_option_has_no_comma_and_is_short() {
        assert_eq!(written("select", &text("Tea, Ltd."))["select"]["name"], "Tea; Ltd.");
        let long = written("multi_select", &text(&"x".repeat(101)));
        let name = long["multi_select"][0]["name"].as_str().expect("a name");
        assert_eq!((name.chars().count(), name.ends_with("x…")), (100, true));
    }

    #[test]
    fn a_long_text_is_cut_on_a_character_by_utf_16_units() {
        assert_eq!(shortened("tea", 3), "tea");
        assert_eq!(shortened("teas", 3), "te…");
        let emoji = "🍵".repeat(1001);
        let cut = shortened(&emoji, TEXT_UNITS_MAX);
        assert_eq!(units(&cut), 1999);
        assert!(cut.ends_with("🍵…"));
    }

    #[test]
    fn control_characters_never_reach_notion() {
        assert_eq!(cleaned(" a\0b\u{7}\nc\u{85} "), "ab c");
        assert_eq!(write_as("rich_text", &text("\0\u{1}")), Ok(None));
        assert_eq!(key_text("evt_\u{0}1"), "evt_1");
    }

    #[test]
    fn links_and_addresses_must_look_like_some() {
        for good in ["https://example.com/a?b=c", "http://example.com"] {
            assert_eq!(written("url", &text(good)), json!({"url": good}));
        }
        let long = format!("https://example.com/{}", "x".repeat(URL_UNITS_MAX));
        for bad in ["example.com", "javascript:alert(1)", "https://", "https://a b.example", long.as_str()] {
            assert!(write_as("url", &text(bad)).is_err(), "{bad}");
        }
        let long = format!("{}@example.com", "x".repeat(CONTACT_UNITS_MAX));
        for bad in ["jane", "@example.com", "jane@", "jane doe@example.com", long.as_str()] {
            assert!(write_as("email", &text(bad)).is_err(), "{bad}");
        }
        assert_eq!(written("email", &text("jane@example.com")), json!({"email": "jane@example.com"}));
    }
}
