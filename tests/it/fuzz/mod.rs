//! Large numbers of hostile inputs to a whole service.
//!
//! `PROPTEST_CASES` sets the number; a thousand times the default finds more, overnight. A case that once
//! failed stays in `proptest-regressions` or in the corpus next to the test, and runs first.

mod envelopes;
mod queries;
mod signatures;

use crate::harness::Service;
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestError, TestRunner};
use std::fmt::Debug;
use tokio::runtime::Runtime;

/// A service for one case after another.
struct Fuzz {
    service: Service,
    runtime: Runtime,
}

impl Fuzz {
    fn new(start: impl AsyncFnOnce() -> Service) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { service: runtime.block_on(start()), runtime }
    }

    /// Checks the property for each case of the corpus and for random ones. Fails with the simplest
    /// failing case.
    #[expect(clippy::needless_pass_by_value, reason = "callers write the property inline")]
    fn check<T: Debug>(
        &self,
        file: &'static str,
        corpus: impl IntoIterator<Item = T>,
        strategy: &impl Strategy<Value = T>,
        property: impl AsyncFn(&Service, &T),
    ) {
        for case in corpus {
            eprintln!("of the corpus: {case:?}");
            self.runtime.block_on(property(&self.service, &case));
        }
        let mut runner = TestRunner::new(Config::with_source_file(file));
        let checked = runner.run(strategy, |case| {
            self.runtime.block_on(property(&self.service, &case));
            Ok(())
        });
        match checked {
            Ok(()) => {}
            Err(TestError::Fail(why, case)) => panic!("{why}\nby {case:#?}"),
            Err(error) => panic!("{error}"),
        }
    }
}
