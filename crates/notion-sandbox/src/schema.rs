//! A data source's columns: their types, ids and options, and how requests change them.

use super::api_error::ApiError;
use super::kind::Kind;
use super::options::{self, Choice};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

/// The columns of one data source.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Schema {
    properties: Vec<Property>,
    /// The number of columns ever created: a column created again under an old name gets a new id.
    made: u32,
}

/// One column.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Property {
    /// The id, which renaming does not change; URL-encoded, as Notion shows it.
    pub id: String,
    /// The name that the user sees.
    pub name: String,
    /// The type.
    pub kind: Kind,
    /// The options of a select, multi-select or status; empty for the others.
    pub options: Vec<Choice>,
    /// The format of a number, if one was set.
    #[serde(default)]
    pub format: Option<String>,
}

/// The change that a request's `properties` ask for in one column.
#[derive(Debug)]
pub enum Alteration {
    /// Remove the column.
    Remove,
    /// Add it, rename it, change its type or give it more options.
    Change {
        /// The new name.
        name: Option<String>,
        /// The type.
        configuration: Option<Configuration>,
    },
}

/// A type with its options and its format.
#[derive(Debug)]
pub struct Configuration {
    kind: Kind,
    options: Vec<Choice>,
    format: Option<String>,
}

const PROPERTIES_MAX: usize = 500;
const NAME_CHARS_MAX: usize = 100;
const OPTIONS_MAX: usize = 10_000;
/// How large the options of all columns may be together.
const OPTIONS_BYTES_MAX: usize = 50_000;

impl Schema {
    /// A schema of these columns; the title must be among them.
    pub fn of(columns: &[(&str, Kind)]) -> Self {
        let mut schema = Self::default();
        for (name, kind) in columns {
            schema.push((*name).to_owned(), Configuration::of(*kind));
        }
        schema
    }

    /// Reads the `properties` of a new data source.
    pub fn parse(properties: &Map<String, Value>, path: &str) -> Result<Self, ApiError> {
        let mut schema = Self::default();
        for (name, definition) in properties {
            schema.alter(name, Alteration::parse(definition, &format!("{path}.{name}"))?)?;
        }
        if schema.title().is_none() {
            return Err(ApiError::validation("Title is not provided"));
        }
        Ok(schema)
    }

    /// The columns, in the order of their creation.
    pub fn properties(&self) -> &[Property] {
        &self.properties
    }

    /// The column with this name, or with this id as it is. Whether pages and filters take the id in the
    /// URL-encoded form in which Notion shows it is unknown, and one report says that they do not. So the
    /// sandbox takes the stricter reading.
    pub fn find(&self, name_or_id: &str) -> Option<&Property> {
        self.properties
            .iter()
            .find(|property| property.name == name_or_id)
            .or_else(|| self.properties.iter().find(|property| decoded(&property.id) == name_or_id))
    }

    /// The title column.
    pub fn title(&self) -> Option<&Property> {
        self.properties.iter().find(|property| property.kind == Kind::Title)
    }

    /// Applies one entry of a request's `properties`. Cells need no change: content of a removed column
    /// is never shown, and content of another type is converted when it is read.
    pub fn alter(&mut self, key: &str, alteration: Alteration) -> Result<(), ApiError> {
        let found = self.find(key).map(|property| (property.id.clone(), property.kind));
        match (found, alteration) {
            (None, Alteration::Remove | Alteration::Change { configuration: None, .. }) => {
                Err(ApiError::validation(format!("Could not find property with name or id: {key}")))
            }
            (None, Alteration::Change { name, configuration: Some(configuration) }) => {
                let name = name.unwrap_or_else(|| key.to_owned());
                self.check_name(&name, None)?;
                if configuration.kind == Kind::Title && self.title().is_some() {
                    return Err(ApiError::validation("Cannot create new title property"));
                }
                if self.properties.len() >= PROPERTIES_MAX {
                    return Err(ApiError::validation(format!(
                        "A data source holds {PROPERTIES_MAX} properties at most."
                    )));
                }
                self.push(name, configuration);
                Ok(())
            }
            (Some((_, Kind::Title)), Alteration::Remove) => {
                Err(ApiError::validation("Cannot delete title property"))
            }
            (Some((id, _)), Alteration::Remove) => {
                self.properties.retain(|property| property.id != id);
                Ok(())
            }
            (Some((id, old)), Alteration::Change { name, configuration }) => {
                if let Some(name) = &name {
                    self.check_name(name, Some(&id))?;
                }
                let kind = configuration.as_ref().map_or(old, |configuration| configuration.kind);
                if kind != old && (old == Kind::Title || kind == Kind::Title) {
                    return Err(ApiError::validation("Cannot change the type of the title property"));
                }
                if let Some(property) = self.properties.iter_mut().find(|property| property.id == id) {
                    property.change(name, configuration);
                }
                Ok(())
            }
        }
    }

    /// Creates the options that a page's value names for the first time, unless the schema becomes too
    /// large. After an error, this schema must not be used.
    pub fn learn_options(&mut self, id: &str, names: &[String]) -> Result<(), ApiError> {
        let Some(property) = self.properties.iter_mut().find(|property| property.id == id) else {
            return Ok(());
        };
        for name in names {
            if property.options.len() >= OPTIONS_MAX {
                return Err(ApiError::validation(format!(
                    "{} has {OPTIONS_MAX} options already, which is as many as it can hold.",
                    property.name
                )));
            }
            let option = Choice::new(name, None, property.options.len());
            property.options.push(option);
        }
        let options = self.properties.iter().flat_map(|property| &property.options);
        if options.map(Choice::bytes).sum::<usize>() > OPTIONS_BYTES_MAX {
            return Err(ApiError::validation(
                "The database has exceeded the maximum database property schema size.",
            ));
        }
        Ok(())
    }

    /// The schema as a data source shows it.
    pub fn to_json(&self) -> Value {
        self.properties.iter().map(|property| (property.name.clone(), property.to_json())).collect()
    }

    fn push(&mut self, name: String, configuration: Configuration) {
        let Configuration { kind, options, format } = configuration;
        let id = self.fresh_id(&name, kind);
        let options = if options.is_empty() { options::starting(kind) } else { options };
        self.properties.push(Property { id, name, kind, options, format });
    }

    /// An id of four characters in Notion's form, some of them URL-encoded. It depends on the name and
    /// the count, so that a restarted sandbox shows the same ids.
    fn fresh_id(&mut self, name: &str, kind: Kind) -> String {
        const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz:;<=>?@[]^{|}~";
        if kind == Kind::Title {
            return "title".to_owned();
        }
        loop {
            self.made = self.made.wrapping_add(1);
            let digest = Sha256::digest(format!("{}:{name}", self.made));
            let mut id = String::new();
            for byte in digest.iter().take(4) {
                match ALPHABET.get(usize::from(*byte) % ALPHABET.len()) {
                    Some(letter) if letter.is_ascii_alphanumeric() => id.push(char::from(*letter)),
                    Some(sign) => id.extend(['%', hex(sign >> 4), hex(sign & 0xf)]),
                    None => {}
                }
            }
            if self.properties.iter().all(|property| property.id != id) {
                return id;
            }
        }
    }

    fn check_name(&self, name: &str, own_id: Option<&str>) -> Result<(), ApiError> {
        if name.is_empty() || name.encode_utf16().count() > NAME_CHARS_MAX {
            return Err(ApiError::validation(format!(
                "A property's name should have 1 to {NAME_CHARS_MAX} characters."
            )));
        }
        let taken = self
            .properties
            .iter()
            .any(|property| property.name == name && own_id != Some(property.id.as_str()));
        if taken {
            return Err(ApiError::validation(format!("Cannot create duplicate property name: {name}")));
        }
        Ok(())
    }
}

impl Property {
    /// The option with this name, in any case.
    pub fn option(&self, name: &str) -> Option<&Choice> {
        self.options.iter().find(|option| option.is_named(name))
    }

    fn change(&mut self, name: Option<String>, configuration: Option<Configuration>) {
        if let Some(name) = name {
            self.name = name;
        }
        let Some(Configuration { kind, options, format }) = configuration else { return };
        if kind != self.kind && !(kind.has_options() && self.kind.has_options()) {
            self.options = options::starting(kind);
        }
        if kind != self.kind || format.is_some() {
            self.format = format;
        }
        self.kind = kind;
        if kind == Kind::Status && !options.is_empty() {
            // The list replaces the present one: what it does not have is gone.
            let known = std::mem::take(&mut self.options);
            let kept = |option: Choice| {
                let is_same = |one: &&Choice| one.id == option.id || one.is_named(&option.name);
                known.iter().find(is_same).cloned().unwrap_or(option)
            };
            self.options = options.into_iter().map(kept).collect();
            return;
        }
        for option in options {
            if self.option(&option.name).is_none() {
                self.options.push(option);
            }
        }
    }

    fn to_json(&self) -> Value {
        let configuration = match self.kind {
            Kind::Select | Kind::MultiSelect => json!({ "options": self.options_json() }),
            Kind::Status => json!({ "options": self.options_json(), "groups": [] }),
            Kind::Number => json!({ "format": self.format.as_deref().unwrap_or("number") }),
            Kind::Formula => json!({ "expression": "" }),
            Kind::UniqueId => json!({ "prefix": null }),
            _ => json!({}),
        };
        json!({
            "id": self.id,
            "name": self.name,
            "description": null,
            "type": self.kind.name(),
            self.kind.name(): configuration,
        })
    }

    fn options_json(&self) -> Vec<Value> {
        self.options
            .iter()
            .map(|option| {
                json!({ "id": option.id, "name": option.name, "color": option.color, "description": null })
            })
            .collect()
    }
}

impl Alteration {
    /// Reads one entry of `properties`: `null`, a new name, a type, or a type under a new name.
    pub fn parse(definition: &Value, path: &str) -> Result<Self, ApiError> {
        if definition.is_null() {
            return Ok(Self::Remove);
        }
        let Some(members) = definition.as_object() else {
            return Err(ApiError::malformed(path, "an object or `null`", Some(definition)));
        };
        let name = match members.get("name") {
            None => None,
            Some(Value::String(name)) => Some(name.clone()),
            Some(other) => return Err(ApiError::malformed(&format!("{path}.name"), "a string", Some(other))),
        };
        let mut kinds = members.iter().filter_map(|(key, value)| Some((Kind::parse(key)?, value)));
        let configuration = match (kinds.next(), kinds.next()) {
            (None, _) => None,
            (Some((kind, value)), None) => Some(Configuration::parse(kind, value, path)?),
            (Some(_), Some(_)) => {
                return Err(ApiError::malformed(path, "of one type", Some(definition)));
            }
        };
        if name.is_none() && configuration.is_none() {
            return Err(ApiError::malformed(path, "a property's type or a new name", Some(definition)));
        }
        Ok(Self::Change { name, configuration })
    }
}

impl Configuration {
    fn of(kind: Kind) -> Self {
        Self { kind, options: Vec::new(), format: None }
    }

    fn parse(kind: Kind, value: &Value, path: &str) -> Result<Self, ApiError> {
        let format = match value.get("format").filter(|_| kind == Kind::Number) {
            None => None,
            Some(Value::String(format)) => Some(format.clone()),
            Some(other) => {
                return Err(ApiError::malformed(&format!("{path}.number.format"), "a string", Some(other)));
            }
        };
        Ok(Self { kind, options: options::parse(kind, value, path)?, format })
    }
}

/// An id as Notion shows it, without its URL-encoding.
pub fn decoded(id: &str) -> String {
    let mut parts = id.split('%');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let sign = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        text.extend(sign.map(char::from));
        text.push_str(part.get(2..).unwrap_or_default());
    }
    text
}

fn hex(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).unwrap_or('0').to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_made_anew_under_an_old_name_has_another_id() {
        let mut schema = Schema::of(&[("Name", Kind::Title), ("Amount", Kind::Number)]);
        let before = schema.find("Amount").unwrap().id.clone();
        schema.alter("Amount", Alteration::Remove).unwrap();
        let number = Alteration::parse(&json!({ "number": {} }), "p").unwrap();
        schema.alter("Amount", number).unwrap();
        assert_ne!(schema.find("Amount").unwrap().id, before);
    }

    #[test]
    fn a_column_is_found_by_its_name_or_its_decoded_id() {
        let mut schema = Schema::of(&[("Name", Kind::Title), ("Amount", Kind::Number)]);
        schema.properties[1].id = "a%3Ab%7C".to_owned();
        for (key, is_found) in [("Amount", true), ("a:b|", true), ("a%3Ab%7C", false), ("title", true)] {
            assert_eq!(schema.find(key).is_some(), is_found, "{key}");
        }
    }

    #[test]
    fn the_title_can_be_renamed_and_neither_removed_nor_retyped() {
        let mut schema = Schema::of(&[("Name", Kind::Title)]);
        let rename = Alteration::parse(&json!({ "name": "Title" }), "p").unwrap();
        schema.alter("Name", rename).unwrap();
        assert_eq!(schema.title().unwrap().name, "Title");
        assert!(schema.alter("title", Alteration::Remove).is_err());
        let retype = Alteration::parse(&json!({ "number": {} }), "p").unwrap();
        assert!(schema.alter("Title", retype).is_err());
    }
}
