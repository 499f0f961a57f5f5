//! A shop in operation to try a client on: `cargo run -p stripe-sandbox --example serve -- 12111 busy 60`.
//!
//! The arguments are the port (default 12111), the size of the shop (`empty`, `quiet`, `busy`) and how many
//! times as fast as the real one its clock runs.

use std::error::Error;
use std::io::{Write as _, stdout};
use stripe_sandbox::{SECRET_KEY, Sandbox, SandboxOptions, ShopSize};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let port: u16 = arguments.next().map_or(Ok(12_111), |port| port.parse())?;
    let size = match arguments.next().as_deref() {
        Some("empty") => ShopSize::Empty,
        Some("busy") => ShopSize::Busy,
        _ => ShopSize::Quiet,
    };
    let speed: f64 = arguments.next().map_or(Ok(1.0), |speed| speed.parse())?;
    let options = SandboxOptions { size, speed, ..SandboxOptions::default() };
    let sandbox = Sandbox::start(([127, 0, 0, 1], port).into(), options).await?;
    writeln!(stdout(), "{} with the key {SECRET_KEY}", sandbox.base_url())?;
    std::future::pending::<()>().await;
    Ok(())
}
