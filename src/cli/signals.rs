//! Signals to stop: the first one stops the process in order, the second at once.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that Ctrl-C, SIGTERM or SIGHUP cancels. A second signal ends the process at once.
pub(super) fn stop_requested() -> std::io::Result<CancellationToken> {
    let mut signals = Signals {
        interrupt: signal(SignalKind::interrupt())?,
        terminate: signal(SignalKind::terminate())?,
        hang_up: signal(SignalKind::hangup())?,
    };
    let token = CancellationToken::new();
    let requested = token.clone();
    tokio::spawn(async move {
        signals.next().await;
        requested.cancel();
        signals.next().await;
        // 128 and SIGINT, as a shell reports it.
        std::process::exit(130);
    });
    Ok(token)
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}
