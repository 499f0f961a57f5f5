//! The tables.

use crate::figures::Results;
use std::fmt::Write;

/// A row of the table of loads.
struct Load {
    scenario: &'static str,
    what: &'static str,
}

const LOADS: &[Load] = &[
    Load {
        scenario: "nothing",
        what: "the same HTTP stack, which verifies, parses and answers, and stores nothing",
    },
    Load { scenario: "each", what: "a statement and a commit for each request" },
    Load { scenario: "ingest", what: "**ingest**, 256 connections" },
    Load { scenario: "one", what: "**ingest**, one connection, one event at a time" },
    Load { scenario: "half", what: "**ingest** at half of its rate, open loop" },
    Load { scenario: "beside", what: "**ingest** while the same process delivers what comes in" },
    Load {
        scenario: "flat",
        what: "**ingest** while the same process delivers, and senders pause so that the backlog stays flat",
    },
    Load { scenario: "paused", what: "**ingest** while a paused destination has 1,000,000 waiting" },
    Load { scenario: "growth", what: "**ingest** over full tables" },
];

/// A row of the table of other figures.
struct Other {
    scenario: &'static str,
    figure: &'static str,
    what: &'static str,
    unit: &'static str,
}

const OTHERS: &[Other] = &[
    Other {
        scenario: "postgres",
        figure: "per_second",
        what: "Postgres alone, batches of 256 on two connections",
        unit: "events/s",
    },
    Other {
        scenario: "paused",
        figure: "over_delivered_per_second",
        what: "**ingest** over 1,000,000 that were delivered, to compare with 1,000,000 that wait",
        unit: "events/s",
    },
    Other {
        scenario: "drain",
        figure: "per_second",
        what: "**drain** of a backlog, to a destination that does nothing, `WORKER_CONCURRENCY=256`",
        unit: "executions/s",
    },
    Other {
        scenario: "drain",
        figure: "by_default_per_second",
        what: "the same with default settings",
        unit: "executions/s",
    },
    Other {
        scenario: "slow",
        figure: "per_second",
        what: "the backlog of a fast destination, while another one takes 5 s for each answer, `WORKER_CONCURRENCY=256`",
        unit: "executions/s",
    },
    Other {
        scenario: "slow",
        figure: "by_default_per_second",
        what: "the same with default settings",
        unit: "executions/s",
    },
    Other {
        scenario: "beside",
        figure: "drained_per_second",
        what: "delivered beside ingest, in the same seconds",
        unit: "executions/s",
    },
    Other {
        scenario: "flat",
        figure: "drained_per_second",
        what: "the same while the backlog stays flat",
        unit: "executions/s",
    },
    Other {
        scenario: "growth",
        figure: "drained_per_second",
        what: "delivered over full tables",
        unit: "executions/s",
    },
    Other { scenario: "growth", figure: "claim_ms", what: "a claim of these, mean", unit: "ms" },
    Other {
        scenario: "growth",
        figure: "list_p50_ms",
        what: "lists of the API over full tables, median",
        unit: "ms",
    },
    Other {
        scenario: "growth",
        figure: "list_max_ms",
        what: "lists of the API over full tables, longest",
        unit: "ms",
    },
    Other {
        scenario: "pages",
        figure: "per_second",
        what: "from the webhook to a page, at a Notion that answers at once",
        unit: "pages/s",
    },
    Other {
        scenario: "default",
        figure: "per_second",
        what: "the same with default settings, except that the limiter is off",
        unit: "pages/s",
    },
    Other {
        scenario: "wake",
        figure: "p50_ms",
        what: "at rest: from the answer to a webhook to the request to Notion, median",
        unit: "ms",
    },
    Other {
        scenario: "wake",
        figure: "from_webhook_p50_ms",
        what: "at rest: from the webhook's first byte to the request to Notion, median",
        unit: "ms",
    },
    Other {
        scenario: "burst",
        figure: "seconds",
        what: "600 events over 60 objects, object mode, default rate: until all is shown",
        unit: "s",
    },
    Other { scenario: "burst", figure: "refused", what: "answers 429 meanwhile", unit: "" },
    Other {
        scenario: "start",
        figure: "p50_ms",
        what: "from the start to the first 200, the schema being up to date, median",
        unit: "ms",
    },
    Other { scenario: "ingest", figure: "memory_mb", what: "memory at full load, at most", unit: "MB" },
    Other {
        scenario: "memory",
        figure: "peak_mb",
        what: "memory while 256 connections send 2 MiB bodies, at most",
        unit: "MB",
    },
    Other { scenario: "memory", figure: "refused", what: "of these refused with 503", unit: "" },
    Other { scenario: "memory", figure: "taken", what: "of these accepted and stored", unit: "" },
];

/// A row of the table of shares: a rate next to one that limits it.
struct Share {
    what: &'static str,
    scenario: &'static str,
    figure: &'static str,
    /// What limits it.
    limit: &'static str,
    /// The rates of the limit. Of two, the limit is the rate of one step after the other: an event costs
    /// the time of both.
    of: &'static [(&'static str, &'static str)],
}

const SHARES: &[Share] = &[
    Share {
        what: "**ingest**, 256 connections",
        scenario: "ingest",
        figure: "per_second",
        limit: "additive limit of nothing stored and Postgres alone",
        of: &[("nothing", "per_second"), ("postgres", "per_second")],
    },
    Share {
        what: "**ingest** while the same process delivers what comes in",
        scenario: "beside",
        figure: "per_second",
        limit: "ingest alone",
        of: &[("ingest", "per_second")],
    },
    Share {
        what: "ingest and delivery with a flat backlog",
        scenario: "flat",
        figure: "drained_per_second",
        limit: "additive limit of ingest and drain",
        of: &[("ingest", "per_second"), ("drain", "per_second")],
    },
    Share {
        what: "a fast destination beside a slow one",
        scenario: "slow",
        figure: "per_second",
        limit: "the fast one alone",
        of: &[("slow", "alone_per_second")],
    },
    Share {
        what: "the same with default settings",
        scenario: "slow",
        figure: "by_default_per_second",
        limit: "the fast one alone, with default settings",
        of: &[("slow", "by_default_alone_per_second")],
    },
];

/// A row of the table of loads under an old snapshot.
struct UnderSnapshot {
    what: &'static str,
    scenario: &'static str,
    /// What its figures begin with.
    prefix: &'static str,
}

const UNDER_SNAPSHOT: &[UnderSnapshot] = &[
    UnderSnapshot { what: "800/s", scenario: "horizon", prefix: "at_800_" },
    UnderSnapshot { what: "3,000/s", scenario: "horizon", prefix: "at_3000_" },
    UnderSnapshot { what: "800/s over 100 objects, object mode", scenario: "lanes", prefix: "at_800_" },
];

/// All tables, without the unmeasured rows.
pub fn tables(results: &Results) -> String {
    let mut text = String::from(
        "| load | answers/s | of nothing stored | median | p99 | p99.9 | longest | processor time of the program | of the whole machine |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    let nothing = results.get("nothing", "per_second");
    for Load { scenario, what } in LOADS {
        let figure = |name| results.get(scenario, name);
        let Some(per_second) = figure("per_second") else { continue };
        let share =
            nothing.map_or_else(String::new, |nothing| format!("{:.0} %", per_second / nothing * 100.0));
        let ms = |name| figure(name).map_or_else(String::new, |ms| format!("{ms:.2} ms"));
        let us = |name| figure(name).map_or_else(String::new, |us| format!("{us:.0} µs"));
        // Writing to a string cannot fail.
        let _written = writeln!(
            text,
            "| {what} | {} | {share} | {} | {} | {} | {} | {} | {} |",
            grouped(per_second),
            ms("p50_ms"),
            ms("p99_ms"),
            ms("p99_9_ms"),
            ms("max_ms"),
            us("program_us"),
            us("machine_us"),
        );
    }
    text.push_str("\n| what | |\n|---|---|\n");
    for Other { scenario, figure, what, unit } in OTHERS {
        let Some(value) = results.get(scenario, figure) else { continue };
        let value = match *unit {
            "ms" | "s" => format!("{value:.1}"),
            _ => grouped(value),
        };
        let _written = writeln!(text, "| {what} | {} |", format!("{value} {unit}").trim_end());
    }
    write_shares(&mut text, results);
    write_under_snapshot(&mut text, results);
    if let (Some(events), Some(waiting)) = (results.get("growth", "events"), results.get("growth", "waiting"))
    {
        let (events, waiting) = (grouped(events), grouped(waiting));
        let _written = writeln!(text, "\nFull tables: {events} events, {waiting} of them waiting.");
    }
    text
}

/// The table of shares.
fn write_shares(text: &mut String, results: &Results) {
    let rows: Vec<_> = SHARES.iter().filter_map(|share| share_row(share, results)).collect();
    if !rows.is_empty() {
        text.push_str("\n| rate | measured | compared with | its rate | share |\n|---|---|---|---|---|\n");
        text.extend(rows);
    }
}

/// `None` unless all its rates are measured.
fn share_row(share: &Share, results: &Results) -> Option<String> {
    let Share { what, scenario, figure, limit, of } = share;
    let rate = results.get(scenario, figure)?;
    let mut seconds_per_event = 0.0;
    for (scenario, figure) in *of {
        seconds_per_event += 1.0 / results.get(scenario, figure)?;
    }
    Some(format!(
        "| {what} | {}/s | {limit} | {}/s | {:.0} % |\n",
        grouped(rate),
        grouped(1.0 / seconds_per_event),
        rate * seconds_per_event * 100.0,
    ))
}

/// The table of loads under an old snapshot.
fn write_under_snapshot(text: &mut String, results: &Results) {
    let rows: Vec<_> = UNDER_SNAPSHOT.iter().filter_map(|row| snapshot_row(row, results)).collect();
    if !rows.is_empty() {
        text.push_str(
            "\n| load | snapshot held for | delivered/s before | meanwhile | share | p99 before | in its last tenth | pending for more than 1 s at its end | recovery | mean claim before | in its last tenth | mean statement before | in its last tenth |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
        );
        text.extend(rows);
    }
}

/// `None` unless it was measured.
fn snapshot_row(row: &UnderSnapshot, results: &Results) -> Option<String> {
    let UnderSnapshot { what, scenario, prefix } = row;
    let figure = |name: &str| results.get(scenario, &format!("{prefix}{name}"));
    let whole = |name| figure(name).map_or_else(String::new, grouped);
    let ms = |name| figure(name).map_or_else(String::new, |ms| format!("{ms:.2} ms"));
    Some(format!(
        "| {what} | {} s | {} | {} | {:.0} % | {} | {} | {} | {} s | {} | {} | {} | {} |\n",
        results.get(scenario, "held_seconds").map_or_else(String::new, grouped),
        whole("reference_per_second"),
        whole("held_per_second"),
        figure("share_percent")?,
        ms("reference_p99_ms"),
        ms("p99_ms"),
        whole("pending"),
        whole("recovery_seconds"),
        ms("reference_claim_ms"),
        ms("claim_ms"),
        ms("reference_statement_ms"),
        ms("statement_ms"),
    ))
}

/// A whole number with commas.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}
