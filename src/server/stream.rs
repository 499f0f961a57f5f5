//! The stream of a connection, which notes what comes and goes.

use super::pulse::Pulse;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// A stream with a pulse.
#[derive(Debug)]
pub(super) struct Stream {
    socket: TcpStream,
    pulse: Arc<Pulse>,
    piece_bytes: usize,
}

impl Stream {
    pub(super) fn new(socket: TcpStream, pulse: Arc<Pulse>, piece_bytes: usize) -> Self {
        Self { socket, pulse, piece_bytes }
    }

    fn note(&self, written: &Poll<io::Result<usize>>) {
        match written {
            Poll::Ready(Ok(bytes)) => self.pulse.written(Instant::now(), *bytes, self.piece_bytes),
            Poll::Pending => self.pulse.is_behind(Instant::now()),
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
            self.pulse.read(Instant::now());
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
        self.note(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(context, slices);
        self.note(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    /// Comes when everything that there was has been written.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pulse.is_level();
        Pin::new(&mut self.socket).poll_flush(context)
    }

    /// Says that nothing more is written, and listens to the end where the client may still be sending.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        const SCRAP_BYTES: usize = 4096;
        ready!(Pin::new(&mut self.socket).poll_shutdown(context))?;
        if !self.pulse.is_over(Instant::now()) {
            return Poll::Ready(Ok(()));
        }
        loop {
            let mut scrap = [0; SCRAP_BYTES];
            let mut scrap = ReadBuf::new(&mut scrap);
            match ready!(Pin::new(&mut self.socket).poll_read(context, &mut scrap)) {
                Ok(()) if !scrap.filled().is_empty() => {}
                // It has nothing more to say, or is gone.
                _ => return Poll::Ready(Ok(())),
            }
        }
    }
}
