//! A measured process: started, checked for readiness, observed, stopped.

use anyhow::{Context, bail};
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

const READY_WITHIN: Duration = Duration::from_secs(30);
const STOPPED_WITHIN: Duration = Duration::from_secs(40);

/// Clock ticks per second, as Linux reports processor time to programs.
const TICKS_PER_SECOND: f64 = 100.0;

/// How a process is started.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The executable.
    pub executable: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its whole environment, except its listen address.
    pub settings: Vec<(String, String)>,
    /// The file of its log.
    pub log: PathBuf,
}

/// A running process. Dropping it kills it.
pub struct Program {
    child: Child,
    /// Its address.
    pub address: SocketAddr,
    /// From its start to its first 200.
    pub ready_after: Duration,
}

impl Launch {
    /// Starts it and waits until it reports that it is ready.
    pub async fn start(&self) -> anyhow::Result<Program> {
        let address = free_address()?;
        let log = File::create(&self.log).with_context(|| format!("creating {}", self.log.display()))?;
        let began = Instant::now();
        let mut child = Command::new(&self.executable)
            .args(&self.arguments)
            .env_clear()
            .envs(self.settings.iter().map(|(name, text)| (name, text)))
            .env("LISTEN_ADDR", address.to_string())
            .current_dir(self.log.parent().unwrap_or(Path::new("/")))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", self.executable.display()))?;
        while !is_ready(address).await {
            if let Some(status) = child.try_wait()? {
                bail!("{} ended with {status}; its log is {}", self.executable.display(), self.log.display());
            }
            if began.elapsed() > READY_WITHIN {
                bail!("{} was not ready in time", self.executable.display());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(Program { child, address, ready_after: began.elapsed() })
    }
}

impl Program {
    /// The processor time that it has used, in seconds; `None` if the system does not report it.
    pub fn processor_seconds(&self) -> Option<f64> {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()?)).ok()?;
        let after_name = text.rsplit_once(')')?.1;
        let field = |place: usize| after_name.split_whitespace().nth(place)?.parse::<f64>().ok();
        Some((field(11)? + field(12)?) / TICKS_PER_SECOND)
    }

    /// Its peak memory, in megabytes; `None` if the system does not report it.
    pub fn memory_peak_mb(&self) -> Option<f64> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()?)).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        Some(line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()? / 1024.0)
    }

    /// Asks it to exit, and waits.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let id = self.child.id().context("the process exited by itself")?;
        let asked = Command::new("kill").arg("-TERM").arg(id.to_string()).status().await?;
        if !asked.success() {
            bail!("process {id} cannot be asked to end");
        }
        tokio::time::timeout(STOPPED_WITHIN, self.child.wait())
            .await
            .context("the process does not exit")??;
        Ok(())
    }
}

/// The processor time that all of this machine has used, in seconds; without time stolen by the host.
pub fn processor_seconds_of_all() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    let numbers: Vec<f64> =
        text.lines().next()?.split_whitespace().skip(1).filter_map(|number| number.parse().ok()).collect();
    let idle: f64 = numbers.iter().skip(3).take(2).sum();
    Some((numbers.iter().take(7).sum::<f64>() - idle) / TICKS_PER_SECOND)
}

async fn is_ready(address: SocketAddr) -> bool {
    let asked = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        let request = "GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok()?;
        Some(answer.starts_with(b"HTTP/1.1 200"))
    };
    tokio::time::timeout(Duration::from_secs(2), asked).await.ok().flatten().unwrap_or(false)
}

fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
