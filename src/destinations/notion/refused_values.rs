//! Values that Notion refused: they are left out, so that one value never costs a page.
//!
//! A refused value is remembered for ten minutes, for its data source and column: the next pages leave it out
//! without another refused request. If Notion refuses a second value of the column meanwhile, the column as a
//! whole is left out for as long. A column that is changed in Notion is tried again as soon as it is read.

use super::column::{Column, ColumnKind};
use super::field::Field;
use super::redaction::{redacted, without_value};
use super::schema::Bindings;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a refused value is left out.
const REMEMBERED_FOR: Duration = Duration::from_mins(10);

/// What of a column is refused.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Refused {
    /// This value.
    Value(Value),
    /// Values that would create an option: the table can hold no more of them.
    NewOptions,
    /// Every value.
    All,
}

/// A column with what of it is refused.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RefusedColumn {
    /// The column as it was then. With another type or other options it may take the value.
    pub column: Column,
    /// What is refused.
    pub refused: Refused,
    /// Why, and what would help.
    pub reason: String,
}

/// What Notion refused lately, by data source and column.
#[derive(Debug, Default)]
pub(super) struct RefusedValues {
    known: Mutex<HashMap<(String, String), (RefusedColumn, Instant)>>,
}

impl RefusedValues {
    /// Remembers what is refused in a column of a data source.
    pub fn remember(&self, data_source: &str, mut new: RefusedColumn, now: Instant) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (_, until)| now < *until);
        let place = (data_source.to_owned(), new.column.id.clone());
        if let Some((before, _)) = known.get(&place)
            && before.column == new.column
            && before.refused != new.refused
        {
            new.refused = Refused::All;
        }
        known.insert(place, (new, now + REMEMBERED_FOR));
    }

    /// Why this value of a column is left out, if it is.
    pub fn reason(&self, data_source: &str, column: &Column, value: &Value, now: Instant) -> Option<String> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, _) = known
            .get(&(data_source.to_owned(), column.id.clone()))
            .filter(|(before, until)| now < *until && before.column == *column)?;
        let is_refused = match &before.refused {
            Refused::Value(refused) => refused == value,
            Refused::NewOptions => names_a_new_option(column, value),
            Refused::All => true,
        };
        is_refused.then(|| before.reason.clone())
    }
}

/// What a refusal is about, among the values that were sent, by column id. Nothing if it names none of them.
/// The key is not among them: a page without it could not be found again.
pub(super) fn refused_in(
    message: &str,
    sent: &Map<String, Value>,
    bindings: &Bindings,
) -> Vec<RefusedColumn> {
    let sent: Vec<(&Column, &Value)> = sent
        .iter()
        .filter_map(|(id, value)| Some((bindings.by_id(id)?, value)))
        .filter(|(column, _)| column.id != bindings.key.id)
        .collect();
    let lower = message.to_lowercase();
    if lower.contains("maximum database property schema size") {
        let creates_options =
            |column: &Column| matches!(column.kind, ColumnKind::Select | ColumnKind::MultiSelect);
        let new = sent
            .into_iter()
            .filter(|(column, value)| creates_options(column) && names_a_new_option(column, value));
        let reason = "the table can hold no more options; set the type of this column to text".to_owned();
        return new
            .map(|(column, _)| RefusedColumn {
                column: column.clone(),
                refused: Refused::NewOptions,
                reason: reason.clone(),
            })
            .collect();
    }
    let is_vocabulary = |column: &Column| bindings.field_of(column).is_some_and(Field::is_vocabulary);
    let reason = format!("Notion refuses the value ({})", redacted(message, &sent, is_vocabulary));
    let refused = |(column, value): (&Column, &Value)| RefusedColumn {
        column: column.clone(),
        refused: Refused::Value(value.clone()),
        reason: reason.clone(),
    };
    if lower.contains("status option") {
        let mut of_status = sent.clone();
        of_status.retain(|(column, _)| column.kind == ColumnKind::Status);
        let is_quoted = |(_, value): &(&Column, &Value)| options_in(value).any(|name| message.contains(name));
        if of_status.iter().any(is_quoted) {
            of_status.retain(is_quoted);
        }
        if !of_status.is_empty() {
            return of_status.into_iter().map(refused).collect();
        }
    }
    named_in(message, &sent).into_iter().map(refused).collect()
}

/// The columns that a message names as Notion does: as `body.properties.<name>`, quoted, or at the beginning of
/// a sentence such as `<name> is expected to be number`. Otherwise the only one whose name occurs at all.
fn named_in<'a>(message: &str, sent: &[(&'a Column, &'a Value)]) -> Vec<(&'a Column, &'a Value)> {
    let lines: Vec<&str> = message.lines().map(without_value).collect();
    let named = |is_named: &dyn Fn(&str, &str) -> bool| -> Vec<_> {
        // In which lines and from where on a column is named.
        let places_of = |column: &Column| -> Vec<(usize, usize)> {
            let is_here = |line: &str, start: usize| {
                let (before, rest) = line.split_at_checked(start)?;
                rest.strip_prefix(column.name.as_str()).map(|after| is_named(before, after))
            };
            let numbered = lines.iter().enumerate();
            let starts = numbered.flat_map(|(number, line)| {
                line.match_indices(column.name.as_str()).map(move |(start, _)| (number, *line, start))
            });
            let named = starts.filter(|(_, line, start)| is_here(line, *start) == Some(true));
            named.map(|(number, _, start)| (number, start)).collect()
        };
        let found: Vec<_> = sent.iter().map(|one| (*one, places_of(one.0))).collect();
        // "Amount" is part of "Amount due": where both stand, the longer name is meant.
        let is_part = |column: &Column, place: &(usize, usize)| {
            let is_longer = |other: &Column| other.name.len() > column.name.len();
            found.iter().any(|((other, _), places)| is_longer(other) && places.contains(place))
        };
        let is_meant = |((column, _), places): &&((&Column, &Value), Vec<(usize, usize)>)| {
            places.iter().any(|place| !is_part(column, place))
        };
        found.iter().filter(is_meant).map(|(one, _)| *one).collect()
    };
    let certain = named(&|before, after| {
        let is_subject = before.trim().is_empty() && after.starts_with(" is ");
        let is_quoted = [('"', '"'), ('`', '`'), ('\'', '\''), ('“', '”')]
            .iter()
            .any(|(open, close)| before.ends_with(*open) && after.starts_with(*close));
        let is_member = ["properties.", "properties[\""].iter().any(|path| before.ends_with(path));
        is_subject || is_quoted || is_member && !after.starts_with(is_letter)
    });
    if !certain.is_empty() {
        return certain;
    }
    let anywhere = named(&|before, after| !before.ends_with(is_letter) && !after.starts_with(is_letter));
    if anywhere.len() == 1 { anywhere } else { Vec::new() }
}

fn is_letter(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether a value names an option that its column does not have. Names are unique ignoring case.
fn names_a_new_option(column: &Column, value: &Value) -> bool {
    let is_known =
        |name: &str| column.options.iter().any(|option| option.to_lowercase() == name.to_lowercase());
    options_in(value).any(|name| !is_known(name))
}

/// The options that a value of a select, multi-select or status names.
fn options_in(value: &Value) -> impl Iterator<Item = &str> {
    let one = value.get("select").or_else(|| value.get("status")).into_iter();
    let several = value.get("multi_select").and_then(Value::as_array).into_iter().flatten();
    one.chain(several).filter_map(|option| option.get("name")?.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destinations::notion::schema::Schema;
    use serde_json::json;

    fn bindings() -> Bindings {
        let options = json!({"options": [{"name": "invoice.paid"}]});
        let schema = Schema::parse(&json!({"properties": {
            "EventId": {"id": "title", "name": "EventId", "type": "title"},
            "Amount": {"id": "a", "name": "Amount", "type": "number"},
            "Amount text": {"id": "t", "name": "Amount text", "type": "rich_text"},
            "EventType": {"id": "e", "name": "EventType", "type": "select", "select": options},
            "Status": {"id": "s", "name": "Status", "type": "status"},
            "CustomerEmail": {"id": "m", "name": "CustomerEmail", "type": "email"},
        }}))
        .expect("a data source");
        schema.resolve(Field::EventId, None).expect("a key column").bindings
    }

    fn sent() -> Map<String, Value> {
        let sent = json!({
            "title": {"title": [{"text": {"content": "evt_1"}}]},
            "a": {"number": 5},
            "t": {"rich_text": [{"text": {"content": "EUR 5.00"}}]},
            "e": {"select": {"name": "invoice.voided"}},
            "s": {"status": {"name": "success"}},
            "m": {"email": "jane@example.com"},
        });
        sent.as_object().cloned().expect("an object")
    }

    fn refused(message: &str) -> Vec<String> {
        let found = refused_in(message, &sent(), &bindings());
        found.into_iter().map(|refused| refused.column.name).collect()
    }

    #[test]
    fn a_refusal_is_about_the_columns_that_it_names() {
        for (message, names) in [
            ("Amount is expected to be number.", vec!["Amount"]),
            ("Amount text is expected to be rich_text.", vec!["Amount text"]),
            (
                "body failed validation: body.properties.Amount.number should be a number, instead was `\"EventType\"`.",
                vec!["Amount"],
            ),
            ("body.properties[\"Amount text\"].rich_text should be an array", vec!["Amount text"]),
            (
                "Content creation failed. Fix the following:\nAmount is expected to be number.\nStatus is expected to be status.",
                vec!["Amount", "Status"],
            ),
            (
                "Amount is expected to be number.\nAmount text is expected to be rich_text.",
                vec!["Amount", "Amount text"],
            ),
            (
                "body.properties.Amount text.rich_text should be an array; body.properties.Amount.number should be a number",
                vec!["Amount", "Amount text"],
            ),
            ("The property \"CustomerEmail\" is locked.", vec!["CustomerEmail"]),
            ("Values of CustomerEmail must be addresses.", vec!["CustomerEmail"]),
            ("Invalid status option. Status option \"success\" does not exist.", vec!["Status"]),
            ("This has exceeded the maximum database property schema size.", vec!["EventType"]),
            ("EventId is expected to be title.", vec![]),
            ("This is refused.", vec![]),
            ("The Amounts are wrong.", vec![]),
            ("Neither Amount nor Status may be written.", vec![]),
            ("", vec![]),
        ] {
            let mut found = refused(message);
            found.sort();
            assert_eq!(found, names, "{message}");
        }
    }

    #[test]
    fn a_reason_quotes_nothing_of_the_request() {
        for quote in
            [", instead was `jane@example.com`.", ": jane@example.com", " “jane”", " (\"jane@exampl…\")"]
        {
            let message = format!("body.properties.CustomerEmail.email should be an address{quote}");
            let reason = refused_in(&message, &sent(), &bindings()).remove(0).reason;
            assert!(!reason.contains("jane") && reason.contains("should be an address"), "{reason}");
        }
    }

    fn remembered(messages: &[(&str, Value)]) -> (RefusedValues, Instant) {
        let (values, now) = (RefusedValues::default(), Instant::now());
        for (message, amount) in messages {
            let mut sent = sent();
            sent.insert("a".to_owned(), json!({ "number": amount }));
            for refused in refused_in(message, &sent, &bindings()) {
                values.remember("source", refused, now);
            }
        }
        (values, now)
    }

    #[test]
    fn one_refused_value_is_left_out_and_after_a_second_one_all_are() {
        let message = "Amount is expected to be number.";
        let bindings = bindings();
        let amount = bindings.by_id("a").expect("a column");
        let is_refused = |values: &RefusedValues, number: i64, at: Instant| {
            values.reason("source", amount, &json!({ "number": number }), at).is_some()
        };
        let (values, now) = remembered(&[(message, json!(5))]);
        assert!(is_refused(&values, 5, now) && !is_refused(&values, 6, now));
        assert!(!is_refused(&values, 5, now + REMEMBERED_FOR), "it is tried again after ten minutes");
        assert_eq!(values.reason("another", amount, &json!({"number": 5}), now), None);
        let retyped = Column { kind: ColumnKind::RichText, ..amount.clone() };
        assert_eq!(values.reason("source", &retyped, &json!({"number": 5}), now), None);

        let (values, now) = remembered(&[(message, json!(5)), (message, json!(6))]);
        assert!(is_refused(&values, 7, now));
    }

    #[test]
    fn a_full_select_still_takes_the_options_that_it_has() {
        let (values, now) = remembered(&[("exceeded the maximum database property schema size", json!(5))]);
        let bindings = bindings();
        let event_type = bindings.by_id("e").expect("a column");
        let reason =
            |name: &str| values.reason("source", event_type, &json!({"select": {"name": name}}), now);
        assert_eq!(reason("Invoice.Paid"), None);
        assert!(reason("invoice.created").expect("left out").contains("to text"));
    }
}
