//! The columns as we would make them, and what a column of the user's can hold of its property.

use super::column::{Column, ColumnKind};
use super::facts::FactValue;
use super::field::Field;
use super::mapping::write;
use crate::domain::money::Money;
use chrono::DateTime;
use serde_json::{Map, Value, json};

/// What a column can hold of its property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fit {
    /// All of it.
    Whole,
    /// Some of it; the reason says what is left out.
    Partly(String),
    /// Nothing of it, for this reason.
    Nothing(String),
}

/// The words of `Status` with their colours.
const STATUSES: &[(&str, &str)] = &[("success", "green"), ("failed", "red"), ("pending", "yellow")];

/// The words of `Outcome` with their colours.
const OUTCOMES: &[(&str, &str)] = &[
    ("Paid", "green"),
    ("Failed", "red"),
    ("Refunded", "orange"),
    ("Partly refunded", "yellow"),
    ("Disputed", "purple"),
    ("Won", "green"),
    ("Lost", "red"),
    ("Canceled", "gray"),
    ("Past due", "orange"),
    ("Info", "blue"),
];

/// The type that a new column for a property gets.
pub fn kind(field: Field) -> ColumnKind {
    match field {
        Field::EventId
        | Field::LastEventId
        | Field::Customer
        | Field::CustomerName
        | Field::InvoiceNumber
        | Field::ObjectId
        | Field::Description
        | Field::AmountText
        | Field::Account => ColumnKind::RichText,
        Field::EventType
        | Field::Source
        | Field::Status
        | Field::Currency
        | Field::ObjectType
        | Field::ObjectStatus
        | Field::Outcome
        | Field::Month => ColumnKind::Select,
        Field::CustomerEmail => ColumnKind::Email,
        Field::Amount | Field::AmountRefunded => ColumnKind::Number,
        Field::OccurredAt => ColumnKind::Date,
        Field::Livemode => ColumnKind::Checkbox,
        Field::InvoiceUrl | Field::ReceiptUrl | Field::DashboardUrl => ColumnKind::Url,
    }
}

/// The definition of a new column for a property, as Notion takes it.
pub fn definition(field: Field) -> Value {
    let options = |words: &[(&str, &str)]| {
        let options: Vec<_> =
            words.iter().map(|(name, color)| json!({ "name": name, "color": color })).collect();
        json!({ "options": options })
    };
    let settings = match field {
        Field::Status => options(STATUSES),
        Field::Outcome => options(OUTCOMES),
        Field::Amount | Field::AmountRefunded => json!({ "format": "number_with_commas" }),
        _ => json!({}),
    };
    json!({ (kind(field).as_str()): settings })
}

/// The definitions of new columns, by their names.
pub fn definitions(fields: &[Field]) -> Map<String, Value> {
    fields.iter().map(|field| (field.name().to_owned(), definition(*field))).collect()
}

/// The columns of a new database: a title for people to read, and every property that we know.
pub fn whole_table() -> Map<String, Value> {
    let mut columns = definitions(Field::ALL);
    columns.insert("Name".to_owned(), json!({ "title": {} }));
    columns
}

/// What a column can hold of its property, tried with values of every sort that occurs.
pub fn fit(field: Field, column: &Column) -> Fit {
    let values = samples(field);
    let refused: Vec<String> = values.iter().filter_map(|value| write(field, value, column).err()).collect();
    match refused.first() {
        None => Fit::Whole,
        Some(reason) if refused.len() == values.len() => Fit::Nothing(reason.clone()),
        Some(_) => Fit::Partly(refused.join("; ")),
    }
}

/// Values of every sort that a property has.
fn samples(field: Field) -> Vec<FactValue<'static>> {
    let words = |words: &[&'static str]| words.iter().map(|word| FactValue::Text((*word).into())).collect();
    match field {
        Field::EventId | Field::LastEventId => words(&["evt_1"]),
        Field::EventType => words(&["invoice.paid"]),
        Field::Source => words(&["stripe"]),
        Field::Status => STATUSES.iter().map(|(word, _)| FactValue::Text((*word).into())).collect(),
        Field::Outcome => OUTCOMES.iter().map(|(word, _)| FactValue::Text((*word).into())).collect(),
        Field::CustomerEmail => words(&["jane@example.com"]),
        Field::Customer => words(&["cus_1"]),
        Field::CustomerName => words(&["Jane Doe"]),
        Field::InvoiceNumber => words(&["A-0042"]),
        Field::Currency => words(&["EUR"]),
        Field::AmountText => words(&["EUR 17.45"]),
        Field::ObjectId => words(&["in_1"]),
        Field::ObjectType => words(&["invoice"]),
        Field::ObjectStatus => words(&["paid"]),
        Field::Description => words(&["A subscription"]),
        Field::Month => words(&["2026-11"]),
        Field::Account => words(&["acct_1"]),
        Field::InvoiceUrl | Field::ReceiptUrl | Field::DashboardUrl => words(&["https://stripe.com/x"]),
        Field::OccurredAt => vec![FactValue::Time(DateTime::UNIX_EPOCH)],
        Field::Amount | Field::AmountRefunded => "eur"
            .parse()
            .map(|currency| vec![FactValue::Money(Money::from_minor(1745, currency))])
            .unwrap_or_default(),
        Field::Livemode => [(true, "live"), (false, "test")]
            .into_iter()
            .map(|(set, word)| FactValue::Flag { set, word })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(kind: ColumnKind, options: &[&str]) -> Column {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        Column { id: "id".to_owned(), name: "Column".to_owned(), kind, options }
    }

    #[test]
    fn the_columns_that_we_make_hold_all_of_their_properties() {
        for field in Field::ALL {
            assert_eq!(fit(*field, &column(kind(*field), &[])), Fit::Whole, "{}", field.name());
        }
        assert_eq!(whole_table().len(), Field::ALL.len() + 1);
    }

    #[test]
    fn a_column_of_another_type_holds_nothing_and_a_status_what_it_has_options_for() {
        assert!(matches!(fit(Field::Amount, &column(ColumnKind::Date, &[])), Fit::Nothing(_)));
        assert!(matches!(fit(Field::Customer, &column(ColumnKind::Url, &[])), Fit::Nothing(_)));
        assert_eq!(fit(Field::Amount, &column(ColumnKind::RichText, &[])), Fit::Whole);
        let status = column(ColumnKind::Status, &["Success", "pending"]);
        match fit(Field::Status, &status) {
            Fit::Partly(reason) => assert!(reason.contains("\"failed\"") && !reason.contains("success")),
            other => panic!("{other:?}"),
        }
    }
}
