//! Parameters as Stripe's libraries send them: `created[gte]=5`, `expand[]=a`, `expand[0]=a`, `metadata[k]=v`.

use crate::api_error::ApiError;
use url::form_urlencoded;

/// One parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    /// Its name as it was sent, such as `created[gte]`.
    pub full: String,
    /// The name before the first bracket.
    pub name: String,
    /// What the brackets hold, from the outside inwards.
    pub keys: Vec<String>,
    /// The value.
    pub value: String,
}

/// The parameters of a request, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Params(Vec<Param>);

const PARAMS_MAX: usize = 1000;

impl Params {
    /// Reads a query or a form.
    pub fn parse(encoded: &[u8]) -> Self {
        let pairs = form_urlencoded::parse(encoded).take(PARAMS_MAX);
        Self(pairs.map(|(name, value)| Param::new(&name, value.into_owned())).collect())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Param> {
        self.0.iter()
    }

    /// The last value of a name without brackets.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .rev()
            .find(|param| param.name == name && param.keys.is_empty())
            .map(|param| param.value.as_str())
    }

    /// The value of a name with one key in brackets.
    pub fn get_in(&self, name: &str, key: &str) -> Option<&str> {
        let found = self.0.iter().rev().find(|param| param.name == name && param.keys == [key]);
        found.map(|param| param.value.as_str())
    }

    /// The values of a list, however its brackets are filled.
    pub fn list(&self, name: &str) -> Vec<&str> {
        let of_list = |param: &&Param| param.name == name && is_place(&param.keys);
        self.0.iter().filter(of_list).map(|param| param.value.as_str()).collect()
    }

    /// The pairs of a map such as `metadata`.
    pub fn map(&self, name: &str) -> Vec<(&str, &str)> {
        let pair = |param: &'_ Param| param.keys.len() == 1 && param.name == name;
        let pairs = self.0.iter().filter(|param| pair(param));
        pairs.filter_map(|param| Some((param.keys.first()?.as_str(), param.value.as_str()))).collect()
    }

    /// Whether the name occurs, with brackets or without.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|param| param.name == name)
    }

    /// A number.
    pub fn number(&self, name: &str) -> Result<Option<i64>, ApiError> {
        self.get(name).map(|value| integer(name, value)).transpose()
    }

    /// Yes or no.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.get(name) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(other) => Err(ApiError::invalid(name, format!("Invalid boolean: {other}"))
                .code("parameter_invalid_boolean")),
        }
    }

    /// Rejects the names that are not in the list.
    pub fn check_names(&self, known: impl Fn(&str) -> bool) -> Result<(), ApiError> {
        match self.0.iter().find(|param| !known(&param.name)) {
            None => Ok(()),
            Some(param) => {
                let message = format!("Received unknown parameter: {}", param.name);
                Err(ApiError::invalid(&param.name, message).code("parameter_unknown"))
            }
        }
    }
}

/// Reads an integer parameter.
pub fn integer(name: &str, value: &str) -> Result<i64, ApiError> {
    value.parse().map_err(|_| {
        ApiError::invalid(name, format!("Invalid integer: {value}")).code("parameter_invalid_integer")
    })
}

impl Param {
    fn new(full: &str, value: String) -> Self {
        let (name, rest) = full.split_once('[').unwrap_or((full, ""));
        let keys = if rest.is_empty() {
            Vec::new()
        } else {
            rest.trim_end_matches(']').split("][").map(str::to_owned).collect()
        };
        Self { full: full.to_owned(), name: name.to_owned(), keys, value }
    }
}

/// Whether brackets are those of a list: empty, or with a number.
fn is_place(keys: &[String]) -> bool {
    matches!(keys, [key] if key.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_lists_and_maps_are_read() {
        let params = Params::parse(b"expand[]=a&expand%5B1%5D=b&created[gte]=5&limit=3&metadata[k]=v");
        assert_eq!(params.list("expand"), ["a", "b"]);
        assert_eq!(params.get_in("created", "gte"), Some("5"));
        assert_eq!(params.number("limit"), Ok(Some(3)));
        assert_eq!(params.map("metadata"), [("k", "v")]);
        assert!(params.has("created") && params.get("created").is_none());
    }

    #[test]
    fn wrong_values_and_unknown_names_are_errors() {
        let params = Params::parse(b"limit=many&deep[a][b]=1&flag=perhaps&[=]&=");
        assert_eq!(params.number("limit").unwrap_err().code, Some("parameter_invalid_integer"));
        assert!(params.flag("flag").is_err());
        let error = params.check_names(|name| name == "limit").unwrap_err();
        assert_eq!((error.code, error.param.as_deref()), (Some("parameter_unknown"), Some("deep")));
    }
}
