//! The columns that a user's data source has, and which of them we fill.
//!
//! The user's schema decides. A column is found by its name once and by its id from then on, so that
//! renaming it in Notion changes nothing. Only the column of the key must exist.

use crate::destinations::notion::column::{Column, ColumnKind};
use crate::destinations::notion::field::{Field, folded};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The columns of a data source, read from Notion's description of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    title: Column,
    columns: Vec<Column>,
}

/// Which column each known property fills. Kept between runs, it keeps renamed columns filling.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bindings {
    /// The title column.
    pub title: Column,
    /// The column of the event's id: the title itself, or a text column.
    pub key: Column,
    /// The columns of the other known properties; those that the user lacks are not in it.
    pub columns: BTreeMap<Field, Column>,
}

impl Bindings {
    /// Whether the title holds the event's id; otherwise it gets a readable line.
    pub fn is_key_in_title(&self) -> bool {
        self.key.id == self.title.id
    }
}

/// The bindings, and what a person should see of how they came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// Which column each known property fills.
    pub bindings: Bindings,
    /// What a person may want to mend; no delivery waits for it.
    pub warnings: Vec<SchemaWarning>,
}

/// Something about the columns that a person may want to mend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaWarning {
    /// A column that was filled is gone.
    Vanished {
        /// The property that filled it.
        field: Field,
        /// Its last known name.
        column: String,
    },
    /// A column has a known name and a type that nobody can write.
    NotWritable {
        /// The property that the name stands for.
        field: Field,
        /// The column's name.
        column: String,
        /// The column's type.
        kind: ColumnKind,
    },
    /// A renamed column goes on filling, so that a new one under the known name stays empty.
    Shadowed {
        /// The property.
        field: Field,
        /// The column that is filled.
        filled: String,
        /// The column that stays empty.
        empty: String,
    },
}

impl fmt::Display for SchemaWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vanished { field, column } => write!(
                f,
                "the column {column:?} is gone, so {} is no longer written; add a column {} to have it back",
                field.name(),
                field.name()
            ),
            Self::NotWritable { field, column, kind } => write!(
                f,
                "the column {column:?} is of type {kind}, which cannot be written; change its type, for \
                 instance to text, to have {} in it",
                field.name()
            ),
            Self::Shadowed { field, filled, empty } => write!(
                f,
                "{} goes on filling the renamed column {filled:?}, so {empty:?} stays empty; remove one of them",
                field.name()
            ),
        }
    }
}

/// Why a data source cannot be written to. The operator must act; the message says how.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// The answer does not describe a data source.
    #[error("Notion's answer describes no data source with a title column; check the id of the database")]
    NotADataSource,
    /// No column can hold the event's id.
    #[error(
        "the data source has no column for the event's id; rename its title column {title:?} to EventId, or \
         add a text column EventId"
    )]
    NoKeyColumn {
        /// The title column's name.
        title: String,
    },
    /// The column of the event's id has a type that cannot hold it.
    #[error("the column {column:?} must hold the event's id and is of type {kind}; change its type to text")]
    WrongKeyType {
        /// The column's name.
        column: String,
        /// The column's type.
        kind: ColumnKind,
    },
}

impl Schema {
    /// Reads Notion's answer to `GET /v1/data_sources/{id}`.
    pub fn parse(data_source: &Value) -> Result<Self, SchemaError> {
        let properties =
            data_source.get("properties").and_then(Value::as_object).ok_or(SchemaError::NotADataSource)?;
        let columns: Vec<_> =
            properties.iter().filter_map(|(name, property)| Column::parse(name, property)).collect();
        let title = columns.iter().find(|column| column.kind == ColumnKind::Title);
        Ok(Self { title: title.ok_or(SchemaError::NotADataSource)?.clone(), columns })
    }

    /// Decides which column each known property fills.
    ///
    /// A column bound before stays bound as long as it exists, whatever its name and type are now.
    /// A property without one takes the column that bears its name.
    pub fn resolve(&self, previous: Option<&Bindings>) -> Result<Resolution, SchemaError> {
        let mut warnings = Vec::new();
        let key = self.key(previous, &mut warnings)?;
        let mut taken = BTreeSet::from([self.title.id.as_str(), key.id.as_str()]);
        let mut found: BTreeMap<Field, &Column> = BTreeMap::new();
        let others = || Field::ALL.iter().copied().filter(|field| *field != Field::EventId);

        for field in others() {
            let Some(before) = previous.and_then(|previous| previous.columns.get(&field)) else { continue };
            match self.by_id(&before.id) {
                Some(column) if taken.insert(&column.id) => {
                    found.insert(field, column);
                }
                Some(_) => {}
                None => warnings.push(SchemaWarning::Vanished { field, column: before.name.clone() }),
            }
        }
        for field in others() {
            let Some(named) = self.by_name(field, &taken) else { continue };
            if let Some(bound) = found.get(&field) {
                warnings.push(SchemaWarning::Shadowed {
                    field,
                    filled: bound.name.clone(),
                    empty: named.name.clone(),
                });
            } else {
                taken.insert(&named.id);
                found.insert(field, named);
                warnings.retain(|warning| !matches!(warning, SchemaWarning::Vanished { field: gone, .. } if *gone == field));
            }
        }

        let mut columns = BTreeMap::new();
        for (field, column) in found {
            match &column.kind {
                ColumnKind::Other(_) => warnings.push(SchemaWarning::NotWritable {
                    field,
                    column: column.name.clone(),
                    kind: column.kind.clone(),
                }),
                _ => {
                    columns.insert(field, column.clone());
                }
            }
        }
        let bindings = Bindings { title: self.title.clone(), key: key.clone(), columns };
        Ok(Resolution { bindings, warnings })
    }

    /// The column of the event's id: the one from before, the title if it is called so, or a text
    /// column that is.
    fn key(
        &self,
        previous: Option<&Bindings>,
        warnings: &mut Vec<SchemaWarning>,
    ) -> Result<&Column, SchemaError> {
        let before = previous.map(|previous| &previous.key);
        let wanted = folded(Field::EventId.name());
        let key = before
            .and_then(|before| self.by_id(&before.id))
            .or_else(|| (folded(&self.title.name) == wanted).then_some(&self.title))
            .or_else(|| self.by_name(Field::EventId, &BTreeSet::new()))
            .ok_or_else(|| SchemaError::NoKeyColumn { title: self.title.name.clone() })?;
        if let Some(before) = before.filter(|before| before.id != key.id) {
            let column = before.name.clone();
            warnings.push(SchemaWarning::Vanished { field: Field::EventId, column });
        }
        match key.kind {
            ColumnKind::Title | ColumnKind::RichText => Ok(key),
            _ => Err(SchemaError::WrongKeyType { column: key.name.clone(), kind: key.kind.clone() }),
        }
    }

    fn by_id(&self, id: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.id == id)
    }

    /// The free column of that exact name, or else one that differs in case, spaces and underscores
    /// only.
    fn by_name(&self, field: Field, taken: &BTreeSet<&str>) -> Option<&Column> {
        let wanted = folded(field.name());
        let free = || self.columns.iter().filter(|column| !taken.contains(column.id.as_str()));
        free()
            .find(|column| column.name == field.name())
            .or_else(|| free().find(|column| folded(&column.name) == wanted))
    }
}

#[cfg(test)]
mod tests {
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
        schema.resolve(previous).expect("a key column")
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

    #[test]
    fn without_a_key_column_the_operator_learns_what_to_add() {
        let error = schema(&[("title", "Name", "title")]).resolve(None).expect_err("no key");
        assert!(error.to_string().contains("\"Name\"") && error.to_string().contains("add a text column"));
        let typed = schema(&[("title", "Name", "title"), ("k", "EventId", "number")]).resolve(None);
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
        let columns =
            [("t", "EventId", "title"), ("c", "Currency", "rich_text"), ("s", "Source", "rich_text")];
        let swapped =
            [("t", "EventId", "title"), ("c", "Source", "rich_text"), ("s", "Currency", "rich_text")];
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
        let gone = schema(&[("t", "Name", "title")]).resolve(Some(&before.bindings));
        assert!(matches!(gone, Err(SchemaError::NoKeyColumn { .. })));
        let replaced = schema(&[("t", "Name", "title"), ("l", "EventId", "rich_text")]);
        let again = resolve(&replaced, Some(&before.bindings));
        assert_eq!(again.bindings.key.id, "l");
        assert!(matches!(again.warnings[0], SchemaWarning::Vanished { field: Field::EventId, .. }));
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
}
