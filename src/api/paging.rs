//! The pages of a list that covers a time range.
//!
//! A filter without an index requires a time range. If the caller gives none, the list covers the same last days
//! as in the dashboard, and the answer states them. A cursor carries the time range of its page, so the next
//! page continues in the same one without repeating it.

use super::{Api, extract, from_store};
use crate::problem::Problem;
use crate::store::{Cursor, UnknownCursor, WINDOW_DAYS_DEFAULT, Window};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use utoipa::ToSchema;

/// A time range.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct TimeWindow {
    /// At this time or later; null if the beginning is open.
    pub after: Option<DateTime<Utc>>,
    /// Before this time; null if the end is open.
    pub before: Option<DateTime<Utc>>,
}

/// A requested page.
#[derive(Debug, Clone, Copy)]
pub(super) struct PageRequest {
    pub(super) cursor: Option<Cursor>,
    pub(super) limit: u32,
    /// The time range of the page before.
    continued: Window,
}

impl PageRequest {
    /// Reads the parameters `cursor` and `limit`.
    pub(super) fn read(cursor: Option<&str>, limit: Option<u32>) -> Result<Self, Problem> {
        let (cursor, continued) = match cursor.map(decode).transpose() {
            Ok(None) => (None, Window::default()),
            Ok(Some((cursor, continued))) => (Some(cursor), continued),
            Err(error) => return Err(Problem::invalid("cursor", error)),
        };
        let (_, limit) = extract::paging(None, limit)?;
        Ok(Self { cursor, limit, continued })
    }

    /// The time range of the list: the one that the caller gives, otherwise that of the page before, otherwise
    /// the default if the filter requires one. A page ends no later than the one before.
    pub(super) async fn window(
        &self,
        api: &Api,
        given: Window,
        is_required: bool,
    ) -> Result<Window, Problem> {
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

/// The cursor of the next page, with the time range of this one.
pub(super) fn next_cursor(next: Option<Cursor>, window: Window) -> Option<String> {
    let place = next?.encode();
    if window == Window::default() {
        return Some(place);
    }
    let micros = |time: Option<DateTime<Utc>>| time.map(|time| time.timestamp_micros().to_string());
    let [after, before] = [window.after, window.before].map(|time| micros(time).unwrap_or_default());
    Some(format!("{place}.{after}.{before}"))
}

fn decode(text: &str) -> Result<(Cursor, Window), UnknownCursor> {
    let mut parts = text.split('.');
    let cursor = Cursor::decode(parts.next().unwrap_or_default())?;
    let window = match (parts.next(), parts.next(), parts.next()) {
        (None, None, None) => Window::default(),
        (Some(after), Some(before), None) => Window { after: time(after)?, before: time(before)? },
        _ => return Err(UnknownCursor),
    };
    Ok((cursor, window))
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
            let text = next_cursor(Some(place), window).expect("a cursor");
            assert_eq!(decode(&text), Ok((place, window)), "{text}");
        }
        assert_eq!(next_cursor(None, Window { after: Some(at(1)), before: None }), None);
    }

    #[test]
    fn other_texts_are_no_cursors() {
        for text in
            ["", ".", "..", "MTo0Mg.", "MTo0Mg.1", "MTo0Mg.1.2.3", "MTo0Mg.x.", "MTo0Mg..9223372036854775807"]
        {
            assert_eq!(decode(text), Err(UnknownCursor), "{text}");
        }
    }
}
