//! The log: JSON on stdout for machines, or text for people. It never contains payloads and secrets.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
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

/// Makes the hidden characters of a line visible.
pub type MakeVisible = fn(&str) -> Cow<'_, str>;

/// Starts logging for the process; `filter` is a list of directives such as `info,eventbridge=debug`.
pub fn init(format: LogFormat, filter: Option<&str>, visible: MakeVisible) {
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
            .with_writer(move || Lines { out: io::stdout(), visible })
            .try_init(),
        LogFormat::Text => builder
            .compact()
            .with_target(false)
            .with_ansi(io::stderr().is_terminal())
            .with_writer(move || Lines { out: io::stderr(), visible })
            .try_init(),
    };
}

/// Writes each line with its hidden characters visible.
struct Lines<W> {
    out: W,
    visible: MakeVisible,
}

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match std::str::from_utf8(line) {
            Ok(text) => self.out.write_all((self.visible)(text).as_bytes())?,
            Err(_) => self.out.write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
