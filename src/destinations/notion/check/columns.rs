//! The check of the columns: what each one holds, what is left out, and what could be added.

use super::Found;
use crate::destinations::check::Finding;
use crate::destinations::notion::Notion;
use crate::destinations::notion::column::ColumnKind;
use crate::destinations::notion::design::{self, Fit};
use crate::destinations::notion::field::{Field, folded};
use crate::destinations::notion::schema::{Bindings, Schema, SchemaError, SchemaWarning};
use crate::domain::execution::Mode;
use serde_json::Value;

/// How many bytes of options are a warning. Notion refuses new options above 50,000.
const OPTION_BYTES_WARNING: usize = 40_000;

impl Notion {
    /// What the columns of a table hold, with a finding for each.
    pub(super) fn look_at_columns(
        &self,
        data_source: String,
        schema: &Schema,
        described: Value,
        previous: Option<&Bindings>,
        findings: &mut Vec<Finding>,
    ) -> Found {
        let key = match self.settings.mode {
            Mode::Event => Field::EventId,
            Mode::Object => Field::ObjectId,
        };
        let resolution = match schema.resolve(key, previous) {
            Ok(resolution) => resolution,
            Err(error) => {
                findings.push(self.unusable(&error));
                let missing =
                    if matches!(error, SchemaError::NoKeyColumn { .. }) { vec![key] } else { Vec::new() };
                return Found {
                    data_source,
                    bindings: None,
                    missing,
                    without_options: Vec::new(),
                    described,
                };
            }
        };
        let bindings = resolution.bindings;
        findings.push(Finding::good(format!(
            "{} is written to the column {:?}",
            key.name(),
            bindings.key.name
        )));
        for (field, column) in &bindings.columns {
            findings.push(match design::fit(*field, column) {
                Fit::Whole if folded(&column.name) == folded(field.name()) => {
                    Finding::good(format!("{} ({})", field.name(), column.kind))
                }
                Fit::Whole => Finding::good(format!(
                    "{} ({}), in the column {:?}",
                    field.name(),
                    column.kind,
                    column.name
                )),
                Fit::Partly(reason) | Fit::Nothing(reason)
                    if !design::missing_options(*field, column).is_empty() =>
                {
                    Finding::warning(
                        format!("{} is not always written to {:?}: {reason}", field.name(), column.name),
                        "eventbridge doctor --fix adds the options; or set the column's type to text",
                    )
                }
                Fit::Partly(reason) => Finding::warning(
                    format!("{} is written only partly to {:?}: {reason}", field.name(), column.name),
                    "change the column accordingly, or set its type to text",
                ),
                Fit::Nothing(reason) => Finding::warning(
                    format!("{} is left out: {reason} ({:?})", field.name(), column.name),
                    format!("change the column's type in Notion, preferably to {}", field.row().kind),
                ),
            });
        }
        for warning in &resolution.warnings {
            findings.push(Finding::warning(warning.to_string(), warning.remedy()));
        }
        for (field, column) in &bindings.columns {
            let has_options = matches!(column.kind, ColumnKind::Select | ColumnKind::MultiSelect);
            if has_options && !field.is_vocabulary() {
                findings.push(Finding::warning(
                    format!(
                        "{} fills the {} {:?}, which gets an option for each of its values and will be full: \
                         later values are left out",
                        field.name(),
                        column.kind,
                        column.name
                    ),
                    "set the column's type to text, unless it has few different values",
                ));
            }
        }
        let bytes = design::option_bytes(&described);
        if bytes > OPTION_BYTES_WARNING {
            findings.push(Finding::warning(
                format!("the options of all columns take {} KB of the 50 that a table holds", bytes / 1000),
                "set select columns that have many options to text: new options are left out when it is full",
            ));
        }
        let barred = |field: Field| {
            resolution.warnings.iter().any(
                |warning| matches!(warning, SchemaWarning::NotWritable { field: of, .. } if *of == field),
            )
        };
        // Each mode fills one of the two and leaves the other one empty.
        let of_other_mode = match self.settings.mode {
            Mode::Event => Field::LastEventId,
            Mode::Object => Field::EventId,
        };
        let missing: Vec<Field> = Field::ALL
            .iter()
            .copied()
            .filter(|field| field.is_offered() && *field != of_other_mode)
            .filter(|field| bindings.column(*field).is_none() && !barred(*field) && !schema.has_named(*field))
            .collect();
        if !missing.is_empty() {
            let names: Vec<_> = missing.iter().map(|field| field.name()).collect();
            findings.push(
                Finding::note(format!("left out, because there is no column for: {}", names.join(", ")))
                    .with_remedy("none of them is required; eventbridge doctor --fix adds all"),
            );
        }
        let without_options = bindings
            .columns
            .iter()
            .map(|(field, column)| (column.clone(), design::missing_options(*field, column)))
            .filter(|(_, options)| !options.is_empty())
            .collect();
        Found { data_source, bindings: Some(bindings), missing, without_options, described }
    }

    /// The finding of a table that cannot be filled.
    pub(super) fn unusable(&self, error: &SchemaError) -> Finding {
        Finding::problem(error.to_string(), error.remedy(&self.settings.access.instance))
    }
}

/// The column of a field, as it would be added.
pub(super) fn addition(field: Field) -> String {
    format!("{} ({})", field.name(), field.row().kind)
}
