//! Notion's messages without what they quote of a request, which may be a customer's data.
//!
//! A message can quote a request after `instead was`, between quotation marks or backticks, or as it is, and may
//! shorten the quote. So what was sent is removed wherever it stands, and every quote that is not known to be
//! harmless.

use super::column::Column;
use serde_json::Value;

/// What stands in place of what is removed.
const REMOVED: char = '…';

/// From how many equal characters on a part of a message is taken to be the beginning of a value.
const BEGINNING_CHARACTERS: usize = 8;

/// Quotation marks, opening and closing.
const QUOTES: [(char, char); 6] = [('"', '"'), ('`', '`'), ('\'', '\''), ('“', '”'), ('‘', '’'), ('«', '»')];

/// A line of a message without the value that it quotes at its end.
pub(super) fn without_value(line: &str) -> &str {
    let end = line.find("instead was").unwrap_or(line.len());
    let kept = line.get(..end).unwrap_or_default();
    if end < line.len() { kept.trim_end_matches([' ', ',']) } else { kept }
}

/// A message without anything of these values, which were sent to these columns. `is_harmless` says which
/// columns have values of a small vocabulary, which may be shown.
pub(super) fn redacted(
    message: &str,
    sent: &[(&Column, &Value)],
    is_harmless: impl Fn(&Column) -> bool,
) -> String {
    let (mut shown, mut secret) = (Vec::new(), Vec::new());
    for (column, value) in sent {
        shown.push(column.name.clone());
        collect(value, if is_harmless(column) { &mut shown } else { &mut secret });
    }
    secret.retain(|text| !text.trim().is_empty());
    secret.sort_by_key(|text| std::cmp::Reverse(text.chars().count()));
    let lines = message.lines().map(|line| {
        let line = secret.iter().fold(without_value(line).to_owned(), |line, text| without(&line, text));
        without_quotes(&line, &shown)
    });
    lines.collect::<Vec<_>>().join(" ").trim_end_matches('.').to_owned()
}

/// Every text and number within a value.
fn collect(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => texts.push(text.clone()),
        Value::Number(number) => texts.push(number.to_string()),
        Value::Array(parts) => parts.iter().for_each(|part| collect(part, texts)),
        Value::Object(members) => members.values().for_each(|member| collect(member, texts)),
        Value::Null | Value::Bool(_) => {}
    }
}

/// The line without this text, in any case, and without a longer beginning of it. A short text is removed only
/// where it is a word of its own.
fn without(line: &str, text: &str) -> String {
    let line: Vec<char> = line.chars().collect();
    let text: Vec<char> = text.trim().chars().collect();
    let mut kept = String::new();
    let mut place = 0;
    while let Some(letter) = line.get(place) {
        let rest = line.get(place..).unwrap_or_default();
        let equal = rest.iter().zip(&text).take_while(|(one, other)| is_same(**one, **other)).count();
        let is_word = || {
            let before = place.checked_sub(1).and_then(|place| line.get(place));
            ![before, rest.get(equal)].into_iter().flatten().any(|letter| letter.is_alphanumeric())
        };
        let is_found = equal >= BEGINNING_CHARACTERS || equal == text.len() && is_word();
        if is_found && equal > 0 {
            kept.push(REMOVED);
            place += equal;
        } else {
            kept.push(*letter);
            place += 1;
        }
    }
    kept
}

fn is_same(one: char, other: char) -> bool {
    one == other || one.to_lowercase().eq(other.to_lowercase())
}

/// The line without quotes, except for what may be shown and for numbers, such as limits.
fn without_quotes(line: &str, shown: &[String]) -> String {
    let mut kept = String::new();
    let mut rest = line;
    while let Some(letter) = rest.chars().next() {
        let after = rest.get(letter.len_utf8()..).unwrap_or_default();
        // An apostrophe is no quotation mark.
        let opens = !kept.ends_with(char::is_alphanumeric);
        let close = QUOTES.iter().find(|(open, _)| *open == letter && opens).map(|(_, close)| *close);
        let quote = close.and_then(|close| Some((close, after.split_once(close)?)));
        kept.push(letter);
        rest = after;
        if let Some((close, (quoted, after))) = quote {
            let is_number = !quoted.is_empty() && quoted.bytes().all(|byte| byte.is_ascii_digit());
            if is_number || shown.iter().any(|text| text == quoted) {
                kept.push_str(quoted);
            } else {
                kept.push(REMOVED);
            }
            kept.push(close);
            rest = after;
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destinations::notion::column::ColumnKind;
    use serde_json::json;

    fn column(name: &str) -> Column {
        Column { id: name.to_owned(), name: name.to_owned(), kind: ColumnKind::RichText, options: Vec::new() }
    }

    fn of(message: &str) -> String {
        let (person, amount, status) = (column("CustomerName"), column("Amount due"), column("Status"));
        let name = json!({"rich_text": [{"text": {"content": "Jane Q. Doe, 5 Elm Street"}}]});
        let (number, option) = (json!({"number": 17.45}), json!({"status": {"name": "success"}}));
        let sent = [(&person, &name), (&amount, &number), (&status, &option)];
        redacted(message, &sent, |column| column.name == "Status")
    }

    #[test]
    fn nothing_that_was_sent_remains_however_it_is_quoted() {
        for (message, expected) in [
            (
                "body.properties.Amount due.number should be a number, instead was `\"17.45\"`.",
                "body.properties.Amount due.number should be a number",
            ),
            ("Not a name: Jane Q. Doe, 5 Elm Street", "Not a name: …"),
            ("Not a name: JANE Q. DOE, 5 elm street!", "Not a name: …!"),
            ("Not a name: Jane Q. Doe, 5 E...", "Not a name: …"),
            ("The amount 17.45 is refused.", "The amount … is refused"),
            ("CustomerName can't be 'someone else'.", "CustomerName can't be '…'"),
            ("The text “Elm” or ‘Doe’ or «Q» is refused", "The text “…” or ‘…’ or «…» is refused"),
            ("\"Amount due\" has a limit of `2000`.", "\"Amount due\" has a limit of `2000`"),
            ("Status option \"success\" does not exist.", "Status option \"success\" does not exist"),
            ("Can’t write to it.", "Can’t write to it"),
            ("An open \"quote", "An open \"quote"),
            ("", ""),
        ] {
            assert_eq!(of(message), expected, "{message}");
        }
    }
}
