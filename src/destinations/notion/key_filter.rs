//! The filters that find the pages of an event or of an object.
//!
//! Both modes may fill one data source, and pages of events have their object's id as well. The column in
//! which event mode keeps its key distinguishes them: in pages of objects it contains no event's id. If it
//! is a text column, it is empty there. If it is the title, it has a line with [`TITLE_SEPARATOR`], which
//! no event's id contains, since none has a blank.
//! Columns are named as in the pages that are written: by their present names.
//! If a person writes into that column of an object's page, lookups no longer find the page, as if its
//! key had been changed.

use super::column::ColumnKind;
use super::mapping::key_text;
use super::schema::Bindings;
use crate::domain::summary::TITLE_SEPARATOR;
use serde_json::{Value, json};

impl Bindings {
    /// The filter for the pages of an event.
    pub fn pages_of_event(&self, event_id: &str) -> Value {
        self.key_is(event_id)
    }

    /// The filter for the pages of an object: those that have its id and are not pages of events.
    pub fn pages_of_object(&self, object_id: &str) -> Value {
        let of_object = self.key_is(object_id);
        let Some(event_key) = self.event_key.as_ref().filter(|column| column.id != self.key.id) else {
            return of_object;
        };
        let is_no_event = match event_key.kind {
            ColumnKind::RichText => json!({ "is_empty": true }),
            ColumnKind::Title => json!({ "contains": TITLE_SEPARATOR }),
            // Event mode cannot keep its key there.
            _ => return of_object,
        };
        let is_no_event = json!({ "property": event_key.name, (event_key.kind.as_str()): is_no_event });
        json!({ "and": [of_object, is_no_event] })
    }

    fn key_is(&self, key: &str) -> Value {
        let column = &self.key;
        json!({ "property": column.name, (column.kind.as_str()): { "equals": key_text(key) } })
    }
}

#[cfg(test)]
mod tests {
    use crate::destinations::notion::field::Field;
    use crate::destinations::notion::schema::{Bindings, Schema};
    use serde_json::{Map, Value, json};

    fn bindings(key: Field, columns: &[(&str, &str)], before: Option<&Bindings>) -> Bindings {
        let properties: Map<_, _> = columns
            .iter()
            .map(|(name, kind)| ((*name).to_owned(), json!({"id": name, "name": name, "type": kind})))
            .collect();
        let schema = Schema::parse(&json!({ "properties": properties })).expect("a data source");
        schema.resolve(key, before).expect("a key column").bindings
    }

    fn objects(columns: &[(&str, &str)]) -> Value {
        bindings(Field::ObjectId, columns, None).pages_of_object("in_1")
    }

    fn key(property: &str, kind: &str) -> Value {
        json!({"property": property, kind: {"equals": "in_1"}})
    }

    #[test]
    fn an_objects_page_has_no_events_id_in_the_column_of_event_mode() {
        let name = ("Name", "title");
        let object = ("ObjectId", "rich_text");
        let empty = json!({"property": "EventId", "rich_text": {"is_empty": true}});
        let line = json!({"property": "EventId", "title": {"contains": " · "}});
        for (columns, expected) in [
            (vec![name, object], key("ObjectId", "rich_text")),
            (vec![name, object, ("EventId", "number")], key("ObjectId", "rich_text")),
            (
                vec![name, object, ("EventId", "rich_text")],
                json!({"and": [key("ObjectId", "rich_text"), empty]}),
            ),
            (vec![("EventId", "title"), object], json!({"and": [key("ObjectId", "rich_text"), line]})),
            (
                vec![("ObjectId", "title"), ("EventId", "rich_text")],
                json!({"and": [key("ObjectId", "title"), empty]}),
            ),
        ] {
            assert_eq!(objects(&columns), expected, "{columns:?}");
        }
    }

    #[test]
    fn the_column_of_event_mode_is_known_by_its_id_after_a_change_of_mode() {
        let before = bindings(Field::EventId, &[("EventId", "title"), ("ObjectId", "rich_text")], None);
        let renamed = json!({"properties": {
            "Name": {"id": "EventId", "name": "Name", "type": "title"},
            "ObjectId": {"id": "ObjectId", "name": "ObjectId", "type": "rich_text"},
        }});
        let schema = Schema::parse(&renamed).expect("a data source");
        let objects = schema.resolve(Field::ObjectId, Some(&before)).expect("a key column").bindings;
        let filter = objects.pages_of_object("in_1");
        assert_eq!(filter["and"][1], json!({"property": "Name", "title": {"contains": " · "}}));
        let again = schema.resolve(Field::EventId, Some(&objects)).expect("a key column").bindings;
        assert_eq!(again.key.id, "EventId");
    }
}
