//! `eventbridge openapi`: prints the description of the API.

use crate::app;
use anyhow::Context;
use std::process::ExitCode;

pub(super) fn run() -> anyhow::Result<ExitCode> {
    println!("{}", app::openapi().to_pretty_json().context("the description cannot be written as JSON")?);
    Ok(ExitCode::SUCCESS)
}
