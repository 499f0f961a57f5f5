//! A regular expression of Postgres that finds a person in a short text, in any spelling.

use super::{Address, is_mark};
use std::collections::BTreeSet;
use std::fmt::Write;
use unicode_normalization::UnicodeNormalization;

/// The longest name that is searched for, in characters.
const NAME_CHARACTERS_MAX: usize = 200;

/// What an encoded character before an address or a name may end with.
const AFTER_ESCAPE: &str = r"(?<=\\[nrtbf])|(?<=\\u[0-9a-fA-F]{4})|(?<=%[0-9a-fA-F]{2})";

/// A pattern for these addresses and names. `None` if there is nothing to search for.
///
/// A match is a whole address or name with its escapes and without quotes, so it can be replaced within a JSON
/// text. A name of one word is not searched: it may also be an ordinary word, a part of a link, or a key of JSON.
pub fn sql_pattern<'a>(
    addresses: impl IntoIterator<Item = &'a Address>,
    names: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    let addresses: BTreeSet<String> =
        addresses.into_iter().flat_map(Address::spellings).flat_map(spelled).collect();
    let names: BTreeSet<String> = names.into_iter().flat_map(name).collect();
    let either = |words: &BTreeSet<String>, before: &str, after: &str| {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        (!words.is_empty()).then(|| format!("(?:{before}|{AFTER_ESCAPE})(?:{})(?!{after})", words.join("|")))
    };
    let parts = [
        either(&addresses, r"(?<![[:alnum:]._%+\-])", r"[[:alnum:]\-]|\.[[:alnum:]]"),
        either(&names, r"(?<![[:alnum:]])", r"[[:alnum:]]"),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join("|"))
}

/// The patterns of a name of several words. None if it is too long, or has a quote or a backslash, which a JSON text
/// would escape, or if JSON can contain it outside of a text.
fn name(name: &str) -> BTreeSet<String> {
    let name = name.trim();
    let is_searchable = name.chars().count() <= NAME_CHARACTERS_MAX
        && name.split_whitespace().count() > 1
        && !name.split_whitespace().all(is_json)
        && !name.contains(['"', '\\'])
        && !name.chars().any(char::is_control);
    if is_searchable { spelled(name) } else { BTreeSet::new() }
}

/// Whether a word can stand in JSON outside of a text.
fn is_json(word: &str) -> bool {
    let word = word.trim_matches(|c: char| !c.is_alphanumeric());
    word.parse::<f64>().is_ok() || matches!(word.to_lowercase().as_str(), "" | "true" | "false" | "null")
}

/// A word with its accents as own characters, and without.
fn spelled(word: &str) -> BTreeSet<String> {
    let composed: String = word.nfc().collect();
    let decomposed: String = word.nfd().collect();
    [composed, decomposed].iter().map(|word| pattern(word)).collect()
}

fn pattern(word: &str) -> String {
    let mut pattern = String::new();
    let mut was_blank = false;
    for character in word.chars() {
        let is_blank = character.is_whitespace();
        if is_blank && !was_blank {
            pattern.push_str(r"(?:\s|\+|\\+[nrt]|\\+u00[aA2]0|%(?:25)*(?:20|0[aAdD9]))+");
        } else if !is_blank {
            push_character(&mut pattern, character);
        }
        was_blank = is_blank;
    }
    pattern
}

/// A character in both cases: as itself, as a JSON escape, or percent-encoded.
fn push_character(pattern: &mut String, character: char) {
    let mut cases = BTreeSet::from([character]);
    cases.extend(single(character.to_lowercase()).into_iter().chain(single(character.to_uppercase())));
    pattern.push_str("(?:");
    for (place, one) in cases.into_iter().enumerate() {
        if place > 0 {
            pattern.push('|');
        }
        if !one.is_alphanumeric() && !is_mark(one) && one.is_ascii() {
            pattern.push('\\');
        }
        pattern.push(one);
        pattern.push('|');
        for unit in one.encode_utf16(&mut [0; 2]) {
            pattern.push_str(r"\\+u");
            push_hex(pattern, &format!("{unit:04x}"));
        }
        pattern.push('|');
        for byte in one.encode_utf8(&mut [0; 4]).bytes() {
            pattern.push_str("%(?:25)*");
            push_hex(pattern, &format!("{byte:02x}"));
        }
    }
    pattern.push(')');
}

fn single(mut cased: impl Iterator<Item = char>) -> Option<char> {
    let first = cased.next();
    first.filter(|_| cased.next().is_none())
}

fn push_hex(pattern: &mut String, digits: &str) {
    for digit in digits.chars() {
        if digit.is_ascii_digit() {
            pattern.push(digit);
        } else {
            // Writing to a text does not fail.
            let _ok = write!(pattern, "[{digit}{}]", digit.to_ascii_uppercase());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_is_matched_in_both_cases_and_all_encodings() {
        assert_eq!(pattern("j"), r"(?:J|\\+u004[aA]|%(?:25)*4[aA]|j|\\+u006[aA]|%(?:25)*6[aA])");
        assert_eq!(pattern("@"), r"(?:\@|\\+u0040|%(?:25)*40)");
    }

    #[test]
    fn only_a_name_of_several_words_that_is_no_json_is_searched() {
        for name in
            ["", "  ", "Joe", "Notion", "null", "a \"b\"", "a \\ b", "null, true", "5 , 6.5", "a\u{7} b"]
        {
            assert_eq!(sql_pattern([], [name]), None, "{name}");
        }
        for name in ["Joe Doe", "Acme, Inc.", "Route 66", "李 小龙"] {
            assert!(sql_pattern([], [name]).is_some(), "{name}");
        }
        assert_eq!(sql_pattern([], []), None);
    }
}
