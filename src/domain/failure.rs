//! Grouping of failures, and the remedies for the service's own error classes.
//!
//! A failure group is identified by a hash of destination, class and [`pattern`], which is the message
//! without the parts that differ from event to event. The SQL function `failure_group_key` computes the
//! hash. The statement that makes an execution `failed` also writes its group, in a completion, in a lane
//! and in a rescue alike. A new group gets a row; a known group costs no further write unless its remedy
//! changes. A remedy comes with the failure: from its destination, or for the service's own classes from
//! [`own_remedy`].

/// The length limit of a pattern, in characters.
const PATTERN_CHARACTERS_MAX: usize = 300;

/// A word with digits counts as an id from this length on, in characters.
const ID_CHARACTERS_MIN: usize = 8;

/// Replaces the ids, numbers, quoted texts and addresses of a message, so that failures with the same
/// cause have the same pattern.
pub fn pattern(message: &str) -> String {
    let mut pattern = String::new();
    let mut rest = message.trim();
    while let Some(first) = rest.chars().next() {
        let taken = if let Some(length) = quoted(rest, pattern.chars().next_back()) {
            pattern.push_str("\"…\"");
            length
        } else if first.is_whitespace() {
            if !pattern.ends_with(' ') {
                pattern.push(' ');
            }
            first.len_utf8()
        } else {
            let word = word(rest);
            push_word(&mut pattern, word);
            word.len()
        };
        rest = rest.get(taken..).unwrap_or_default();
        if pattern.chars().count() > PATTERN_CHARACTERS_MAX {
            break;
        }
    }
    pattern.chars().filter(|c| *c != '\0').take(PATTERN_CHARACTERS_MAX).collect()
}

/// The class of failures of a destination that can hold no more entries. They end no execution: it waits, and is
/// tried again.
pub const BLOCK_LIMIT: &str = "block_limit";

/// The remedy for failures of the class [`BLOCK_LIMIT`], for Notion. Public.
pub const BLOCK_LIMIT_REMEDY: &str = "upgrade the Notion workspace to a paid plan, or reduce it to one member: a Free workspace with several members holds 1,000 blocks for life, and deleting gives none back. New pages are tried again every ten minutes; pages that exist are still updated";

/// The remedy for failures that have none.
pub const REMEDY_UNKNOWN: &str = "See the message for the cause. Fix it, then retry.";

/// The remedy for failures of the service's own classes, as a sentence.
pub fn own_remedy(error_class: &str) -> Option<&'static str> {
    match error_class {
        "worker_lost" => Some(
            "Three workers died while they processed it alone. Check the log of that time, fix the cause, then retry.",
        ),
        "panic" => Some(
            "The delivery failed because of a bug in this program; the log has the details. Upgrade to a newer version, then retry.",
        ),
        "delivery_timeout" => Some(
            "The service cancelled the delivery because it took too long. Check whether the destination or the network is slow, then retry.",
        ),
        "no_destination" => Some("Its destination is not among DESTINATIONS: configure it, then retry."),
        "no_rows" => Some("A newer version of the program requested it. Start that version again."),
        _ => None,
    }
}

/// A message, followed by its remedy if there is one.
pub fn with_remedy(message: &str, remedy: Option<&str>) -> String {
    match remedy {
        Some(remedy) => format!("{}. What to do: {remedy}", message.trim_end_matches('.')),
        None => message.to_owned(),
    }
}

/// The length of the quoted text at the start, quotes included. An apostrophe in a word is not a quote.
fn quoted(text: &str, before: Option<char>) -> Option<usize> {
    let open = text.chars().next()?;
    let close = match open {
        '"' | '`' => open,
        '“' => '”',
        '«' => '»',
        '\'' if !before.is_some_and(char::is_alphanumeric) => '\'',
        _ => return None,
    };
    let within = text.get(open.len_utf8()..)?;
    Some(open.len_utf8() + within.find(close)? + close.len_utf8())
}

/// The text before the next blank or quote.
fn word(text: &str) -> &str {
    let end = text
        .char_indices()
        .skip(1)
        .find(|(_, c)| c.is_whitespace() || matches!(c, '"' | '`' | '“' | '«'))
        .map_or(text.len(), |(place, _)| place);
    text.get(..end).unwrap_or(text)
}

fn push_word(pattern: &mut String, word: &str) {
    let is_edge = |c: char| !c.is_alphanumeric();
    let core = word.trim_matches(is_edge);
    let (head, tail) = word.split_once(core).filter(|_| !core.is_empty()).unwrap_or((word, ""));
    pattern.push_str(head);
    if core.starts_with("http://") || core.starts_with("https://") {
        pattern.push_str("<link>");
    } else if core.contains('@') {
        pattern.push_str("<e-mail>");
    } else if is_id(core) {
        pattern.push_str("<id>");
    } else {
        push_without_numbers(pattern, core);
    }
    pattern.push_str(tail);
}

/// Whether a word is long, has a digit, and consists of letters, digits, dashes and underscores.
fn is_id(word: &str) -> bool {
    word.len() >= ID_CHARACTERS_MIN
        && word.chars().any(|c| c.is_ascii_digit())
        && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

/// Replaces each number, including its points and commas, with one sign.
fn push_without_numbers(pattern: &mut String, word: &str) {
    let mut in_number = false;
    let mut letters = word.chars().peekable();
    while let Some(letter) = letters.next() {
        let goes_on =
            in_number && matches!(letter, '.' | ',') && letters.peek().is_some_and(char::is_ascii_digit);
        if letter.is_ascii_digit() {
            if !in_number {
                pattern.push('#');
            }
            in_number = true;
        } else if !goes_on {
            pattern.push(letter);
            in_number = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_differs_from_event_to_event_is_taken_out() {
        for (message, expected) in [
            (
                "Notion: Could not find page with ID: 1f2e3d4c-5b6a-4978-8695-a4b3c2d1e0ff. Make sure it is shared.",
                "Notion: Could not find page with ID: <id>. Make sure it is shared.",
            ),
            (
                "Notion: body.properties.Amount.number should be a number, instead was `\"12,5 €\"`.",
                "Notion: body.properties.Amount.number should be a number, instead was \"…\".",
            ),
            (
                "no answer from https://api.notion.com/v1/pages?x=1 within 30 s",
                "no answer from <link> within # s",
            ),
            (
                "jane@example.com owes 1,234.50 for in_1Q0abcdef (2nd try)",
                "<e-mail> owes # for <id> (#nd try)",
            ),
            ("it's the integration's 'secret word', isn't it", "it's the integration's \"…\", isn't it"),
            ("says “never   mind”  twice", "says \"…\" twice"),
            ("an open \" quote stays", "an open \" quote stays"),
            ("", ""),
        ] {
            assert_eq!(pattern(message), expected);
        }
    }

    #[test]
    fn two_events_of_one_cause_read_alike_and_two_causes_do_not() {
        let missing = |id: &str| pattern(&format!("Could not find page with ID: {id}."));
        assert_eq!(
            missing("1f2e3d4c5b6a49788695a4b3c2d1e0ff"),
            missing("00000000-0000-4000-8000-000000000002")
        );
        assert_ne!(pattern("Amount is expected to be number."), pattern("Status is expected to be select."));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_message_has_a_bounded_pattern_without_numbers(message in "\\PC{0,400}|[\"'`“0-9a-f@. -]{0,60}") {
            let pattern = pattern(&message);
            prop_assert!(pattern.chars().count() <= PATTERN_CHARACTERS_MAX);
            prop_assert!(!pattern.contains(|c: char| c.is_ascii_digit()), "{}", pattern);
        }
    }
}
