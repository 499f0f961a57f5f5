//! Checks the values that a request writes, as Notion checks them, and reads them into cells.
//!
//! Lengths are counted in UTF-16 units: Notion counts as JavaScript does, so that a character
//! beyond the basic plane, such as an emoji, counts twice.

use super::api_error::ApiError;
use super::content::{Content, DateRange, FileLink, Moment, Span};
use super::kind::Kind;
use super::options;
use super::schema::{Property, Schema};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use uuid::Uuid;

/// The cells that a request writes, by column id: the new content, or `None` to empty the cell.
pub type Cells = BTreeMap<String, Option<Content>>;

/// Reads a request's `properties` against the schema.
pub fn cells(schema: &Schema, properties: &Map<String, Value>) -> Result<Cells, ApiError> {
    properties
        .iter()
        .map(|(key, value)| {
            let property = schema
                .find(key)
                .ok_or_else(|| ApiError::validation(format!("{key} is not a property that exists.")))?;
            Ok((property.id.clone(), cell(property, key, value)?))
        })
        .collect()
}

/// Checks the blocks of a page's body.
pub fn blocks(children: &Value, path: &str) -> Result<Vec<Value>, ApiError> {
    let list = array(children, path)?;
    let mut count = 0;
    for (place, block) in list.iter().enumerate() {
        check_block(block, &format!("{path}[{place}]"), &mut count)?;
    }
    if count > BLOCKS_MAX {
        return Err(too_long(&format!("{path} with all they hold"), BLOCKS_MAX, count));
    }
    Ok(list.clone())
}

/// Reads a list of rich text.
pub fn spans(value: &Value, path: &str) -> Result<Vec<Span>, ApiError> {
    array(value, path)?
        .iter()
        .enumerate()
        .map(|(place, item)| span(item, &format!("{path}[{place}]")))
        .collect()
}

const ARRAY_MAX: usize = 100;
const BLOCKS_MAX: usize = 1000;
const BLOCK_DEPTH_MAX: usize = 3;
const TEXT_UNITS_MAX: usize = 2000;
const URL_UNITS_MAX: usize = 2000;
const EMAIL_UNITS_MAX: usize = 200;
const PHONE_UNITS_MAX: usize = 200;
const FILE_NAME_UNITS_MAX: usize = 100;

fn cell(property: &Property, key: &str, value: &Value) -> Result<Option<Content>, ApiError> {
    let path = format!("body.properties.{key}");
    let Some(members) = value.as_object() else {
        return Err(ApiError::malformed(&path, "an object", Some(value)));
    };
    let kind = property.kind.name();
    if property.kind.is_read_only() {
        return Err(ApiError::validation(format!("{key} is a {kind} property, which cannot be written.")));
    }
    let stray = members.keys().any(|member| member != kind && Kind::parse(member).is_some());
    let Some(inner) = members.get(kind).filter(|_| !stray) else {
        return Err(ApiError::validation(format!("{key} is expected to be {kind}.")));
    };
    content(property, inner, &format!("{path}.{kind}"))
}

fn content(property: &Property, value: &Value, path: &str) -> Result<Option<Content>, ApiError> {
    match property.kind {
        Kind::Title | Kind::RichText => {
            let spans = spans(value, path)?;
            Ok(some_unless(spans.is_empty(), Content::Text(spans)))
        }
        Kind::Checkbox => match value {
            Value::Bool(ticked) => Ok(Some(Content::Checkbox(*ticked))),
            other => Err(ApiError::malformed(path, "a boolean", Some(other))),
        },
        Kind::MultiSelect => {
            let names = array(value, path)?
                .iter()
                .enumerate()
                .map(|(place, option)| choice(property, option, &format!("{path}[{place}]")))
                .collect::<Result<Vec<_>, _>>()?;
            Ok(some_unless(names.is_empty(), Content::Choices(names)))
        }
        Kind::Relation | Kind::People => {
            let ids = ids(value, path)?;
            Ok(some_unless(ids.is_empty(), Content::Ids(ids)))
        }
        Kind::Files => {
            let files = files(value, path)?;
            Ok(some_unless(files.is_empty(), Content::Files(files)))
        }
        // A status is never empty: it gets its default.
        Kind::Status if value.is_null() => {
            Ok(property.options.first().map(|option| Content::Choice(option.name.clone())))
        }
        _ if value.is_null() => Ok(None),
        Kind::Number => match value {
            Value::Number(number) => Ok(Some(Content::Number(number.clone()))),
            other => Err(ApiError::malformed(path, "a number or `null`", Some(other))),
        },
        Kind::Select | Kind::Status => Ok(Some(Content::Choice(choice(property, value, path)?))),
        Kind::Date => date(value, path).map(|range| Some(Content::Date(range))),
        Kind::Url => line(value, path, URL_UNITS_MAX),
        Kind::Email => line(value, path, EMAIL_UNITS_MAX),
        Kind::PhoneNumber => line(value, path, PHONE_UNITS_MAX),
        read_only => Err(ApiError::validation(format!("A {} cannot be written.", read_only.name()))),
    }
}

fn span(item: &Value, path: &str) -> Result<Span, ApiError> {
    if let Some(kind) = item.get("type").filter(|kind| kind.as_str() != Some("text")) {
        return Err(ApiError::malformed(&format!("{path}.type"), "`\"text\"` in the sandbox", Some(kind)));
    }
    let Some(text) = item.get("text") else {
        return Err(ApiError::malformed(&format!("{path}.text"), "defined", None));
    };
    let content = string(text.get("content"), &format!("{path}.text.content"))?;
    check_length(content, &format!("{path}.text.content"), TEXT_UNITS_MAX)?;
    let link = match text.get("link") {
        None | Some(Value::Null) => None,
        Some(link) => {
            let url = string(link.get("url"), &format!("{path}.text.link.url"))?;
            check_length(url, &format!("{path}.text.link.url"), URL_UNITS_MAX)?;
            url::Url::parse(url).map_err(|_| ApiError::validation("Invalid URL for link."))?;
            Some(url.to_owned())
        }
    };
    Ok(Span { content: content.to_owned(), link })
}

fn choice(property: &Property, value: &Value, path: &str) -> Result<String, ApiError> {
    if let Some(id) = value.get("id").and_then(Value::as_str) {
        let known = property.options.iter().find(|option| option.id == id);
        return known
            .map(|option| option.name.clone())
            .ok_or_else(|| ApiError::validation(format!("Could not find option with ID: {id}.")));
    }
    let name = string(value.get("name"), &format!("{path}.name"))?;
    options::check_name(name)?;
    if property.kind == Kind::Status && property.option(name).is_none() {
        return Err(ApiError::validation(format!(
            "Invalid status option. Status option \"{name}\" does not exist."
        )));
    }
    Ok(property.option(name).map_or_else(|| name.to_owned(), |option| option.name.clone()))
}

fn date(value: &Value, path: &str) -> Result<DateRange, ApiError> {
    let start = moment(value.get("start"), &format!("{path}.start"))?;
    let end = match value.get("end") {
        None | Some(Value::Null) => None,
        end => Some(moment(end, &format!("{path}.end"))?),
    };
    if end.is_some_and(|end| end.instant() < start.instant()) {
        return Err(ApiError::validation("Start date must be before end date."));
    }
    let time_zone = match value.get("time_zone") {
        None | Some(Value::Null) => None,
        Some(Value::String(zone)) if zone.parse::<chrono_tz::Tz>().is_ok() => Some(zone.clone()),
        other => {
            return Err(ApiError::malformed(&format!("{path}.time_zone"), "a valid time zone", other));
        }
    };
    Ok(DateRange { start, end, time_zone })
}

fn moment(value: Option<&Value>, path: &str) -> Result<Moment, ApiError> {
    value
        .and_then(Value::as_str)
        .and_then(Moment::parse)
        .ok_or_else(|| ApiError::malformed(path, "a valid ISO 8601 date string", value))
}

fn line(value: &Value, path: &str, units_max: usize) -> Result<Option<Content>, ApiError> {
    let text = match value {
        Value::String(text) if text.is_empty() => {
            return Err(ApiError::malformed(path, "populated", Some(value)));
        }
        Value::String(text) => text,
        other => return Err(ApiError::malformed(path, "a string or `null`", Some(other))),
    };
    check_length(text, path, units_max)?;
    Ok(Some(Content::CutHandle(text.clone())))
}

fn ids(value: &Value, path: &str) -> Result<Vec<Uuid>, ApiError> {
    array(value, path)?
        .iter()
        .enumerate()
        .map(|(place, item)| {
            let id = item.get("id");
            id.and_then(Value::as_str)
                .and_then(|id| Uuid::parse_str(id).ok())
                .ok_or_else(|| ApiError::malformed(&format!("{path}[{place}].id"), "a valid uuid", id))
        })
        .collect()
}

fn files(value: &Value, path: &str) -> Result<Vec<FileLink>, ApiError> {
    array(value, path)?
        .iter()
        .enumerate()
        .map(|(place, item)| {
            let path = format!("{path}[{place}]");
            let name = string(item.get("name"), &format!("{path}.name"))?;
            check_length(name, &format!("{path}.name"), FILE_NAME_UNITS_MAX)?;
            let url = item.get("external").and_then(|external| external.get("url"));
            let url = string(url, &format!("{path}.external.url"))?;
            check_length(url, &format!("{path}.external.url"), URL_UNITS_MAX)?;
            Ok(FileLink { name: name.to_owned(), url: url.to_owned() })
        })
        .collect()
}

/// A block has a type, a member of that name, and optionally text and nested blocks.
fn check_block(block: &Value, path: &str, count: &mut usize) -> Result<(), ApiError> {
    *count += 1;
    if path.matches('[').count() > BLOCK_DEPTH_MAX {
        return Err(ApiError::malformed(path, "nested less deeply", Some(block)));
    }
    let Some(members) = block.as_object() else {
        return Err(ApiError::malformed(path, "an object", Some(block)));
    };
    let inner = match members.get("type").and_then(Value::as_str) {
        Some(kind) => members.get(kind),
        None => members.iter().find(|(key, _)| *key != "object").map(|(_, inner)| inner),
    };
    let Some(inner) = inner.filter(|inner| inner.is_object()) else {
        return Err(ApiError::malformed(path, "a block with a type", Some(block)));
    };
    if let Some(text) = inner.get("rich_text") {
        spans(text, &format!("{path}.rich_text"))?;
    }
    if let Some(children) = inner.get("children").or_else(|| members.get("children")) {
        let path = format!("{path}.children");
        for (place, child) in array(children, &path)?.iter().enumerate() {
            check_block(child, &format!("{path}[{place}]"), count)?;
        }
    }
    Ok(())
}

fn array<'a>(value: &'a Value, path: &str) -> Result<&'a Vec<Value>, ApiError> {
    let list = value.as_array().ok_or_else(|| ApiError::malformed(path, "an array", Some(value)))?;
    if list.len() > ARRAY_MAX {
        return Err(too_long(path, ARRAY_MAX, list.len()));
    }
    Ok(list)
}

fn string<'a>(value: Option<&'a Value>, path: &str) -> Result<&'a str, ApiError> {
    value.and_then(Value::as_str).ok_or_else(|| match value {
        None => ApiError::malformed(path, "defined", None),
        found => ApiError::malformed(path, "a string", found),
    })
}

fn check_length(text: &str, path: &str, units_max: usize) -> Result<(), ApiError> {
    let units = text.encode_utf16().count();
    if units > units_max { Err(too_long(path, units_max, units)) } else { Ok(()) }
}

fn too_long(path: &str, max: usize, found: usize) -> ApiError {
    ApiError::validation(format!(
        "body failed validation: {path}.length should be ≤ `{max}`, instead was `{found}`."
    ))
}

fn some_unless(empty: bool, content: Content) -> Option<Content> {
    if empty { None } else { Some(content) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema() -> Schema {
        Schema::of(&[
            ("Name", Kind::Title),
            ("Amount", Kind::Number),
            ("Tags", Kind::MultiSelect),
            ("When", Kind::Date),
            ("Link", Kind::Url),
            ("Sum", Kind::Formula),
        ])
    }

    fn refusal_of(properties: &Value) -> String {
        cells(&schema(), properties.as_object().unwrap()).unwrap_err().message
    }

    #[test]
    fn an_emoji_counts_twice_towards_the_length() {
        let title = |text: String| json!({ "Name": { "title": [{ "text": { "content": text } }] } });
        assert!(cells(&schema(), title("é".repeat(2000)).as_object().unwrap()).is_ok());
        assert!(refusal_of(&title("🙂".repeat(1001))).contains("≤ `2000`, instead was `2002`"));
    }

    #[test]
    fn a_column_is_addressed_by_name_or_by_id() {
        let schema = schema();
        let by_name = json!({ "Amount": { "number": 3 } });
        let read = cells(&schema, by_name.as_object().unwrap()).unwrap();
        assert_eq!(read[&schema.find("Amount").unwrap().id], Some(Content::Number(3.into())));
        let by_id = json!({ "title": { "title": [{ "text": { "content": "x" } }] } });
        assert!(cells(&schema, by_id.as_object().unwrap()).unwrap().contains_key("title"));
    }

    #[test]
    fn null_empties_a_number_and_no_list() {
        let schema = schema();
        let empty = json!({ "Amount": { "number": null } });
        assert!(cells(&schema, empty.as_object().unwrap()).unwrap().values().all(Option::is_none));
        assert!(refusal_of(&json!({ "Tags": { "multi_select": null } })).contains("should be an array"));
    }

    #[test]
    fn what_has_the_wrong_type_names_the_right_one() {
        assert_eq!(refusal_of(&json!({ "Amount": { "rich_text": [] } })), "Amount is expected to be number.");
        assert_eq!(refusal_of(&json!({ "Amount": {} })), "Amount is expected to be number.");
        assert!(refusal_of(&json!({ "Sum": { "formula": {} } })).contains("cannot be written"));
        assert!(refusal_of(&json!({ "Link": { "url": "" } })).contains("should be populated"));
        let backwards = json!({ "When": { "date": { "start": "2026-02-02", "end": "2026-01-01" } } });
        assert!(refusal_of(&backwards).contains("before end date"));
    }

    #[test]
    fn blocks_are_counted_with_those_within_them() {
        let leaf = json!({ "type": "paragraph", "paragraph": { "rich_text": [] } });
        let full = json!({ "type": "toggle", "toggle": { "children": vec![leaf.clone(); 100] } });
        assert!(blocks(&json!(vec![full.clone(); 9]), "body.children").is_ok());
        assert!(blocks(&json!(vec![full; 10]), "body.children").is_err());
        assert!(blocks(&json!(vec![leaf; 101]), "body.children").is_err());
    }
}
