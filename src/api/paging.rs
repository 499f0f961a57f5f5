//! The pages of a list that covers a time range.
//!
//! A filter without an index requires a time range. If the caller gives none, the list covers the same last days
//! as in the dashboard, and the answer states them. A cursor carries the time range of its page, so the next
//! page continues in the same one without repeating it.
//!
//! A cursor also carries a print of the filter of its list. With another filter its page would be neither the next
//! one nor a first one, so it is refused.

use super::{Api, extract, from_store};
use crate::problem::Problem;
use crate::store::{Cursor, UnknownCursor, WINDOW_DAYS_DEFAULT, Window};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::convert::Infallible;
use url::form_urlencoded;
use utoipa::ToSchema;

/// The parameters that are no part of a filter. A time range is carried by the cursor, and need not be repeated.
const NOT_OF_FILTER: &[&str] =
    &["cursor", "limit", "created_after", "created_before", "received_after", "received_before"];

/// The length of a print.
const PRINT_CHARACTERS: usize = 8;

/// A list with its filter, as far as cursors distinguish them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FilterPrint(String);

impl FilterPrint {
    fn of(path: &str, query: &str) -> Self {
        let mut pairs: Vec<_> = form_urlencoded::parse(query.as_bytes())
            .filter(|(name, _)| !NOT_OF_FILTER.contains(&name.as_ref()))
            .collect();
        pairs.sort();
        let list = path.rsplit('/').next().unwrap_or_default();
        let mut hash = Sha256::new_with_prefix(list);
        for (name, text) in pairs {
            for part in [name, text] {
                hash.update(part.len().to_le_bytes());
                hash.update(part.as_bytes());
            }
        }
        Self(hex::encode(hash.finalize()).chars().take(PRINT_CHARACTERS).collect())
    }
}

impl<S: Sync> FromRequestParts<S> for FilterPrint {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(parts.uri.path(), parts.uri.query().unwrap_or_default()))
    }
}

/// A time range.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct TimeWindow {
    /// At this time or later; null if the beginning is open.
    pub after: Option<DateTime<Utc>>,
    /// Before this time; null if the end is open.
    pub before: Option<DateTime<Utc>>,
}

/// A requested page.
#[derive(Debug, Clone)]
pub(super) struct PageRequest {
    pub(super) cursor: Option<Cursor>,
    pub(super) limit: u32,
    /// The time range of the page before.
    continued: Window,
    print: FilterPrint,
}

impl PageRequest {
    /// Reads the parameters `cursor` and `limit`. A cursor must come from the same list with the same filter.
    pub(super) fn read(
        cursor: Option<&str>,
        limit: Option<u32>,
        print: FilterPrint,
    ) -> Result<Self, Problem> {
        let (cursor, continued) = match cursor.map(decode).transpose() {
            Ok(None) => (None, Window::default()),
            Ok(Some((_, of, _))) if of != print => return Err(of_another_list()),
            Ok(Some((cursor, _, continued))) => (Some(cursor), continued),
            Err(error) => return Err(Problem::invalid("cursor", error)),
        };
        Ok(Self { cursor, limit: extract::limit(limit)?, continued, print })
    }

    /// The cursor of the next page of a list without a time range.
    pub(super) fn next(&self, next: Option<Cursor>) -> Option<String> {
        self.next_in(next, Window::default())
    }

    /// The cursor of the next page, with the time range of this one.
    pub(super) fn next_in(&self, next: Option<Cursor>, window: Window) -> Option<String> {
        Some(encode(next?, &self.print, window))
    }

    /// The time range of the list: the one that the caller gives, otherwise that of the page before, otherwise
    /// the default if the filter requires one. A page ends no later than the one before.
    pub(super) async fn window(
        &self,
        api: &Api,
        given: Window,
        is_required: bool,
    ) -> Result<Window, Problem> {
        if self.cursor.is_some() && !continues(given, self.continued) {
            return Err(of_another_list());
        }
        let window = Window {
            after: given.after.or(self.continued.after),
            before: [given.before, self.continued.before].into_iter().flatten().min(),
        };
        if window.after.is_some() || !is_required {
            return Ok(window);
        }
        let now = api.store.reports.now().await.map_err(from_store)?;
        // A range that ends in the future would be longer than such a filter allows.
        let before = window.before.map_or(now, |before| before.min(now));
        let after = before.checked_sub_signed(TimeDelta::days(WINDOW_DAYS_DEFAULT));
        // With its end, so that it is as long on a page that is read another day.
        Ok(Window { after, before: Some(before) })
    }
}

fn of_another_list() -> Problem {
    Problem::invalid(
        "cursor",
        "belongs to a list with another filter: repeat that filter, or leave out the cursor for the first page",
    )
}

/// Whether a given time range is that of the page before. A page ends no later than the given range does.
fn continues(given: Window, continued: Window) -> bool {
    let micros = |time: Option<DateTime<Utc>>| time.map(|time| time.timestamp_micros());
    let same_start = given.after.is_none() || micros(given.after) == micros(continued.after);
    let same_end = match (micros(given.before), micros(continued.before)) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(given), Some(continued)) => continued <= given,
    };
    same_start && same_end
}

fn encode(place: Cursor, print: &FilterPrint, window: Window) -> String {
    let place = format!("{}~{}", place.encode(), print.0);
    if window == Window::default() {
        return place;
    }
    let micros = |time: Option<DateTime<Utc>>| time.map(|time| time.timestamp_micros().to_string());
    let [after, before] = [window.after, window.before].map(|time| micros(time).unwrap_or_default());
    format!("{place}.{after}.{before}")
}

fn decode(text: &str) -> Result<(Cursor, FilterPrint, Window), UnknownCursor> {
    let mut parts = text.split('.');
    let (place, print) = parts.next().and_then(|part| part.split_once('~')).ok_or(UnknownCursor)?;
    let cursor = Cursor::decode(place)?;
    let window = match (parts.next(), parts.next(), parts.next()) {
        (None, None, None) => Window::default(),
        (Some(after), Some(before), None) => Window { after: time(after)?, before: time(before)? },
        _ => return Err(UnknownCursor),
    };
    Ok((cursor, FilterPrint(print.to_owned()), window))
}

/// The times that a parameter can name.
fn time(micros: &str) -> Result<Option<DateTime<Utc>>, UnknownCursor> {
    if micros.is_empty() {
        return Ok(None);
    }
    let micros: i64 = micros.parse().map_err(|_| UnknownCursor)?;
    let time = DateTime::from_timestamp_micros(micros).ok_or(UnknownCursor)?;
    // The range of RFC 3339, which the database can store too.
    let is_writable = (0..=9999).contains(&chrono::Datelike::year(&time));
    if is_writable { Ok(Some(time)) } else { Err(UnknownCursor) }
}

impl From<Window> for TimeWindow {
    fn from(Window { after, before }: Window) -> Self {
        Self { after, before }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).expect("a time")
    }

    #[test]
    fn a_cursor_carries_the_time_range_of_its_page() {
        let place = Cursor::decode("MTo0Mg").expect("a cursor");
        for window in [
            Window::default(),
            Window { after: Some(at(1_800_000_000)), before: None },
            Window { after: None, before: Some(at(1_800_000_000)) },
            Window { after: Some(at(-1)), before: Some(at(1_800_000_000)) },
        ] {
            let print = FilterPrint::of("/api/v1/events", "type=a");
            let text = encode(place, &print, window);
            assert_eq!(decode(&text), Ok((place, print, window)), "{text}");
        }
    }

    #[test]
    fn a_print_tells_lists_and_filters_apart_and_nothing_else() {
        let print = |path: &str, query: &str| FilterPrint::of(path, query);
        let first = print("/api/v1/events", "type=a.b&source=stripe&limit=3");
        assert_eq!(
            first,
            print("/api/v1/events", "source=stripe&cursor=x&type=a%2Eb&received_after=2026-01-01")
        );
        for (path, query) in [
            ("/api/v1/executions", "type=a.b&source=stripe"),
            ("/api/v1/events", "type=a.b"),
            ("/api/v1/events", "type=a.c&source=stripe"),
            ("/api/v1/events", "type=a.bsource&=stripe"),
        ] {
            assert_ne!(first, print(path, query), "{path}?{query}");
        }
    }

    #[test]
    fn a_range_continues_if_it_is_the_same_or_is_not_repeated() {
        let window =
            |after: Option<i64>, before: Option<i64>| Window { after: after.map(at), before: before.map(at) };
        let page = window(Some(5), Some(9));
        for same in
            [window(None, None), window(Some(5), None), window(Some(5), Some(9)), window(None, Some(99))]
        {
            assert!(continues(same, page), "{same:?}");
        }
        for other in [window(Some(4), None), window(Some(5), Some(8))] {
            assert!(!continues(other, page), "{other:?}");
        }
        assert!(!continues(window(None, Some(9)), window(Some(5), None)));
    }

    #[test]
    fn other_texts_are_no_cursors() {
        for text in [
            "",
            ".",
            "..",
            "~",
            "MTo0Mg",
            "MTo0Mg~0.",
            "MTo0Mg~0.1",
            "MTo0Mg~0.1.2.3",
            "MTo0Mg~0.x.",
            "MTo0Mg~0..9223372036854775807",
        ] {
            assert_eq!(decode(text), Err(UnknownCursor), "{text}");
        }
    }
}
