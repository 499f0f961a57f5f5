//! The dashboard in a browser, used by its visible text, with mouse or keyboard.
//!
//! On a machine without Chromium these tests are skipped and print why, unless
//! `EVENTBRIDGE_REQUIRE_BROWSER` is 1.

mod axe;
mod chromium;
mod day;
mod page;
mod site;

mod every_page;
mod hostile;
mod journeys;
mod operations;
mod outages;
mod pictures;
mod stories;
mod swagger;

use chromium::Chromium;
use page::{Page, Scheme, Width};
use site::Site;
