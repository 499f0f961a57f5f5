//! `expand`: references replaced by the objects that they name.

use crate::api_error::ApiError;
use crate::keys::ApiKey;
use crate::lists::list;
use crate::resources;
use crate::state::State;
use serde_json::Value;

/// How deep a property may be expanded.
const LEVELS_MAX: usize = 4;

/// Expands properties of an answer, as far as the key may read what they name.
pub fn expand(
    state: &State,
    answer: &mut Value,
    properties: &[&str],
    key: &ApiKey,
    now: i64,
) -> Result<(), ApiError> {
    for property in properties {
        let names: Vec<_> = property.split('.').collect();
        let is_list = answer.get("object").and_then(Value::as_str) == Some("list");
        if is_list && names.first() != Some(&"data") {
            return Err(ApiError::invalid(
                "expand[0]",
                format!(
                    "This property cannot be expanded ({property}). You may want to try expanding \
                     'data.{property}' instead."
                ),
            ));
        }
        let levels = names.len() - usize::from(is_list);
        if levels > LEVELS_MAX {
            let message = format!("You cannot expand more than 4 levels of a property. Property: {property}");
            return Err(ApiError::invalid("expand[0]", message));
        }
        let expansion = Expansion { state, key, now, property };
        expansion.walk(answer, &names)?;
    }
    Ok(())
}

struct Expansion<'a> {
    state: &'a State,
    key: &'a ApiKey,
    now: i64,
    property: &'a str,
}

impl Expansion<'_> {
    fn walk(&self, value: &mut Value, names: &[&str]) -> Result<(), ApiError> {
        let Some((name, rest)) = names.split_first() else { return Ok(()) };
        if let Value::Array(items) = value {
            return items.iter_mut().try_for_each(|item| self.walk(item, names));
        }
        self.add_list(value, name);
        let Some(field) = value.get_mut(*name) else {
            // Other objects of the same list may have it.
            return if self.property.starts_with("data.") { Ok(()) } else { Err(self.not_expandable()) };
        };
        self.resolve(field, rest.is_empty())?;
        match field {
            Value::Array(items) => items.iter_mut().try_for_each(|item| {
                self.resolve(item, false)?;
                self.walk(item, rest)
            }),
            Value::Object(_) => self.walk(field, rest),
            _ => Ok(()),
        }
    }

    /// Replaces an id by its object.
    fn resolve(&self, field: &mut Value, is_last: bool) -> Result<(), ApiError> {
        let Some(id) = field.as_str() else {
            let is_wrong = is_last && (field.is_number() || field.is_boolean());
            return if is_wrong { Err(self.not_expandable()) } else { Ok(()) };
        };
        let (Some(object), Some(path)) = (self.state.present(id, self.now), self.state.objects.path(id))
        else {
            // An id of something that the stand-in does not have stays an id.
            return if id.contains('_') { Ok(()) } else { Err(self.not_expandable()) };
        };
        let permission = resources::permission(path.trim_start_matches("/v1/"), false);
        self.key.require(&permission, &self.state.options.account)?;
        *field = object;
        Ok(())
    }

    /// Lists that an object has only when they are expanded.
    fn add_list(&self, value: &mut Value, name: &str) {
        let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
        let (kind, id) = (text("object"), text("id").to_owned());
        let (collection, url) = match (kind, name) {
            ("charge", "refunds") => ("/v1/refunds", format!("/v1/charges/{id}/refunds")),
            ("customer", "subscriptions") => {
                ("/v1/subscriptions", format!("/v1/customers/{id}/subscriptions"))
            }
            ("invoice", "payments") => ("/v1/invoice_payments", format!("/v1/invoice_payments?invoice={id}")),
            _ => return,
        };
        let field = kind.to_owned();
        let of_this =
            |object: &&std::sync::Arc<Value>| object.get(&field).and_then(Value::as_str) == Some(&id);
        let mut data: Vec<Value> = self
            .state
            .objects
            .list(collection)
            .filter(of_this)
            .take(11)
            .map(|object| object.as_ref().clone())
            .collect();
        let has_more = data.len() > 10;
        data.truncate(10);
        if let Some(fields) = value.as_object_mut() {
            fields.insert(name.to_owned(), list(&url, &data, has_more));
        }
    }

    fn not_expandable(&self) -> ApiError {
        ApiError::invalid("expand[0]", format!("This property cannot be expanded ({}).", self.property))
    }
}
