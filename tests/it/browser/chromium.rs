//! The headless Chromium that all tests of a run share.
//!
//! The tests speak its protocol (`DevTools`) over two pipes: no port, no driver, no crate. Chromium ends
//! when the pipes close and removes its profile, so it leaves nothing behind however the run ends. It
//! resolves no host but this machine.

use crate::harness::{self, within};
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use tokio::sync::oneshot;

/// Chromium reads from pipe 3 and writes to pipe 4. The shell around it ignores terminal signals, so that
/// it can remove the profile afterwards.
const LAUNCH: &str = r#"
trap '' HUP INT TERM
profile=$(mktemp -d) || exit
"$@" --user-data-dir="$profile" 3<&0 4>&1 </dev/null >/dev/null
rm -rf "$profile"
"#;

const FLAGS: [&str; 16] = [
    "--headless",
    "--remote-debugging-pipe",
    // It shows only our own pages, and also runs as root in a container.
    "--no-sandbox",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    // Pages of concurrent tests are all in the foreground.
    "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
    "--disable-background-timer-throttling",
    "--hide-scrollbars",
];

const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];
const PLACES: [&str; 2] = [
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];

/// How many of its last log lines an error quotes.
const LAST_LINES: usize = 12;

/// A running Chromium.
pub struct Chromium {
    to_it: Mutex<ChildStdin>,
    next: AtomicU64,
    messages: Arc<Messages>,
}

/// The handler of a page's events.
pub type Listener = Arc<dyn Fn(&str, &Value) + Send + Sync>;

#[derive(Default)]
struct Messages {
    answers: Mutex<HashMap<u64, oneshot::Sender<Result<Value, String>>>>,
    listeners: Mutex<HashMap<String, Listener>>,
    last_lines: Mutex<VecDeque<String>>,
}

impl Chromium {
    /// The one of this run. On a machine without Chromium, returns `None` and prints why.
    pub async fn of_this_run() -> Option<Arc<Self>> {
        static CHROMIUM: OnceLock<Option<Arc<Chromium>>> = OnceLock::new();
        let found = tokio::task::spawn_blocking(|| {
            CHROMIUM.get_or_init(|| find().map(|program| Arc::new(Self::start(&program)))).clone()
        });
        let found = found.await.unwrap();
        if found.is_none() {
            skip("no Chromium was found: install one, or name it in EVENTBRIDGE_CHROMIUM");
        }
        found
    }

    fn start(program: &Path) -> Self {
        let mut child = Command::new("sh")
            .args(["-c", LAUNCH, "sh"])
            .arg(program)
            .args(FLAGS)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (to_it, from_it, log) =
            (child.stdin.take().unwrap(), child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let messages = Arc::<Messages>::default();
        let (listening, logging) = (messages.clone(), messages.clone());
        thread::spawn(move || listening.listen(from_it));
        thread::spawn(move || logging.keep_log(log));
        thread::spawn(move || child.wait());
        Self { to_it: Mutex::new(to_it), next: AtomicU64::new(1), messages }
    }

    /// Sends a command and waits for the reply. `session` is a page; without one it is Chromium itself.
    pub async fn ask(&self, session: Option<&str>, method: &str, params: &Value) -> Result<Value, String> {
        let answer = self.send(session, method, params);
        let answer = within(method, answer).await;
        answer.unwrap_or_else(|_| {
            Err(format!("Chromium has ended. Its last lines: {}", self.messages.joined_log()))
        })
    }

    /// Sends a command and ignores the reply.
    pub fn send_only(&self, method: &str, params: &Value) {
        drop(self.send(None, method, params));
    }

    /// Subscribes to the events of a page.
    pub fn subscribe(&self, session: &str, listener: Listener) {
        self.messages.listeners.lock().unwrap().insert(session.to_owned(), listener);
    }

    /// Unsubscribes from a page.
    pub fn unsubscribe(&self, session: &str) {
        self.messages.listeners.lock().unwrap().remove(session);
    }

    fn send(
        &self,
        session: Option<&str>,
        method: &str,
        params: &Value,
    ) -> oneshot::Receiver<Result<Value, String>> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let mut message = json!({"id": id, "method": method, "params": params});
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        let (sender, answer) = oneshot::channel();
        self.messages.answers.lock().unwrap().insert(id, sender);
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        if self.to_it.lock().unwrap().write_all(&bytes).is_err() {
            self.messages.answers.lock().unwrap().remove(&id);
        }
        answer
    }
}

impl Messages {
    /// Reads all messages until Chromium ends; then drops all pending replies.
    fn listen(&self, from_it: impl Read) {
        for message in BufReader::new(from_it).split(0) {
            let Ok(message) = message else { break };
            self.dispatch(&serde_json::from_slice(&message).unwrap());
        }
        self.answers.lock().unwrap().clear();
    }

    fn dispatch(&self, message: &Value) {
        if let Some(id) = message["id"].as_u64() {
            let waiting = self.answers.lock().unwrap().remove(&id);
            let answer = match message["error"]["message"].as_str() {
                Some(error) => Err(error.to_owned()),
                None => Ok(message["result"].clone()),
            };
            drop(waiting.map(|waiting| waiting.send(answer)));
        } else if let (Some(session), Some(method)) =
            (message["sessionId"].as_str(), message["method"].as_str())
        {
            let listener = self.listeners.lock().unwrap().get(session).cloned();
            if let Some(listener) = listener {
                listener(method, &message["params"]);
            }
        }
    }

    fn keep_log(&self, log: impl Read) {
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            let mut last_lines = self.last_lines.lock().unwrap();
            if last_lines.len() == LAST_LINES {
                last_lines.pop_front();
            }
            last_lines.push_back(line);
        }
    }

    fn joined_log(&self) -> String {
        self.last_lines.lock().unwrap().iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

/// Reports that a test was skipped and why. If a browser is required, the test fails.
pub fn skip(why: &str) {
    harness::skip("EVENTBRIDGE_REQUIRE_BROWSER", why);
}

fn find() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("EVENTBRIDGE_CHROMIUM") {
        return Some(named.into());
    }
    let path: OsString = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).flat_map(|folder| NAMES.map(|name| folder.join(name)));
    on_path.chain(PLACES.map(PathBuf::from)).find(|program| program.is_file())
}
