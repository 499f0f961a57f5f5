//! A network link to the database that can go silent: traffic gets no reply and no reset.

use super::Database;
use eventbridge::store::Store;
use secrecy::SecretString;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// The link. Dropping it closes all connections.
pub struct Link {
    /// Counts how often it went silent; connections of an earlier count stay silent.
    deaths: watch::Sender<u64>,
    /// Whether new connections are forwarded.
    mended: watch::Sender<bool>,
    folder: TempDir,
    database: String,
    _carrying: AbortOnDropHandle<()>,
}

/// The server's end.
#[derive(Clone)]
enum End {
    Socket(PathBuf),
    Address(String, u16),
}

impl Link {
    pub fn to(database: &Database) -> Self {
        let options = database.options();
        let end = match options.get_socket() {
            Some(folder) => End::Socket(folder.join(format!(".s.PGSQL.{}", options.get_port()))),
            None => End::Address(options.get_host().to_owned(), options.get_port()),
        };
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join(".s.PGSQL.5432")).unwrap();
        let (deaths, mended) = (watch::Sender::new(0), watch::Sender::new(true));
        let carrying = tokio::spawn(carry_all(listener, end, deaths.clone(), mended.clone()));
        Self {
            deaths,
            mended,
            folder,
            database: options.get_database().unwrap().to_owned(),
            _carrying: AbortOnDropHandle::new(carrying),
        }
    }

    /// The folder of its near end's socket.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A handle on the database through this link.
    pub fn store(&self, user: &str) -> Store {
        let folder = self.folder.path().to_str().unwrap().replace('/', "%2F");
        let url = format!("postgres://{user}@localhost:5432/{}?host={folder}&sslmode=disable", self.database);
        Store::connect_lazily(&SecretString::from(url), 4).unwrap()
    }

    /// Forwards nothing any more, on old connections or new.
    pub fn go_silent(&self) {
        self.mended.send_replace(false);
        self.deaths.send_modify(|deaths| *deaths += 1);
    }

    /// Forwards new connections again; the old ones stay silent.
    pub fn restore(&self) {
        self.mended.send_replace(true);
    }
}

async fn carry_all(
    listener: UnixListener,
    end: End,
    deaths: watch::Sender<u64>,
    mended: watch::Sender<bool>,
) {
    while let Ok((near, _)) = listener.accept().await {
        let is_carried = *mended.borrow();
        tokio::spawn(carry(near, end.clone(), deaths.subscribe(), is_carried));
    }
}

/// Forwards one connection until the link goes silent, and then keeps it open without traffic.
async fn carry(mut near: UnixStream, end: End, mut deaths: watch::Receiver<u64>, is_carried: bool) {
    if is_carried {
        let carried = async {
            match end {
                End::Socket(path) => {
                    let mut far = UnixStream::connect(path).await?;
                    copy_bidirectional(&mut near, &mut far).await
                }
                End::Address(host, port) => {
                    let mut far = TcpStream::connect((host, port)).await?;
                    copy_bidirectional(&mut near, &mut far).await
                }
            }
        };
        tokio::select! {
            _ended = carried => return,
            _died = deaths.changed() => {}
        }
    }
    // StoredSample open until the link itself is dropped.
    while deaths.changed().await.is_ok() {}
    drop(near);
}
