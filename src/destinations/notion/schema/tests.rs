//! Which columns are filled, as the user adds, renames and removes them.

use super::*;
use serde_json::json;

fn schema(columns: &[(&str, &str, &str)]) -> Schema {
    let mut properties = serde_json::Map::new();
    for (id, name, kind) in columns {
        properties.insert((*name).to_owned(), json!({"id": id, "name": name, "type": kind, (*kind): {}}));
    }
    Schema::parse(&json!({"object": "data_source", "properties": properties})).expect("a data source")
}

fn resolve(schema: &Schema, previous: Option<&Bindings>) -> Resolution {
    schema.resolve(Field::EventId, previous).expect("a key column")
}

#[test]
fn the_title_called_event_id_is_the_key() {
    let found = resolve(&schema(&[("title", "event id", "title"), ("a", "Amount", "number")]), None);
    assert!(found.bindings.is_key_in_title());
    assert_eq!(found.bindings.columns[&Field::Amount].id, "a");
    assert_eq!(found.warnings, []);
}

#[test]
fn a_text_column_is_the_key_where_the_title_has_another_name() {
    let found = resolve(&schema(&[("title", "Name", "title"), ("k", "EventId", "rich_text")]), None);
    assert_eq!(found.bindings.key.id, "k");
    assert!(!found.bindings.is_key_in_title());
}

fn notion() -> InstanceName {
    InstanceName { name: "notion".to_owned(), kind: "notion".to_owned() }
}

#[test]
fn without_a_key_column_the_operator_learns_what_to_add() {
    let error = schema(&[("title", "Name", "title")]).resolve(Field::EventId, None).expect_err("no key");
    assert!(error.remedy(&notion()).contains("add a text column EventId"), "{error:?}");
    let typed =
        schema(&[("title", "Name", "title"), ("k", "EventId", "number")]).resolve(Field::EventId, None);
    assert!(matches!(typed, Err(SchemaError::WrongKeyType { kind: ColumnKind::Number, .. })));
}

#[test]
fn what_is_no_data_source_is_refused() {
    let no_title = json!({"properties": {"A": {"id": "a", "type": "number"}, "B": 3}});
    for answer in [json!(null), json!({"properties": []}), json!({"properties": {}}), no_title] {
        assert_eq!(Schema::parse(&answer), Err(SchemaError::NotADataSource));
    }
}

#[test]
fn an_exact_name_wins_over_a_similar_one() {
    let columns = [("t", "EventId", "title"), ("1", "amount", "number"), ("2", "Amount", "number")];
    assert_eq!(resolve(&schema(&columns), None).bindings.columns[&Field::Amount].id, "2");
    let similar = [("t", "EventId", "title"), ("1", "customer_e mail", "email")];
    assert_eq!(resolve(&schema(&similar), None).bindings.columns[&Field::CustomerEmail].id, "1");
}

#[test]
fn of_names_that_fold_alike_the_usable_column_wins() {
    let formula = ("f", "Amount", "formula");
    let columns = [("t", "EventId", "title"), formula, ("n", "amount", "number")];
    let found = resolve(&schema(&columns), None);
    assert_eq!(found.bindings.columns[&Field::Amount].id, "n");
    assert_eq!(found.warnings, []);
    let key = [("t", "Name", "title"), ("f", "EventId", "formula"), ("k", "event_id", "rich_text")];
    assert_eq!(resolve(&schema(&key), None).bindings.key.id, "k");
    // A column that became a formula yields to another one of its name.
    let before = resolve(&schema(&[("t", "EventId", "title"), ("f", "Amount", "number")]), None);
    let found = resolve(&schema(&columns), Some(&before.bindings));
    assert_eq!(found.bindings.columns[&Field::Amount].id, "n");
}

#[test]
fn a_renamed_column_goes_on_filling() {
    let before = resolve(
        &schema(&[("t", "EventId", "title"), ("a", "Amount", "number"), ("s", "Status", "select")]),
        None,
    );
    let renamed =
        schema(&[("t", "Ereignis", "title"), ("a", "Betrag", "rich_text"), ("s", "Status", "select")]);
    let after = resolve(&renamed, Some(&before.bindings));
    assert_eq!(after.bindings.columns[&Field::Amount].name, "Betrag");
    assert_eq!(after.bindings.columns[&Field::Amount].kind, ColumnKind::RichText);
    assert_eq!(after.bindings.key.name, "Ereignis");
    assert_eq!(after.warnings, []);
}

#[test]
fn a_new_column_under_the_name_of_a_renamed_one_is_pointed_out() {
    let before = resolve(&schema(&[("t", "EventId", "title"), ("a", "Amount", "number")]), None);
    let now = schema(&[("t", "EventId", "title"), ("a", "Old", "number"), ("b", "Amount", "number")]);
    let after = resolve(&now, Some(&before.bindings));
    assert_eq!(after.bindings.columns[&Field::Amount].id, "a");
    assert!(after.warnings[0].to_string().contains("\"Amount\" stays empty"));
}

#[test]
fn two_columns_that_swap_names_stay_where_they_were() {
    let columns = [("t", "EventId", "title"), ("c", "Currency", "rich_text"), ("s", "Source", "rich_text")];
    let swapped = [("t", "EventId", "title"), ("c", "Source", "rich_text"), ("s", "Currency", "rich_text")];
    let before = resolve(&schema(&columns), None);
    let after = resolve(&schema(&swapped), Some(&before.bindings));
    assert_eq!(after.bindings.columns[&Field::Currency].id, "c");
    assert_eq!(after.warnings, []);
}

#[test]
fn a_vanished_column_is_a_warning_and_its_successor_is_none() {
    let before = resolve(&schema(&[("t", "EventId", "title"), ("a", "Amount", "number")]), None);
    let gone = resolve(&schema(&[("t", "EventId", "title")]), Some(&before.bindings));
    assert!(gone.warnings[0].to_string().contains("\"Amount\" is gone"));
    assert!(gone.bindings.columns.is_empty());
    let replaced = schema(&[("t", "EventId", "title"), ("b", "Amount", "number")]);
    let again = resolve(&replaced, Some(&before.bindings));
    assert_eq!((again.bindings.columns[&Field::Amount].id.as_str(), again.warnings), ("b", vec![]));
}

#[test]
fn a_key_column_that_vanished_is_an_error_unless_another_bears_its_name() {
    let before = resolve(&schema(&[("t", "Name", "title"), ("k", "EventId", "rich_text")]), None);
    let gone = schema(&[("t", "Name", "title")]).resolve(Field::EventId, Some(&before.bindings));
    assert!(matches!(gone, Err(SchemaError::NoKeyColumn { .. })));
    let replaced = schema(&[("t", "Name", "title"), ("l", "EventId", "rich_text")]);
    let again = resolve(&replaced, Some(&before.bindings));
    assert_eq!(again.bindings.key.id, "l");
    assert!(matches!(again.warnings[0], SchemaWarning::KeyMoved { field: Field::EventId, .. }));
}

#[test]
fn a_column_that_nobody_can_write_is_left_alone() {
    let found = resolve(&schema(&[("t", "EventId", "title"), ("f", "Amount", "formula")]), None);
    assert!(found.bindings.columns.is_empty());
    assert!(found.warnings[0].to_string().contains("formula"));
}

#[test]
fn bindings_survive_being_stored() {
    let status = json!({"options": [{"name": "success"}, {"id": "nameless"}]});
    let described = json!({"properties": {
        "EventId": {"id": "title", "name": "EventId", "type": "title", "title": {}},
        "Status": {"id": "%3AUPp", "name": "Status", "type": "status", "status": status},
    }});
    let found = resolve(&Schema::parse(&described).expect("a data source"), None);
    assert_eq!(found.bindings.columns[&Field::Status].options, ["success"]);
    let stored = serde_json::to_string(&found.bindings).expect("JSON");
    assert_eq!(serde_json::from_str::<Bindings>(&stored).expect("bindings"), found.bindings);
}

fn resolve_objects(schema: &Schema, previous: Option<&Bindings>) -> Resolution {
    schema.resolve(Field::ObjectId, previous).expect("a key column")
}

#[test]
fn the_key_of_objects_is_a_text_column_or_the_title() {
    let columns = [("t", "Name", "title"), ("o", "object_id", "rich_text"), ("e", "EventId", "rich_text")];
    let found = resolve_objects(&schema(&columns), None).bindings;
    assert_eq!((found.key_field, found.key.id.as_str()), (Field::ObjectId, "o"));
    assert_eq!(found.event_key.as_ref().map(|column| column.id.as_str()), Some("e"));
    assert!(!found.columns.contains_key(&Field::EventId), "it is for the pages of events");
    assert!(!found.columns.contains_key(&Field::ObjectId));

    let titled = resolve_objects(&schema(&[("t", "ObjectId", "title")]), None).bindings;
    assert!(titled.is_key_in_title());
    assert_eq!(titled.column(Field::ObjectId).map(|column| column.id.as_str()), Some("t"));
}

#[test]
fn an_event_id_may_have_any_type_where_objects_have_the_key() {
    let columns = [("t", "Name", "title"), ("o", "ObjectId", "rich_text"), ("e", "EventId", "select")];
    assert_eq!(resolve_objects(&schema(&columns), None).bindings.event_key.expect("a column").id, "e");
}

#[test]
fn without_a_key_for_objects_the_operator_learns_what_to_add() {
    let refusal = |columns: &[_]| schema(columns).resolve(Field::ObjectId, None).expect_err("no key");
    let missing = refusal(&[("t", "EventId", "title")]).remedy(&notion());
    assert!(missing.contains("add a text column ObjectId"), "{missing}");
    let typed = refusal(&[("t", "EventId", "title"), ("o", "ObjectId", "select")]).to_string();
    assert!(typed.contains("must hold the ObjectId") && typed.contains("type select"), "{typed}");
}

#[test]
fn renamed_columns_go_on_filling_when_the_key_becomes_another() {
    let columns = [("t", "Name", "title"), ("o", "ObjectId", "rich_text"), ("e", "EventId", "rich_text")];
    let renamed = [("t", "Name", "title"), ("o", "Object", "rich_text"), ("e", "Event", "rich_text")];
    let events = resolve(&schema(&columns), None).bindings;
    let objects = resolve_objects(&schema(&renamed), Some(&events));
    assert_eq!(objects.bindings.key.name, "Object");
    assert_eq!(objects.bindings.event_key.as_ref().expect("a column").name, "Event");
    assert_eq!(objects.warnings, []);
    assert_eq!(resolve(&schema(&columns), Some(&objects.bindings)).bindings, events);
}

#[test]
fn a_vanished_key_of_objects_is_an_error_that_names_it() {
    let before =
        resolve_objects(&schema(&[("t", "Name", "title"), ("o", "ObjectId", "rich_text")]), None).bindings;
    let gone = schema(&[("t", "Name", "title")]).resolve(Field::ObjectId, Some(&before));
    assert!(matches!(gone, Err(SchemaError::NoKeyColumn { field: Field::ObjectId })));
}
