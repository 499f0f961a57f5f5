//! The index of the pages, and the limit of their number.

use super::*;
use crate::content::Span;

fn page(number: u64, text: &str) -> Page {
    let content = Content::Text(vec![Span { content: text.to_owned(), link: None }]);
    Page {
        id: Uuid::from_u128(u128::from(number)),
        number,
        data_source: Uuid::nil(),
        cells: BTreeMap::from([("title".to_owned(), content)]),
        children: Vec::new(),
        in_trash: false,
        is_archived: false,
        created: DateTime::UNIX_EPOCH,
        edited: DateTime::UNIX_EPOCH,
        created_by: Author::Bot,
        edited_by: Author::Bot,
        hidden_until: None,
    }
}

#[test]
fn a_page_is_found_under_its_present_text_only() {
    let mut state = State::new(10, None);
    state.put_page(page(1, "evt_1")).unwrap();
    state.put_page(page(1, "evt_2")).unwrap();
    assert_eq!(state.pages_with_text(Uuid::nil(), "title", "evt_1").count(), 0);
    assert_eq!(state.pages_with_text(Uuid::nil(), "title", "evt_2").count(), 1);
    assert_eq!(state.live_count(), 1);
}

#[test]
fn a_full_sandbox_refuses_new_pages_and_takes_changes() {
    let mut state = State::new(1, None);
    state.put_page(page(1, "a")).unwrap();
    assert!(state.put_page(page(2, "b")).unwrap_err().message.contains("full"));
    state.put_page(page(1, "c")).unwrap();
    state.wipe().unwrap();
    state.put_page(page(2, "b")).unwrap();
}
