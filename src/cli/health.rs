//! `eventbridge health`: checks whether the service on this machine is ready; for container health checks.

use super::{command_context, environment};
use crate::config::{self, Reader};
use crate::http_client;
use anyhow::Context;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::ExitCode;
use std::time::Duration;
use url::Url;

const TIMEOUT: Duration = Duration::from_secs(4);

#[derive(Debug, clap::Args)]
pub(super) struct HealthArgs {
    /// The address to check; by default /readyz of the dev that runs in this folder, otherwise at the port from the settings
    #[arg(long)]
    url: Option<Url>,
}

/// Exits 0 if the answer is 2xx, otherwise 1 with the answer on stderr.
pub(super) async fn run(args: HealthArgs) -> anyhow::Result<ExitCode> {
    let url = match args.url {
        Some(url) => url,
        None => readyz_of_this_machine()?,
    };
    let asked = http_client::local_client(TIMEOUT)?.get(url.clone()).send().await;
    let answer =
        asked.map_err(reqwest::Error::without_url).with_context(|| format!("no answer from {url}"))?;
    let status = answer.status();
    if status.is_success() {
        println!("ready");
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("eventbridge: not ready: {status} {}", answer.text().await.unwrap_or_default());
    Ok(ExitCode::FAILURE)
}

fn readyz_of_this_machine() -> anyhow::Result<Url> {
    let mut vars = environment::vars()?;
    command_context::add_address_of_dev(&mut vars)?;
    let mut reader = Reader::new(&vars);
    let listen = config::listen(&mut reader, IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let mut address = reader.finish(listen)?;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            std::net::SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            std::net::SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    Ok(Url::parse(&format!("http://{address}/readyz"))?)
}
