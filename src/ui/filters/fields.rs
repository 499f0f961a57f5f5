//! The fields of a filter.

use super::instant;
use maud::{Markup, html};

/// A field for a text.
pub(super) fn text_field(name: &str, label: &str, example: &str, value: Option<&str>) -> Markup {
    html! {
        label { span { (label) } input type="text" name=(name) placeholder=(example) value=[value] autocomplete="off" spellcheck="false"; }
    }
}

/// A field for one of several values with labels, or for none of them.
pub(super) fn select_field(
    name: &str,
    label: &str,
    none: &str,
    options: &[(&str, &str)],
    value: Option<&str>,
) -> Markup {
    html! {
        label {
            span { (label) }
            select name=(name) {
                option value="" { (none) }
                @for (option, text) in options {
                    option value=(option) selected[value == Some(*option)] { (text) }
                }
            }
        }
    }
}

/// A field for a time in UTC.
pub(super) fn time_field(name: &str, label: &str, value: Option<&str>) -> Markup {
    // Browsers show only this format. Invalid input is reported beside the form.
    let shown = instant(label, value).ok().flatten().map(|at| at.format("%Y-%m-%dT%H:%M:%S").to_string());
    html! {
        label { span { (label) " (UTC)" } input type="datetime-local" name=(name) step="1" value=[shown]; }
    }
}
