//! The columns of a new database, and how much of its property a user's column can hold.

use super::column::{Column, ColumnKind};
use super::example::example;
use super::field::{Field, FieldValue, Values, folded};
use super::mapping::write;
use chrono::DateTime;
use chrono_tz::Tz;
use serde_json::{Map, Value, json};

/// What a column can hold of its property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fit {
    /// All of it.
    Whole,
    /// A part of it; the reason names what is left out.
    Partly(String),
    /// Nothing of it, for this reason.
    Nothing(String),
}

/// The definition of a new column for a property, in the form of Notion's API.
pub fn definition(field: Field) -> Value {
    let row = field.row();
    let settings = match (row.values, &row.kind) {
        (Values::Options(words), _) => {
            let option = |(name, color): &(&str, &str)| json!({ "name": name, "color": color });
            json!({ "options": words.iter().map(option).collect::<Vec<_>>() })
        }
        (_, ColumnKind::Number) => json!({ "format": "number_with_commas" }),
        _ => json!({}),
    };
    json!({ (row.kind.as_str()): settings })
}

/// How many bytes the options of all columns take, as far as it can be seen from outside.
pub fn option_bytes(data_source: &Value) -> usize {
    let columns = data_source.get("properties").and_then(Value::as_object);
    let options = columns.into_iter().flat_map(Map::values).filter_map(|column| {
        let kind = column.get("type")?.as_str()?;
        column.get(kind)?.get("options")?.as_array()
    });
    let texts =
        options.flatten().filter_map(Value::as_object).flat_map(Map::values).filter_map(Value::as_str);
    texts.map(str::len).sum()
}

/// The options that a status column lacks for all values of its property, if these are known.
pub fn missing_options(field: Field, column: &Column) -> Vec<(&'static str, &'static str)> {
    let Values::Options(words) = field.row().values else { return Vec::new() };
    let has = |word: &str| column.options.iter().any(|option| folded(option) == folded(word));
    words.iter().copied().filter(|(word, _)| column.kind == ColumnKind::Status && !has(word)).collect()
}

/// The definition of a status column with more options. The list replaces the present one, so it has all of
/// them, with their ids. New ones come into the group that Notion gives them: the requests of Notion's own client
/// have no groups.
pub fn with_options(property: &Value, new: &[(&str, &str)]) -> Value {
    let present = property.pointer("/status/options").and_then(Value::as_array).into_iter().flatten();
    let present = present.map(|option| json!({ "id": option["id"], "name": option["name"] }));
    let new = new.iter().map(|(name, color)| json!({ "name": name, "color": color }));
    json!({ "status": { "options": present.chain(new).collect::<Vec<_>>() } })
}

/// The definitions of new columns, by their names.
pub fn definitions(fields: &[Field]) -> Map<String, Value> {
    fields.iter().map(|field| (field.name().to_owned(), definition(*field))).collect()
}

/// The columns of a new database: a readable title, and every property that is offered.
pub fn whole_table() -> Map<String, Value> {
    let offered: Vec<_> = Field::ALL.iter().copied().filter(|field| field.is_offered()).collect();
    let mut columns = definitions(&offered);
    columns.insert("Name".to_owned(), json!({ "title": {} }));
    columns
}

/// The view of what customers paid: live payments only, apart by currency. `currency` is the id of the column by
/// which it is grouped. A person adds the sum below the column: a table's configuration in Notion's API has no
/// calculation.
pub fn collected_view(database: &str, data_source: &str, currency: &str) -> Value {
    let property = |field: Field| field.name();
    json!({
        "database_id": database,
        "data_source_id": data_source,
        "name": property(Field::Collected),
        "type": "table",
        "filter": { "and": [
            { "property": property(Field::Livemode), "checkbox": { "equals": true } },
            { "property": property(Field::Collected), "number": { "is_not_empty": true } },
        ] },
        "sorts": [{ "property": property(Field::OccurredAt), "direction": "descending" }],
        "configuration": {
            "type": "table",
            "group_by": {
                "type": "select",
                "property_id": currency,
                "sort": { "type": "ascending" },
                "hide_empty_groups": true,
            },
        },
    })
}

/// What a column can hold of its property, tested with values of every sort that occurs.
pub fn fit(field: Field, column: &Column) -> Fit {
    let values = samples(field);
    let refused: Vec<String> = values.iter().filter_map(|value| write(field, value, column).err()).collect();
    match refused.first() {
        None => Fit::Whole,
        Some(reason) if refused.len() == values.len() => Fit::Nothing(reason.clone()),
        Some(_) => Fit::Partly(refused.join("; ")),
    }
}

/// Values of every sort that a property has.
fn samples(field: Field) -> Vec<FieldValue<'static>> {
    if let Values::Options(words) = field.row().values {
        return words.iter().map(|(word, _)| FieldValue::Text((*word).into())).collect();
    }
    let mut event = example(DateTime::UNIX_EPOCH);
    let mut samples = Vec::new();
    for livemode in [true, false] {
        event.livemode = Some(livemode);
        if let Some(value) = field.value(&event, Tz::UTC).map(FieldValue::into_owned)
            && !samples.contains(&value)
        {
            samples.push(value);
        }
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(kind: ColumnKind, options: &[&str]) -> Column {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        Column { id: "id".to_owned(), name: "Column".to_owned(), kind, options }
    }

    #[test]
    fn the_columns_that_we_make_hold_all_of_their_properties() {
        for field in Field::ALL {
            assert_eq!(fit(*field, &column(field.row().kind.clone(), &[])), Fit::Whole, "{}", field.name());
        }
        assert!(!whole_table().contains_key("Status"), "by its rule most types are pending");
        // The title takes the place of Status.
        assert_eq!(whole_table().len(), Field::ALL.len());
    }

    #[test]
    fn a_status_gets_the_options_that_it_lacks_and_keeps_its_own() {
        let status = column(ColumnKind::Status, &["Success", "Mine"]);
        let missing = missing_options(Field::Status, &status);
        assert_eq!(missing.iter().map(|(word, _)| *word).collect::<Vec<_>>(), ["failed", "pending"]);
        let property = json!({"status": {"options": [{"id": "1", "name": "Success", "color": "red"}]}});
        let options = json!([{"id": "1", "name": "Success"}, {"name": "failed", "color": "red"}]);
        assert_eq!(with_options(&property, &missing[..1])["status"]["options"], options);
        assert!(missing_options(Field::Customer, &status).is_empty());
        assert!(missing_options(Field::Status, &column(ColumnKind::Select, &[])).is_empty());
    }

    #[test]
    fn a_column_of_another_type_holds_nothing_and_a_status_what_it_has_options_for() {
        assert!(matches!(fit(Field::Amount, &column(ColumnKind::Date, &[])), Fit::Nothing(_)));
        assert!(matches!(fit(Field::Customer, &column(ColumnKind::Url, &[])), Fit::Nothing(_)));
        assert_eq!(fit(Field::Amount, &column(ColumnKind::RichText, &[])), Fit::Whole);
        let status = column(ColumnKind::Status, &["Success", "pending"]);
        match fit(Field::Status, &status) {
            Fit::Partly(reason) => assert!(reason.contains("\"failed\"") && !reason.contains("success")),
            other => panic!("{other:?}"),
        }
    }
}
