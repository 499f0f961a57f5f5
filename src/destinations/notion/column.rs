//! One column of a data source: its id, name, type and options.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// The type of a column, as far as it decides how a value is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum ColumnKind {
    /// The title; every data source has exactly one.
    Title,
    /// Text.
    RichText,
    /// A number.
    Number,
    /// One of several options; writing a new one adds it.
    Select,
    /// Several options.
    MultiSelect,
    /// One of a fixed set of options.
    Status,
    /// A date or an instant.
    Date,
    /// A link.
    Url,
    /// An e-mail address.
    Email,
    /// A telephone number.
    PhoneNumber,
    /// A checkbox.
    Checkbox,
    /// Any type that the service does not write, such as a formula.
    Other(String),
}

impl ColumnKind {
    /// Notion's word for the type.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Title => "title",
            Self::RichText => "rich_text",
            Self::Number => "number",
            Self::Select => "select",
            Self::MultiSelect => "multi_select",
            Self::Status => "status",
            Self::Date => "date",
            Self::Url => "url",
            Self::Email => "email",
            Self::PhoneNumber => "phone_number",
            Self::Checkbox => "checkbox",
            Self::Other(name) => name,
        }
    }
}

impl From<String> for ColumnKind {
    fn from(name: String) -> Self {
        match name.as_str() {
            "title" => Self::Title,
            "rich_text" => Self::RichText,
            "number" => Self::Number,
            "select" => Self::Select,
            "multi_select" => Self::MultiSelect,
            "status" => Self::Status,
            "date" => Self::Date,
            "url" => Self::Url,
            "email" => Self::Email,
            "phone_number" => Self::PhoneNumber,
            "checkbox" => Self::Checkbox,
            _ => Self::Other(name),
        }
    }
}

impl From<ColumnKind> for String {
    fn from(kind: ColumnKind) -> Self {
        kind.as_str().to_owned()
    }
}

impl fmt::Display for ColumnKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One column of a data source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Notion's id of it, which renaming does not change, [decoded](decoded_id).
    pub id: String,
    /// The name that the user gave it.
    pub name: String,
    /// Its type.
    pub kind: ColumnKind,
    /// The options of a select, multi-select or status column.
    pub options: Vec<String>,
}

impl Column {
    /// Whether values can be written to it.
    pub fn is_writable(&self) -> bool {
        !matches!(self.kind, ColumnKind::Other(_))
    }

    /// Whether it can hold the key of a page.
    pub fn can_be_key(&self) -> bool {
        matches!(self.kind, ColumnKind::Title | ColumnKind::RichText)
    }

    /// Reads one entry of a data source's `properties`; `None` if it has no id or no type.
    pub fn parse(name: &str, property: &Value) -> Option<Self> {
        let text = |key: &str| property.get(key).and_then(Value::as_str);
        let kind = text("type")?;
        let options =
            property.get(kind).and_then(|settings| settings.get("options")).and_then(Value::as_array);
        Some(Self {
            id: decoded_id(text("id")?),
            name: text("name").unwrap_or(name).to_owned(),
            kind: kind.to_owned().into(),
            options: options
                .into_iter()
                .flatten()
                .filter_map(|option| Some(option.get("name")?.as_str()?.to_owned()))
                .collect(),
        })
    }
}

/// An id as Notion's answers show it, without their percent-encoding. It is decoded once, where it is read,
/// so that every comparison is of the same form.
pub fn decoded_id(id: &str) -> String {
    let mut bytes = Vec::with_capacity(id.len());
    let mut rest = id;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend(before.bytes());
        if let Some(byte) = after.get(..2).and_then(|digits| hex::decode(digits).ok()) {
            bytes.extend(byte);
            rest = after.get(2..).unwrap_or_default();
        } else {
            bytes.push(b'%');
            rest = after;
        }
    }
    bytes.extend(rest.bytes());
    String::from_utf8(bytes).unwrap_or_else(|_| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::decoded_id;

    #[test]
    fn an_id_is_decoded_once() {
        for (shown, id) in [
            ("title", "title"),
            ("%3AUPp", ":UPp"),
            ("a%25%7C", "a%|"),
            ("%", "%"),
            ("%zz%é", "%zz%é"),
            ("%FF", "%FF"),
        ] {
            assert_eq!(decoded_id(shown), id, "{shown}");
        }
    }
}
