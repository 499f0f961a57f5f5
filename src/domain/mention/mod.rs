//! Finds a person in texts, however the texts spell them.
//!
//! A body may write a letter as a JSON escape (`\u0040`), percent-encoded in a link (`%40`), in the other case,
//! or as a letter and an accent. A domain may be in Unicode or begin with `xn--`. [`Readings`] decodes a body in
//! all these ways, so that it finds at least what the search index contains. [`sql_pattern`] is a regular
//! expression of Postgres for the same spellings in short texts, such as notes and messages.

mod pattern;

pub use pattern::sql_pattern;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::iter::Peekable;
use std::str::Chars;
use unicode_normalization::{UnicodeNormalization, is_nfc};

/// The most readings of one text: it may be encoded several times.
const READINGS_MAX: usize = 8;

/// The longest parts of an address, in bytes.
const LOCAL_BYTES_MAX: usize = 64;
const DOMAIN_BYTES_MAX: usize = 190;

/// An e-mail address in each of its spellings, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(BTreeSet<String>);

impl Address {
    /// Reads an address. `None` if the text is something else.
    pub fn parse(text: &str) -> Option<Self> {
        let text = normalised(text.trim()).into_owned();
        let (local, domain) = text.rsplit_once('@')?;
        let is_of_local = |c: char| {
            c.is_alphanumeric() || is_mark(c) || (c.is_ascii_graphic() && !"\"\\<>(),;:@".contains(c))
        };
        let is_of_domain = |c: char| c.is_alphanumeric() || is_mark(c) || ".-".contains(c);
        let is_address = (1..=LOCAL_BYTES_MAX).contains(&local.len())
            && (4..=DOMAIN_BYTES_MAX).contains(&domain.len())
            && local.chars().all(is_of_local)
            && domain.chars().all(is_of_domain)
            && domain.split('.').count() > 1
            && domain.split('.').all(|part| !part.is_empty());
        if !is_address {
            return None;
        }
        let (unicode, _) = idna::domain_to_unicode(domain);
        let ascii = idna::domain_to_ascii(domain).unwrap_or_else(|_| domain.to_owned());
        let domains = [domain.to_owned(), normalised(&unicode).into_owned(), ascii];
        Some(Self(domains.iter().map(|domain| format!("{local}@{domain}")).collect()))
    }

    /// Whether a text is this address in one of its spellings.
    pub fn is(&self, text: &str) -> bool {
        self.0.contains(normalised(text.trim()).as_ref())
    }

    /// Its spellings.
    pub fn spellings(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

/// A text as it is, and as it is with its JSON escapes and its percent-encoding decoded.
#[derive(Debug)]
pub struct Readings {
    exact: Vec<String>,
    normalised: Vec<String>,
}

impl Readings {
    /// Reads a text.
    pub fn of(text: &[u8]) -> Self {
        let mut exact = vec![String::from_utf8_lossy(text).replace('\0', "")];
        let mut next = 0;
        while let Some(reading) = exact.get(next).filter(|_| exact.len() < READINGS_MAX) {
            let decoded = [unescaped(reading), percent_decoded(reading)];
            for one in decoded.into_iter().flatten() {
                if !exact.contains(&one) {
                    exact.push(one);
                }
            }
            next += 1;
        }
        let normalised = exact.iter().map(|reading| normalised(reading).into_owned()).collect();
        Self { exact, normalised }
    }

    /// Whether the text contains this id, and not as a part of a longer one.
    pub fn has_id(&self, id: &str) -> bool {
        let is_of_id = |c: char| c.is_alphanumeric() || c == '_';
        stands_alone(&self.exact, id, is_of_id, |after| after.chars().next().is_some_and(is_of_id))
    }

    /// Whether the text contains this address, and not as a part of a longer one.
    pub fn has_address(&self, address: &Address) -> bool {
        let precedes = |c: char| c.is_alphanumeric() || "._%+-".contains(c);
        let continues = |after: &str| {
            let mut after = after.chars();
            match after.next() {
                Some('.') => after.next().is_some_and(char::is_alphanumeric),
                Some(c) => c.is_alphanumeric() || c == '-',
                None => false,
            }
        };
        address.spellings().any(|spelling| stands_alone(&self.normalised, spelling, precedes, continues))
    }
}

fn stands_alone(
    texts: &[String],
    wanted: &str,
    precedes: impl Fn(char) -> bool,
    continues: impl Fn(&str) -> bool,
) -> bool {
    texts.iter().any(|text| {
        text.match_indices(wanted).any(|(start, _)| {
            let before = text.get(..start).and_then(|before| before.chars().next_back());
            let after = text.get(start + wanted.len()..).unwrap_or_default();
            !before.is_some_and(&precedes) && !continues(after)
        })
    })
}

/// In lower case, with each accent and its letter as one character. As the search index, without NUL.
fn normalised(text: &str) -> Cow<'_, str> {
    let lower = text.to_lowercase().replace('\0', "");
    Cow::Owned(if is_nfc(&lower) { lower } else { lower.nfc().collect() })
}

/// Whether a character belongs to the one before it, such as an accent.
fn is_mark(c: char) -> bool {
    unicode_normalization::char::is_combining_mark(c)
}

/// The text with its JSON escapes decoded; `None` if it has none.
fn unescaped(text: &str) -> Option<String> {
    if !text.contains('\\') {
        return None;
    }
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        if character != '\\' {
            decoded.push(character);
            continue;
        }
        match rest.next() {
            Some('u') => decoded.push(escaped_character(&mut rest)),
            Some('n' | 'r' | 't' | 'b' | 'f') => decoded.push(' '),
            Some(other) => decoded.push(other),
            None => {}
        }
    }
    Some(decoded.replace('\0', ""))
}

/// The character of an escape whose `\u` was read. Half of a surrogate pair is U+FFFD.
fn escaped_character(rest: &mut Peekable<Chars<'_>>) -> char {
    let Some(unit) = hex_unit(rest) else { return char::REPLACEMENT_CHARACTER };
    if !(0xD800..0xDC00).contains(&unit) {
        return char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER);
    }
    let mut ahead = rest.clone();
    let low =
        (ahead.next() == Some('\\') && ahead.next() == Some('u')).then(|| hex_unit(&mut ahead)).flatten();
    let Some(low) = low.filter(|low| (0xDC00..0xE000).contains(low)) else {
        return char::REPLACEMENT_CHARACTER;
    };
    *rest = ahead;
    char::from_u32(0x1_0000 + ((unit - 0xD800) << 10) + (low - 0xDC00)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// Four hexadecimal digits. Where there are none, nothing is read.
fn hex_unit(rest: &mut Peekable<Chars<'_>>) -> Option<u32> {
    let mut ahead = rest.clone();
    let mut unit = 0;
    for _ in 0..4 {
        unit = unit * 16 + ahead.next()?.to_digit(16)?;
    }
    *rest = ahead;
    Some(unit)
}

/// The text with its percent-encoding decoded; `None` if it has none.
fn percent_decoded(text: &str) -> Option<String> {
    let hex = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    let mut has_any = false;
    while let Some((first, after)) = rest.split_first() {
        let code = match (first, after) {
            (b'%', [high, low, ..]) => hex(high).zip(hex(low)).map(|(high, low)| high * 16 + low),
            _ => None,
        };
        has_any |= code.is_some();
        decoded.push(code.unwrap_or(*first));
        rest = if code.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    has_any.then(|| String::from_utf8_lossy(&decoded).replace('\0', ""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn an_address_may_have_any_letters_and_nothing_else_is_one() {
        for text in
            ["Jane+x@Example.co.uk", "jané@exämple.com", "用户@例え.jp", " j@a.bc ", "jane\u{301}@x.org"]
        {
            assert!(Address::parse(text).is_some(), "{text}");
        }
        for text in [
            "",
            "jane",
            "@example.com",
            "jane@",
            "jane@com",
            "jane@a..b",
            "a\"@b.com",
            "a b@c.com",
            "\u{1b}[2J",
        ] {
            assert_eq!(Address::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_address_is_found_in_every_spelling() {
        let jane = address("jané@Exämple.com");
        for text in [
            "jané@exämple.com",
            "JANÉ@EXÄMPLE.COM",
            r#"{"email":"jan\u00e9\u0040ex\u00E4mple.com"}"#,
            "\"jan\u{65}\u{301}@exa\u{308}mple.com\"",
            "<jané@xn--exmple-cua.com>",
            "https://x.example/?email=jan%C3%A9%40ex%c3%a4mple.com",
            r#"{"note":"{\"to\":\"jan\\u00e9@ex\\u00e4mple.com\"}"}"#,
            "jan%25C3%25A9%2540ex%25C3%25A4mple.com",
            r#""by\njan\u00e9@exämple.com.""#,
            "ja\0né@exämple.com",
            r#""ja\u0000né@exämple.com""#,
        ] {
            assert!(Readings::of(text.as_bytes()).has_address(&jane), "{text}");
        }
        for text in [
            "jane@exämple.com",
            "mary.jané@exämple.com",
            "jané@exämple.com.au",
            "jané@exämple.company",
            r#""mary.jan\u00e9@exämple.com""#,
        ] {
            assert!(!Readings::of(text.as_bytes()).has_address(&jane), "{text}");
        }
    }

    #[test]
    fn an_id_is_found_as_a_whole_and_in_its_own_case() {
        for text in [r#""cus_A1""#, r#""cus\u005fA1""#, "https://x.example/customers/cus_A1?x", "cus%5FA1"] {
            assert!(Readings::of(text.as_bytes()).has_id("cus_A1"), "{text}");
        }
        for text in [r#""cus_A12""#, r#""cus_a1""#, r#""gcus_A1""#] {
            assert!(!Readings::of(text.as_bytes()).has_id("cus_A1"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_the_index_reads_from_json_is_found(escaped in prop::collection::vec(any::<bool>(), 16)) {
            let spelled: String = "jane@example.com"
                .chars()
                .zip(escaped)
                .map(|(c, escaped)| if escaped { format!("\\u{:04X}", u32::from(c)) } else { c.to_string() })
                .collect();
            let body = format!(r#"{{"email":"{spelled}"}}"#);
            let read: serde_json::Value = serde_json::from_str(&body).expect("JSON");
            prop_assert_eq!(&read["email"], "jane@example.com");
            prop_assert!(Readings::of(body.as_bytes()).has_address(&address("jane@example.com")));
        }

        #[test]
        fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..200), text in ".*") {
            let readings = Readings::of(&body);
            let _found = (readings.has_id("cus_A1"), Address::parse(&text));
        }
    }
}
