//! Lists: pages, cursors, filters and ranges, as the API's first version has them.

use crate::api_error::ApiError;
use crate::params::{Params, integer};
use crate::resources::Resource;
use serde_json::{Value, json};

/// Which page of a list is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The largest number of objects.
    pub limit: usize,
    /// The objects that follow on this one, which is newer.
    pub starting_after: Option<String>,
    /// The objects just before this one, which are newer.
    pub ending_before: Option<String>,
}

/// The names of the parameters that every list has.
pub const OF_EVERY_LIST: [&str; 4] = ["limit", "starting_after", "ending_before", "expand"];

const LIMIT_MAX: i64 = 100;

impl Page {
    /// Reads the parameters of a page.
    pub fn parse(params: &Params) -> Result<Self, ApiError> {
        let limit = params.number("limit")?.unwrap_or(10);
        let bound =
            |message: &str| Err(ApiError::invalid("limit", message).code("parameter_invalid_integer"));
        if limit > LIMIT_MAX {
            return bound("This value must be less than or equal to 100 (it currently is larger).");
        }
        if limit < 1 {
            return bound("This value must be greater than or equal to 1.");
        }
        let text = |name: &str| params.get(name).filter(|id| !id.is_empty()).map(str::to_owned);
        let page = Self {
            limit: usize::try_from(limit).unwrap_or(10),
            starting_after: text("starting_after"),
            ending_before: text("ending_before"),
        };
        if page.starting_after.is_some() && page.ending_before.is_some() {
            let message = "You cannot parameterize both ending_before and starting_after.";
            return Err(ApiError::invalid("starting_after", message));
        }
        Ok(page)
    }

    /// Answers 400 if the cursor is no object of the list.
    pub fn check_cursor(&self, what: &str, exists: impl Fn(&str) -> bool) -> Result<(), ApiError> {
        let cursors = [("starting_after", &self.starting_after), ("ending_before", &self.ending_before)];
        for (name, cursor) in cursors {
            if let Some(id) = cursor.as_ref().filter(|id| !exists(id)) {
                let error = ApiError::new(400, format!("No such {what}: '{id}'"));
                return Err(error.code("resource_missing").param(name));
            }
        }
        Ok(())
    }

    /// The page of a list that is newest first, and whether more follow in the direction of the cursor.
    pub fn cut<T>(
        &self,
        newest_first: impl DoubleEndedIterator<Item = T>,
        id: impl Fn(&T) -> &str,
        selects: impl Fn(&T) -> bool,
    ) -> (Vec<T>, bool) {
        let mut page: Vec<T> = match (&self.starting_after, &self.ending_before) {
            (Some(cursor), _) => {
                let after = newest_first.skip_while(|item| id(item) != cursor).skip(1);
                after.filter(|item| selects(item)).take(self.limit + 1).collect()
            }
            (None, Some(cursor)) => {
                let newer = newest_first.rev().skip_while(|item| id(item) != cursor).skip(1);
                newer.filter(|item| selects(item)).take(self.limit + 1).collect()
            }
            (None, None) => newest_first.filter(|item| selects(item)).take(self.limit + 1).collect(),
        };
        let has_more = page.len() > self.limit;
        page.truncate(self.limit);
        if self.ending_before.is_some() {
            page.reverse();
        }
        (page, has_more)
    }
}

/// A list as the API shows it.
pub fn list(url: &str, data: &[Value], has_more: bool) -> Value {
    json!({ "object": "list", "url": url, "has_more": has_more, "data": data })
}

/// A range of a time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Range(Vec<(String, i64)>);

impl Range {
    /// Reads `created=5` and `created[gte]=5`.
    pub fn parse(params: &Params, name: &str) -> Result<Self, ApiError> {
        let mut bounds = Vec::new();
        for param in params.iter().filter(|param| param.name == name) {
            let bound = match param.keys.as_slice() {
                [] => "eq",
                [key] if matches!(key.as_str(), "gt" | "gte" | "lt" | "lte") => key,
                _ => {
                    let message = format!("Received unknown parameter: {}", param.full);
                    return Err(ApiError::invalid(&param.full, message).code("parameter_unknown"));
                }
            };
            bounds.push((bound.to_owned(), integer(&param.full, &param.value)?));
        }
        Ok(Self(bounds))
    }

    /// Whether a time is in it.
    pub fn holds(&self, time: i64) -> bool {
        self.0.iter().all(|(bound, value)| match bound.as_str() {
            "gt" => time > *value,
            "gte" => time >= *value,
            "lt" => time < *value,
            "lte" => time <= *value,
            _ => time == *value,
        })
    }

    /// Whether everything is in it.
    pub fn is_open(&self) -> bool {
        self.0.is_empty()
    }
}

/// What selects the objects of a list.
#[derive(Debug)]
pub struct Selection {
    wanted: Vec<(&'static str, String)>,
    ranges: Vec<(&'static str, Range)>,
    /// The subscriptions that have ended are left out.
    only_running: bool,
}

impl Selection {
    /// Reads the filters of a resource. `further` are names that the caller reads.
    pub fn parse(resource: &Resource, params: &Params, further: &[&str]) -> Result<Self, ApiError> {
        let is_subscription = resource.object == "subscription";
        params.check_names(|name| {
            OF_EVERY_LIST.contains(&name)
                || further.contains(&name)
                || resource.filters.iter().any(|(known, _)| *known == name)
                || resource.times.contains(&name)
                || (is_subscription && matches!(name, "status" | "price"))
        })?;
        let mut wanted: Vec<(&'static str, String)> = Vec::new();
        for (name, place) in resource.filters {
            if let Some(value) = params.get(name) {
                wanted.push((place, value.to_owned()));
            }
        }
        let mut only_running = false;
        if is_subscription {
            match params.get("status") {
                None => only_running = true,
                Some("all") => {}
                Some("ended") => wanted.push(("/status", "canceled".to_owned())),
                Some(status) => wanted.push(("/status", status.to_owned())),
            }
            if let Some(price) = params.get("price") {
                wanted.push(("/items/data/0/price/id", price.to_owned()));
            }
        }
        let range = |name: &&'static str| Range::parse(params, name).map(|range| (*name, range));
        let ranges = resource.times.iter().map(range).collect::<Result<_, _>>()?;
        Ok(Self { wanted, ranges, only_running })
    }

    /// Whether an object is in the list.
    pub fn selects(&self, object: &Value) -> bool {
        let is_wanted = |(place, wanted): &(&str, String)| match object.pointer(place) {
            Some(Value::String(text)) => text == wanted,
            Some(Value::Bool(flag)) => flag.to_string() == *wanted,
            Some(other) => other.get("id").and_then(Value::as_str) == Some(wanted),
            None => false,
        };
        let in_range = |(name, range): &(&str, Range)| {
            range.is_open() || object.get(name).and_then(Value::as_i64).is_some_and(|time| range.holds(time))
        };
        self.wanted.iter().all(is_wanted)
            && self.ranges.iter().all(in_range)
            && !(self.only_running && object.get("status").and_then(Value::as_str) == Some("canceled"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(query: &str) -> Result<Page, ApiError> {
        Page::parse(&Params::parse(query.as_bytes()))
    }

    fn cut(query: &str, count: u32) -> (Vec<String>, bool) {
        let ids: Vec<String> = (1..=count).rev().map(|number| format!("id_{number}")).collect();
        page(query).unwrap().cut(ids.into_iter(), String::as_str, |id| id != "id_3")
    }

    #[test]
    fn pages_follow_each_other_in_both_directions() {
        assert_eq!(cut("limit=2", 5), (vec!["id_5".to_owned(), "id_4".to_owned()], true));
        assert_eq!(
            cut("limit=2&starting_after=id_4", 5),
            (vec!["id_2".to_owned(), "id_1".to_owned()], false)
        );
        assert_eq!(cut("limit=1&ending_before=id_2", 5), (vec!["id_4".to_owned()], true));
        assert_eq!(cut("ending_before=id_5", 5), (Vec::new(), false));
    }

    #[test]
    fn wrong_pages_are_errors() {
        for query in ["limit=0", "limit=101", "limit=x", "starting_after=a&ending_before=b"] {
            assert_eq!(page(query).unwrap_err().status, 400, "{query}");
        }
        let error = page("starting_after=x").unwrap().check_cursor("charge", |_| false).unwrap_err();
        assert_eq!((error.status, error.param.as_deref()), (400, Some("starting_after")));
    }

    #[test]
    fn a_range_holds_what_is_between_its_bounds() {
        let range = |query: &str| Range::parse(&Params::parse(query.as_bytes()), "created");
        let both = range("created[gt]=5&created[lte]=9").unwrap();
        assert_eq!([5, 6, 9, 10].map(|time| both.holds(time)), [false, true, true, false]);
        assert!(range("created=7").unwrap().holds(7));
        assert!(range("created[after]=7").is_err() && range("created[gt]=soon").is_err());
    }
}
