//! A person at a browser: Chromium, led by ChromeDriver (W3C WebDriver), with clicks and keys as a person makes them.

use std::process::Stdio;

use fantoccini::elements::Element;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::tools;

/// No window of a desktop is narrower; what is, is a phone.
const LEAST_WINDOW: u32 = 500;
/// What ChromeDriver says once it listens.
const LISTENS: &str = "was started successfully on port ";
/// What it ends with where it found none.
const PORT_IS_TAKEN: &str = "IPv4 port not available";
/// So many taken ports in a row are no chance any more.
const STARTS: usize = 20;
/// It looks for nothing outside of this machine.
const ARGUMENTS: [&str; 8] = [
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
];

/// A browser with one window.
pub(crate) struct Chromium {
    pub(crate) window: Client,
    _driver: Driver,
    _profile: TempDir,
}

/// ChromeDriver and all that it has started.
struct Driver(Child);

impl Drop for Driver {
    /// A test that fails leaves its window open, which would outlive ChromeDriver.
    fn drop(&mut self) {
        let id = self
            .0
            .id()
            .and_then(|id| Pid::from_raw(id.try_into().ok()?));
        if let Some(group) = id {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Driver {
    /// One that listens, and its port. It takes a port that is free under IPv6, and ends where somebody else has the same one under IPv4.
    async fn start() -> (Self, String) {
        for _ in 0..STARTS {
            let mut driver = Command::new("chromedriver")
                .arg("--port=0")
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .process_group(0)
                .kill_on_drop(true)
                .spawn()
                .expect("chromedriver");
            let mut lines = BufReader::new(driver.stdout.take().expect("its output")).lines();
            let mut said = String::new();
            while let Some(line) = lines.next_line().await.expect("a line") {
                if let Some((_, port)) = line.split_once(LISTENS) {
                    return (Self(driver), port.trim_end_matches('.').to_owned());
                }
                said = line;
            }
            assert!(said.starts_with(PORT_IS_TAKEN), "chromedriver says: {said}");
        }
        panic!("chromedriver found no port that is free under IPv4, too");
    }
}

impl Chromium {
    /// One with a window of this size; none: it is not installed.
    pub(crate) async fn open(width: u32, height: u32) -> Option<Self> {
        if !tools::has("chromedriver", "chromium chromium-driver") {
            return None;
        }
        let (driver, port) = Driver::start().await;
        let profile = tempfile::tempdir().expect("a folder");
        let mut arguments = ARGUMENTS.map(str::to_owned).to_vec();
        arguments.push(format!("--window-size={width},{height}"));
        arguments.push(format!("--user-data-dir={}", profile.path().display()));
        if rustix::process::geteuid().is_root() {
            // Chromium's sandbox refuses root.
            arguments.push("--no-sandbox".to_owned());
        }
        let mut options = json!({ "args": arguments });
        if width < LEAST_WINDOW {
            let screen =
                json!({ "width": width, "height": height, "pixelRatio": 1, "touch": true });
            options["mobileEmulation"] = json!({ "deviceMetrics": screen });
        }
        let wishes = [("goog:chromeOptions".to_owned(), options)];
        let window = ClientBuilder::new(HttpConnector::new())
            .capabilities(wishes.into_iter().collect())
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .expect("a browser");
        Some(Self {
            window,
            _driver: driver,
            _profile: profile,
        })
    }

    /// What this selector finds, once it is there.
    pub(crate) async fn sees(&self, css: &str) -> Element {
        let found = self.window.wait().for_element(Locator::Css(css)).await;
        match found {
            Ok(element) => element,
            Err(error) => panic!("no {css}: {error}\n{}", self.text().await),
        }
    }

    /// Clicks on the button or link that says this.
    pub(crate) async fn clicks(&self, words: &str) {
        let path = format!("//*[self::a or self::button][normalize-space()='{words}']");
        self.clicks_on(Locator::XPath(&path)).await;
    }

    /// Clicks on the link to this address.
    pub(crate) async fn follows(&self, address: &str) {
        let link = format!("main a[href='{address}']");
        self.clicks_on(Locator::Css(&link)).await;
    }

    async fn clicks_on(&self, what: Locator<'_>) {
        loop {
            let clicked = match self.window.wait().for_element(what).await {
                Ok(element) => element.click().await,
                Err(error) => Err(error),
            };
            match clicked {
                Ok(()) => return,
                // A page that is live, or has just been left, was another one when it was aimed at.
                Err(error) if error.is_stale_element_reference() => {}
                Err(error) => panic!("no {what:?}: {error}\n{}", self.text().await),
            }
        }
    }

    /// Fills in a field.
    pub(crate) async fn types(&self, css: &str, words: &str) {
        let field = self.sees(css).await;
        field.send_keys(words).await.expect("keys");
    }

    /// Waits until the page says this.
    pub(crate) async fn reads(&self, words: &str) {
        let path = format!("//body[contains(normalize-space(), \"{words}\")]");
        let found = self.window.wait().for_element(Locator::XPath(&path)).await;
        if let Err(error) = found {
            panic!(
                "the page does not say '{words}': {error}\n{}",
                self.text().await
            );
        }
    }

    /// All that the page shows.
    pub(crate) async fn text(&self) -> String {
        let body = self.window.find(Locator::Css("body")).await;
        body.expect("a page").text().await.expect("its text")
    }

    /// Where the window is, without the origin.
    pub(crate) async fn is_at(&self) -> String {
        let address = self.window.current_url().await.expect("an address");
        let query = address.query().map(|query| format!("?{query}"));
        format!("{}{}", address.path(), query.unwrap_or_default())
    }

    /// What a script finds out.
    pub(crate) async fn asks(&self, script: &str) -> Value {
        let script = format!("return {script}");
        let answer = self.window.execute(&script, vec![]).await;
        answer.expect("an answer")
    }

    /// Ends it in order.
    pub(crate) async fn close(self) {
        self.window.close().await.expect("it closes");
    }
}
