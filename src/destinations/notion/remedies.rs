//! Remedies for failures, with the setting names of the instance that has them.
//!
//! Anyone may read a remedy, so it names nothing of the operator's workspace.

use crate::config::InstanceName;

/// For a workspace that can hold no more blocks.
pub(super) use crate::domain::failure::BLOCK_LIMIT_REMEDY as BLOCK_LIMIT;

/// For an execution that ends without a confirmed write.
pub(super) const ATTEMPTS_USED_UP: &str = "No write was confirmed. Check in Notion whether the page exists, then retry: a page that is found is not written twice.";

/// For an object whose page cannot be found among those of other objects with its id.
pub(super) const TOO_MANY_PAGES: &str =
    "Too many pages have the id of this object. Remove those that are not needed, then retry.";

/// The remedy for failures of this class that end an execution, as a sentence. Nothing for a class that is
/// not Notion's.
pub(super) fn of_class(instance: &InstanceName, class: &str) -> Option<String> {
    let fixed = |text: &str| Some(text.to_owned());
    match class {
        "validation_error" | "invalid_request" | "invalid_json" => fixed(
            "Notion rejects the page; the message names the column. Correct its type in Notion, then retry.",
        ),
        "object_not_found" => fixed(
            "The page or the database is not visible to the connection: restore or share it, then retry.",
        ),
        "conflict_error"
        | "rate_limited"
        | "service_overload"
        | "service_unavailable"
        | "database_connection_unavailable"
        | "gateway_timeout"
        | "internal_server_error"
        | "bad_gateway" => fixed("Notion failed until all attempts were used up. Retry when it works again."),
        "no_answer" | "unreachable" => Some(format!(
            "Notion could not be reached until all attempts were used up. Check the network and {}, then retry.",
            instance.setting("API_URL")
        )),
        _ => None,
    }
}

/// For a token that Notion rejects.
pub(super) fn new_token(instance: &InstanceName) -> String {
    format!(
        "the token is not valid (any more), because it was replaced or, if it belongs to a person, because it expired: set a new {} and restart",
        instance.setting("API_KEY")
    )
}

/// For a database that is not visible to the connection.
pub(super) fn share_database(instance: &InstanceName) -> String {
    format!(
        "the database is not visible to the connection: share it with the connection (••• › Connections), or correct {} and restart",
        instance.setting("DATABASE_ID")
    )
}

/// For a configured id that is not that of a database.
pub(super) fn copy_database_link(instance: &InstanceName) -> String {
    format!(
        "{} does not lead to a database: copy the link to the database itself, and restart",
        instance.setting("DATABASE_ID")
    )
}

/// For a configured address that redirects.
pub(super) fn correct_address(instance: &InstanceName) -> String {
    format!(
        "the address answers with a redirect, and a token is never sent to another address: correct {} and restart",
        instance.setting("API_URL")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remedy_is_a_sentence_that_names_the_settings_of_its_own_instance() {
        let instance = InstanceName { name: "team-b".to_owned(), kind: "notion".to_owned() };
        for (class, setting) in [("validation_error", "column"), ("no_answer", "TEAM_B_API_URL")] {
            let remedy = of_class(&instance, class).expect("a class of Notion's");
            assert!(remedy.ends_with('.') && remedy.contains(setting), "{class}: {remedy}");
        }
        assert_eq!(of_class(&instance, "what nobody knows"), None);
        for remedy in [new_token(&instance), share_database(&instance), copy_database_link(&instance)] {
            assert!(remedy.contains("TEAM_B_") && !remedy.contains("NOTION_"), "{remedy}");
        }
    }
}
