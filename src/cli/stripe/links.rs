//! Links to pages of Stripe's dashboard that create a key with the right permissions.

use crate::sources::stripe::api::{KeyMode, read_permissions};
use url::Url;

/// What this command writes.
const WRITE: &str = "rak_webhook_write";

/// The page that creates the service's permanent key, which only reads.
pub(super) fn read_key(mode: KeyMode) -> String {
    page(path(mode), "EventBridge (read only)", read_permissions())
}

/// The page that creates a key for this command.
pub(super) fn write_key(mode: KeyMode) -> String {
    page(path(mode), "EventBridge setup (delete afterwards)", [WRITE])
}

/// The same in live mode; the dashboard can switch to another one.
pub(super) fn write_key_of_any_mode() -> String {
    write_key(KeyMode::Live)
}

const fn path(mode: KeyMode) -> &'static str {
    match mode {
        KeyMode::Live => "https://dashboard.stripe.com/apikeys/create",
        KeyMode::Test => "https://dashboard.stripe.com/test/apikeys/create",
    }
}

fn page<'a>(page: &str, name: &'a str, permissions: impl IntoIterator<Item = &'a str>) -> String {
    let parameters = std::iter::once(("name", name))
        .chain(permissions.into_iter().map(|permission| ("permissions[]", permission)));
    Url::parse_with_params(page, parameters).map_or_else(|_| page.to_owned(), |url| url.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_permanent_key_only_reads() {
        let live = read_key(KeyMode::Live);
        assert!(live.starts_with("https://dashboard.stripe.com/apikeys/create?name=EventBridge"), "{live}");
        assert!(live.contains("rak_event_read") && !live.contains("_write"), "{live}");
        assert_eq!(live.matches("rak_").count(), 15, "{live}");
        assert!(read_key(KeyMode::Test).contains(".com/test/apikeys/"));
        assert!(write_key(KeyMode::Live).ends_with("=rak_webhook_write"));
    }
}
