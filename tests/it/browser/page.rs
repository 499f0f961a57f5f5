//! A page in a window of its own, and the actions of a user there.
//!
//! Every action waits until it is possible. A page with an error on the console, or with a request to
//! another host, fails its test when it is closed.

use super::chromium::Chromium;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// Finds elements on a page by their visible text.
const READER: &str = include_str!("reader.js");

const PATIENCE: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The size of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    Desktop,
    Tablet,
    /// Between a tablet and a phone.
    Narrow,
    Phone,
}

/// The colour scheme that the system prefers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Light,
    Dark,
}

/// A page with its own cookies.
pub struct Page {
    chromium: Arc<Chromium>,
    context: String,
    session: String,
    origin: String,
    has_no_scripts: AtomicBool,
    observed: Arc<Observed>,
}

/// The events that the page reported.
#[derive(Default)]
struct Observed {
    loads: AtomicU64,
    errors: Mutex<Vec<String>>,
    requests: Mutex<Vec<String>>,
    /// Text that may appear in an error, because the test provokes it.
    expected: Mutex<Vec<String>>,
}

impl Page {
    /// An empty page on a desktop in light colours, in Berlin.
    pub async fn new(chromium: &Arc<Chromium>, origin: &str) -> Self {
        let ask = |method: &'static str, params| async move {
            chromium.ask(None, method, &params).await.unwrap_or_else(|error| panic!("{method}: {error}"))
        };
        let context = text(&ask("Target.createBrowserContext", json!({})).await["browserContextId"]);
        let target = json!({"url": "about:blank", "browserContextId": context, "newWindow": true});
        let target = ask("Target.createTarget", target).await["targetId"].clone();
        let attached = ask("Target.attachToTarget", json!({"targetId": target, "flatten": true})).await;
        let session = text(&attached["sessionId"]);
        let observed = Arc::<Observed>::default();
        let listening = observed.clone();
        chromium.subscribe(&session, Arc::new(move |event, params| listening.observe(event, params)));
        let (chromium, origin, has_no_scripts) =
            (chromium.clone(), origin.to_owned(), AtomicBool::new(false));
        let page = Self { chromium, context, session, origin, has_no_scripts, observed };
        for domain in ["Page", "Runtime", "Network", "Log"] {
            page.ask(&format!("{domain}.enable"), &json!({})).await;
        }
        page.ask("Emulation.setFocusEmulationEnabled", &json!({"enabled": true})).await;
        page.ask("Emulation.setTimezoneOverride", &json!({"timezoneId": "Europe/Berlin"})).await;
        page.ask("Emulation.setLocaleOverride", &json!({"locale": "en-GB"})).await;
        page.set_width(Width::Desktop).await;
        page.set_scheme(Scheme::Light).await;
        page
    }

    /// Sets the size of the window.
    pub async fn set_width(&self, width: Width) {
        let (width, height, scale, mobile) = match width {
            Width::Desktop => (1280, 900, 1.0, false),
            Width::Tablet => (1024, 768, 1.0, false),
            Width::Narrow => (500, 800, 1.0, false),
            Width::Phone => (390, 844, 1.5, true),
        };
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": scale, "mobile": mobile});
        self.ask("Emulation.setDeviceMetricsOverride", &metrics).await;
    }

    /// Sets the colour scheme that the system prefers.
    pub async fn set_scheme(&self, scheme: Scheme) {
        let scheme = if scheme == Scheme::Dark { "dark" } else { "light" };
        let feature = json!({"name": "prefers-color-scheme", "value": scheme});
        self.ask("Emulation.setEmulatedMedia", &json!({"features": [feature]})).await;
    }

    /// Disables scripts in the page from now on.
    pub async fn disable_scripts(&self) {
        self.has_no_scripts.store(true, Ordering::Relaxed);
        self.ask("Emulation.setScriptExecutionDisabled", &json!({"value": true})).await;
    }

    /// Ignores errors that contain this text.
    pub fn expect_error(&self, text: &str) {
        self.observed.expected.lock().unwrap().push(text.to_owned());
    }

    /// Opens an address and waits until it is fully loaded.
    pub async fn open(&self, path: &str) {
        let before = self.observed.loads.load(Ordering::Acquire);
        let answer = self.ask("Page.navigate", &json!({"url": format!("{}{path}", self.origin)})).await;
        assert_eq!(answer["errorText"], Value::Null, "{path}");
        self.wait(path, async || self.observed.loads.load(Ordering::Acquire) > before).await;
    }

    /// Waits until this path is shown, whatever its query.
    pub async fn until_at(&self, path: &str) {
        let condition =
            format!("location.pathname === {} && document.readyState === 'complete'", quoted(path));
        self.until(path, &condition).await;
    }

    /// Waits until this text is visible.
    pub async fn until_shows(&self, text: &str) {
        self.until(text, &format!("words(document.body.innerText).includes({})", quoted(text))).await;
    }

    /// Waits until this text is no longer visible.
    pub async fn until_gone(&self, text: &str) {
        self.until(text, &format!("!words(document.body.innerText).includes({})", quoted(text))).await;
    }

    /// Waits until an expression in the page is true.
    pub async fn until(&self, what: &str, condition: &str) {
        self.wait(what, async || self.try_evaluate(condition).await.is_ok_and(|value| value == true)).await;
    }

    /// The path and the query of the page.
    pub async fn address(&self) -> String {
        text(&self.evaluate("location.pathname + location.search").await)
    }

    /// Whether there is a link or a button with these words.
    pub async fn has_control(&self, name: &str) -> bool {
        self.evaluate(&format!("!!control({})", quoted(name))).await == true
    }

    /// Clicks a link or a button with the mouse.
    pub async fn click(&self, name: &str) {
        self.click_at(name, &format!("control({})", quoted(name))).await;
    }

    /// Writes into the field of this label.
    pub async fn fill(&self, label: &str, text: &str) {
        self.click_at(label, &format!("field({})", quoted(label))).await;
        self.evaluate("document.activeElement.select()").await;
        self.write(text).await;
    }

    /// Types at the focus.
    pub async fn write(&self, text: &str) {
        self.ask("Input.insertText", &json!({"text": text})).await;
    }

    /// Presses a key: `Enter`, `Tab`, or a character.
    pub async fn press(&self, key: &str) {
        let (code, number, text) = match key {
            "Enter" => ("Enter", 13, Some("\r")),
            "Tab" => ("Tab", 9, None),
            "Escape" => ("Escape", 27, None),
            character => ("", 0, Some(character)),
        };
        let mut down = json!({"type": "keyDown", "key": key, "code": code, "windowsVirtualKeyCode": number});
        let mut up = down.clone();
        up["type"] = "keyUp".into();
        match text {
            Some(text) => down["text"] = text.into(),
            None => down["type"] = "rawKeyDown".into(),
        }
        self.ask("Input.dispatchKeyEvent", &down).await;
        self.ask("Input.dispatchKeyEvent", &up).await;
    }

    /// The name of the focused element.
    pub async fn focused(&self) -> String {
        let name = "nameOf(document.activeElement) || words(document.activeElement.labels?.[0]?.innerText)";
        text(&self.evaluate(name).await)
    }

    /// Fails if the page is wider than its window and would scroll sideways.
    pub async fn assert_fits(&self, path: &str) {
        let beyond = self.evaluate("beyond()").await;
        assert_eq!(beyond, json!([]), "{path} is wider than its window");
    }

    /// The value of an expression in the page.
    pub async fn evaluate(&self, expression: &str) -> Value {
        self.try_evaluate(expression).await.unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    /// The value of an expression in a world that shares nothing with the page but its elements.
    pub async fn evaluate_apart(&self, expression: &str) -> Value {
        let frame = self.ask("Page.getFrameTree", &json!({})).await["frameTree"]["frame"]["id"].clone();
        // An isolated world with the same name lasts as long as its document.
        let world = json!({"frameId": frame, "worldName": "apart"});
        let world = self.ask("Page.createIsolatedWorld", &world).await;
        let call = json!({"expression": expression, "contextId": world["executionContextId"],
                          "awaitPromise": true, "returnByValue": true});
        value(&self.ask("Runtime.evaluate", &call).await).unwrap()
    }

    /// Saves a picture of the visible window, without the blank area below, if `EVENTBRIDGE_PICTURES`
    /// names a folder for it.
    pub async fn picture(&self, name: &str) {
        self.keep_picture("EVENTBRIDGE_PICTURES", name, "Math.min(innerHeight, lowest() + 24)").await;
    }

    /// Saves a picture of the whole page if `EVENTBRIDGE_EVERY_PICTURE` names a folder, to review all
    /// pages in all variants.
    pub async fn whole_picture(&self, name: &str) {
        self.keep_picture("EVENTBRIDGE_EVERY_PICTURE", name, "document.documentElement.scrollHeight").await;
    }

    async fn keep_picture(&self, variable: &str, name: &str, height: &str) {
        let Some(folder) = std::env::var_os(variable) else { return };
        self.evaluate("(document.activeElement.blur(), scrollTo(0, 0))").await;
        let size = self.evaluate(&format!("[innerWidth, {height}]")).await;
        let clip = json!({"x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1});
        let how = json!({"format": "png", "clip": clip, "captureBeyondViewport": true});
        let picture = self.ask("Page.captureScreenshot", &how).await;
        let bytes = BASE64_STANDARD.decode(text(&picture["data"])).unwrap();
        let path = PathBuf::from(folder).join(format!("{name}.png"));
        std::fs::write(&path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// Clicks until the element has received the click: an update may replace a part of the page between
    /// press and release.
    pub async fn click_at(&self, what: &str, element: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let at = self.try_evaluate(&format!("place({element})")).await;
            assert!(
                Instant::now() < deadline,
                "{what} cannot be clicked ({at:?}): {}",
                self.description().await
            );
            let Some(at) = at.ok().filter(Value::is_object) else {
                tokio::time::sleep(POLL_INTERVAL).await;
                continue;
            };
            for step in ["mousePressed", "mouseReleased"] {
                let event =
                    json!({"type": step, "x": at["x"], "y": at["y"], "button": "left", "clickCount": 1});
                self.ask("Input.dispatchMouseEvent", &event).await;
            }
            // If the click led to another page, the state is lost there. Without scripts nothing is
            // replaced, and no click is observed.
            let missed =
                self.try_evaluate("window.clicked === false").await.is_ok_and(|missed| missed == true);
            if !missed || self.has_no_scripts.load(Ordering::Relaxed) {
                return;
            }
        }
    }

    async fn wait(&self, what: &str, is_so: impl AsyncFn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so().await {
            assert!(Instant::now() < deadline, "timed out: {what}; {}", self.description().await);
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// The address and the visible text, for a failure message.
    async fn description(&self) -> String {
        let shown = self.try_evaluate("location.href + ' shows: ' + words(document.body.innerText)").await;
        format!("{shown:?}, console: {:?}", self.observed.errors.lock().unwrap())
    }

    async fn try_evaluate(&self, expression: &str) -> Result<Value, String> {
        let expression = format!("(() => {{ {READER}\nreturn {expression}; }})()");
        let call = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        value(&self.chromium.ask(Some(&self.session), "Runtime.evaluate", &call).await?)
    }

    async fn ask(&self, method: &str, params: &Value) -> Value {
        let answer = self.chromium.ask(Some(&self.session), method, params).await;
        answer.unwrap_or_else(|error| panic!("{method}: {error}"))
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.chromium.unsubscribe(&self.session);
        self.chromium.send_only("Target.disposeBrowserContext", &json!({"browserContextId": self.context}));
        if std::thread::panicking() {
            return;
        }
        let expected = self.observed.expected.lock().unwrap();
        let mut wrong = self.observed.errors.lock().unwrap().clone();
        wrong.retain(|error| !expected.iter().any(|expected| error.contains(expected)));
        assert!(wrong.is_empty(), "on the console: {wrong:#?}");
        let mut external = self.observed.requests.lock().unwrap().clone();
        // The browser renders its own controls, such as that of a date, with its own images.
        let is_nobodys = |url: &str| url == "about:blank" || url.starts_with("data:");
        external.retain(|url| !url.starts_with(&format!("{}/", self.origin)) && !is_nobodys(url));
        assert!(external.is_empty(), "requests to other hosts: {external:#?}");
    }
}

impl Observed {
    fn observe(&self, event: &str, params: &Value) {
        let error = match event {
            "Page.loadEventFired" => {
                self.loads.fetch_add(1, Ordering::Release);
                return;
            }
            "Network.requestWillBeSent" => {
                self.requests.lock().unwrap().push(text(&params["request"]["url"]));
                return;
            }
            "Runtime.exceptionThrown" => params["exceptionDetails"].to_string(),
            "Runtime.consoleAPICalled" if params["type"] == "error" || params["type"] == "assert" => {
                params["args"].to_string()
            }
            "Log.entryAdded" if params["entry"]["level"] == "error" => {
                format!("{} ({})", params["entry"]["text"], params["entry"]["url"])
            }
            "Page.javascriptDialogOpening" => format!("a dialog: {}", params["message"]),
            _ => return,
        };
        self.errors.lock().unwrap().push(error);
    }
}

fn value(answer: &Value) -> Result<Value, String> {
    match &answer["exceptionDetails"] {
        Value::Null => Ok(answer["result"]["value"].clone()),
        thrown => {
            Err(thrown["exception"]["description"].as_str().map_or_else(|| thrown.to_string(), str::to_owned))
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A text as a JavaScript literal.
pub fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
