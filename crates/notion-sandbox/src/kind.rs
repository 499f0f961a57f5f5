//! The types of columns that Notion knows.

use serde::{Deserialize, Serialize};

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The page's title; every data source has exactly one.
    Title,
    /// Text.
    RichText,
    /// A number.
    Number,
    /// One option; an unknown one is created.
    Select,
    /// Several options.
    MultiSelect,
    /// One option of a list that only the user extends.
    Status,
    /// A date or a range of dates.
    Date,
    /// People of the workspace.
    People,
    /// Files.
    Files,
    /// Yes or no.
    Checkbox,
    /// A link.
    Url,
    /// An e-mail address.
    Email,
    /// A telephone number.
    PhoneNumber,
    /// Pages of another data source.
    Relation,
    /// Read-only: computed from other columns.
    Formula,
    /// Read-only: computed over a relation.
    Rollup,
    /// Read-only: a number that Notion assigns.
    UniqueId,
    /// Read-only: when the page was created.
    CreatedTime,
    /// Read-only: who created it.
    CreatedBy,
    /// Read-only: when it was last edited.
    LastEditedTime,
    /// Read-only: who edited it.
    LastEditedBy,
    /// Read-only: a button.
    Button,
    /// Read-only: whether a page of a wiki is verified; only wikis have it.
    Verification,
}

impl Kind {
    /// Notion's name for it.
    pub fn name(self) -> &'static str {
        KINDS.iter().find(|(kind, _)| *kind == self).map_or("unsupported", |(_, name)| name)
    }

    /// The type of this name.
    pub fn parse(name: &str) -> Option<Self> {
        KINDS.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind)
    }

    /// Whether only Notion itself fills it.
    pub fn is_read_only(self) -> bool {
        matches!(
            self,
            Self::Formula
                | Self::Rollup
                | Self::UniqueId
                | Self::CreatedTime
                | Self::CreatedBy
                | Self::LastEditedTime
                | Self::LastEditedBy
                | Self::Button
                | Self::Verification
        )
    }

    /// Whether a value is one of a list of options.
    pub fn has_options(self) -> bool {
        matches!(self, Self::Select | Self::MultiSelect | Self::Status)
    }

    /// Whether a value is text that a query can look up.
    pub fn is_text(self) -> bool {
        matches!(self, Self::Title | Self::RichText | Self::Url | Self::Email | Self::PhoneNumber)
    }
}

/// Every type with Notion's name for it.
const KINDS: &[(Kind, &str)] = &[
    (Kind::Title, "title"),
    (Kind::RichText, "rich_text"),
    (Kind::Number, "number"),
    (Kind::Select, "select"),
    (Kind::MultiSelect, "multi_select"),
    (Kind::Status, "status"),
    (Kind::Date, "date"),
    (Kind::People, "people"),
    (Kind::Files, "files"),
    (Kind::Checkbox, "checkbox"),
    (Kind::Url, "url"),
    (Kind::Email, "email"),
    (Kind::PhoneNumber, "phone_number"),
    (Kind::Relation, "relation"),
    (Kind::Formula, "formula"),
    (Kind::Rollup, "rollup"),
    (Kind::UniqueId, "unique_id"),
    (Kind::CreatedTime, "created_time"),
    (Kind::CreatedBy, "created_by"),
    (Kind::LastEditedTime, "last_edited_time"),
    (Kind::LastEditedBy, "last_edited_by"),
    (Kind::Button, "button"),
    (Kind::Verification, "verification"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_a_name_that_reads_back() {
        for (kind, name) in KINDS {
            assert_eq!(kind.name(), *name);
            assert_eq!(Kind::parse(name), Some(*kind));
        }
    }
}
