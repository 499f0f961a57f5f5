//! `eventbridge stripe`: sets the endpoint at Stripe up, and enables it again.
//!
//! Both commands take a key that may write webhook endpoints, from a file or at the terminal. They use it for their
//! own requests and keep it nowhere.

mod access;
mod enable;
mod evidence;
mod init;
mod links;
mod secret_setting;
mod steps;
mod time_zone;

use super::signals;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct StripeArgs {
    #[command(subcommand)]
    command: StripeCommand,
}

#[derive(Debug, clap::Subcommand)]
enum StripeCommand {
    /// Create the webhook endpoint at Stripe, or adopt the one that exists
    ///
    /// It asks for an API key that may write webhook endpoints, uses it for this command only, and stores it
    /// nowhere. It subscribes the endpoint to what the destinations need, and stores its signing secret beside those
    /// that exist. If an endpoint with this address exists whose secret is not configured, it creates a second one,
    /// and disables the first once the service accepts what the second sends. It never deletes an endpoint. Run it
    /// again to go on, or to check: without a difference it changes nothing.
    ///
    /// Exits 0 if everything is done, 1 if something remains to be done.
    Init(init::InitArgs),
    /// Enable the endpoint at Stripe again
    ///
    /// It asks for an API key that may write webhook endpoints, uses it for this command only, and stores it
    /// nowhere.
    Enable(enable::EnableArgs),
}

pub(super) async fn run(args: StripeArgs) -> anyhow::Result<ExitCode> {
    let stop = signals::stop_requested()?;
    let command = async {
        match args.command {
            StripeCommand::Init(args) => init::run(args).await,
            StripeCommand::Enable(args) => enable::run(args).await,
        }
    };
    tokio::select! {
        done = command => done,
        () = stop.cancelled() => {
            eprintln!("\nStopped. Run the command again: it goes on from here.");
            Ok(ExitCode::FAILURE)
        }
    }
}
