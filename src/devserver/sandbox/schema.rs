//! A data source's columns: their types, ids and options, and how requests change them.

use super::kind::Kind;
use super::refusal::Refusal;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

/// The columns of one data source.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Schema {
    properties: Vec<Property>,
    /// How many columns were ever made: a column made anew under an old name gets a new id.
    made: u32,
}

/// One column.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Property {
    /// The id, which outlives renaming; URL-encoded, as Notion shows it.
    pub id: String,
    /// The name that the user sees.
    pub name: String,
    /// The type.
    pub kind: Kind,
    /// The options of a select, multi-select or status; empty for the others.
    pub options: Vec<Choice>,
}

/// One option of a select, multi-select or status column.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Choice {
    /// The option's id.
    pub id: String,
    /// What the user sees.
    pub name: String,
    /// One of Notion's colours.
    pub color: String,
}

/// What one column of a request's `properties` asks for.
#[derive(Debug)]
pub enum Alteration {
    /// Take the column away.
    Remove,
    /// Add it, rename it, change its type or give it more options.
    Change {
        /// The new name.
        name: Option<String>,
        /// The type, with the options named along with it.
        kind: Option<(Kind, Vec<Choice>)>,
    },
}

const COLORS: &[&str] = &["blue", "green", "orange", "purple", "pink", "yellow", "brown", "red", "gray"];
const PROPERTIES_MAX: usize = 500;
const NAME_CHARS_MAX: usize = 100;
const OPTIONS_MAX: usize = 10_000;

impl Schema {
    /// A schema of these columns; the title must be among them.
    pub fn of(columns: &[(&str, Kind)]) -> Self {
        let mut schema = Self::default();
        for (name, kind) in columns {
            schema.push((*name).to_owned(), *kind, starting_options(*kind));
        }
        schema
    }

    /// Reads the `properties` of a new data source.
    pub fn parse(properties: &Map<String, Value>, path: &str) -> Result<Self, Refusal> {
        let mut schema = Self::default();
        for (name, definition) in properties {
            schema.alter(name, Alteration::parse(definition, &format!("{path}.{name}"))?)?;
        }
        if schema.title().is_none() {
            return Err(Refusal::validation("Title is not provided"));
        }
        Ok(schema)
    }

    /// The columns, in the order in which they were made.
    pub fn properties(&self) -> &[Property] {
        &self.properties
    }

    /// The column with this name or id.
    pub fn find(&self, name_or_id: &str) -> Option<&Property> {
        self.properties
            .iter()
            .find(|property| property.name == name_or_id)
            .or_else(|| self.properties.iter().find(|property| property.id == name_or_id))
    }

    /// The title column.
    pub fn title(&self) -> Option<&Property> {
        self.properties.iter().find(|property| property.kind == Kind::Title)
    }

    /// Applies one entry of a request's `properties`. The cells need no change: what belongs to a
    /// column that is gone is never shown, and what has another type is converted as it is read.
    pub fn alter(&mut self, key: &str, alteration: Alteration) -> Result<(), Refusal> {
        let found = self.find(key).map(|property| (property.id.clone(), property.kind));
        match (found, alteration) {
            (None, Alteration::Remove | Alteration::Change { kind: None, .. }) => {
                Err(Refusal::validation(format!("Could not find property with name or id: {key}")))
            }
            (None, Alteration::Change { name, kind: Some((kind, options)) }) => {
                let name = name.unwrap_or_else(|| key.to_owned());
                self.check_name(&name, None)?;
                if kind == Kind::Title && self.title().is_some() {
                    return Err(Refusal::validation("Cannot create new title property"));
                }
                if self.properties.len() >= PROPERTIES_MAX {
                    return Err(Refusal::validation(format!(
                        "A data source holds {PROPERTIES_MAX} properties at most."
                    )));
                }
                let options = if options.is_empty() { starting_options(kind) } else { options };
                self.push(name, kind, options);
                Ok(())
            }
            (Some((_, Kind::Title)), Alteration::Remove) => {
                Err(Refusal::validation("Cannot delete title property"))
            }
            (Some((id, _)), Alteration::Remove) => {
                self.properties.retain(|property| property.id != id);
                Ok(())
            }
            (Some((id, old)), Alteration::Change { name, kind }) => {
                if let Some(name) = &name {
                    self.check_name(name, Some(&id))?;
                }
                let retyped = kind.as_ref().is_some_and(|(kind, _)| *kind != old);
                let title_moves = kind.as_ref().is_some_and(|(kind, _)| *kind == Kind::Title);
                if retyped && (old == Kind::Title || title_moves) {
                    return Err(Refusal::validation("Cannot change the type of the title property"));
                }
                if let Some(property) = self.properties.iter_mut().find(|property| property.id == id) {
                    property.change(name, kind);
                }
                Ok(())
            }
        }
    }

    /// Creates the options that a page's value names for the first time.
    pub fn learn_options(&mut self, id: &str, names: &[String]) -> Result<(), Refusal> {
        let Some(property) = self.properties.iter_mut().find(|property| property.id == id) else {
            return Ok(());
        };
        for name in names {
            if property.options.len() >= OPTIONS_MAX {
                return Err(Refusal::validation(format!(
                    "{} has {OPTIONS_MAX} options already, which is as many as it can hold.",
                    property.name
                )));
            }
            let option = Choice::new(name, None, property.options.len());
            property.options.push(option);
        }
        Ok(())
    }

    /// The schema as a data source shows it.
    pub fn to_json(&self) -> Value {
        self.properties.iter().map(|property| (property.name.clone(), property.to_json())).collect()
    }

    fn push(&mut self, name: String, kind: Kind, options: Vec<Choice>) {
        let id = self.fresh_id(&name, kind);
        self.properties.push(Property { id, name, kind, options });
    }

    /// An id of four characters as Notion gives them out, some of them URL-encoded. It follows from
    /// the name and the count, so that a sandbox started anew shows the same ids.
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
            if self.find(&id).is_none() {
                return id;
            }
        }
    }

    fn check_name(&self, name: &str, own_id: Option<&str>) -> Result<(), Refusal> {
        if name.is_empty() || name.encode_utf16().count() > NAME_CHARS_MAX {
            return Err(Refusal::validation(format!(
                "A property's name should have 1 to {NAME_CHARS_MAX} characters."
            )));
        }
        let taken = self
            .properties
            .iter()
            .any(|property| property.name == name && own_id != Some(property.id.as_str()));
        if taken {
            return Err(Refusal::validation(format!("Cannot create duplicate property name: {name}")));
        }
        Ok(())
    }
}

impl Property {
    /// The option with this name.
    pub fn option(&self, name: &str) -> Option<&Choice> {
        self.options.iter().find(|option| option.name == name)
    }

    fn change(&mut self, name: Option<String>, kind: Option<(Kind, Vec<Choice>)>) {
        if let Some(name) = name {
            self.name = name;
        }
        let Some((kind, options)) = kind else { return };
        if kind != self.kind && !(kind.has_options() && self.kind.has_options()) {
            self.options = starting_options(kind);
        }
        self.kind = kind;
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
            Kind::Number => json!({ "format": "number" }),
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

impl Choice {
    /// An option; the colour follows from its place in the list where none is given.
    pub fn new(name: &str, color: Option<&str>, place: usize) -> Self {
        let fallback = COLORS.get(place % COLORS.len()).copied().unwrap_or("default");
        let color = color.unwrap_or(fallback).to_owned();
        Self { id: uuid::Uuid::new_v4().to_string(), name: name.to_owned(), color }
    }
}

impl Alteration {
    /// Reads one entry of `properties`: `null`, a new name, a type, or a type under a new name.
    pub fn parse(definition: &Value, path: &str) -> Result<Self, Refusal> {
        if definition.is_null() {
            return Ok(Self::Remove);
        }
        let Some(members) = definition.as_object() else {
            return Err(Refusal::malformed(path, "an object or `null`", Some(definition)));
        };
        let name = match members.get("name") {
            None => None,
            Some(Value::String(name)) => Some(name.clone()),
            Some(other) => return Err(Refusal::malformed(&format!("{path}.name"), "a string", Some(other))),
        };
        let mut kinds = members.iter().filter_map(|(key, value)| Some((Kind::parse(key)?, value)));
        let kind = match (kinds.next(), kinds.next()) {
            (None, _) => None,
            (Some((kind, configuration)), None) => Some((kind, parse_options(kind, configuration, path)?)),
            (Some(_), Some(_)) => {
                return Err(Refusal::malformed(path, "of one type", Some(definition)));
            }
        };
        if name.is_none() && kind.is_none() {
            return Err(Refusal::malformed(path, "a property's type or a new name", Some(definition)));
        }
        Ok(Self::Change { name, kind })
    }
}

fn hex(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).unwrap_or('0').to_ascii_uppercase()
}

fn starting_options(kind: Kind) -> Vec<Choice> {
    let names: &[&str] = if kind == Kind::Status { &["Not started", "In progress", "Done"] } else { &[] };
    names.iter().enumerate().map(|(place, name)| Choice::new(name, None, place)).collect()
}

fn parse_options(kind: Kind, configuration: &Value, path: &str) -> Result<Vec<Choice>, Refusal> {
    if !kind.has_options() {
        return Ok(Vec::new());
    }
    let Some(options) = configuration.get("options") else { return Ok(Vec::new()) };
    let path = format!("{path}.{}.options", kind.name());
    let Some(options) = options.as_array() else {
        return Err(Refusal::malformed(&path, "an array", Some(options)));
    };
    if options.len() > 100 {
        return Err(Refusal::validation(format!(
            "body failed validation: {path}.length should be ≤ `100`, instead was `{}`.",
            options.len()
        )));
    }
    options
        .iter()
        .enumerate()
        .map(|(place, option)| {
            let name = option.get("name").and_then(Value::as_str).unwrap_or_default();
            check_option_name(name)?;
            let color = match option.get("color") {
                None => None,
                Some(Value::String(color)) if is_color(color) => Some(color.as_str()),
                Some(other) => {
                    return Err(Refusal::malformed(
                        &format!("{path}[{place}].color"),
                        "a colour",
                        Some(other),
                    ));
                }
            };
            Ok(Choice::new(name, color, place))
        })
        .collect()
}

fn is_color(name: &str) -> bool {
    name == "default" || COLORS.contains(&name)
}

/// Refuses the names that no option can have.
pub fn check_option_name(name: &str) -> Result<(), Refusal> {
    if name.contains(',') {
        return Err(Refusal::validation(format!("Invalid select option, commas not allowed: {name}")));
    }
    if name.is_empty() || name.encode_utf16().count() > NAME_CHARS_MAX {
        return Err(Refusal::validation(format!(
            "Invalid select option, a name should have 1 to {NAME_CHARS_MAX} characters."
        )));
    }
    Ok(())
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
