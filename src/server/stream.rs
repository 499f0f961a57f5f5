//! The stream of a connection, which reports reads and writes to the connection's state.

use super::connection_state::ConnectionState;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// A TCP stream that updates a [`ConnectionState`].
#[derive(Debug)]
pub(super) struct Stream {
    socket: TcpStream,
    state: Arc<ConnectionState>,
    progress_bytes: usize,
}

impl Stream {
    pub(super) fn new(socket: TcpStream, state: Arc<ConnectionState>, progress_bytes: usize) -> Self {
        Self { socket, state, progress_bytes }
    }

    fn record(&self, written: &Poll<io::Result<usize>>) {
        match written {
            Poll::Ready(Ok(bytes)) => self.state.bytes_written(Instant::now(), *bytes, self.progress_bytes),
            Poll::Pending => self.state.write_blocked(Instant::now()),
            Poll::Ready(Err(_)) => {}
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.state.bytes_read(Instant::now());
        }
        read
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.record(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(context, slices);
        self.record(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    /// hyper calls this after everything has been written.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.state.write_flushed();
        Pin::new(&mut self.socket).poll_flush(context)
    }

    /// Closes the write side, and reads until the client closes its own: closing a connection with unread
    /// data resets it, and the response may be lost.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        const DISCARD_BYTES: usize = 4096;
        ready!(Pin::new(&mut self.socket).poll_shutdown(context))?;
        self.state.shutdown_started(Instant::now());
        loop {
            let mut discarded = [0; DISCARD_BYTES];
            let mut discarded = ReadBuf::new(&mut discarded);
            match ready!(Pin::new(&mut self.socket).poll_read(context, &mut discarded)) {
                Ok(()) if !discarded.filled().is_empty() => {}
                // The client has finished or disconnected.
                _ => return Poll::Ready(Ok(())),
            }
        }
    }
}
