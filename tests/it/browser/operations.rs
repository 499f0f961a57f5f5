//! The incidents of docs/operations.md with open pages beside them: processes of `serve`, and the commands of an
//! operator. At each step the pages show the present state, and no page is reloaded by hand.

use super::chromium::Chromium;
use super::site::WRITE_KEY;
use super::{Page, day};
use crate::harness::{Serve, rows, text, within};
use notion_sandbox::{DATA_SOURCE_ID, Fault, FaultRule, Route, SandboxHandle};
use serde_json::Value;
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

/// A story: the processes, and the browser beside them.
struct Story {
    chromium: Arc<Chromium>,
    serve: Serve,
}

impl Story {
    async fn begin(settings: &[(&'static str, &str)]) -> Option<Self> {
        let chromium = Chromium::of_this_run().await?;
        let keys = format!("ops:write:{WRITE_KEY}");
        let mut all = vec![("API_KEYS", keys.as_str()), ("PROBE_SECONDS", "2")];
        all.extend(settings);
        Some(Self { chromium, serve: Serve::start(&all).await })
    }

    /// A page that stays open until the end. Processes that stop and start leave errors on its console.
    async fn page(&self, path: &str) -> Page {
        let page = Page::new(&self.chromium, &self.serve.origin()).await;
        page.expect_error("503");
        page.expect_error("net::ERR_");
        page.open("/login").await;
        page.fill("API key", WRITE_KEY).await;
        page.click("Log in").await;
        page.until_at("/").await;
        page.open(path).await;
        until_live(&page).await;
        page.evaluate("window.sameDocument = true").await;
        page
    }

    /// Sends a sample, which must be accepted.
    async fn send(&self, name: &str, seed: u64) {
        assert_eq!(self.post(name, seed).await, 200, "{name}");
    }

    async fn post(&self, name: &str, seed: u64) -> u16 {
        let sample = stripe_samples::make(name, seed, day::now()).unwrap();
        self.serve.post_event(&sample.body).await
    }

    /// The headline of `status`, with its exit code. The dashboard's must be the same.
    async fn assert_status(&self, page: &Page, code: i32, headline: &str) {
        until_headline(page, headline).await;
        let done = self.serve.run(&["status"]).await;
        let printed: Value = serde_json::from_str(&text(&done.stdout)).unwrap();
        assert_eq!((done.status.code(), &printed["headline"]), (Some(code), &headline.into()), "{printed}");
    }

    /// Waits until Notion is asked for a page with this text, after the request of this number, and has not
    /// answered yet. Returns the number of the request.
    async fn until_created_after(&self, earlier: u64, text: &str) -> u64 {
        let sandbox = &self.serve.sandbox;
        let found = Cell::new(None);
        let is_under_way = |sandbox: &SandboxHandle| {
            let requests = sandbox.requests().into_iter().rev();
            let mut later = requests.take_while(|request| request.number > earlier);
            let request = later.find(|request| {
                request.path == "/v1/pages"
                    && request.status.is_none()
                    && request.body.to_string().contains(text)
            });
            found.set(request.map(|request| request.number));
            found.get().is_some()
        };
        within("the page is being created", sandbox.until(is_under_way)).await;
        found.get().unwrap()
    }

    async fn until_pages(&self, count: usize) {
        let all = self.serve.sandbox.until(|sandbox| sandbox.page_count() == count);
        within("the pages exist", all).await;
    }
}

async fn until_live(page: &Page) {
    let condition =
        "document.getElementById('link-state').textContent === 'Live' && !document.getElementById('stale')";
    page.until("the page is live", condition).await;
}

/// The headline of the overview, and the title of its window, which is all that another tab shows.
async fn until_headline(page: &Page, headline: &str) {
    let quoted = serde_json::to_string(headline).unwrap();
    let condition = format!(
        "!document.getElementById('stale') && words(document.querySelector('.assessment h1').innerText) === {quoted}
             && document.title === {quoted} + ' · EventBridge'"
    );
    page.until(headline, &condition).await;
}

/// Waits until a part of the page shows this text.
async fn until_part_shows(page: &Page, part: &str, text: &str) {
    let quoted = serde_json::to_string(text).unwrap();
    let condition =
        format!("words(document.querySelector('[data-part=\"{part}\"]').innerText).includes({quoted})");
    page.until(&format!("{part}: {text}"), &condition).await;
}

/// Waits until a part of the page shows this text no longer.
async fn until_part_lacks(page: &Page, part: &str, text: &str) {
    let quoted = serde_json::to_string(text).unwrap();
    let condition =
        format!("!words(document.querySelector('[data-part=\"{part}\"]').innerText).includes({quoted})");
    page.until(&format!("{part} without {text}"), &condition).await;
}

/// Waits until the tab shows this number of causes of failures; none if it is empty.
async fn until_badge(page: &Page, number: &str) {
    let condition =
        format!("(document.querySelector('.badge')?.firstChild.textContent ?? '') === '{number}'");
    page.until("the number beside Failures", &condition).await;
}

async fn assert_never_reloaded(pages: &[&Page]) {
    for page in pages {
        assert_eq!(page.evaluate("window.sameDocument").await, true, "the page was reloaded");
    }
}

#[tokio::test]
async fn a_revoked_token_is_shown_until_a_process_with_the_new_one_has_delivered() {
    let Some(mut story) = Story::begin(&[]).await else { return };
    let (overview, executions) = (story.page("/").await, story.page("/executions").await);
    story.assert_status(&overview, 0, "Waiting for the first event").await;
    story.send("invoice.paid", 1).await;
    until_part_shows(&executions, "rows", "delivered").await;
    story.assert_status(&overview, 0, "All is well").await;

    story.serve.sandbox.set_token("ntn_new".to_owned());
    story.send("invoice.paid", 2).await;
    story.send("invoice.paid", 3).await;
    story.assert_status(&overview, 2, "Notion is paused").await;
    until_part_shows(&overview, "assessment", "set a new NOTION_API_KEY and restart").await;
    until_part_shows(&overview, "assessment", "2 pending").await;
    until_part_shows(&overview, "destinations", "It resumes by itself once it works; the next probe is at")
        .await;
    until_part_shows(&overview, "failures", "No failures").await;
    until_part_shows(&executions, "rows", "Its destination is paused: ").await;

    story.serve.set(&[("NOTION_API_KEY", "ntn_new")]);
    let report = text(&story.serve.run(&["doctor"]).await.stdout);
    assert!(report.contains("the token works"), "{report}");
    until_headline(&overview, "Notion is paused").await;
    story.serve.restart().await;
    story.assert_status(&overview, 0, "All is well").await;
    until_part_shows(&overview, "assessment", "Nothing is pending").await;
    executions.until_gone("Its destination is paused").await;
    until_part_lacks(&executions, "rows", "pending").await;
    story.until_pages(3).await;
    assert_never_reloaded(&[&overview, &executions]).await;
}

#[tokio::test]
async fn a_deleted_key_column_is_shown_until_doctor_has_created_it_again() {
    let Some(story) = Story::begin(&[]).await else { return };
    let (overview, destinations) = (story.page("/").await, story.page("/destinations").await);
    story.send("invoice.paid", 1).await;
    story.assert_status(&overview, 0, "All is well").await;
    until_part_shows(&destinations, "destinations", "working").await;

    story.serve.sandbox.remove_column(DATA_SOURCE_ID, "EventId").unwrap();
    story.send("invoice.paid", 2).await;
    story.assert_status(&overview, 2, "Notion is paused").await;
    until_part_shows(&overview, "assessment", "add a text column EventId to the Notion database").await;
    until_part_shows(&destinations, "destinations", "Add a text column EventId").await;
    until_part_shows(&destinations, "destinations", "The data source has no column EventId").await;
    until_part_shows(&destinations, "destinations", "paused").await;

    // No restart: the service probes, and resumes by itself.
    let report = text(&story.serve.run(&["doctor", "--fix", "--yes"]).await.stdout);
    assert!(report.contains("added: EventId"), "{report}");
    story.assert_status(&overview, 0, "All is well").await;
    until_part_shows(&overview, "assessment", "Nothing is pending").await;
    until_part_lacks(&destinations, "destinations", "paused").await;
    story.until_pages(2).await;
    assert_never_reloaded(&[&overview, &destinations]).await;
}

#[tokio::test]
async fn rejected_webhooks_are_shown_with_their_cause_until_one_is_accepted() {
    let Some(mut story) = Story::begin(&[("STRIPE_WEBHOOK_SECRET", "cli=whsec_of_the_cli")]).await else {
        return;
    };
    let overview = story.page("/").await;
    until_part_shows(&overview, "rejections", "None").await;
    for seed in 1..=5 {
        assert_eq!(story.post("invoice.paid", seed).await, 400);
    }
    for words in [
        "The last 5 webhooks were rejected",
        "signed with none of the configured secrets (cli)",
        "They are of test mode",
        "Set STRIPE_WEBHOOK_SECRET to the signing secret of the sending endpoint",
    ] {
        until_part_shows(&overview, "assessment", words).await;
    }
    story.assert_status(&overview, 2, "Webhooks are rejected").await;
    until_part_shows(&overview, "rejections", "5 rejected in the last 24 hours").await;
    until_part_shows(&overview, "numbers", "Rejected 5").await;
    until_part_shows(&overview, "events", "No event yet").await;

    story.serve.set(&[("STRIPE_WEBHOOK_SECRET", "dashboard=whsec_of_the_processes")]);
    let report = story.serve.run(&["doctor"]).await;
    assert!(text(&report.stdout).contains("the webhook secret \"dashboard\""), "{report:?}");
    story.serve.restart().await;
    until_live(&overview).await;
    until_headline(&overview, "Webhooks are rejected").await;
    story.send("invoice.paid", 1).await;
    story.assert_status(&overview, 0, "All is well").await;
    until_part_shows(&overview, "rejections", "Webhooks have been accepted since then").await;
    until_part_shows(&overview, "events", "invoice.paid").await;
    assert_never_reloaded(&[&overview]).await;
}

#[tokio::test]
async fn an_event_that_notion_refuses_is_shown_until_it_is_acknowledged_or_delivered() {
    let Some(story) = Story::begin(&[]).await else { return };
    let (overview, failures) = (story.page("/").await, story.page("/failures").await);
    until_part_shows(&failures, "open", "No failures").await;
    let refusal = Fault::Invalid { message: "A number is expected here.".to_owned() };
    let rule = FaultRule::always(refusal).on(Route::Create).containing("charge.refunded");
    story.serve.sandbox.fault(rule).unwrap();
    for (name, seed) in [("charge.refunded", 71), ("invoice.paid", 2), ("invoice.paid", 3)] {
        story.send(name, seed).await;
    }
    story.assert_status(&overview, 1, "Executions have failed").await;
    until_part_shows(&overview, "assessment", "(validation_error, EUR 81.45)").await;
    until_part_shows(&overview, "failures", "A number is expected here.").await;
    until_part_shows(&failures, "open", "1 failed at notion").await;
    until_part_shows(&failures, "open", "EUR 81.45").await;
    until_badge(&overview, "1").await;
    until_badge(&failures, "1").await;
    story.until_pages(2).await;
    let group =
        failures.evaluate("document.querySelector('[data-part=open] h2 a').pathname.split('/')[2]").await;
    let group = group.as_str().unwrap();
    let of_group = story.page(&format!("/failures/{group}")).await;
    let sample = of_group.evaluate("document.querySelector('[data-part=rows] td a').pathname").await;
    let execution = story.page(sample.as_str().unwrap()).await;
    until_part_shows(&execution, "state", "failed").await;

    story.serve.prints(&["acknowledge", group, "--note", "A rule refuses it; changing it"]).await;
    story.assert_status(&overview, 0, "All is well").await;
    until_part_shows(&overview, "changes", "Acknowledged").await;
    until_part_shows(&failures, "open", "No failures").await;
    until_part_shows(&failures, "known", "Acknowledged").await;
    until_part_shows(&of_group, "group", "A rule refuses it; changing it").await;
    until_badge(&overview, "").await;
    until_badge(&failures, "").await;

    story.serve.sandbox.clear_faults();
    story.serve.prints(&["retry", "--failure", group]).await;
    story.until_pages(3).await;
    until_part_shows(&execution, "state", "delivered").await;
    until_part_shows(&execution, "state", "Open the page").await;
    until_part_shows(&execution, "timeline", "Retried by cli:jane").await;
    until_part_shows(&of_group, "group", "No failed executions in this group").await;
    until_part_shows(&of_group, "heading", "No failed executions").await;
    failures.until_gone("Acknowledged").await;
    until_part_shows(&overview, "failures", "No failures").await;
    until_part_shows(&overview, "changes", "by cli:jane").await;
    story.assert_status(&overview, 0, "All is well").await;
    assert_never_reloaded(&[&overview, &failures, &of_group, &execution]).await;
}

#[tokio::test]
async fn an_event_that_crashes_the_process_is_shown_through_every_crash_until_it_is_delivered() {
    let Some(mut story) = Story::begin(&[("NOTION_SETTLE_SECONDS", "1")]).await else { return };
    let (overview, failures) = (story.page("/").await, story.page("/failures").await);
    let of = |fault| FaultRule::always(fault).on(Route::Create).containing("charge.dispute.created");
    for fault in [Fault::Slow { delay_ms: 20_000 }, Fault::Error { status: 500 }] {
        story.serve.sandbox.fault(of(fault)).unwrap();
    }
    story.send("charge.dispute.created", 94).await;
    let executions = story.page("/executions").await;
    let path = executions.evaluate("document.querySelector('[data-part=rows] td a').pathname").await;
    let path = path.as_str().unwrap();
    let execution = story.page(path).await;
    let mut creation = 0;
    for crash in 1..=4 {
        creation = story.until_created_after(creation, "charge.dispute.created").await;
        until_part_shows(&executions, "rows", "running").await;
        story.serve.kill().await;
        // All open pages say that they show an older state, and none says that it is live.
        for page in [&overview, &executions, &failures, &execution] {
            page.until_shows("The service does not answer").await;
            page.until("not live", "document.getElementById('link-state').textContent !== 'Live'").await;
            page.until("the title", "document.title.startsWith('The service does not answer')").await;
        }
        if crash > 1 {
            // As if its lease had run out, which takes 12 s.
            story.serve.database.change(rows::silence_workers(Duration::from_mins(1))).await;
        }
        story.serve.start_process().await;
        for page in [&overview, &executions, &failures, &execution] {
            until_live(page).await;
        }
        if crash == 1 {
            story.send("invoice.paid", 2).await;
            story.until_pages(1).await;
            until_part_shows(&overview, "numbers", "Delivered 1").await;
        }
        let crashes = format!(
            "document.querySelector('[data-part=timeline]').innerText.split('Its worker died or stalled').length > {crash}"
        );
        execution.until("the crash in its timeline", &crashes).await;
        // The dead process is none of the replicas any more.
        let replicas = "document.querySelectorAll('[data-part=replicas] li').length === 1";
        overview.until("one replica", replicas).await;
        until_part_shows(&overview, "replicas", "working").await;
        if crash == 2 || crash == 3 {
            story.assert_status(&overview, 1, "An event crashes its process").await;
            until_part_shows(&overview, "assessment", "execution 1 shows what happened").await;
        }
        if crash < 4 {
            until_part_shows(&failures, "open", "No failures").await;
        }
    }
    story.assert_status(&overview, 1, "Executions have failed").await;
    until_part_shows(&overview, "assessment", "(worker_lost, EUR 104.45)").await;
    until_part_shows(&executions, "rows", "failed").await;
    until_part_shows(&failures, "open", "Three workers died while they processed it alone").await;
    until_badge(&overview, "1").await;
    until_part_shows(&execution, "state", "Its worker crashed for the third time").await;
    until_part_shows(&execution, "timeline", "crashed").await;
    let why = story.serve.prints(&["why", path.trim_start_matches("/executions/")]).await;
    assert!(why.contains("EUR 104.45") && why.contains("customer-94@example.com"), "{why}");

    story.serve.sandbox.clear_faults();
    let group =
        failures.evaluate("document.querySelector('[data-part=open] h2 a').pathname.split('/')[2]").await;
    story.serve.prints(&["retry", "--failure", group.as_str().unwrap()]).await;
    story.until_pages(2).await;
    until_part_shows(&execution, "state", "delivered").await;
    until_part_shows(&execution, "timeline", "Retried by cli:jane").await;
    until_part_shows(&failures, "open", "No failures").await;
    until_badge(&overview, "").await;
    story.assert_status(&overview, 0, "All is well").await;
    until_part_shows(&overview, "assessment", "Nothing is pending").await;
    assert_never_reloaded(&[&overview, &executions, &failures, &execution]).await;
}

#[tokio::test]
async fn a_pause_for_maintenance_and_a_replay_are_shown_on_every_open_page() {
    let Some(story) = Story::begin(&[]).await else { return };
    let (overview, executions, tasks) =
        (story.page("/").await, story.page("/executions").await, story.page("/tasks").await);
    // A page in the background: all that is seen of it is its title.
    let background = story.page("/").await;
    background.evaluate("Object.defineProperty(document, 'hidden', { value: true })").await;
    story.send("invoice.paid", 1).await;
    story.assert_status(&overview, 0, "All is well").await;
    story.serve.prints(&["pause", "notion", "--note", "moving house"]).await;
    story.assert_status(&overview, 2, "Notion is paused").await;
    until_part_shows(&overview, "assessment", "Paused by cli:jane: moving house. Resume it to continue.")
        .await;
    until_part_shows(&overview, "changes", "Paused").await;
    story.send("invoice.paid", 2).await;
    until_part_shows(&overview, "assessment", "1 pending").await;
    until_part_shows(&overview, "events", "EUR 12.45").await;
    until_part_shows(&executions, "rows", "moving house").await;
    background.until("its title", "document.title.startsWith('Notion is paused')").await;

    story.serve.prints(&["resume", "notion"]).await;
    story.assert_status(&overview, 0, "All is well").await;
    until_part_shows(&overview, "assessment", "Nothing is pending").await;
    executions.until_gone("moving house").await;
    story.until_pages(2).await;

    until_part_shows(&tasks, "rows", "No bulk tasks").await;
    story.serve.prints(&["replay", "--type", "invoice.*"]).await;
    until_part_shows(&tasks, "rows", "cli:jane").await;
    until_part_shows(&tasks, "rows", "2 executions").await;
    until_part_shows(&overview, "changes", "Replayed").await;
    until_part_shows(&executions, "rows", "delivered").await;
    until_part_lacks(&executions, "rows", "pending").await;
    story.assert_status(&overview, 0, "All is well").await;
    assert_never_reloaded(&[&overview, &executions, &tasks]).await;
}
