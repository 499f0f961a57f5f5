//! The table as a whole: its patterns, its completeness, its order.

use super::*;

#[test]
fn a_pattern_matches_alternatives_and_any_text_at_its_star() {
    for (event_type, types, expected) in [
        ("charge.failed", "charge.failed", true),
        ("charge.failed.x", "charge.failed", false),
        ("invoice.paid", "invoice.voided|invoice.paid", true),
        ("treasury.outbound_payment.failed", "treasury.*.failed", true),
        ("treasury.failed", "treasury.*.failed", false),
        ("invoice.payment_failed", "*failed", true),
        ("x.requires_é", "*.requires_*", true),
        ("", "*", true),
        ("", "charge.*", false),
    ] {
        assert_eq!(is_among(event_type, types), expected, "{event_type} {types}");
    }
}

#[test]
fn the_types_that_move_money_have_a_preset() {
    let presets = crate::sources::stripe::event_type::PRESETS;
    let (_, collected) = presets.iter().find(|(name, _)| *name == "@collected").expect("a preset");
    let moving =
        EVENTS.iter().filter(|row| !matches!(row.movement, Still)).flat_map(|row| row.types.split('|'));
    for event_type in moving {
        assert!(collected.contains(&event_type), "{event_type}");
    }
}

#[test]
fn each_of_stripes_types_has_a_row() {
    let folder = std::path::Path::new(env!("EVENTBRIDGE_CHECKOUT")).join("../shared/data/stripe-every-type");
    for file in ["snapshots.jsonl", "thin.jsonl"] {
        let Ok(events) = std::fs::read_to_string(folder.join(file)) else { return };
        for line in events.lines() {
            let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
            let event_type = event["type"].as_str().map(without_thin_prefix).expect("a type");
            assert!(EVENTS.iter().any(|row| is_among(event_type, row.types)), "{event_type}");
        }
    }
}

#[test]
fn each_row_can_be_reached() {
    let nothing = serde_json::Value::Null;
    for (place, row) in EVENTS.iter().enumerate() {
        for pattern in row.types.split('|') {
            let example = pattern.replace('*', "some");
            let object = StripeObject::of(&nothing, None, &example);
            let first = EVENTS.iter().position(|row| is_among(&example, row.types) && (row.when)(&object));
            assert!(first.is_none_or(|first| first >= place), "{pattern} is hidden");
        }
    }
}
