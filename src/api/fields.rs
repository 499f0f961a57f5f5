//! Reads a struct from named values: the parameters of a query, or the fields of a JSON body.
//!
//! Serde's own formats describe errors in the words of their parser. This reader knows the name of each value,
//! so an error names the parameter or the field, and what it must be.

use serde::de::value::{MapDeserializer, SeqDeserializer, StringDeserializer};
use serde::de::{self, DeserializeOwned, Deserializer, Expected, IntoDeserializer, Unexpected, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::Value;
use std::fmt;

/// Why the values do not make the struct.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FieldError {
    /// The parameter or the field, such as `limit` or `filter.status`; none if the whole is wrong.
    pub(super) name: Option<String>,
    /// What is wrong with it, without a full stop: `must be a whole number`.
    pub(super) what: String,
}

/// Reads the parameters of a query. Each value is text.
pub(super) fn from_query<T: DeserializeOwned>(pairs: Vec<(String, String)>) -> Result<T, FieldError> {
    let fields = pairs.into_iter().map(|(name, text)| {
        let field = Field { name: name.clone(), value: Value::String(text), is_text: true };
        (name, field)
    });
    T::deserialize(MapDeserializer::new(fields))
}

/// Reads a JSON body.
pub(super) fn from_json<T: DeserializeOwned>(value: Value) -> Result<T, FieldError> {
    T::deserialize(Field { name: String::new(), value, is_text: false })
}

impl FieldError {
    fn named(name: &str, what: impl Into<String>) -> Self {
        Self { name: (!name.is_empty()).then(|| name.to_owned()), what: what.into() }
    }

    /// The same error inside of this field.
    fn within(self, name: &str) -> Self {
        match (self.name, name) {
            (Some(inner), "") => Self { name: Some(inner), ..self },
            (Some(inner), outer) if inner == outer || inner.starts_with(&format!("{outer}.")) => {
                Self { name: Some(inner), ..self }
            }
            (Some(inner), outer) => Self { name: Some(format!("{outer}.{inner}")), ..self },
            (None, outer) => Self::named(outer, self.what),
        }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

impl std::error::Error for FieldError {}

impl de::Error for FieldError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { name: None, what: message.to_string() }
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::custom(format_args!("must be {}", plain(&expected.to_string())))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::custom(format_args!("must be {}", plain(&expected.to_string())))
    }

    fn invalid_length(_: usize, expected: &dyn Expected) -> Self {
        Self::custom(format_args!("must be {}", plain(&expected.to_string())))
    }

    fn unknown_variant(_: &str, known: &'static [&'static str]) -> Self {
        Self::custom(format_args!("must be one of: {}", known.join(", ")))
    }

    fn unknown_field(name: &str, known: &'static [&'static str]) -> Self {
        let name: String = name.chars().take(NAME_CHARACTERS_MAX).collect();
        let what = match known {
            [] => "is not known, and nothing else is: leave it out".to_owned(),
            known => format!("is not known; the known names are: {}", known.join(", ")),
        };
        Self::named(&name, what)
    }

    fn missing_field(name: &'static str) -> Self {
        Self::named(name, "is required")
    }

    fn duplicate_field(name: &'static str) -> Self {
        Self::named(name, "must be given once")
    }
}

/// A longer name is cut in the answer.
const NAME_CHARACTERS_MAX: usize = 60;

/// What serde expects, for readers who know JSON and not Rust.
fn plain(expected: &str) -> &str {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number from 0",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a borrowed string" | "string" => "a string",
        "a sequence" => "an array",
        "a map" => "an object",
        "unit" => "null",
        other if other.starts_with("struct ") => "an object",
        other if other.starts_with("enum ") || other.starts_with("variant ") => "one of the known values",
        other if other.contains("DateTime") || other.contains("date and time") => "a time as in RFC 3339",
        other => other,
    }
}

/// A value with its name.
struct Field {
    name: String,
    value: Value,
    /// Whether numbers and truth values are written as text, as in a query.
    is_text: bool,
}

impl Field {
    fn named(name: String, value: Value) -> Self {
        Self { name, value, is_text: false }
    }

    /// The value, with numbers and truth values read from text.
    fn read(self, wanted: impl FnOnce(&str) -> Option<Value>, what: &str) -> Result<Self, FieldError> {
        match &self.value {
            Value::String(text) if self.is_text => match wanted(text) {
                Some(value) => Ok(Self { value, is_text: false, ..self }),
                None => Err(FieldError::named(&self.name, format!("must be {what}"))),
            },
            _ => Ok(self),
        }
    }
}

fn truth(text: &str) -> Option<Value> {
    text.parse::<bool>().ok().map(Value::from)
}

fn natural(text: &str) -> Option<Value> {
    text.parse::<u64>().ok().map(Value::from)
}

fn integer(text: &str) -> Option<Value> {
    text.parse::<i64>().ok().map(Value::from)
}

/// Methods that read numbers or truth values from text.
macro_rules! from_text {
    ($($method:ident: $read:ident, $what:literal;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
            self.read($read, $what)?.deserialize_any(visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for Field {
    type Error = FieldError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        let Self { name, value, .. } = self;
        let inner = |key: &str| if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
        let read = match value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(truth) => visitor.visit_bool(truth),
            Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(number), _, _) => visitor.visit_u64(number),
                (None, Some(number), _) => visitor.visit_i64(number),
                (None, None, Some(number)) => visitor.visit_f64(number),
                (None, None, None) => Err(FieldError::named(&name, "must be a number")),
            },
            Value::String(text) => visitor.visit_string(text),
            Value::Array(items) => {
                let items = items.into_iter().enumerate();
                let items = items.map(|(place, item)| Field::named(inner(&place.to_string()), item));
                visitor.visit_seq(SeqDeserializer::new(items))
            }
            Value::Object(fields) => {
                let fields = fields.into_iter().map(|(key, value)| {
                    let field = Field::named(inner(&key), value);
                    (key, field)
                });
                visitor.visit_map(MapDeserializer::new(fields))
            }
        };
        read.map_err(|error| error.within(&name))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    /// Serde would also read an array, by the order of the fields.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, FieldError> {
        match &self.value {
            Value::Object(_) => self.deserialize_any(visitor),
            _ => Err(FieldError::named(&self.name, "must be an object")),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, FieldError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, FieldError> {
        let Self { name: field, value, .. } = self;
        let Value::String(word) = value else {
            return Err(FieldError::named(&field, format!("must be one of: {}", variants.join(", "))));
        };
        let word: StringDeserializer<FieldError> = word.into_deserializer();
        word.deserialize_enum(name, variants, visitor).map_err(|error| error.within(&field))
    }

    from_text! {
        deserialize_bool: truth, "true or false";
        deserialize_u8: natural, "a whole number from 0";
        deserialize_u16: natural, "a whole number from 0";
        deserialize_u32: natural, "a whole number from 0";
        deserialize_u64: natural, "a whole number from 0";
        deserialize_i8: integer, "a whole number";
        deserialize_i16: integer, "a whole number";
        deserialize_i32: integer, "a whole number";
        deserialize_i64: integer, "a whole number";
    }

    forward_to_deserialize_any! {
        i128 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map
        identifier ignored_any
    }
}

impl IntoDeserializer<'_, FieldError> for Field {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::json;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Tea {
        Green,
        EarlGrey,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Order {
        tea: Option<Tea>,
        cups: Option<u32>,
        is_iced: Option<bool>,
        name: Option<String>,
        milk: Option<Milk>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Milk {
        kind: String,
    }

    fn query(text: &str) -> Result<Order, String> {
        let pairs = url::form_urlencoded::parse(text.as_bytes()).into_owned().collect();
        from_query(pairs).map_err(|error| error.to_string())
    }

    #[test]
    fn a_query_is_read_by_the_types_of_its_parameters() {
        let all = Order {
            tea: Some(Tea::EarlGrey),
            cups: Some(2),
            is_iced: Some(true),
            name: Some("7".to_owned()),
            milk: None,
        };
        assert_eq!(query("tea=earl_grey&cups=2&is_iced=true&name=7"), Ok(all));
        assert_eq!(query(""), Ok(Order::default()));
    }

    #[test]
    fn an_error_names_the_parameter_and_what_it_must_be() {
        for (text, expected) in [
            ("cups=many", "cups: must be a whole number from 0"),
            ("cups=-1", "cups: must be a whole number from 0"),
            ("cups=4294967296", "cups: must be a whole number from 0"),
            ("is_iced=maybe", "is_iced: must be true or false"),
            ("tea=black", "tea: must be one of: green, earl_grey"),
            ("tea=", "tea: must be one of: green, earl_grey"),
            ("cups=1&cups=2", "cups: must be given once"),
            ("sugar=1", "sugar: is not known; the known names are: tea, cups, is_iced, name, milk"),
        ] {
            assert_eq!(query(text), Err(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn an_error_in_a_body_names_the_path_of_the_field() {
        for (body, expected) in [
            (json!({"milk": {"kind": 3}}), "milk.kind: must be a string"),
            (json!({"milk": {}}), "milk.kind: is required"),
            (json!({"milk": {"kind": "oat", "fat": 1}}), "milk.fat: is not known; the known names are: kind"),
            (json!({"milk": 1}), "milk: must be an object"),
            (json!({"cups": "2"}), "cups: must be a whole number from 0"),
            (json!({"tea": 1}), "tea: must be one of: green, earl_grey"),
            (json!([]), "must be an object"),
        ] {
            let read: Result<Order, _> = from_json(body.clone());
            assert_eq!(read.map_err(|error| error.to_string()), Err(expected.to_owned()), "{body}");
        }
        let read: Order = from_json(json!({"cups": 3, "tea": null, "milk": {"kind": "oat"}})).expect("valid");
        assert_eq!((read.cups, read.milk), (Some(3), Some(Milk { kind: "oat".to_owned() })));
    }
}
