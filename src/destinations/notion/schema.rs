//! The columns of a user's data source, and which of them the service fills.
//!
//! The user's schema decides. A column is found by its name the first time and by its id from then on, so
//! renaming it in Notion changes nothing. Requests name it as it is called now: ids are percent-encoded in
//! Notion's answers, and not every place of a request is known to take them. Only the column of the key must
//! exist.

use crate::config::InstanceName;
use crate::destinations::notion::column::{Column, ColumnKind};
use crate::destinations::notion::field::{Field, folded};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The columns of a data source, read from Notion's description of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    title: Column,
    columns: Vec<Column>,
}

/// Which column each known property fills. It is kept between runs, so that renamed columns are still filled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bindings {
    /// The title column.
    pub title: Column,
    /// The property under which a page is found again.
    pub key_field: Field,
    /// The column of that property: the title itself, or a text column.
    pub key: Column,
    /// The columns of the other known properties; without those that the user lacks.
    pub columns: BTreeMap<Field, Column>,
    /// If the key is the object's: the column in which event mode keeps or would keep its own key. It
    /// distinguishes the pages of events from those of objects, and is filled only in the former.
    #[serde(default)]
    pub event_key: Option<Column>,
}

impl Bindings {
    /// Whether the title holds the key; otherwise it gets a readable line.
    pub fn is_key_in_title(&self) -> bool {
        self.key.id == self.title.id
    }

    /// The column that a property fills, the key's own included.
    pub fn column(&self, field: Field) -> Option<&Column> {
        match field {
            field if field == self.key_field => Some(&self.key),
            Field::EventId if self.event_key.is_some() => self.event_key.as_ref(),
            field => self.columns.get(&field),
        }
    }

    /// Every column that is filled: the title, the key's, and those of the other properties.
    pub fn filled(&self) -> impl Iterator<Item = &Column> {
        [&self.title, &self.key].into_iter().chain(self.columns.values())
    }

    /// The column with this id, if it is filled.
    pub fn by_id(&self, id: &str) -> Option<&Column> {
        self.filled().find(|column| column.id == id)
    }

    /// The property that fills a column, unless that is the key or the line in the title.
    pub fn field_of(&self, column: &Column) -> Option<Field> {
        self.columns.iter().find(|(_, filled)| filled.id == column.id).map(|(field, _)| *field)
    }

    /// Values by the ids of their columns, as a request takes them: by the columns' present names.
    pub fn by_name(&self, values: &Map<String, Value>) -> Map<String, Value> {
        values.iter().filter_map(|(id, value)| Some((self.by_id(id)?.name.clone(), value.clone()))).collect()
    }
}

/// The bindings, and warnings for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// Which column each known property fills.
    pub bindings: Bindings,
    /// What the operator may want to fix; no delivery waits for it.
    pub warnings: Vec<SchemaWarning>,
}

/// A problem of the columns that the operator may want to fix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaWarning {
    /// A column that was filled is gone.
    Vanished {
        /// The property that filled it.
        field: Field,
        /// Its last known name.
        column: String,
    },
    /// The column of the key is gone, and another one is used from now on.
    KeyMoved {
        /// The key: the event's id, or the object's.
        field: Field,
        /// The last known name of the column that is gone.
        from: String,
        /// The column that is used now.
        to: String,
    },
    /// A column has a known name but a type that cannot be written.
    NotWritable {
        /// The property that the name stands for.
        field: Field,
        /// The column's name.
        column: String,
        /// The column's type.
        kind: ColumnKind,
    },
    /// A renamed column is still filled, so a new one with the known name stays empty.
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
            Self::Vanished { field, column } => {
                write!(f, "the column {column:?} is gone, so {} is no longer written", field.name())
            }
            Self::KeyMoved { field, from, to } if from == to => {
                write!(f, "the column {to:?} was created again; {} is written to the new one", field.name())
            }
            Self::KeyMoved { field, from, to } => write!(
                f,
                "the column {from:?} is gone, and {} is written to {to:?} from now on",
                field.name()
            ),
            Self::NotWritable { column, kind, .. } => {
                write!(f, "the column {column:?} is of type {kind}, which cannot be written")
            }
            Self::Shadowed { field, filled, empty } => write!(
                f,
                "{} is still written to the renamed column {filled:?}, so {empty:?} stays empty",
                field.name()
            ),
        }
    }
}

impl SchemaWarning {
    /// The property that it is about.
    pub fn field(&self) -> Field {
        match self {
            Self::Vanished { field, .. }
            | Self::KeyMoved { field, .. }
            | Self::NotWritable { field, .. }
            | Self::Shadowed { field, .. } => *field,
        }
    }

    /// What it is, in one word for logs.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Vanished { .. } => "vanished",
            Self::KeyMoved { .. } => "key_moved",
            Self::NotWritable { .. } => "not_writable",
            Self::Shadowed { .. } => "shadowed",
        }
    }

    /// What to do.
    pub fn remedy(&self) -> String {
        match self {
            Self::Vanished { field, .. } => format!("add a column {} to restore it", field.name()),
            Self::KeyMoved { field, .. } => format!(
                "earlier pages have no {} there and are updated only by their known ids: fill it in manually \
                 if they must be found by it",
                field.name()
            ),
            Self::NotWritable { field, .. } => {
                format!("change its type, for example to text, to have {} in it", field.name())
            }
            Self::Shadowed { .. } => "remove one of them".to_owned(),
        }
    }
}

/// Why a data source cannot be written to. The operator must act.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// The answer does not describe a data source.
    #[error("Notion's answer describes no data source with a title column")]
    NotADataSource,
    /// No column can hold the key.
    #[error("the data source has no column {}, by which a page is found again", field.name())]
    NoKeyColumn {
        /// The key: the event's id, or the object's.
        field: Field,
    },
    /// The key's column has a type that cannot hold it.
    #[error(
        "the column {column:?} must hold the {}, by which a page is found again, but is of type {kind}",
        field.name()
    )]
    WrongKeyType {
        /// The key: the event's id, or the object's.
        field: Field,
        /// The column's name.
        column: String,
        /// The column's type.
        kind: ColumnKind,
    },
}

impl SchemaError {
    /// What to do, without the names of the user's columns.
    pub fn remedy(&self, instance: &InstanceName) -> String {
        match self {
            Self::NotADataSource => format!(
                "{} does not lead to a database: correct it and restart",
                instance.setting("DATABASE_ID")
            ),
            Self::NoKeyColumn { field } => {
                let name = field.name();
                format!(
                    "add a text column {name} to the Notion database, rename its title column to {name}, or \
                     run eventbridge doctor --fix"
                )
            }
            Self::WrongKeyType { field, .. } => {
                format!("set the type of the column of {} in the Notion database to text", field.name())
            }
        }
    }
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

    /// Decides which column each known property fills, including the key: [`Field::EventId`] if every
    /// event has a page, [`Field::ObjectId`] if every object has one.
    ///
    /// A column bound before stays bound as long as it exists, whatever its name and type are now, unless it
    /// became one that cannot be written and another one has the property's name.
    /// A property without one takes the column with its name.
    pub fn resolve(&self, key_field: Field, previous: Option<&Bindings>) -> Result<Resolution, SchemaError> {
        let mut warnings = Vec::new();
        let key = self.key(key_field, previous, &mut warnings)?;
        let event_key = (key_field != Field::EventId).then(|| self.event_key(key, previous)).flatten();
        let mut taken = BTreeSet::from([self.title.id.as_str(), key.id.as_str()]);
        taken.extend(event_key.map(|column| column.id.as_str()));
        let mut found: BTreeMap<Field, &Column> = BTreeMap::new();
        let others =
            || Field::ALL.iter().copied().filter(|field| *field != key_field && *field != Field::EventId);

        for field in others() {
            let Some(before) = previous.and_then(|previous| previous.column(field)) else { continue };
            match self.by_id(&before.id) {
                Some(column) if taken.insert(&column.id) => {
                    found.insert(field, column);
                }
                Some(_) => {}
                None => warnings.push(SchemaWarning::Vanished { field, column: before.name.clone() }),
            }
        }
        for field in others() {
            let Some(named) = self.by_name(field, &taken, Column::is_writable) else { continue };
            if let Some(bound) = found.get(&field).filter(|bound| bound.is_writable() || !named.is_writable())
            {
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
        let bindings = Bindings {
            title: self.title.clone(),
            key_field,
            key: key.clone(),
            columns,
            event_key: event_key.cloned(),
        };
        Ok(Resolution { bindings, warnings })
    }

    /// The column of the key: the previous one, the title if it has the key's name, or another column with
    /// that name.
    fn key(
        &self,
        field: Field,
        previous: Option<&Bindings>,
        warnings: &mut Vec<SchemaWarning>,
    ) -> Result<&Column, SchemaError> {
        let before = previous.and_then(|previous| previous.column(field));
        let wanted = folded(field.name());
        let key = before
            .and_then(|before| self.by_id(&before.id))
            .or_else(|| (folded(&self.title.name) == wanted).then_some(&self.title))
            .or_else(|| self.by_name(field, &BTreeSet::new(), Column::can_be_key))
            .ok_or(SchemaError::NoKeyColumn { field })?;
        if let Some(before) = before.filter(|before| before.id != key.id) {
            let (from, to) = (before.name.clone(), key.name.clone());
            warnings.push(SchemaWarning::KeyMoved { field, from, to });
        }
        if key.can_be_key() {
            return Ok(key);
        }
        Err(SchemaError::WrongKeyType { field, column: key.name.clone(), kind: key.kind.clone() })
    }

    /// The column in which event mode would keep its key, as [`key`](Self::key) would find it.
    fn event_key(&self, key: &Column, previous: Option<&Bindings>) -> Option<&Column> {
        let is_named_so = |title: &&Column| folded(&title.name) == folded(Field::EventId.name());
        previous
            .and_then(|previous| self.by_id(&previous.column(Field::EventId)?.id))
            .or_else(|| Some(&self.title).filter(is_named_so))
            .or_else(|| self.by_name(Field::EventId, &BTreeSet::new(), Column::can_be_key))
            .filter(|column| column.id != key.id)
    }

    /// Whether a column has the name of a property, whatever its type is.
    pub fn has_named(&self, field: Field) -> bool {
        self.by_name(field, &BTreeSet::new(), Column::is_writable).is_some()
    }

    fn by_id(&self, id: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.id == id)
    }

    /// The free column with that name, or with one that differs only in case, spaces and underscores. Of
    /// several, a usable one wins, then the one with exactly that name.
    fn by_name(
        &self,
        field: Field,
        taken: &BTreeSet<&str>,
        is_usable: impl Fn(&Column) -> bool,
    ) -> Option<&Column> {
        let wanted = folded(field.name());
        let free = self.columns.iter().filter(|column| !taken.contains(column.id.as_str()));
        free.filter(|column| folded(&column.name) == wanted)
            .min_by_key(|column| (!is_usable(column), column.name != field.name()))
    }
}

#[cfg(test)]
mod tests;
