//! What forms that change something share: notes, and how they are read.

use super::refusal::Refusal;
use maud::{Markup, html};

/// A field for a note that must be given. `of` keeps its id apart from that of others on the page.
pub(super) fn note_field(of: &str, label: &str, example: &str, characters_max: usize) -> Markup {
    let id = format!("note-{of}");
    html! {
        label for=(id) { (label) }
        input.note id=(id) type="text" name="note" required maxlength=(characters_max) placeholder=(example) autocomplete="off";
    }
}

/// A field for a note that may be left out.
pub(super) fn optional_note_field(label: &str, example: &str, characters_max: usize) -> Markup {
    html! {
        label for="note" { (label) }
        input.note id="note" type="text" name="note" maxlength=(characters_max) placeholder=(example) autocomplete="off";
    }
}

/// A note of a form, without the blanks around it.
pub(super) fn note_of(text: &str, characters_max: usize) -> Result<&str, Refusal> {
    match text.trim() {
        "" => Err(Refusal::bad_request("A note is wanted: why is this done? Nothing was done.")),
        note => checked(note, characters_max),
    }
}

/// A note that may be left out, without the blanks around it.
pub(super) fn optional_note_of(text: &str, characters_max: usize) -> Result<Option<&str>, Refusal> {
    match text.trim() {
        "" => Ok(None),
        note => checked(note, characters_max).map(Some),
    }
}

fn checked(note: &str, characters_max: usize) -> Result<&str, Refusal> {
    if note.chars().count() > characters_max {
        return Err(Refusal::bad_request(format!(
            "The note is too long: it may have {characters_max} characters. Nothing was done."
        )));
    }
    Ok(note)
}
