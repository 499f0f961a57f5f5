//! One page for each object: its properties, and which of them a later event changes.
//!
//! The service changes and clears only what it wrote itself. What it wrote last is kept by the ids of the
//! columns, so it is still known after a person has renamed some of them.

use crate::destinations::notion::column::{Column, ColumnKind};
use crate::destinations::notion::mapping::{self, Mapped};
use crate::destinations::notion::schema::Bindings;
use crate::domain::summary::{EventSummary, TITLE_SEPARATOR};
use chrono_tz::Tz;
use serde_json::{Map, Value, json};

/// The page of the event's object, with the object's id as its key: its present state, and the event that
/// brought it. The column in which event mode keeps its key gets nothing that could be mistaken for an
/// event's id. `None` if the event names no object: its page could not be found again.
///
/// `bindings` are those of [`Field::ObjectId`](super::field::Field::ObjectId) as the key.
pub fn object_properties(summary: &EventSummary, zone: Tz, bindings: &Bindings) -> Option<Mapped> {
    let object_id = summary.object.id.as_deref().filter(|id| !mapping::key_text(id).is_empty())?;
    let summary = &summary.of_its_object();
    let line = &summary.object.title;
    let holds_events = bindings.event_key.as_ref().is_some_and(|column| column.id == bindings.title.id);
    if holds_events && !line.contains(TITLE_SEPARATOR) {
        let line = format!("{line}{TITLE_SEPARATOR}{object_id}");
        return Some(mapping::page(summary, zone, bindings, object_id, &line));
    }
    Some(mapping::page(summary, zone, bindings, object_id, line))
}

/// What to write so that a page with the properties `written` shows `next`; empty if it already does.
///
/// A property that the service wrote and that has no value any more is cleared, if its column still
/// exists. A checkbox, which has no empty value, remains; so does a status, since to clear it would set its
/// default option. `written` must be all that was written last;
/// afterwards that is `next`.
pub fn changes(
    written: &Map<String, Value>,
    next: &Map<String, Value>,
    bindings: &Bindings,
) -> Map<String, Value> {
    let changed = next
        .iter()
        .filter(|(id, value)| written.get(*id) != Some(*value))
        .map(|(id, value)| (id.clone(), value.clone()));
    let cleared = bindings.columns.values().filter(|column| written.contains_key(&column.id));
    changed.chain(emptied(cleared, next)).collect()
}

/// The empty values of those of these columns that have none in `next`. What has no empty value is not among
/// them.
pub(super) fn emptied<'a>(
    columns: impl Iterator<Item = &'a Column>,
    next: &Map<String, Value>,
) -> impl Iterator<Item = (String, Value)> {
    columns
        .filter(|column| !next.contains_key(&column.id))
        .filter_map(|column| Some((column.id.clone(), empty(&column.kind)?)))
}

/// The empty value of a type, if it has one that can be written.
fn empty(kind: &ColumnKind) -> Option<Value> {
    let nothing = match kind {
        ColumnKind::Title | ColumnKind::RichText | ColumnKind::MultiSelect => json!([]),
        ColumnKind::Number
        | ColumnKind::Select
        | ColumnKind::Date
        | ColumnKind::Url
        | ColumnKind::Email
        | ColumnKind::PhoneNumber => Value::Null,
        ColumnKind::Checkbox | ColumnKind::Status | ColumnKind::Other(_) => return None,
    };
    Some(json!({ (kind.as_str()): nothing }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destinations::notion::example::example;
    use crate::destinations::notion::field::Field;
    use crate::destinations::notion::schema::Schema;
    use crate::domain::money::Money;
    use crate::domain::summary::{EventStatus, ObjectSummary, Person};
    use chrono::DateTime;

    /// A data source of these columns, each with its name as its id.
    fn bindings(columns: &[(&str, &str)]) -> Bindings {
        let properties: Map<_, _> = columns
            .iter()
            .map(|(name, kind)| ((*name).to_owned(), json!({"id": name, "name": name, "type": kind})))
            .collect();
        let schema = Schema::parse(&json!({ "properties": properties })).expect("a data source");
        schema.resolve(Field::ObjectId, None).expect("a key column").bindings
    }

    fn invoices() -> Bindings {
        bindings(&[
            ("Name", "title"),
            ("ObjectId", "rich_text"),
            ("EventId", "rich_text"),
            ("LastEventId", "rich_text"),
            ("EventType", "select"),
            ("Amount", "number"),
            ("CustomerEmail", "email"),
            ("Livemode", "checkbox"),
        ])
    }

    fn event(event_id: &str, event_type: &str, object: ObjectSummary) -> EventSummary {
        let livemode = object.amount.is_some().then_some(true);
        EventSummary {
            event_id: event_id.to_owned(),
            event_type: event_type.to_owned(),
            status: EventStatus::Pending,
            livemode,
            object,
            occurred_at: None,
            ..example(DateTime::UNIX_EPOCH)
        }
    }

    fn shown(event: &EventSummary, bindings: &Bindings) -> Mapped {
        object_properties(event, Tz::UTC, bindings).expect("an object")
    }

    fn page(event_id: &str, event_type: &str, object: ObjectSummary) -> Map<String, Value> {
        shown(&event(event_id, event_type, object), &invoices()).properties
    }

    fn content(property: &Value) -> &Value {
        let (_, parts) = property.as_object().and_then(|only| only.iter().next()).expect("one type");
        &parts[0]["text"]["content"]
    }

    fn of(minor: i64) -> ObjectSummary {
        let amount = Money::from_minor(minor, "eur".parse().expect("a currency"));
        ObjectSummary {
            id: Some("in_1".to_owned()),
            title: format!("Invoice 0042 open · {amount} · jane@example.com"),
            amount: Some(amount),
            person: Person { email: Some("jane@example.com".to_owned()), ..Person::default() },
            ..ObjectSummary::default()
        }
    }

    fn open() -> ObjectSummary {
        of(12_000)
    }

    fn bare(id: Option<&str>, title: &str) -> ObjectSummary {
        ObjectSummary { id: id.map(str::to_owned), title: title.to_owned(), ..ObjectSummary::default() }
    }

    #[test]
    fn a_page_has_the_objects_key_and_state_and_the_last_event() {
        let page = page("evt_7", "invoice.updated", open());
        assert_eq!(content(&page["ObjectId"]), "in_1");
        assert_eq!(content(&page["Name"]), "Invoice 0042 open · EUR 120.00 · jane@example.com");
        assert_eq!(content(&page["LastEventId"]), "evt_7");
        assert!(!page.contains_key("EventId"), "it is empty where the page is an object's");
        assert_eq!(page["EventType"], json!({"select": {"name": "invoice.updated"}}));
        assert_eq!(page["Amount"], json!({"number": 120}));
    }

    #[test]
    fn a_title_called_object_id_holds_the_key() {
        let event = event("evt_1", "invoice.updated", open());
        let mapped = shown(&event, &bindings(&[("ObjectId", "title")]));
        assert_eq!(content(&mapped.properties["ObjectId"]), "in_1");
        assert_eq!(mapped.properties.len(), 1);
    }

    #[test]
    fn a_title_that_holds_the_ids_of_events_gets_a_line_that_cannot_be_one() {
        let bindings = bindings(&[("EventId", "title"), ("ObjectId", "rich_text")]);
        let title = |object: ObjectSummary| {
            let mapped = shown(&event("evt_1", "customer.created", object), &bindings);
            content(&mapped.properties["EventId"]).clone()
        };
        assert_eq!(title(open()), "Invoice 0042 open · EUR 120.00 · jane@example.com");
        assert_eq!(title(bare(Some("cus_1"), "Customer")), "Customer · cus_1");
    }

    #[test]
    fn an_event_that_names_no_object_has_no_page() {
        for id in [None, Some(""), Some("\u{1}")] {
            let event = event("evt_1", "invoice.upcoming", bare(id, "Invoice"));
            assert_eq!(object_properties(&event, Tz::UTC, &invoices()), None, "{id:?}");
        }
    }

    #[test]
    fn a_later_event_writes_what_it_changes_and_nothing_else() {
        let written = page("evt_1", "invoice.finalized", open());
        let next = page("evt_2", "invoice.updated", of(13_000));
        let changes = changes(&written, &next, &invoices());
        let ids: Vec<_> = changes.keys().map(String::as_str).collect();
        assert_eq!(ids, ["Amount", "EventType", "LastEventId", "Name"]);
        assert!(changes.iter().all(|(id, value)| next.get(id) == Some(value)));
    }

    #[test]
    fn a_page_that_shows_it_already_needs_no_write() {
        let page = page("evt_1", "invoice.finalized", open());
        assert_eq!(changes(&page, &page, &invoices()), Map::new());
    }

    #[test]
    fn all_of_it_is_written_where_nothing_was_written_before() {
        let page = page("evt_1", "invoice.finalized", open());
        assert_eq!(changes(&Map::new(), &page, &invoices()), page);
    }

    #[test]
    fn what_has_no_value_any_more_is_cleared_and_a_checkbox_and_a_status_stay() {
        assert_eq!(empty(&ColumnKind::Status), None);
        let written = page("evt_1", "invoice.finalized", open());
        let mut next = written.clone();
        for id in ["Amount", "CustomerEmail", "EventType", "LastEventId", "Livemode"] {
            next.remove(id);
        }
        let expected = json!({
            "Amount": {"number": null},
            "CustomerEmail": {"email": null},
            "EventType": {"select": null},
            "LastEventId": {"rich_text": []},
        });
        assert_eq!(Value::Object(changes(&written, &next, &invoices())), expected);
    }

    #[test]
    fn nothing_that_we_did_not_write_is_touched() {
        let page = |event_id| page(event_id, "invoice.finalized", bare(Some("in_1"), "Invoice 0042 open"));
        let (written, next) = (page("evt_1"), page("evt_2"));
        let changes = changes(&written, &next, &invoices());
        assert_eq!(changes.keys().collect::<Vec<_>>(), ["LastEventId"]);
    }

    #[test]
    fn a_column_that_is_gone_is_not_cleared_and_one_of_a_new_type_is_written_in_it() {
        let written = page("evt_1", "invoice.finalized", open());
        let now = bindings(&[("Name", "title"), ("ObjectId", "rich_text"), ("Amount", "rich_text")]);
        let next = shown(&event("evt_1", "invoice.finalized", open()), &now);
        let changed = changes(&written, &next.properties, &now);
        assert_eq!(changed.keys().collect::<Vec<_>>(), ["Amount"]);
        assert_eq!(content(&changed["Amount"]), "120.00");

        let untold = shown(&event("evt_1", "invoice.x", bare(Some("in_1"), "Invoice")), &now);
        let cleared = changes(&written, &untold.properties, &now);
        assert_eq!(cleared["Amount"], json!({"rich_text": []}), "in the type that the column has now");
    }
}
