//! A client's TCP socket, with a bounded kernel send buffer.
//!
//! The kernel holds written bytes until the client has acknowledged them. It keeps holding them
//! after the process has closed the socket: for minutes, if the client does not read. By default
//! Linux lets that grow to 4 MiB per client. So the buffer is capped, and a socket that is closed
//! with bytes in it has little time left.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

/// Bytes that may be written to one client and not acknowledged, as over QUIC. The kernel doubles it
/// for its own needs. With half of it, a client that sends megabytes to all, itself included, is
/// sometimes disconnected because it has not read its own signals in time.
const SEND_BUFFER: usize = 1024 * 1024;

/// Time after which the kernel gives up a closed socket whose client acknowledges nothing. A client
/// that reads, however slowly, receives everything.
const UNREAD: Duration = Duration::from_secs(5);

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// A listening socket whose clients have bounded buffers.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait until the kernel has forgotten the port's old connections.
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    // Accepted sockets inherit it.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// A client's byte stream, with or without TLS.
pub(super) type ClientStream = Either<TlsStream<ClientSocket>, ClientSocket>;

/// An accepted socket.
///
/// TLS nearly always writes one piece. Writing it as a list of one costs the kernel noticeably more.
pub(super) struct ClientSocket {
    stream: TcpStream,
    /// Whether the last write found no room, so that part of it never reached the kernel.
    is_full: bool,
}

impl ClientSocket {
    pub(super) fn new(stream: TcpStream) -> io::Result<Self> {
        // Signals are small and must not wait for the acknowledgement of earlier ones.
        stream.set_nodelay(true)?;
        Ok(Self { stream, is_full: false })
    }

    fn note(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.is_full = written.is_pending();
        written
    }
}

impl Drop for ClientSocket {
    fn drop(&mut self) {
        // A client that is dropped with a full buffer had its time to read, and the buffer ends in
        // the middle of a frame. A failure here means that the socket is already unusable.
        let _ = if self.is_full {
            self.stream.set_zero_linger()
        } else {
            end_unless_read(&self.stream)
        };
    }
}

/// Makes the kernel give up a client that acknowledges nothing.
#[cfg(target_os = "linux")]
fn end_unless_read(stream: &TcpStream) -> io::Result<()> {
    SockRef::from(stream).set_tcp_user_timeout(Some(UNREAD))
}

/// Other systems use their own time.
#[cfg(not(target_os = "linux"))]
fn end_unless_read(_: &TcpStream) -> io::Result<()> {
    Ok(())
}

impl AsyncRead for ClientSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for ClientSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = match pieces {
            [piece] => Pin::new(&mut self.stream).poll_write(cx, piece),
            pieces => Pin::new(&mut self.stream).poll_write_vectored(cx, pieces),
        };
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// A gateway's and a client's end.
    async fn pair() -> (ClientSocket, TcpStream) {
        let listener = listen(([127, 0, 0, 1], 0).into()).unwrap();
        let connecting = TcpStream::connect(listener.local_addr().unwrap());
        let (accepted, client) = tokio::join!(listener.accept(), connecting);
        (ClientSocket::new(accepted.unwrap().0).unwrap(), client.unwrap())
    }

    /// Writes until nothing goes any more; returns how many bytes went.
    async fn fill(socket: &mut ClientSocket) -> usize {
        let mut bytes = 0;
        while let Poll::Ready(written) =
            poll_fn(|cx| Poll::Ready(Pin::new(&mut *socket).poll_write(cx, &[7; 4096]))).await
        {
            bytes += written.unwrap();
        }
        bytes
    }

    #[tokio::test]
    async fn an_accepted_socket_holds_no_more_than_it_may() {
        let (socket, _client) = pair().await;
        let granted = SockRef::from(&socket.stream).send_buffer_size().unwrap();
        assert!(granted <= 2 * SEND_BUFFER, "{granted}");
        assert!(socket.stream.nodelay().unwrap());
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_is_reset() {
        let (mut socket, mut client) = pair().await;
        let written = fill(&mut socket).await;
        drop(socket);
        let mut read = 0;
        let mut buffer = vec![0; 64 * 1024];
        let error = loop {
            match client.read(&mut buffer).await {
                Ok(0) => panic!("a clean end after {read} of {written} bytes"),
                Ok(more) => read += more,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn a_client_that_reads_in_time_gets_everything_and_a_clean_end() {
        let (mut socket, mut client) = pair().await;
        let mut read = fill(&mut socket).await;
        client.read_exact(&mut vec![0; read]).await.unwrap();
        socket.write_all(b"bye").await.unwrap();
        read = 0;
        drop(socket);
        let mut rest = Vec::new();
        read += client.read_to_end(&mut rest).await.unwrap();
        assert_eq!((read, &rest[..]), (3, &b"bye"[..]));
    }
}
