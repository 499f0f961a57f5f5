//! Links to pages: the link of a page, and the ids in links that people paste into a search.

/// The most pages that one text can name.
const PAGES_MAX: usize = 4;

/// The digits of a page's id without its dashes.
const PAGE_DIGITS: usize = 32;

/// The link to the page with this id.
pub(super) fn page_url(id: &str) -> String {
    format!("https://app.notion.com/p/{}", id.replace('-', ""))
}

/// The same link without the page's title, which Notion puts before the id and which can name a person.
pub(super) fn without_title(link: String) -> String {
    let start = link.rfind('/').map_or(0, |slash| slash + 1);
    let is_id = |id: &str| id.len() == PAGE_DIGITS && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    match link.get(start..).and_then(|last| last.rsplit_once('-')) {
        Some((_title, id)) if is_id(id) => format!("{}{id}", &link[..start]),
        _ => link,
    }
}

/// The ids of the pages that a text names, each with dashes and without: 32 hexadecimal digits at the end
/// of a part of a link, where the page's title may precede them.
pub(super) fn page_ids(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
        .filter_map(|part| {
            let letters: Vec<char> = part.chars().filter(|c| *c != '-').collect();
            let id: String = letters.get(letters.len().checked_sub(PAGE_DIGITS)?..)?.iter().collect();
            id.chars().all(|c| c.is_ascii_hexdigit()).then(|| id.to_lowercase())
        })
        .take(PAGES_MAX)
        .flat_map(|id| [with_dashes(&id), id])
        .collect()
}

/// Groups of 8, 4, 4, 4 and 12 digits.
fn with_dashes(id: &str) -> String {
    let mut dashed = String::with_capacity(PAGE_DIGITS + 4);
    for (place, digit) in id.chars().enumerate() {
        if matches!(place, 8 | 12 | 16 | 20) {
            dashed.push('-');
        }
        dashed.push(digit);
    }
    dashed
}

#[cfg(test)]
mod tests {
    use super::{page_ids, without_title};

    #[test]
    fn a_stored_link_contains_no_title() {
        let id = "0123456789abcdef0123456789abcdef";
        for (link, stored) in [
            (format!("https://www.notion.so/jane-example-com-{id}"), format!("https://www.notion.so/{id}")),
            (format!("https://www.notion.so/acme/Märchen-{id}"), format!("https://www.notion.so/acme/{id}")),
            (format!("https://app.notion.com/p/Invoice-{id}"), format!("https://app.notion.com/p/{id}")),
            (format!("http://localhost:8001/p/{id}"), format!("http://localhost:8001/p/{id}")),
            ("https://www.notion.so/no-page".to_owned(), "https://www.notion.so/no-page".to_owned()),
        ] {
            assert_eq!(without_title(link), stored);
        }
    }

    #[test]
    fn an_id_is_found_in_every_form_of_a_link() {
        let dashed = "1f2e3d4c-5b6a-4978-8695-a4b3c2d1e0ff";
        let plain = dashed.replace('-', "");
        for link in [
            dashed.to_owned(),
            plain.to_uppercase(),
            format!("https://www.notion.so/acme/Invoice-Feed-0042-paid-{plain}?pvs=4"),
            format!("https://app.notion.com/p/Invoice-{plain}?pvs=4"),
            format!("https://www.notion.so/{dashed}#block"),
            format!("https://www.notion.so/acme/db?p={plain}&pm=s"),
        ] {
            assert_eq!(page_ids(&link), [dashed.to_owned(), plain.clone()], "{link}");
        }
        for text in ["https://www.notion.so/not-a-page", "Jane@Example.com", ""] {
            assert!(page_ids(text).is_empty(), "{text}");
        }
    }
}
