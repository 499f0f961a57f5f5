//! Logs: JSON on stdout for machines, or lines for people. No payload and no secret is ever logged.

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Who reads the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line, on stdout.
    Json,
    /// Readable lines, on stderr, so that stdout stays free for a command's own output.
    Text,
}

/// What is logged where `LOG_LEVEL` says nothing.
pub const DEFAULT_FILTER: &str = "info,sqlx::postgres::notice=warn";

/// Starts logging for the process; `filter` is a list of directives such as `info,eventbridge=debug`.
pub fn init(format: LogFormat, filter: Option<&str>) {
    let filter = filter.map_or_else(
        || EnvFilter::new(DEFAULT_FILTER),
        |directives| EnvFilter::try_new(directives).unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER)),
    );
    let builder = tracing_subscriber::fmt().with_env_filter(filter);
    // A second subscriber in one process is refused; the first goes on, which is what tests want.
    let _already_set = match format {
        LogFormat::Json => builder
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .with_writer(std::io::stdout)
            .try_init(),
        LogFormat::Text => builder
            .compact()
            .with_target(false)
            .with_ansi(std::io::stderr().is_terminal())
            .with_writer(std::io::stderr)
            .try_init(),
    };
}
