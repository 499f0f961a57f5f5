//! Keyset pagination: newest first, stable while rows arrive.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

/// How many rows a page holds where nothing is said.
pub const LIMIT_DEFAULT: u32 = 50;

/// The most rows of a page.
pub const LIMIT_MAX: u32 = 200;

/// One page of a listing.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// The rows, newest first.
    pub rows: Vec<T>,
    /// Where the next page begins; nothing at the end.
    pub next: Option<Cursor>,
}

impl<T> Page<T> {
    /// Makes a page of at most `limit` rows out of rows read with a limit one greater.
    pub(super) fn cut(mut rows: Vec<T>, limit: u32, id: impl Fn(&T) -> i64) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(|row| Cursor { before: id(row) });
        Self { rows, next }
    }
}

/// A place in a listing: the rows older than one id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    before: i64,
}

/// A text that no listing gave out.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("this cursor was not given out by a listing: take next_cursor as it is")]
pub struct UnknownCursor;

impl Cursor {
    /// The text that stands for it in an API; its form may change.
    pub fn encode(self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(format!("1:{}", self.before))
    }

    /// Reads what [`Cursor::encode`] wrote.
    pub fn decode(text: &str) -> Result<Self, UnknownCursor> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| UnknownCursor)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| UnknownCursor)?;
        let before = text.strip_prefix("1:").and_then(|id| id.parse().ok()).ok_or(UnknownCursor)?;
        Ok(Self { before })
    }

    pub(super) fn before(cursor: Option<Self>) -> i64 {
        cursor.map_or(i64::MAX, |cursor| cursor.before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_other_texts_do_not() {
        let cursor = Cursor { before: 42 };
        assert_eq!(Cursor::decode(&cursor.encode()), Ok(cursor));
        for text in ["", "42", "MTo", "!!", &BASE64_URL_SAFE_NO_PAD.encode("2:1")] {
            assert_eq!(Cursor::decode(text), Err(UnknownCursor), "{text}");
        }
    }

    #[test]
    fn a_page_knows_whether_there_is_more() {
        let full = Page::cut(vec![9, 8, 7], 2, |id| *id);
        assert_eq!((full.rows, full.next), (vec![9, 8], Some(Cursor { before: 8 })));
        let last = Page::cut(vec![9, 8], 2, |id| *id);
        assert_eq!((last.rows, last.next), (vec![9, 8], None));
    }
}
