//! A cached value that is loaded once, however many callers ask for it at the same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// The latest value of something, loaded by at most one task at a time. Cheap to clone: clones share it.
///
/// - A load runs in a task of its own. If its caller goes away, the load continues, and those who wait
///   get its result.
/// - An error is returned to those who asked before the load began, and is not cached.
/// - If a load panics, its caller gets [`Aborted`], and the next one loads again.
#[derive(Debug)]
pub struct SingleFlight<T, E = Aborted>(Arc<Shared<T, E>>);

/// A load ended without a result: it panicked, or the process is stopping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the load ended without a result")]
pub struct Aborted;

#[derive(Debug)]
struct Shared<T, E> {
    /// How often the value was invalidated.
    invalidations: AtomicU64,
    /// Locked while a load runs.
    latest: Arc<Mutex<Option<Loaded<T, E>>>>,
}

#[derive(Debug)]
struct Loaded<T, E> {
    began_at: Instant,
    ended_at: Instant,
    version: u64,
    invalidations: u64,
    result: Result<T, E>,
}

impl<T, E> SingleFlight<T, E>
where
    T: Clone + Send + 'static,
    E: Clone + From<Aborted> + Send + 'static,
{
    /// The latest value, if it was loaded less than `max_age` ago; otherwise the result of a load.
    ///
    /// With a `max_age` of zero, those who asked before a load began still share it.
    pub async fn get(
        &self,
        max_age: Duration,
        load: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, E> {
        self.get_version(0, max_age, load).await
    }

    /// As [`get`](Self::get), but only a value of this version or a later one will do.
    ///
    /// The version is the caller's count of the changes to what is loaded.
    pub async fn get_version(
        &self,
        version: u64,
        max_age: Duration,
        load: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, E> {
        let asked_at = Instant::now();
        let mut latest = self.0.latest.clone().lock_owned().await;
        let invalidations = self.0.invalidations.load(Ordering::Acquire);
        let is_current =
            |loaded: &&Loaded<T, E>| loaded.version >= version && loaded.invalidations == invalidations;
        if let Some(loaded) = latest.as_ref().filter(is_current)
            && loaded.serves(asked_at, max_age)
        {
            return loaded.result.clone();
        }
        let began_at = Instant::now();
        let loading = tokio::spawn(async move {
            let result = load.await;
            let ended_at = Instant::now();
            *latest = Some(Loaded { began_at, ended_at, version, invalidations, result: result.clone() });
            result
        });
        loading.await.unwrap_or_else(|_aborted| Err(Aborted.into()))
    }
}

impl<T, E> SingleFlight<T, E> {
    /// Makes the next caller load again, because what is loaded has changed.
    pub fn invalidate(&self) {
        self.0.invalidations.fetch_add(1, Ordering::AcqRel);
    }
}

impl<T, E> Loaded<T, E> {
    fn serves(&self, asked_at: Instant, max_age: Duration) -> bool {
        self.began_at >= asked_at || (self.result.is_ok() && self.ended_at.elapsed() < max_age)
    }
}

impl<T, E> Clone for SingleFlight<T, E> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T, E> Default for SingleFlight<T, E> {
    fn default() -> Self {
        Self(Arc::new(Shared { invalidations: AtomicU64::new(0), latest: Arc::default() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::join_all;
    use futures_util::poll;
    use std::pin::pin;
    use std::sync::atomic::AtomicU32;
    use tokio::sync::Notify;

    const LONG: Duration = Duration::from_mins(1);

    type Cache = SingleFlight<u32>;

    /// Loads whose values count them, from 1.
    #[derive(Clone, Default)]
    struct Loads(Arc<AtomicU32>);

    impl Loads {
        fn next(&self) -> impl Future<Output = Result<u32, Aborted>> + Send + use<> {
            let count = self.0.clone();
            async move { Ok(count.fetch_add(1, Ordering::Relaxed) + 1) }
        }
    }

    /// A load that waits for a signal, and reports when it began.
    #[derive(Clone, Default)]
    struct Gate {
        began: Arc<Notify>,
        go_on: Arc<Notify>,
    }

    impl Gate {
        fn load<T>(&self, result: T) -> impl Future<Output = T> + Send + use<T>
        where
            T: Send + 'static,
        {
            let Self { began, go_on } = self.clone();
            async move {
                began.notify_one();
                go_on.notified().await;
                result
            }
        }
    }

    #[tokio::test]
    async fn many_callers_share_one_load() {
        let (cache, loads) = (Cache::default(), Loads::default());
        let asked = (0..100).map(|_| cache.get(LONG, loads.next()));
        assert!(join_all(asked).await.into_iter().all(|value| value == Ok(1)));
        assert_eq!(cache.get(LONG, loads.next()).await, Ok(1), "it is cached");
        assert_eq!(cache.get(Duration::ZERO, loads.next()).await, Ok(2), "unless it is too old");
    }

    #[tokio::test]
    async fn those_who_asked_before_a_load_began_share_it_and_those_who_asked_later_do_not() {
        let (cache, loads, gate) = (Cache::default(), Loads::default(), Gate::default());
        let mut first = pin!(cache.get(Duration::ZERO, gate.load(Ok(7))));
        assert!(poll!(&mut first).is_pending());
        gate.began.notified().await;
        let mut others: Vec<_> = (0..3).map(|_| Box::pin(cache.get(Duration::ZERO, loads.next()))).collect();
        for other in &mut others {
            assert!(poll!(other).is_pending(), "one load at a time");
        }
        gate.go_on.notify_one();
        assert_eq!(first.await, Ok(7));
        assert_eq!(join_all(others).await, [Ok(1), Ok(1), Ok(1)]);
    }

    #[tokio::test]
    async fn a_load_continues_without_its_caller_and_serves_those_who_wait() {
        let (cache, loads, gate) = (Cache::default(), Loads::default(), Gate::default());
        {
            let mut leader = pin!(cache.get(LONG, gate.load(Ok(7))));
            assert!(poll!(&mut leader).is_pending());
            gate.began.notified().await;
        }
        let mut waiting = pin!(cache.get(LONG, loads.next()));
        assert!(poll!(&mut waiting).is_pending());
        gate.go_on.notify_one();
        assert_eq!(waiting.await, Ok(7));
    }

    #[tokio::test]
    async fn a_load_that_panics_ends_for_its_caller_alone() {
        let (cache, loads) = (Cache::default(), Loads::default());
        assert_eq!(cache.get(LONG, async { panic!("broken") }).await, Err(Aborted));
        assert_eq!(cache.get(LONG, loads.next()).await, Ok(1));
        assert_eq!(cache.get(Duration::ZERO, async { panic!("broken") }).await, Err(Aborted));
        assert_eq!(cache.get(LONG, loads.next()).await, Ok(1), "the value before is still there");
    }

    #[tokio::test]
    async fn an_error_is_shared_by_those_who_waited_and_not_kept() {
        let (cache, loads, gate) = (Cache::default(), Loads::default(), Gate::default());
        let mut first = pin!(cache.get(LONG, gate.load(Ok(7))));
        assert!(poll!(&mut first).is_pending());
        gate.began.notified().await;
        let failing = [(); 3].map(|()| cache.get_version(1, LONG, async { Err(Aborted) }));
        let mut failing: Vec<_> = failing.into_iter().map(Box::pin).collect();
        for each in &mut failing {
            assert!(poll!(each).is_pending());
        }
        gate.go_on.notify_one();
        assert_eq!(join_all(failing).await, [Err(Aborted); 3]);
        assert_eq!(cache.get_version(1, LONG, loads.next()).await, Ok(1));
        assert_eq!(first.await, Ok(7));
    }

    #[tokio::test]
    async fn a_change_makes_a_value_useless_to_those_who_know_of_it() {
        let (cache, loads) = (Cache::default(), Loads::default());
        assert_eq!(cache.get_version(1, LONG, loads.next()).await, Ok(1));
        assert_eq!(cache.get_version(2, LONG, loads.next()).await, Ok(2));
        assert_eq!(cache.get_version(1, LONG, loads.next()).await, Ok(2), "a later version serves as well");
        cache.invalidate();
        assert_eq!(cache.get_version(1, LONG, loads.next()).await, Ok(3));
    }

    #[tokio::test]
    async fn a_load_that_began_before_an_invalidation_serves_nobody_after_it() {
        let (cache, loads, gate) = (Cache::default(), Loads::default(), Gate::default());
        let mut first = pin!(cache.get(LONG, gate.load(Ok(7))));
        assert!(poll!(&mut first).is_pending());
        gate.began.notified().await;
        cache.invalidate();
        gate.go_on.notify_one();
        assert_eq!(first.await, Ok(7));
        assert_eq!(cache.get(LONG, loads.next()).await, Ok(1));
    }
}
