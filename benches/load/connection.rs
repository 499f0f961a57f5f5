//! A sender's connection: one request after the other over a kept-open socket, with only the necessary
//! HTTP.

use anyhow::{Context, bail};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// No expected response is larger.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Requests up to this size are written before the response is read; larger ones may be rejected midway.
const WRITTEN_AT_ONCE: usize = 64 * 1024;

/// A response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// For an accepted event: whether it was new.
    pub is_new: bool,
    /// Whether the connection can be reused.
    pub stays_open: bool,
}

/// An open connection.
pub struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Connection {
    /// Opens a connection.
    pub async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, answer: Vec::with_capacity(1024) })
    }

    /// Sends a request and reads its response.
    pub async fn ask(&mut self, request: &[u8]) -> anyhow::Result<Answer> {
        self.answer.clear();
        if request.len() <= WRITTEN_AT_ONCE {
            self.stream.write_all(request).await?;
            return read(&mut self.stream, &mut self.answer).await;
        }
        let (mut reading, mut writing) = self.stream.split();
        // A rejection may arrive before the whole request is written, and the server does not read the
        // rest.
        let writing = async {
            if writing.write_all(request).await.is_err() {
                std::future::pending::<()>().await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            answer = read(&mut reading, &mut self.answer) => answer,
            () = writing => bail!("a request has no end"),
        }
    }
}

async fn read(stream: &mut (impl AsyncReadExt + Unpin), answer: &mut Vec<u8>) -> anyhow::Result<Answer> {
    loop {
        if stream.read_buf(answer).await? == 0 {
            bail!("the connection was closed without an answer");
        }
        if let Some(whole) = parse(answer)? {
            return Ok(whole);
        }
        if answer.len() > ANSWER_BYTES_MAX {
            bail!("the answer is larger than any that is expected");
        }
    }
}

/// The response, if it is complete.
fn parse(bytes: &[u8]) -> anyhow::Result<Option<Answer>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(bytes)? else { return Ok(None) };
    let named = |name: &str| {
        let found = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(found.value).ok()
    };
    let length: usize = named("content-length").context("an answer without a length")?.parse()?;
    let Some(body) = bytes.get(head..head + length) else { return Ok(None) };
    Ok(Some(Answer {
        status: response.code.context("an answer without a status")?,
        is_new: body.windows(ACCEPTED.len()).any(|part| part == ACCEPTED),
        stays_open: named("connection") != Some("close"),
    }))
}

const ACCEPTED: &[u8] = br#""accepted":true"#;
