//! The dashboard as people use it: in a browser, by its words, with the mouse or the keys.
//!
//! On a machine without Chromium these tests are skipped with a word about it, unless
//! `EVENTBRIDGE_REQUIRE_BROWSER` is 1.

mod axe;
mod chromium;
mod day;
mod page;
mod site;

mod every_page;
mod hostile;
mod journeys;
mod pictures;
mod stories;
mod swagger;

use chromium::Chromium;
use page::{Page, Scheme, Width};
use site::Site;
