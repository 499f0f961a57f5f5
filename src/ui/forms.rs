//! The note field of forms that change something, and its validation.

use super::error_page::ErrorPage;
use maud::{Markup, html};

/// A field for a required note. `of` makes its id unique on the page.
pub(super) fn note_field(of: &str, label: &str, example: &str, characters_max: usize) -> Markup {
    let id = format!("note-{of}");
    html! {
        label for=(id) { (label) }
        input.note id=(id) type="text" name="note" required maxlength=(characters_max) placeholder=(example) autocomplete="off";
    }
}

/// A field for an optional note.
pub(super) fn optional_note_field(label: &str, example: &str, characters_max: usize) -> Markup {
    html! {
        label for="note" { (label) }
        input.note id="note" type="text" name="note" maxlength=(characters_max) placeholder=(example) autocomplete="off";
    }
}

/// Reads a required note and trims it.
pub(super) fn note_of(text: &str, characters_max: usize) -> Result<&str, ErrorPage> {
    match text.trim() {
        "" => Err(ErrorPage::bad_request("A note is required. Nothing was changed.")),
        note => checked(note, characters_max),
    }
}

/// Reads an optional note and trims it.
pub(super) fn optional_note_of(text: &str, characters_max: usize) -> Result<Option<&str>, ErrorPage> {
    match text.trim() {
        "" => Ok(None),
        note => checked(note, characters_max).map(Some),
    }
}

fn checked(note: &str, characters_max: usize) -> Result<&str, ErrorPage> {
    if note.chars().count() > characters_max {
        return Err(ErrorPage::bad_request(format!(
            "The note is too long: the limit is {characters_max} characters. Nothing was changed."
        )));
    }
    Ok(note)
}
