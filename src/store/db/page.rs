//! Keyset pagination: newest first, stable while rows arrive.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};

/// The default number of rows of a page.
pub const LIMIT_DEFAULT: u32 = 50;

/// The most rows of a page.
pub const LIMIT_MAX: u32 = 200;

/// One page of a list.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// The rows, newest first.
    pub rows: Vec<T>,
    /// The start of the next page; `None` at the end.
    pub next: Option<Cursor>,
}

impl<T> Page<T> {
    /// Makes a page of at most `limit` rows from rows that were read with a limit one greater.
    pub(in crate::store) fn cut(rows: Vec<T>, limit: u32, id: impl Fn(&T) -> i64) -> Self {
        Self::cut_at(rows, limit, |row| Cursor { before: id(row), seen: None })
    }

    /// As [`cut`](Self::cut), if the place of a row is more than its id.
    pub(in crate::store) fn cut_at(mut rows: Vec<T>, limit: u32, place: impl Fn(&T) -> Cursor) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(place);
        Self { rows, next }
    }
}

/// A place in a list: the rows older than an id. In a list ordered by the time when something was last seen:
/// the rows seen before a time, or at that time and older.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    before: i64,
    seen: Option<Seen>,
}

/// A place in a list that is ordered by the time when something was last seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Seen {
    /// When the first page was read. Later sightings change no place.
    pub(in crate::store) as_of: DateTime<Utc>,
    /// When the last row of the page was last seen, as of then.
    pub(in crate::store) last: DateTime<Utc>,
}

/// A text that is not a cursor.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid cursor: use the next_cursor of a page unchanged")]
pub struct UnknownCursor;

impl Cursor {
    /// Its text for an API; the format may change.
    pub fn encode(self) -> String {
        let text = match self.seen {
            None => format!("1:{}", self.before),
            Some(Seen { as_of, last }) => {
                format!("2:{}:{}:{}", as_of.timestamp_micros(), last.timestamp_micros(), self.before)
            }
        };
        BASE64_URL_SAFE_NO_PAD.encode(text)
    }

    /// Reads what [`Cursor::encode`] wrote.
    pub fn decode(text: &str) -> Result<Self, UnknownCursor> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| UnknownCursor)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| UnknownCursor)?;
        let mut parts = text.split(':');
        let form = parts.next();
        let mut number = || parts.next().and_then(|part| part.parse::<i64>().ok()).ok_or(UnknownCursor);
        let seen = match form {
            Some("1") => None,
            Some("2") => Some(Seen { as_of: time(number()?)?, last: time(number()?)? }),
            _ => return Err(UnknownCursor),
        };
        let before = number()?;
        if parts.next().is_some() { Err(UnknownCursor) } else { Ok(Self { before, seen }) }
    }

    /// The place below an id.
    pub(in crate::store) const fn of_id(before: i64) -> Self {
        Self { before, seen: None }
    }

    pub(in crate::store) fn of_seen(before: i64, seen: Seen) -> Self {
        Self { before, seen: Some(seen) }
    }

    pub(in crate::store) fn seen(self) -> Option<Seen> {
        self.seen
    }

    pub(in crate::store) fn before(cursor: Option<Self>) -> i64 {
        cursor.map_or(i64::MAX, |cursor| cursor.before)
    }
}

/// The times that a list can contain: those that the database can store.
fn time(micros: i64) -> Result<DateTime<Utc>, UnknownCursor> {
    const YEAR_3000_MICROS: i64 = 32_503_680_000_000_000;
    DateTime::from_timestamp_micros(micros)
        .filter(|_| (0..YEAR_3000_MICROS).contains(&micros))
        .ok_or(UnknownCursor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_other_texts_do_not() {
        let micros = |micros| DateTime::from_timestamp_micros(micros).unwrap();
        let seen = Seen { as_of: micros(1_800_000_000_000_001), last: micros(1_700_000_000_000_002) };
        for cursor in [Cursor { before: 42, seen: None }, Cursor::of_seen(42, seen)] {
            assert_eq!(Cursor::decode(&cursor.encode()), Ok(cursor));
        }
        for text in ["", "42", "MTo", "!!"] {
            assert_eq!(Cursor::decode(text), Err(UnknownCursor), "{text}");
        }
        let beyond = format!("2:1:{}:1", i64::MAX);
        for text in ["2:1", "3:1", "1:1:1", "2:1:1:1:1", "2:-1:1:1", "1:x", &beyond] {
            assert_eq!(Cursor::decode(&BASE64_URL_SAFE_NO_PAD.encode(text)), Err(UnknownCursor), "{text}");
        }
    }

    #[test]
    fn a_page_knows_whether_there_is_more() {
        let full = Page::cut(vec![9, 8, 7], 2, |id| *id);
        assert_eq!((full.rows, full.next), (vec![9, 8], Some(Cursor { before: 8, seen: None })));
        let last = Page::cut(vec![9, 8], 2, |id| *id);
        assert_eq!((last.rows, last.next), (vec![9, 8], None));
    }
}
