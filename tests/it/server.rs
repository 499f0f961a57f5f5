//! The listener against hostile clients that speak raw TCP.

use crate::harness::within;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::routing::{any, get};
use eventbridge::server::{self, Limits};
use eventbridge::telemetry::{Gauges, Metrics};
use futures_util::future::join_all;
use futures_util::stream;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Short enough for a test to wait for.
const SHORT: Duration = Duration::from_millis(50);

const ASK: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
/// More than the buffers of a loopback connection hold.
const LARGE: usize = 16 * 1024 * 1024;
const ASK_FOR_LARGE: &str = "GET /large HTTP/1.1\r\nhost: a\r\n\r\n";

const CLOSE: &str = "\r\nconnection: close\r\n\r\n";
const ASK_FOR_GATE: &str = "GET /gate HTTP/1.1\r\nhost: a\r\n\r\n";

/// A listener with a few routes.
struct Server {
    address: SocketAddr,
    metrics: Metrics,
    /// A request for `/gate` is answered when there is a permit.
    gate: Arc<Semaphore>,
    /// How many requests wait at the gate, and the most at once.
    at_gate: Arc<(AtomicUsize, AtomicUsize)>,
    /// Reports that a request has reached the gate.
    arrivals: mpsc::UnboundedReceiver<()>,
    /// Reports that an endless response has ended.
    ended: mpsc::UnboundedReceiver<()>,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl Server {
    async fn start(limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (gate, at_gate) = (Arc::new(Semaphore::new(0)), Arc::<(AtomicUsize, AtomicUsize)>::default());
        let (arrived, arrivals) = mpsc::unbounded_channel();
        let (ends, ended) = mpsc::unbounded_channel();
        let (gate_of_route, at_gate_of_route) = (gate.clone(), at_gate.clone());
        let wait_at_gate = move || {
            let (gate, at_gate, arrived) = (gate_of_route.clone(), at_gate_of_route.clone(), arrived.clone());
            async move {
                let here = at_gate.0.fetch_add(1, Ordering::SeqCst) + 1;
                at_gate.1.fetch_max(here, Ordering::SeqCst);
                arrived.send(()).unwrap();
                gate.acquire().await.unwrap().forget();
                at_gate.0.fetch_sub(1, Ordering::SeqCst);
                "passed"
            }
        };
        let endless = move || {
            let guard = OnDrop(ends.clone());
            async move {
                Body::from_stream(stream::repeat_with(move || {
                    let _until_the_end = &guard;
                    Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 16 * 1024]))
                }))
            }
        };
        let router = Router::new()
            .route("/", get(async || "here"))
            .route("/gate", get(wait_at_gate))
            .route("/endless", get(endless))
            .route("/large", get(async || vec![b'x'; LARGE]))
            .route("/refuse", any(async || StatusCode::PAYLOAD_TOO_LARGE));
        let (metrics, stop) = (Metrics::new(None::<String>), CancellationToken::new());
        let asked = stop.clone().cancelled_owned();
        let serving =
            tokio::spawn(server::serve(listener, router, limits, limits.limiter(), metrics.clone(), asked));
        Self { address, metrics, gate, at_gate, arrivals, ended, stop, serving }
    }

    async fn connect(&self) -> Client {
        Client(TcpStream::connect(self.address).await.unwrap())
    }

    /// How many connections were ended for this reason.
    fn ended_as(&self, reason: &str) -> u64 {
        let scrape = self.metrics.render(&Gauges::default()).unwrap();
        let series = format!("eventbridge_connections_ended_total{{reason=\"{reason}\"}} ");
        let line = scrape.lines().find_map(|line| line.strip_prefix(series.as_str()));
        line.unwrap_or_else(|| panic!("no {series}in\n{scrape}")).parse().unwrap()
    }
}

struct OnDrop(mpsc::UnboundedSender<()>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        let _the_test_may_be_over = self.0.send(());
    }
}

struct Client(TcpStream);

impl Client {
    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads until a response has arrived whose body ends with this.
    async fn answer(&mut self, body: &str) -> String {
        let mut text = String::new();
        within(body, async {
            while !text.ends_with(body) {
                let mut piece = [0; 4096];
                let read = self.0.read(&mut piece).await.unwrap();
                assert!(read > 0, "the connection ended after {text:?}");
                text.push_str(std::str::from_utf8(&piece[..read]).unwrap());
            }
        })
        .await;
        text
    }

    /// Everything until the connection ends.
    async fn rest(&mut self) -> String {
        let mut text = String::new();
        within("the connection ends", self.0.read_to_string(&mut text)).await.unwrap();
        text
    }
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_else(|| panic!("no status in {answer:?}"))
}

#[tokio::test]
async fn a_client_without_a_complete_head_is_disconnected_in_time() {
    let server = Server::start(Limits { head_timeout: SHORT, ..Limits::default() }).await;
    let (mut silent, mut slow) = (server.connect().await, server.connect().await);
    slow.send("GET / HTTP/1.1\r\nhost: a\r\nx-slow").await;
    assert_eq!(silent.rest().await, "");
    assert_eq!(slow.rest().await, "");
    assert_eq!(server.ended_as("head_too_slow"), 2);
    // The head of a later request has the same time limit as the first.
    let mut later = server.connect().await;
    later.send(ASK).await;
    later.answer("here").await;
    later.send("GET /").await;
    assert_eq!(later.rest().await, "");
    assert_eq!(server.ended_as("head_too_slow"), 3);
}

#[tokio::test]
async fn only_a_connection_with_requests_stays_open() {
    let server = Server::start(Limits { idle_timeout: SHORT, ..Limits::default() }).await;
    let mut client = server.connect().await;
    for _ in 0..3 {
        client.send(ASK).await;
        assert_eq!(status(&client.answer("here").await), "200");
    }
    assert_eq!(client.rest().await, "");
    assert_eq!(server.ended_as("idle"), 1);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let server = Server::start(Limits::default()).await;
    let mut client = server.connect().await;
    client.send(&format!("{ASK}{ASK}GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")).await;
    assert_eq!(client.rest().await.matches("here").count(), 3);
}

#[tokio::test]
async fn a_head_that_is_too_large_gets_431() {
    let server = Server::start(Limits::default()).await;
    let many_fields = "x: y\r\n".repeat(101);
    let one_large = format!("x: {}\r\n", "y".repeat(16 * 1024));
    // Far more than is read: a connection closed at once would be reset, and the response lost.
    let one_huge = format!("x: {}\r\n", "y".repeat(4 * 1024 * 1024));
    for fields in [many_fields, one_large, one_huge] {
        let mut client = server.connect().await;
        client.send(&format!("GET / HTTP/1.1\r\nhost: a\r\n{fields}\r\n")).await;
        assert_eq!(status(&client.rest().await), "431");
    }
    let mut client = server.connect().await;
    client.send(&format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "y".repeat(16 * 1024))).await;
    assert_eq!(status(&client.rest().await), "431");
}

#[tokio::test]
async fn invalid_http_gets_400_or_no_response() {
    let server = Server::start(Limits::default()).await;
    for (sent, expected) in [
        ("\u{16}\u{3}\u{1}\u{2} a greeting of TLS\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nhost: a\r\nno colon\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: other\r\n\r\n", "400"),
        ("GET / HTTP/9.9\r\n\r\n", "400"),
    ] {
        let mut client = server.connect().await;
        client.send(sent).await;
        assert_eq!(status(&client.rest().await), expected, "{sent:?}");
    }
    let mut second_version = server.connect().await;
    second_version.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    within("the connection ends", second_version.0.read_to_end(&mut Vec::new())).await.unwrap();
    let mut client = server.connect().await;
    client.send(ASK).await;
    client.answer("here").await;
}

#[tokio::test]
async fn a_response_during_an_upload_reaches_its_sender() {
    let server = Server::start(Limits::default()).await;
    let mut client = server.connect().await;
    let length = 8 * 1024 * 1024;
    client.send(&format!("POST /refuse HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n")).await;
    client.send(&"x".repeat(length)).await;
    assert_eq!(status(&client.rest().await), "413");
}

#[tokio::test]
async fn a_client_that_keeps_sending_after_the_response_is_disconnected() {
    let server = Server::start(Limits { linger_timeout: SHORT, ..Limits::default() }).await;
    let mut client = server.connect().await;
    client.send("POST /refuse HTTP/1.1\r\nhost: a\r\ncontent-length: 9999\r\n\r\nx").await;
    assert_eq!(status(&client.rest().await), "413");
    // The client's end stays open; the server's does not.
    let mut reset = false;
    within("the connection is reset", async {
        while !reset {
            reset = client.0.write_all(b"x").await.is_err();
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(server.ended_as("not_closed"), 1);
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_disconnected() {
    let mut server = Server::start(Limits { read_timeout: SHORT, ..Limits::default() }).await;
    let mut client = server.connect().await;
    client.send("GET /endless HTTP/1.1\r\nhost: a\r\n\r\n").await;
    within("the response is dropped", server.ended.recv()).await.unwrap();
    assert_eq!(server.ended_as("reader_too_slow"), 1);
}

#[tokio::test]
async fn a_client_that_reads_too_slowly_is_disconnected() {
    let mut server = Server::start(Limits { read_timeout: 4 * SHORT, ..Limits::default() }).await;
    let socket = TcpSocket::new_v4().unwrap();
    // So that the server sees each read.
    socket.set_recv_buffer_size(4096).unwrap();
    let mut client = Client(socket.connect(server.address).await.unwrap());
    client.send("GET /endless HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let reading = async {
        let mut pause = tokio::time::interval(SHORT / 5);
        loop {
            pause.tick().await;
            let _read = client.0.read(&mut [0; 1024]).await;
        }
    };
    tokio::select! {
        ended = within("the response is dropped", server.ended.recv()) => ended.unwrap(),
        () = reading => {}
    }
    assert_eq!(server.ended_as("reader_too_slow"), 1);
}

#[tokio::test]
async fn silent_connections_do_not_block_others() {
    let mut server = Server::start(Limits {
        connections_max: 16,
        head_timeout_under_pressure: SHORT,
        idle_timeout_under_pressure: SHORT,
        ..Limits::default()
    })
    .await;
    let mut at_work = server.connect().await;
    at_work.send(ASK_FOR_GATE).await;
    server.arrivals.recv().await.unwrap();
    let _silent = join_all((0..40).map(|_| server.connect())).await;
    for _ in 0..3 {
        let mut honest = server.connect().await;
        honest.send(ASK).await;
        honest.answer("here").await;
    }
    server.gate.add_permits(1);
    at_work.answer("passed").await;
    assert!(server.ended_as("head_too_slow") >= 25, "at least those that connected before the honest ones");
}

#[tokio::test]
async fn a_running_request_is_never_dropped_for_a_new_one() {
    let mut server = Server::start(Limits { connections_max: 3, ..Limits::default() }).await;
    let mut clients = join_all((0..9).map(|_| server.connect())).await;
    for client in &mut clients {
        client.send(&ASK_FOR_GATE.replace("\r\n\r\n", CLOSE)).await;
    }
    for _ in 0..9 {
        within("a request reaches the gate", server.arrivals.recv()).await.unwrap();
        server.gate.add_permits(1);
    }
    for client in &mut clients {
        assert!(client.rest().await.ends_with("passed"));
    }
    assert!(server.at_gate.1.load(Ordering::SeqCst) <= 3, "more than the limit");
}

#[tokio::test]
async fn stopping_ends_idle_connections_at_once_and_others_after_their_response() {
    let mut server = Server::start(Limits::default()).await;
    let (mut idle, mut new, mut at_work) =
        (server.connect().await, server.connect().await, server.connect().await);
    idle.send(ASK).await;
    idle.answer("here").await;
    at_work.send(ASK_FOR_GATE).await;
    server.arrivals.recv().await.unwrap();
    server.stop.cancel();
    assert_eq!(idle.rest().await, "");
    assert_eq!(new.rest().await, "");
    assert!(!server.serving.is_finished());
    assert!(TcpStream::connect(server.address).await.is_err());
    server.gate.add_permits(1);
    let answer = at_work.rest().await;
    assert!(answer.ends_with("passed") && answer.contains("connection: close"), "{answer}");
    within("the listener ends", server.serving).await.unwrap();
}

#[tokio::test]
async fn open_connections_are_counted() {
    let server = Server::start(Limits::default()).await;
    let mut clients = join_all((0..5).map(|_| server.connect())).await;
    for client in &mut clients {
        client.send(ASK).await;
        client.answer("here").await;
    }
    let open = || server.metrics.render(&Gauges::default()).unwrap().contains("eventbridge_connections 5");
    assert!(open());
    server.stop.cancel();
    for client in &mut clients {
        assert_eq!(client.rest().await, "");
    }
    within("the listener ends", server.serving).await.unwrap();
    assert!(server.metrics.render(&Gauges::default()).unwrap().contains("eventbridge_connections 0"));
}

#[tokio::test]
async fn clients_that_do_not_read_cannot_use_up_the_memory() {
    let server = Server::start(Limits {
        response_bytes_max: 3 * LARGE,
        // None of them is disconnected during the test.
        read_timeout: Duration::from_hours(1),
        read_timeout_under_pressure: Duration::from_hours(1),
        ..Limits::default()
    })
    .await;
    let mut stalled = Vec::new();
    let mut refused = 0;
    for _ in 0..40 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut client = Client(socket.connect(server.address).await.unwrap());
        client.send(ASK_FOR_LARGE).await;
        let mut head = [0; 512];
        let read = within("the head of the response", client.0.read(&mut head)).await.unwrap();
        let head = String::from_utf8_lossy(&head[..read]).into_owned();
        match status(&head) {
            "200" => stalled.push(client),
            "503" => {
                assert!(head.contains("retry-after: 5") && head.contains("problem+json"), "{head}");
                refused += 1;
            }
            other => panic!("{other}: {head}"),
        }
    }
    assert_eq!((stalled.len(), refused), (3, 37));
    let mut reader = server.connect().await;
    reader.send(ASK).await;
    reader.answer("here").await;

    // The memory of a client that goes away is free again.
    stalled.pop();
    let received = within("the response", async {
        loop {
            let mut client = server.connect().await;
            client.send(&ASK_FOR_LARGE.replace("\r\n\r\n", CLOSE)).await;
            let mut response = Vec::new();
            client.0.read_to_end(&mut response).await.unwrap();
            if response.starts_with(b"HTTP/1.1 200") {
                return response.len();
            }
        }
    })
    .await;
    assert!(received > LARGE);
}

#[tokio::test]
async fn a_slow_reader_is_disconnected_sooner_when_the_memory_of_responses_is_scarce() {
    let limits = Limits {
        response_bytes_max: LARGE,
        read_timeout: Duration::from_hours(1),
        read_timeout_under_pressure: SHORT,
        ..Limits::default()
    };
    let server = Server::start(limits).await;
    let mut client = server.connect().await;
    client.send(ASK_FOR_LARGE).await;
    within("the slow reader is disconnected", async {
        while server.ended_as("reader_too_slow") == 0 {
            tokio::time::sleep(SHORT / 5).await;
        }
    })
    .await;
    let mut next = server.connect().await;
    next.send(&ASK_FOR_LARGE.replace("\r\n\r\n", CLOSE)).await;
    let mut response = Vec::new();
    within("the response", next.0.read_to_end(&mut response)).await.unwrap();
    assert!(response.starts_with(b"HTTP/1.1 200") && response.len() > LARGE);
}
