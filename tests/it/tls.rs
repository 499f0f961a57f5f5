//! A database or a Notion without a valid certificate receives no secret.

use crate::harness::within;
use eventbridge::http_client;
use eventbridge::store::{MigrateError, Store};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, Stream};
use secrecy::SecretString;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// The first message of a Postgres client that requires TLS.
const TLS_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// A server that handles one client with the given function; returns its port and the result.
fn listening<T: Send + 'static>(
    listen: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (u16, impl Future<Output = T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let received = tokio::task::spawn_blocking(move || {
        let (client, _) = listener.accept().unwrap();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        listen(client)
    });
    (port, async move { within("the client disconnects", received).await.unwrap() })
}

/// The data that arrives through TLS with an untrusted certificate, and how the connection ends.
fn received_in_tls(mut client: TcpStream) -> (Vec<u8>, String) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key.into())
        .unwrap();
    let mut connection = ServerConnection::new(Arc::new(config)).unwrap();
    let mut received = Vec::new();
    let ended = Stream::new(&mut connection, &mut client).read_to_end(&mut received);
    (received, format!("{ended:?}"))
}

async fn refusal(port: u16) -> String {
    let url = format!("postgres://somebody:secret@localhost:{port}/events?sslmode=verify-full");
    let store = Store::connect_lazily(&SecretString::from(url), 4).unwrap();
    let refused = within("the connection is refused", store.db.migrate()).await;
    let Err(error @ MigrateError::Refused { .. }) = refused else { panic!("{refused:?}") };
    let why = error.to_string();
    assert!(why.contains("sslrootcert") && !why.contains("secret"), "{why}");
    why
}

fn asked_for_tls(client: &mut TcpStream) {
    let mut asked = [0; 8];
    client.read_exact(&mut asked).unwrap();
    assert_eq!(asked, TLS_REQUEST);
}

#[tokio::test]
async fn a_database_without_required_tls_receives_no_credentials() {
    let (port, received) = listening(|mut client| {
        asked_for_tls(&mut client);
        client.write_all(b"N").unwrap();
        let mut rest = Vec::new();
        // The connection may be reset.
        let _ended = client.read_to_end(&mut rest);
        rest
    });
    refusal(port).await;
    assert_eq!(received.await, b"");
}

#[tokio::test]
async fn a_database_with_a_self_signed_certificate_receives_no_credentials() {
    let (port, received) = listening(|mut client| {
        asked_for_tls(&mut client);
        client.write_all(b"S").unwrap();
        received_in_tls(client)
    });
    let why = refusal(port).await;
    assert!(why.contains("certificate"), "{why}");
    let (received, ended) = received.await;
    assert!(received.is_empty() && ended.starts_with("Err"), "{received:?} {ended}");
}

#[tokio::test]
async fn a_notion_with_a_self_signed_certificate_receives_no_token() {
    let (port, received) = listening(received_in_tls);
    let base = format!("https://localhost:{port}").parse().unwrap();
    let client = http_client::client(&base, Duration::from_secs(10)).unwrap();
    let refused = client.get(base).bearer_auth("ntn_secret").send().await.unwrap_err();
    assert!(format!("{refused:?}").contains("UnknownIssuer"), "{refused:?}");
    let (received, ended) = received.await;
    assert!(received.is_empty() && ended.contains("UnknownCA"), "{received:?} {ended}");
}
