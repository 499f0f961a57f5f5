//! Makes characters visible that have no shape of their own: control characters, which can drive a terminal, and
//! format characters, which can reverse or hide a part of a text.

use std::borrow::Cow;
use std::fmt::Write;

/// Whether a character changes how a text is displayed and is not displayed itself.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// A shorter word is no secret.
const SECRET_CHARACTERS_MIN: usize = 20;

/// A wrong word as an error message shows it: quoted, unless it may be a secret that was put into the wrong place.
/// Long words of letters and digits may be, and addresses, which can have a password.
pub fn quoted(word: &str) -> String {
    let count = word.chars().count();
    let is_mixed = word.contains(|c: char| c.is_ascii_digit()) && word.contains(char::is_alphabetic);
    if (count >= SECRET_CHARACTERS_MIN && is_mixed) || word.contains("://") {
        return format!("a text of {count} characters, which is not shown since it may be secret,");
    }
    format!("{word:?}")
}

/// A text in which each hidden character, except for line breaks and tabs, is a JSON escape such as `\u202e`. So
/// a JSON text stays the same value.
pub fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, |c| is_hidden(c) && !matches!(c, '\n' | '\t'))
}

/// The same for a log, whose own colours stay. Its formatter has escaped these in values.
pub fn visible_in_log(text: &str) -> Cow<'_, str> {
    escaped(text, |c| is_hidden(c) && !matches!(c, '\n' | '\t' | '\u{1b}'))
}

/// An id in which each hidden character is an escape. Nearly every id is unchanged.
pub fn visible_id(id: String) -> String {
    match escaped(&id, is_hidden) {
        Cow::Borrowed(_) => id,
        Cow::Owned(escaped) => escaped,
    }
}

fn escaped(text: &str, is_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_escaped(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a text does not fail.
                let _ok = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(c);
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_word_is_quoted_unless_it_may_be_a_secret() {
        for word in [
            "notoin",
            "invoice paid",
            "@money",
            "customer.subscription.trial will end",
            "12345678901234567890",
        ] {
            assert_eq!(quoted(word), format!("{word:?}"));
        }
        for secret in [
            "whsec_0123456789abcdef",
            "ops:write:0123456789abcdef",
            "postgres://u:p@db/e",
            "ntn_12345678901234567",
        ] {
            let shown = quoted(secret);
            assert!(shown.starts_with("a text of") && !shown.contains(secret), "{shown}");
        }
    }

    #[test]
    fn hidden_characters_become_visible_and_others_stay() {
        for (text, expected) in [
            ("in_1\u{202e}2", r"in_1\u202e2"),
            ("a\u{1b}[2Jb\u{9b}c\u{7f}", r"a\u001b[2Jb\u009bc\u007f"),
            ("a\u{200b}\u{2066}\u{feff}\u{e0041}", r"a\u200b\u2066\ufeff\udb40\udc41"),
            ("line\n\ttab é 用 🎉", "line\n\ttab é 用 🎉"),
        ] {
            assert_eq!(visible(text), expected);
        }
        assert_eq!(visible_in_log("\u{1b}[1m\u{202e}"), "\u{1b}[1m\\u202e");
        assert_eq!(visible_id("a\nb".to_owned()), r"a\u000ab");
    }

    #[test]
    fn a_json_text_keeps_its_value() {
        let value = serde_json::json!({"id": "a\u{202e}\u{9b}\u{e0041}", "n": [1, "x\n"]});
        let printed = serde_json::to_string_pretty(&value).expect("JSON");
        let shown = visible(&printed);
        assert!(!shown.chars().any(|c| is_hidden(c) && c != '\n'));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).expect("JSON"), value);
    }
}
