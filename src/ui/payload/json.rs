//! Formats JSON for reading. Numbers and the order of fields stay as they are.

use maud::{Markup, Render, html};

/// The limit of a body on a page, in bytes. A link leads to the complete body.
pub(super) const SHOWN_BYTES_MAX: usize = 64 * 1024;

const INDENT: &str = "  ";

/// Formats a JSON text and marks its names, strings and other values. A truncated or invalid text is
/// formatted as far as possible.
pub(super) fn pretty(json: &str) -> Markup {
    let mut depth = 0_usize;
    let mut rest = json.trim_start();
    let mut pieces = Vec::new();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => string_length(rest),
            '{' | '[' | '}' | ']' | ',' | ':' => 1,
            _ => rest.find(['{', '[', '}', ']', ',', ':', '"']).unwrap_or(rest.len()).max(first.len_utf8()),
        };
        let (token, after) = rest.split_at(length);
        rest = after.trim_start();
        match first {
            '{' | '[' => {
                pieces.push(Piece::Plain(token.to_owned()));
                if !rest.starts_with(['}', ']']) {
                    depth += 1;
                    pieces.push(line(depth));
                } else if let Some(closing) = rest.get(..1) {
                    pieces.push(Piece::Plain(closing.to_owned()));
                    rest = rest.get(1..).unwrap_or_default().trim_start();
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                pieces.push(line(depth));
                pieces.push(Piece::Plain(token.to_owned()));
            }
            ',' => {
                pieces.push(Piece::Plain(token.to_owned()));
                pieces.push(line(depth));
            }
            ':' => pieces.push(Piece::Plain(": ".to_owned())),
            '"' if rest.starts_with(':') => pieces.push(Piece::Name(token.to_owned())),
            '"' => pieces.push(Piece::Text(token.to_owned())),
            _ => pieces.push(Piece::Value(token.trim_end().to_owned())),
        }
    }
    html! { @for piece in &pieces { (piece) } }
}

/// The shown part of a body, and whether it is complete. Bytes that are not UTF-8 become replacement
/// characters.
pub(super) fn shown(body: &[u8]) -> (String, bool) {
    let cut = body.get(..SHOWN_BYTES_MAX.min(body.len())).unwrap_or_default();
    (String::from_utf8_lossy(cut).into_owned(), cut.len() == body.len())
}

enum Piece {
    Plain(String),
    Name(String),
    Text(String),
    Value(String),
}

impl Render for Piece {
    fn render(&self) -> Markup {
        match self {
            Self::Plain(text) => html! { (text) },
            Self::Name(text) => html! { span.name { (text) } },
            Self::Text(text) => html! { span.text { (text) } },
            Self::Value(text) => html! { span.value { (text) } },
        }
    }
}

/// A line break with indentation, which is limited for deep nesting.
fn line(depth: usize) -> Piece {
    const DEPTH_MAX: usize = 40;
    Piece::Plain(format!("\n{}", INDENT.repeat(depth.min(DEPTH_MAX))))
}

/// The length in bytes of the string at the start of a text, quotes included.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (position, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return position + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The visible text.
    fn seen(json: &str) -> String {
        let markup = pretty(json).into_string();
        let mut text = String::new();
        let mut within = false;
        for character in markup.chars() {
            match character {
                '<' => within = true,
                '>' => within = false,
                _ if !within => text.push(character),
                _ => {}
            }
        }
        text.replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    }

    #[test]
    fn it_is_laid_out_with_its_order_and_numbers_kept() {
        let json = r#"{"b":1.50,"a":[true,null,"x\"}"],"e":{},"f":[]}"#;
        assert_eq!(
            seen(json),
            "{\n  \"b\": 1.50,\n  \"a\": [\n    true,\n    null,\n    \"x\\\"}\"\n  ],\n  \"e\": {},\n  \"f\": []\n}"
        );
    }

    #[test]
    fn markup_within_is_text() {
        let markup =
            pretty(r#"{"</pre><script>alert(1)</script>":"<img src=x onerror=alert(1)>"}"#).into_string();
        assert!(!markup.contains("<script") && !markup.contains("<img"), "{markup}");
    }

    #[test]
    fn a_body_is_cut_and_says_so() {
        assert_eq!(shown(b"{}"), ("{}".to_owned(), true));
        let (text, is_all) = shown(&vec![b'x'; SHOWN_BYTES_MAX + 1]);
        assert_eq!((text.len(), is_all), (SHOWN_BYTES_MAX, false));
    }

    proptest! {
        #[test]
        fn no_text_brings_it_down_or_becomes_markup(text in "\\PC*") {
            let markup = pretty(&text).into_string();
            let bare = ["<span class=\"name\">", "<span class=\"text\">", "<span class=\"value\">", "</span>"]
                .into_iter()
                .fold(markup, |markup, tag| markup.replace(tag, ""));
            prop_assert!(!bare.contains('<') && !bare.contains('>'));
        }

        #[test]
        fn json_laid_out_means_the_same(numbers in prop::collection::vec(any::<i64>(), 0..5), text in "\\PC*") {
            let value = serde_json::json!({"numbers": numbers, "text": text, "more": {"x": [null, true]}});
            let read: serde_json::Value = serde_json::from_str(&seen(&value.to_string())).expect("JSON");
            prop_assert_eq!(read, value);
        }
    }
}
