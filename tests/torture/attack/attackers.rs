//! The attackers. Each connects repeatedly in its own way, and knows no secret.

use futures_util::future::BoxFuture;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A kind of attacker.
#[derive(Clone, Copy)]
pub struct Attacker {
    /// What it does.
    pub name: &'static str,
    /// How many run at once.
    pub count: usize,
    /// How many replicas they attack.
    pub replicas: usize,
    /// One visit, and its outcome.
    pub visit: fn(SocketAddr) -> BoxFuture<'static, String>,
}

/// All attackers. Together they open fewer files than the usual limit of a process.
pub const ALL: &[Attacker] = &[
    // More than the connection limit.
    Attacker { name: "says nothing", count: 820, replicas: 1, visit: |to| Box::pin(silent(to)) },
    Attacker {
        name: "sends its head by the byte",
        count: 20,
        replicas: 2,
        visit: |to| Box::pin(slow_head(to)),
    },
    // As many as fill the body budgets of both replicas, and some more.
    Attacker { name: "sends most of 2 MiB", count: 56, replicas: 2, visit: |to| Box::pin(slow_body(to)) },
    Attacker { name: "reads no answer", count: 10, replicas: 2, visit: |to| Box::pin(reads_nothing(to)) },
    Attacker { name: "sends no signature", count: 8, replicas: 2, visit: |to| Box::pin(unsigned(to)) },
    Attacker { name: "forges a signature", count: 4, replicas: 2, visit: |to| Box::pin(forged(to)) },
    Attacker { name: "sends too much", count: 4, replicas: 2, visit: |to| Box::pin(too_much(to)) },
    Attacker { name: "sends too large a head", count: 4, replicas: 2, visit: |to| Box::pin(large_head(to)) },
    Attacker { name: "speaks no HTTP", count: 4, replicas: 2, visit: |to| Box::pin(nonsense(to)) },
    Attacker {
        name: "asks for what is not there",
        count: 4,
        replicas: 2,
        visit: |to| Box::pin(not_there(to)),
    },
];

/// The pause of a slow client between two pieces.
const SLOWLY: Duration = Duration::from_millis(250);

/// How long an attacker waits for anything.
const PATIENCE: Duration = Duration::from_secs(30);

const MIB: usize = 1024 * 1024;

async fn silent(to: SocketAddr) -> String {
    let Ok(mut stream) = TcpStream::connect(to).await else { return refused_connection().await };
    outcome(&mut stream).await
}

async fn slow_head(to: SocketAddr) -> String {
    let Ok(mut stream) = TcpStream::connect(to).await else { return refused_connection().await };
    for byte in b"POST /api/v1/webhooks/stripe HTTP/1.1\r\nhost: a\r\nx-header: ".iter().chain(&[b'x'; 999]) {
        if stream.write_all(&[*byte]).await.is_err() {
            break;
        }
        if let Ok(outcome) = timeout(SLOWLY, outcome(&mut stream)).await {
            return outcome;
        }
    }
    outcome(&mut stream).await
}

async fn slow_body(to: SocketAddr) -> String {
    let Ok(mut stream) = TcpStream::connect(to).await else { return refused_connection().await };
    let head = head(2 * MIB, &signature());
    let most = vec![b' '; 2 * MIB - 1000];
    if stream.write_all(head.as_bytes()).await.is_err() || stream.write_all(&most).await.is_err() {
        return outcome(&mut stream).await;
    }
    for _ in 0..1000 {
        if let Ok(outcome) = timeout(SLOWLY, outcome(&mut stream)).await {
            return outcome;
        }
        if stream.write_all(b" ").await.is_err() {
            break;
        }
    }
    outcome(&mut stream).await
}

async fn reads_nothing(to: SocketAddr) -> String {
    let Ok(mut stream) = TcpStream::connect(to).await else { return refused_connection().await };
    let requests = "GET /assets/nothing HTTP/1.1\r\nhost: a\r\n\r\n".repeat(1000);
    let sending = async { while stream.write_all(requests.as_bytes()).await.is_ok() {} };
    match timeout(PATIENCE, sending).await {
        Ok(()) => "let go".to_owned(),
        Err(_) => "held on".to_owned(),
    }
}

async fn unsigned(to: SocketAddr) -> String {
    let body = r#"{"id":"evt_unsigned","type":"invoice.paid"}"#;
    ask(to, &format!("{}{body}", head(body.len(), ""))).await
}

async fn forged(to: SocketAddr) -> String {
    let body = format!(r#"{{"id":"evt_forged","data":{}{}}}"#, "[".repeat(20_000), "]".repeat(20_000));
    ask(to, &format!("{}{body}", head(body.len(), &signature()))).await
}

async fn too_much(to: SocketAddr) -> String {
    let body = "x".repeat(3 * MIB);
    ask(to, &format!("{}{body}", head(body.len(), &signature()))).await
}

async fn large_head(to: SocketAddr) -> String {
    ask(to, &format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "x".repeat(MIB))).await
}

async fn nonsense(to: SocketAddr) -> String {
    ask(to, "\u{16}\u{3}\u{1} is no HTTP\r\n\r\n").await
}

async fn not_there(to: SocketAddr) -> String {
    let number: u64 = rand::random();
    ask(
        to,
        &format!("GET /{number}?{}%ff HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", "x".repeat(8000)),
    )
    .await
}

fn head(length: usize, more: &str) -> String {
    format!(
        "POST /api/v1/webhooks/stripe HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\nconnection: close\r\n{more}\r\n"
    )
}

/// A signature header with Stripe's format and a valid time.
fn signature() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    format!("stripe-signature: t={now},v1={}\r\n", "0".repeat(64))
}

async fn ask(to: SocketAddr, request: &str) -> String {
    let Ok(mut stream) = TcpStream::connect(to).await else { return refused_connection().await };
    // A response may arrive before the whole request is sent.
    let _sent = timeout(PATIENCE, stream.write_all(request.as_bytes())).await;
    outcome(&mut stream).await
}

/// The response status, or else how the connection ended.
async fn outcome(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let reading = async {
        while answer.len() < 12 {
            match stream.read_buf(&mut answer).await {
                Ok(0) => return "let go",
                Ok(_) => {}
                Err(_) => return "reset",
            }
        }
        "answered"
    };
    match timeout(PATIENCE, reading).await {
        Ok("answered") => String::from_utf8_lossy(answer.get(9..12).unwrap_or_default()).into_owned(),
        Ok(other) => other.to_owned(),
        Err(_) => "held on".to_owned(),
    }
}

/// An immediate new attempt would be useless.
async fn refused_connection() -> String {
    tokio::time::sleep(SLOWLY).await;
    "not let in".to_owned()
}
