//! The tables that a sandbox can start with.

use super::kind::Kind;
use super::schema::{Alteration, Schema};
use serde_json::json;

/// Which columns a new database has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Template {
    /// The nine columns of the original service; the title is the event's id.
    #[default]
    Original,
    /// The table of a user who set up only the key: a title with another name, and `EventId`.
    Plain,
    /// Every column that the service can fill, in the types that a user would choose.
    Full,
    /// The columns that `eventbridge notion init` creates: all but `Status`.
    Init,
}

const ORIGINAL: &[(&str, Kind)] = &[
    ("EventId", Kind::Title),
    ("EventType", Kind::RichText),
    ("Source", Kind::RichText),
    ("Status", Kind::RichText),
    ("CustomerEmail", Kind::Email),
    ("Customer", Kind::RichText),
    ("InvoiceNumber", Kind::RichText),
    ("Currency", Kind::RichText),
    ("Amount", Kind::Number),
];

const PLAIN: &[(&str, Kind)] = &[("Name", Kind::Title), ("EventId", Kind::RichText)];

const FULL: &[(&str, Kind)] = &[
    ("Name", Kind::Title),
    ("Outcome", Kind::Select),
    ("AmountText", Kind::RichText),
    ("Collected", Kind::Number),
    ("Currency", Kind::Select),
    ("Reason", Kind::RichText),
    ("CustomerName", Kind::RichText),
    ("CustomerEmail", Kind::Email),
    ("Description", Kind::RichText),
    ("OccurredAt", Kind::Date),
    ("DueAt", Kind::Date),
    ("NextAttemptAt", Kind::Date),
    ("Attempts", Kind::Number),
    ("InvoiceNumber", Kind::RichText),
    ("Interval", Kind::Select),
    ("CancelsAt", Kind::Date),
    ("Amount", Kind::Number),
    ("AmountRefunded", Kind::Number),
    ("DisputeFee", Kind::Number),
    ("DisputeFeeCurrency", Kind::Select),
    ("Month", Kind::Select),
    ("EventType", Kind::Select),
    ("Status", Kind::Status),
    ("Source", Kind::Select),
    ("Customer", Kind::RichText),
    ("ObjectId", Kind::RichText),
    ("ObjectType", Kind::Select),
    ("ObjectStatus", Kind::Select),
    ("Livemode", Kind::Checkbox),
    ("Account", Kind::RichText),
    ("InvoiceUrl", Kind::Url),
    ("ReceiptUrl", Kind::Url),
    ("DashboardUrl", Kind::Url),
    ("EventId", Kind::RichText),
    ("LastEventId", Kind::RichText),
];

const STATUSES: &[(&str, &str)] = &[("pending", "yellow"), ("success", "green"), ("failed", "red")];

const OUTCOMES: &[(&str, &str)] = &[
    ("Paid", "green"),
    ("Paid outside Stripe", "green"),
    ("Failed", "red"),
    ("Refunded", "orange"),
    ("Partly refunded", "yellow"),
    ("Disputed", "purple"),
    ("Won", "green"),
    ("Lost", "red"),
    ("Canceled", "gray"),
    ("Past due", "orange"),
    ("Action required", "pink"),
    ("Payout", "brown"),
    ("Top-up", "brown"),
    ("Transfer", "brown"),
    ("Reversed", "gray"),
    ("Info", "blue"),
];

impl Template {
    /// The columns.
    pub fn schema(self) -> Schema {
        match self {
            Self::Original => Schema::of(ORIGINAL),
            Self::Plain => Schema::of(PLAIN),
            Self::Full => with_options(Schema::of(FULL)),
            Self::Init => {
                let columns: Vec<_> = FULL.iter().copied().filter(|(name, _)| *name != "Status").collect();
                with_options(Schema::of(&columns))
            }
        }
    }

    /// The table's title.
    pub fn title(self) -> &'static str {
        match self {
            Self::Original => "Stripe events",
            Self::Plain => "Events",
            Self::Full => "Payments",
            Self::Init => "Stripe payments",
        }
    }
}

/// A write cannot create options of a status, so all that are written exist beforehand. Those of the
/// outcome would be created; here they get meaningful colours.
fn with_options(mut schema: Schema) -> Schema {
    for (column, kind, options) in [("Status", "status", STATUSES), ("Outcome", "select", OUTCOMES)] {
        if schema.find(column).is_none() {
            continue;
        }
        let options: Vec<_> =
            options.iter().map(|(name, color)| json!({ "name": name, "color": color })).collect();
        let definition = json!({ kind: { "options": options } });
        if let Ok(alteration) = Alteration::parse(&definition, column) {
            // The column exists and keeps its type, so this cannot fail.
            let _ = schema.alter(column, alteration);
        }
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_template_has_one_title_and_a_column_for_the_key() {
        for template in [Template::Original, Template::Plain, Template::Full, Template::Init] {
            let schema = template.schema();
            let titles = schema.properties().iter().filter(|property| property.kind == Kind::Title);
            assert_eq!(titles.count(), 1);
            assert!(schema.find("EventId").is_some());
        }
        assert!(Template::Full.schema().find("Status").unwrap().option("success").is_some());
        assert!(Template::Init.schema().find("Status").is_none());
        assert_eq!(Template::Full.schema().find("Outcome").unwrap().option("Lost").unwrap().color, "red");
    }
}
