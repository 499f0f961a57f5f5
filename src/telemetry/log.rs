//! The log: JSON on stdout for machines, or text for people. It never contains payloads and secrets.

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// The format of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line, on stdout.
    Json,
    /// Text on stderr, so that stdout is free for a command's output.
    Text,
}

/// The filter if `LOG_LEVEL` is not set.
pub const DEFAULT_FILTER: &str = "info,sqlx::postgres::notice=warn";

/// Starts logging for the process; `filter` is a list of directives such as `info,eventbridge=debug`.
pub fn init(format: LogFormat, filter: Option<&str>) {
    let filter = filter.map_or_else(
        || EnvFilter::new(DEFAULT_FILTER),
        |directives| EnvFilter::try_new(directives).unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER)),
    );
    let builder = tracing_subscriber::fmt().with_env_filter(filter);
    // A second subscriber in one process is rejected and the first one stays, as tests need.
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
