//! The names of the properties that we know how to fill.
//!
//! A user's column under one of these names begins to fill; any other column is left alone.

use serde::{Deserialize, Serialize};

macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// A property known by its name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Field {
            $($(#[$doc])* $name,)+
        }

        impl Field {
            /// Every known property, in the order in which a new database would show them.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The name as documented.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }
        }
    };
}

fields! {
    /// The sender's id of the event: the key of its page, and empty in the page of an object.
    EventId,
    /// The type, such as `invoice.paid`.
    EventType,
    /// The source's name.
    Source,
    /// `success`, `failed` or `pending`, by the type.
    Status,
    /// The customer's e-mail address.
    CustomerEmail,
    /// The customer's id.
    Customer,
    /// The invoice's number, or its id.
    InvoiceNumber,
    /// The currency's code in upper case.
    Currency,
    /// The amount in major units.
    Amount,
    /// The id of the object that the event is about.
    ObjectId,
    /// The kind of that object.
    ObjectType,
    /// That object's own status.
    ObjectStatus,
    /// What it means for the money, in one of ten words.
    Outcome,
    /// The customer's name.
    CustomerName,
    /// What it was for, or why it failed.
    Description,
    /// When it happened.
    OccurredAt,
    /// The month of that, in the reports' time zone.
    Month,
    /// The amount with its currency, for people.
    AmountText,
    /// What was given back of a charge.
    AmountRefunded,
    /// Whether real money is concerned.
    Livemode,
    /// The connected account.
    Account,
    /// The invoice's page for the customer.
    InvoiceUrl,
    /// The receipt's page.
    ReceiptUrl,
    /// The page in the Stripe dashboard.
    DashboardUrl,
    /// The sender's id of the event that told of it last.
    LastEventId,
}

impl Field {
    /// Whether its values come from a small fixed vocabulary, with nothing of a customer in them.
    pub const fn is_vocabulary(self) -> bool {
        matches!(
            self,
            Self::EventType
                | Self::Source
                | Self::Status
                | Self::Currency
                | Self::ObjectType
                | Self::ObjectStatus
                | Self::Outcome
                | Self::Livemode
        )
    }
}

/// A name as compared when no exact one is found: case, spaces and underscores do not count.
pub fn folded(name: &str) -> String {
    name.chars().filter(|c| !c.is_whitespace() && *c != '_').flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_known_names_fold_to_the_same() {
        let folds: BTreeSet<_> = Field::ALL.iter().map(|field| folded(field.name())).collect();
        assert_eq!(folds.len(), Field::ALL.len());
        assert_eq!(folded("customer E_mail"), folded("Customer_Email"));
    }
}
