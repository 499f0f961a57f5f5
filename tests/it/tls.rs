//! A database elsewhere that cannot show who it is gets to know nothing.

use crate::harness::within;
use eventbridge::store::{MigrateError, Store};
use secrecy::SecretString;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// What a client of Postgres asks first where it wants TLS.
const TLS_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// A server that answers the request for TLS so, and returns what the client says after that.
async fn answering(answer: &'static [u8]) -> (u16, impl Future<Output = Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut asked = [0; 8];
        client.read_exact(&mut asked).await.unwrap();
        assert_eq!(asked, TLS_REQUEST);
        client.write_all(answer).await.unwrap();
        let mut rest = Vec::new();
        // It may break off.
        let _ended = client.read_to_end(&mut rest).await;
        rest
    });
    (port, async move { within("the client goes", heard).await.unwrap() })
}

#[tokio::test]
async fn a_server_that_has_no_tls_where_it_is_wanted_hears_no_name_and_no_password() {
    let (port, heard) = answering(b"N").await;
    let url = format!("postgres://somebody:secret@127.0.0.1:{port}/events?sslmode=verify-full");
    let store = Store::connect_lazily(&SecretString::from(url), 4).unwrap();
    let refused = within("it is refused", store.migrate()).await;
    let Err(MigrateError::Refused(why)) = refused else { panic!("{refused:?}") };
    assert!(why.contains("sslrootcert") && why.contains("127.0.0.1") && !why.contains("secret"), "{why}");
    assert_eq!(heard.await, b"");
}
