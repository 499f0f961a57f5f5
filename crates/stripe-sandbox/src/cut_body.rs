//! An answer whose connection is cut in the middle of the body.

use axum::body::HttpBody;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use sandbox_http::CutHandle;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Sends a half, then cuts the connection.
pub struct CutBody {
    half: Option<Bytes>,
    /// Whether the half had a chance to be sent.
    has_paused: bool,
    whole_bytes: u64,
    connection: CutHandle,
}

impl CutBody {
    /// The body that would be sent.
    pub fn new(whole: &Bytes, connection: CutHandle) -> Self {
        let whole_bytes = u64::try_from(whole.len()).unwrap_or(u64::MAX);
        Self { half: Some(whole.slice(..whole.len() / 2)), has_paused: false, whole_bytes, connection }
    }
}

impl HttpBody for CutBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(half) = self.half.take() {
            return Poll::Ready(Some(Ok(Frame::data(half))));
        }
        if !std::mem::replace(&mut self.has_paused, true) {
            // While a body pauses, the server sends what it has.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.connection.cut();
        Poll::Ready(None)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.whole_bytes)
    }
}
