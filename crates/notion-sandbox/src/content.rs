//! The content of one cell of a table, and how Notion returns it.

use super::kind::Kind;
use super::schema::Property;
use chrono::{DateTime, DurationRound as _, NaiveDate, NaiveDateTime, SecondsFormat, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::borrow::Cow;
use uuid::Uuid;

/// The content of one cell. An empty cell has none, except a checkbox.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// A title or rich text.
    Text(Vec<Span>),
    /// A number.
    Number(serde_json::Number),
    /// The name of the option of a select or status.
    Choice(String),
    /// The names of the options of a multi-select.
    Choices(Vec<String>),
    /// A date or a range.
    Date(DateRange),
    /// Yes or no.
    Checkbox(bool),
    /// A URL, e-mail address or telephone number.
    CutHandle(String),
    /// Related pages, or people.
    Ids(Vec<Uuid>),
    /// Links to files.
    Files(Vec<FileLink>),
}

/// A run of text, perhaps a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The text.
    pub content: String,
    /// Its target.
    pub link: Option<String>,
}

/// An external file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileLink {
    /// The name that the user sees.
    pub name: String,
    /// Its address.
    pub url: String,
}

/// A date, with or without a time of day, and perhaps an end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DateRange {
    /// When it begins.
    pub start: Moment,
    /// When it ends.
    pub end: Option<Moment>,
    /// The name of the time zone, if the request gave one.
    pub time_zone: Option<String>,
}

/// A day, or an instant of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// A whole day.
    Day(NaiveDate),
    /// An instant.
    Instant(DateTime<Utc>),
}

impl Content {
    /// The content as plain text, as a person would read it.
    pub fn plain(&self) -> Cow<'_, str> {
        match self {
            Self::Text(spans) => match spans.as_slice() {
                [only] => Cow::Borrowed(&only.content),
                _ => Cow::Owned(spans.iter().map(|span| span.content.as_str()).collect()),
            },
            Self::Number(number) => Cow::Owned(number.to_string()),
            Self::Choice(name) | Self::CutHandle(name) => Cow::Borrowed(name),
            Self::Choices(names) => Cow::Owned(names.join(", ")),
            Self::Date(range) => Cow::Owned(range.plain()),
            Self::Checkbox(ticked) => Cow::Borrowed(if *ticked { "yes" } else { "no" }),
            Self::Ids(ids) => Cow::Owned(ids.iter().map(Uuid::to_string).collect::<Vec<_>>().join(", ")),
            Self::Files(files) => {
                Cow::Owned(files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>().join(", "))
            }
        }
    }

    /// Whether a column of this type can hold it.
    pub fn fits(&self, kind: Kind) -> bool {
        match self {
            Self::Text(_) => matches!(kind, Kind::Title | Kind::RichText),
            Self::Number(_) => kind == Kind::Number,
            Self::Choice(_) => matches!(kind, Kind::Select | Kind::Status),
            Self::Choices(_) => kind == Kind::MultiSelect,
            Self::Date(_) => kind == Kind::Date,
            Self::Checkbox(_) => kind == Kind::Checkbox,
            Self::CutHandle(_) => matches!(kind, Kind::Url | Kind::Email | Kind::PhoneNumber),
            Self::Ids(_) => matches!(kind, Kind::Relation | Kind::People),
            Self::Files(_) => kind == Kind::Files,
        }
    }

    /// The content that remains when the user changes the column's type, if any does.
    pub fn retyped(self, kind: Kind) -> Option<Self> {
        match (kind, self) {
            (Kind::RichText, content) => {
                let content = content.plain().into_owned();
                Some(Self::Text(vec![Span { content, link: None }]))
            }
            (Kind::MultiSelect, Self::Choice(name)) => Some(Self::Choices(vec![name])),
            (Kind::Number, content) => {
                content.plain().parse::<f64>().ok().and_then(serde_json::Number::from_f64).map(Self::Number)
            }
            _ => None,
        }
    }
}

impl DateRange {
    fn plain(&self) -> String {
        match &self.end {
            Some(end) => format!("{} – {}", self.start.plain(), end.plain()),
            None => self.start.plain(),
        }
    }
}

impl Moment {
    /// Reads an ISO 8601 date, with or without a time, which is kept to the minute; a time without an offset
    /// is UTC.
    pub fn parse(text: &str) -> Option<Self> {
        let to_the_minute = |at: DateTime<Utc>| at.duration_trunc(TimeDelta::minutes(1)).unwrap_or(at);
        if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
            return Some(Self::Instant(to_the_minute(instant.to_utc())));
        }
        if let Ok(day) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
            return Some(Self::Day(day));
        }
        ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"]
            .iter()
            .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
            .map(|instant| Self::Instant(to_the_minute(instant.and_utc())))
    }

    /// The instant, or the beginning of the day.
    pub fn instant(self) -> DateTime<Utc> {
        match self {
            Self::Day(day) => day.and_time(chrono::NaiveTime::MIN).and_utc(),
            Self::Instant(instant) => instant,
        }
    }

    fn plain(self) -> String {
        match self {
            Self::Day(day) => day.to_string(),
            Self::Instant(instant) => instant.format("%Y-%m-%d %H:%M").to_string(),
        }
    }

    fn to_json(self) -> Value {
        match self {
            Self::Day(day) => json!(day.to_string()),
            Self::Instant(instant) => json!(instant.to_rfc3339_opts(SecondsFormat::Millis, false)),
        }
    }
}

/// A cell as a page shows it: the column's id and type, and the content in the type's form.
pub fn read_back(property: &Property, content: Option<&Content>, page: &Authorship) -> Value {
    let kind = property.kind.name();
    json!({ "id": property.id, "type": kind, kind: value_of(property, content, page) })
}

/// Who created a page and when, for the columns that Notion fills itself.
#[derive(Debug)]
pub struct Authorship {
    /// When the page was created, as Notion shows it.
    pub created_time: String,
    /// When it was last edited, as Notion shows it.
    pub last_edited_time: String,
    /// Who created it, as Notion refers to users.
    pub created_by: Value,
    /// Who edited it last.
    pub last_edited_by: Value,
    /// The page's number in the sandbox.
    pub number: u64,
}

/// Text as Notion returns it.
pub fn rich_text(spans: &[Span]) -> Value {
    spans.iter().map(span_json).collect()
}

fn value_of(property: &Property, content: Option<&Content>, page: &Authorship) -> Value {
    match property.kind {
        Kind::CreatedTime => return json!(page.created_time),
        Kind::LastEditedTime => return json!(page.last_edited_time),
        Kind::CreatedBy => return page.created_by.clone(),
        Kind::LastEditedBy => return page.last_edited_by.clone(),
        Kind::UniqueId => return json!({ "prefix": null, "number": page.number }),
        Kind::Formula => return json!({ "type": "string", "string": null }),
        Kind::Rollup => return json!({ "type": "array", "array": [], "function": "show_original" }),
        Kind::Button => return json!({}),
        _ => {}
    }
    match content {
        None => match property.kind {
            Kind::Title
            | Kind::RichText
            | Kind::MultiSelect
            | Kind::People
            | Kind::Files
            | Kind::Relation => json!([]),
            Kind::Checkbox => json!(false),
            _ => Value::Null,
        },
        Some(Content::Text(spans)) => rich_text(spans),
        Some(Content::Number(number)) => json!(number),
        Some(Content::Choice(name)) => choice_json(property, name),
        Some(Content::Choices(names)) => names.iter().map(|name| choice_json(property, name)).collect(),
        Some(Content::Date(range)) => json!({
            "start": range.start.to_json(),
            "end": range.end.map(Moment::to_json),
            "time_zone": range.time_zone,
        }),
        Some(Content::Checkbox(ticked)) => json!(ticked),
        Some(Content::CutHandle(line)) => json!(line),
        Some(Content::Ids(ids)) if property.kind == Kind::People => {
            ids.iter().map(|id| json!({ "object": "user", "id": id })).collect()
        }
        Some(Content::Ids(ids)) => ids.iter().map(|id| json!({ "id": id })).collect(),
        Some(Content::Files(files)) => files
            .iter()
            .map(|file| json!({ "name": file.name, "type": "external", "external": { "url": file.url } }))
            .collect(),
    }
}

fn choice_json(property: &Property, name: &str) -> Value {
    match property.option(name) {
        Some(option) => json!({ "id": option.id, "name": option.name, "color": option.color }),
        None => Value::Null,
    }
}

fn span_json(span: &Span) -> Value {
    json!({
        "type": "text",
        "text": {
            "content": span.content,
            "link": span.link.as_ref().map(|url| json!({ "url": url })),
        },
        "annotations": {
            "bold": false, "italic": false, "strikethrough": false, "underline": false,
            "code": false, "color": "default",
        },
        "plain_text": span.content,
        "href": span.link,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_with_and_without_a_time() {
        assert!(matches!(Moment::parse("2026-11-23"), Some(Moment::Day(_))));
        let shifted = Moment::parse("2026-11-23T10:00:00+02:00").unwrap();
        assert_eq!(shifted.to_json(), json!("2026-11-23T08:00:00.000+00:00"));
        assert_eq!(shifted, Moment::parse("2026-11-23T08:00").unwrap());
        assert_eq!(shifted, Moment::parse("2026-11-23T08:00:59Z").unwrap(), "kept to the minute");
        for bad in ["", "tomorrow", "2026-13-01", "2026-11-23 10:00"] {
            assert_eq!(Moment::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_number_survives_as_text_and_text_that_is_a_number_as_number() {
        let number = Content::Number(serde_json::Number::from(12));
        let text = number.retyped(Kind::RichText).unwrap();
        assert_eq!(text.plain(), "12");
        assert_eq!(text.retyped(Kind::Number).unwrap().plain(), "12.0");
        assert_eq!(Content::Checkbox(true).retyped(Kind::Date), None);
    }
}
