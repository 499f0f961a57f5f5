//! The options of a select, multi-select or status column.

use super::api_error::ApiError;
use super::kind::Kind;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One option of a select, multi-select or status column.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Choice {
    /// The option's id.
    pub id: String,
    /// The name that the user sees.
    pub name: String,
    /// One of Notion's colours.
    pub color: String,
}

const COLORS: &[&str] = &["blue", "green", "orange", "purple", "pink", "yellow", "brown", "red", "gray"];
const NAME_CHARS_MAX: usize = 100;

impl Choice {
    /// An option; without a colour, its position in the list decides the colour.
    pub fn new(name: &str, color: Option<&str>, place: usize) -> Self {
        let fallback = COLORS.get(place % COLORS.len()).copied().unwrap_or("default");
        let color = color.unwrap_or(fallback).to_owned();
        Self { id: uuid::Uuid::new_v4().to_string(), name: name.to_owned(), color }
    }

    /// Whether this is its name. Names are unique ignoring case.
    pub fn is_named(&self, name: &str) -> bool {
        self.name.to_lowercase() == name.to_lowercase()
    }

    /// What it adds to the size of the schema.
    pub fn bytes(&self) -> usize {
        self.id.len() + self.name.len() + self.color.len()
    }
}

/// The options that a new column of this type has.
pub fn starting(kind: Kind) -> Vec<Choice> {
    let names: &[&str] = if kind == Kind::Status { &["Not started", "In progress", "Done"] } else { &[] };
    names.iter().enumerate().map(|(place, name)| Choice::new(name, None, place)).collect()
}

/// Reads the options of a column's configuration.
pub fn parse(kind: Kind, configuration: &Value, path: &str) -> Result<Vec<Choice>, ApiError> {
    if !kind.has_options() {
        return Ok(Vec::new());
    }
    let Some(options) = configuration.get("options") else { return Ok(Vec::new()) };
    let path = format!("{path}.{}.options", kind.name());
    let Some(options) = options.as_array() else {
        return Err(ApiError::malformed(&path, "an array", Some(options)));
    };
    if options.len() > 100 {
        return Err(ApiError::validation(format!(
            "body failed validation: {path}.length should be ≤ `100`, instead was `{}`.",
            options.len()
        )));
    }
    options
        .iter()
        .enumerate()
        .map(|(place, option)| {
            let name = option.get("name").and_then(Value::as_str).unwrap_or_default();
            check_name(name)?;
            let color = match option.get("color") {
                None => None,
                Some(Value::String(color)) if is_color(color) => Some(color.as_str()),
                Some(other) => {
                    return Err(ApiError::malformed(
                        &format!("{path}[{place}].color"),
                        "a colour",
                        Some(other),
                    ));
                }
            };
            let mut choice = Choice::new(name, color, place);
            if let Some(id) = option.get("id").and_then(Value::as_str) {
                id.clone_into(&mut choice.id);
            }
            Ok(choice)
        })
        .collect()
}

fn is_color(name: &str) -> bool {
    name == "default" || COLORS.contains(&name)
}

/// Rejects invalid names of options.
pub fn check_name(name: &str) -> Result<(), ApiError> {
    if name.contains(',') {
        return Err(ApiError::validation(format!("Invalid select option, commas not allowed: {name}")));
    }
    if name.is_empty() || name.encode_utf16().count() > NAME_CHARS_MAX {
        return Err(ApiError::validation(format!(
            "Invalid select option, a name should have 1 to {NAME_CHARS_MAX} characters."
        )));
    }
    Ok(())
}
