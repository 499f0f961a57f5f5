//! The filters of a query: conditions on one column or on a time, joined by `and` and `or`.

use super::api_error::ApiError;
use super::content::{Content, Moment};
use super::kind::Kind;
use super::schema::{Property, Schema};
use super::state::Page;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use std::cmp::Ordering;

/// A filter that was checked against the columns.
#[derive(Debug)]
pub enum Filter {
    /// All of them match.
    And(Vec<Filter>),
    /// At least one of them matches.
    Or(Vec<Filter>),
    /// A column's content matches.
    Property(Box<Property>, Test),
    /// The page's creation time matches.
    Created(Test),
    /// The time of the page's last edit matches.
    Edited(Test),
}

/// A condition on a content.
#[derive(Debug)]
pub enum Test {
    /// Whether it is empty.
    Empty(bool),
    /// Text, or the name of an option.
    Text(TextTest, String),
    /// A number.
    Number(Comparison, f64),
    /// Whether a checkbox is ticked.
    Checkbox(bool),
    /// Whether a list has an option of this name.
    Lists(bool, String),
    /// A date.
    Date(Comparison, DateTime<Utc>),
}

/// How texts are compared.
#[derive(Debug, Clone, Copy)]
pub enum TextTest {
    /// Equal.
    Equals,
    /// Not equal.
    DiffersFrom,
    /// Contains the operand.
    Contains,
    /// Does not contain the operand.
    Lacks,
    /// Starts with the operand.
    StartsWith,
    /// Ends with the operand.
    EndsWith,
}

/// How numbers and dates are compared.
#[derive(Debug, Clone, Copy)]
pub enum Comparison {
    /// Equal.
    Equal,
    /// Not equal.
    NotEqual,
    /// Less, or before.
    Less,
    /// Greater, or after.
    Greater,
    /// At most, or not after.
    AtMost,
    /// At least, or not before.
    AtLeast,
}

const DEPTH_MAX: usize = 2;
const CONDITIONS_MAX: usize = 100;

impl Filter {
    /// Reads a filter.
    pub fn parse(schema: &Schema, filter: &Value) -> Result<Self, ApiError> {
        parse(schema, filter, "body.filter", 0)
    }

    /// Whether a page matches.
    pub fn matches(&self, page: &Page) -> bool {
        match self {
            Self::And(all) => all.iter().all(|filter| filter.matches(page)),
            Self::Or(any) => any.iter().any(|filter| filter.matches(page)),
            Self::Property(property, test) => test.passes(page.cell(property).as_deref()),
            Self::Created(test) => test.passes_time(page.created),
            Self::Edited(test) => test.passes_time(page.edited),
        }
    }

    /// A column id and the exact text that every matching page has in that column, if there is one.
    pub fn exact_text(&self) -> Option<(&str, &str)> {
        match self {
            Self::Property(property, Test::Text(TextTest::Equals, text)) if !text.is_empty() => {
                Some((&property.id, text))
            }
            Self::And(all) => all.iter().find_map(Self::exact_text),
            _ => None,
        }
    }
}

impl Test {
    fn passes(&self, content: Option<&Content>) -> bool {
        match (self, content) {
            (Self::Empty(empty), content) => content.is_none_or(|it| it.plain().is_empty()) == *empty,
            (Self::Text(test, wanted), content) => {
                test.passes(content.map(Content::plain).unwrap_or_default().as_ref(), wanted)
            }
            (Self::Checkbox(wanted), content) => matches!(content, Some(Content::Checkbox(true))) == *wanted,
            (Self::Lists(wanted, name), content) => {
                matches!(content, Some(Content::Choices(names)) if names.contains(name)) == *wanted
            }
            (Self::Number(comparison, wanted), Some(Content::Number(number))) => {
                number.as_f64().is_some_and(|number| comparison.holds(number.total_cmp(wanted)))
            }
            (Self::Date(..), Some(Content::Date(range))) => self.passes_time(range.start.instant()),
            (Self::Number(comparison, _) | Self::Date(comparison, _), _) => {
                matches!(comparison, Comparison::NotEqual)
            }
        }
    }

    fn passes_time(&self, time: DateTime<Utc>) -> bool {
        match self {
            Self::Date(comparison, wanted) => comparison.holds(time.cmp(wanted)),
            Self::Empty(empty) => !empty,
            _ => false,
        }
    }
}

impl TextTest {
    fn passes(self, text: &str, wanted: &str) -> bool {
        match self {
            Self::Equals => text == wanted,
            Self::DiffersFrom => text != wanted,
            Self::Contains => text.contains(wanted),
            Self::Lacks => !text.contains(wanted),
            Self::StartsWith => text.starts_with(wanted),
            Self::EndsWith => text.ends_with(wanted),
        }
    }
}

impl Comparison {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::Greater => order.is_gt(),
            Self::AtMost => order.is_le(),
            Self::AtLeast => order.is_ge(),
        }
    }
}

fn parse(schema: &Schema, filter: &Value, path: &str, depth: usize) -> Result<Filter, ApiError> {
    let Some(members) = filter.as_object() else {
        return Err(ApiError::malformed(path, "an object", Some(filter)));
    };
    for (key, join) in [("and", Filter::And as fn(Vec<Filter>) -> Filter), ("or", Filter::Or)] {
        let Some(list) = members.get(key) else { continue };
        let path = format!("{path}.{key}");
        let list = list.as_array().filter(|list| list.len() <= CONDITIONS_MAX && depth < DEPTH_MAX);
        let Some(list) = list else {
            return Err(ApiError::malformed(&path, "an array, nested twice at most", members.get(key)));
        };
        let parts = list
            .iter()
            .enumerate()
            .map(|(place, part)| parse(schema, part, &format!("{path}[{place}]"), depth + 1));
        return Ok(join(parts.collect::<Result<_, _>>()?));
    }
    if let Some(timestamp) = members.get("timestamp").and_then(Value::as_str) {
        let test = || condition(Kind::Date, members.get(timestamp), &format!("{path}.{timestamp}"));
        return match timestamp {
            "created_time" => Ok(Filter::Created(test()?)),
            "last_edited_time" => Ok(Filter::Edited(test()?)),
            _ => Err(ApiError::malformed(&format!("{path}.timestamp"), "a timestamp", Some(filter))),
        };
    }
    property_filter(schema, members, path)
}

fn property_filter(schema: &Schema, members: &Map<String, Value>, path: &str) -> Result<Filter, ApiError> {
    let Some(name) = members.get("property").and_then(Value::as_str) else {
        return Err(ApiError::malformed(&format!("{path}.property"), "a string", members.get("property")));
    };
    let property = schema
        .find(name)
        .ok_or_else(|| ApiError::validation(format!("Could not find property with name or id: {name}")))?;
    let kind = property.kind.name();
    let Some(test) = members.get(kind) else {
        let given = members.keys().find(|key| Kind::parse(key).is_some());
        return Err(ApiError::validation(format!(
            "database property {kind} does not match filter {}",
            given.map_or("undefined", String::as_str)
        )));
    };
    let test = condition(property.kind, Some(test), &format!("{path}.{kind}"))?;
    Ok(Filter::Property(Box::new(property.clone()), test))
}

fn condition(kind: Kind, value: Option<&Value>, path: &str) -> Result<Test, ApiError> {
    let single = value.and_then(Value::as_object).filter(|members| members.len() == 1);
    let Some((operator, operand)) = single.and_then(|members| members.iter().next()) else {
        return Err(ApiError::malformed(path, "an object with one condition", value));
    };
    let test = match (operator.as_str(), operand) {
        ("is_empty", Value::Bool(true)) => Some(Test::Empty(true)),
        ("is_not_empty", Value::Bool(true)) => Some(Test::Empty(false)),
        _ => match kind {
            _ if kind.is_text() => text_test(operator, operand),
            Kind::Select | Kind::Status => text_test(operator, operand)
                .filter(|_| matches!(operator.as_str(), "equals" | "does_not_equal")),
            Kind::Number => comparison(operator).zip(operand.as_f64()).map(|(op, to)| Test::Number(op, to)),
            Kind::Checkbox => match (operator.as_str(), operand) {
                ("equals", Value::Bool(wanted)) => Some(Test::Checkbox(*wanted)),
                ("does_not_equal", Value::Bool(unwanted)) => Some(Test::Checkbox(!unwanted)),
                _ => None,
            },
            Kind::MultiSelect => match (operator.as_str(), operand) {
                ("contains", Value::String(name)) => Some(Test::Lists(true, name.clone())),
                ("does_not_contain", Value::String(name)) => Some(Test::Lists(false, name.clone())),
                _ => None,
            },
            Kind::Date => {
                let moment = operand.as_str().and_then(Moment::parse).map(Moment::instant);
                time_comparison(operator).zip(moment).map(|(op, to)| Test::Date(op, to))
            }
            _ => None,
        },
    };
    test.ok_or_else(|| ApiError::malformed(&format!("{path}.{operator}"), "a known condition", Some(operand)))
}

fn text_test(operator: &str, operand: &Value) -> Option<Test> {
    let test = match operator {
        "equals" => TextTest::Equals,
        "does_not_equal" => TextTest::DiffersFrom,
        "contains" => TextTest::Contains,
        "does_not_contain" => TextTest::Lacks,
        "starts_with" => TextTest::StartsWith,
        "ends_with" => TextTest::EndsWith,
        _ => return None,
    };
    operand.as_str().map(|text| Test::Text(test, text.to_owned()))
}

fn comparison(operator: &str) -> Option<Comparison> {
    Some(match operator {
        "equals" => Comparison::Equal,
        "does_not_equal" => Comparison::NotEqual,
        "less_than" => Comparison::Less,
        "greater_than" => Comparison::Greater,
        "less_than_or_equal_to" => Comparison::AtMost,
        "greater_than_or_equal_to" => Comparison::AtLeast,
        _ => return None,
    })
}

fn time_comparison(operator: &str) -> Option<Comparison> {
    Some(match operator {
        "equals" => Comparison::Equal,
        "before" => Comparison::Less,
        "after" => Comparison::Greater,
        "on_or_before" => Comparison::AtMost,
        "on_or_after" => Comparison::AtLeast,
        _ => return None,
    })
}
