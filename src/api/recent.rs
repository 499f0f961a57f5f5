//! What is looked at once for all who ask at about the same time.

use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// What was seen last. Cheap to clone: clones share it.
#[derive(Debug)]
pub(super) struct Recent<T>(Arc<Mutex<Option<Seen<T>>>>);

#[derive(Debug)]
struct Seen<T> {
    at: Instant,
    value: T,
}

impl<T: Clone + Send + 'static> Recent<T> {
    /// What was seen last, where the look ended no longer ago than `fresh_for`; else what is seen now.
    ///
    /// However many ask at once, one look is made, and the others wait for it. It comes to its end though
    /// nobody waits any more, so those who ask and go away cost no more. `None` where it broke off.
    pub(super) async fn get(
        &self,
        fresh_for: Duration,
        look: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let mut last = self.0.clone().lock_owned().await;
        if let Some(seen) = last.as_ref().filter(|seen| seen.at.elapsed() < fresh_for) {
            return Some(seen.value.clone());
        }
        let looking = tokio::spawn(async move {
            let value = look.await;
            *last = Some(Seen { at: Instant::now(), value: value.clone() });
            value
        });
        looking.await.ok()
    }
}

impl<T> Clone for Recent<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use tokio::sync::Notify;

    const LONG: Duration = Duration::from_mins(1);

    #[tokio::test]
    async fn many_who_ask_at_once_are_answered_by_one_look() {
        let (recent, looks) = (Recent::default(), Arc::new(AtomicU32::new(0)));
        let asked = (0..100).map(|_| {
            let (recent, looks) = (recent.clone(), looks.clone());
            async move { recent.get(LONG, async move { looks.fetch_add(1, Ordering::Relaxed) }).await }
        });
        let answers = futures_util::future::join_all(asked).await;
        assert!(answers.iter().all(|answer| *answer == Some(0)), "{answers:?}");
        assert_eq!(recent.get(Duration::ZERO, async { 7 }).await, Some(7), "what is old is looked at anew");
    }

    #[tokio::test]
    async fn a_look_goes_on_when_whoever_asked_goes_away_and_one_that_breaks_is_not_kept() {
        let recent = Recent::default();
        let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let asked = {
            let (recent, begun, go_on) = (recent.clone(), begun.clone(), go_on.clone());
            tokio::spawn(async move {
                let look = async move {
                    begun.notify_one();
                    go_on.notified().await;
                    1
                };
                recent.get(LONG, look).await
            })
        };
        begun.notified().await;
        asked.abort();
        go_on.notify_one();
        assert_eq!(recent.get(LONG, async { 2 }).await, Some(1));
        assert_eq!(recent.get(Duration::ZERO, async { panic!("broken") }).await, None);
        assert_eq!(recent.get(LONG, async { 3 }).await, Some(1), "what was seen before is still told");
    }
}
