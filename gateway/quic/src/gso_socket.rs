//! Generic segmentation offload (GSO): consecutive packets to one client leave in one system call.
//!
//! Sending is the largest part of a gateway's work, and packets of one size to one client take a
//! quarter of the time if the system gets them as one. quinn supports that, but then keeps room for
//! ten packets in every connection, idle or not. So quinn hands over single packets, and this
//! socket batches them, in one buffer for all connections.
//!
//! A full packet is likely to be followed by another: it is held until the next packet comes, or
//! until all tasks have had their turn. Any other packet leaves at once. So sparse small messages
//! are never held, and most packets of a burst are.

use std::{
    fmt,
    future::{Future, poll_fn},
    io::{self, ErrorKind, IoSliceMut},
    net::{IpAddr, SocketAddr, UdpSocket},
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;
use quinn::{
    AsyncUdpSocket, UdpPoller,
    udp::{EcnCodepoint, RecvMeta, Transmit, UdpSocketState},
};

/// Size in bytes from which a packet counts as full. Every QUIC path carries that much (RFC 9000,
/// section 14).
const FULL: usize = 1200;

/// Maximum bytes per system call: the contents of one UDP datagram.
const BATCH: usize = 65_000;

/// Packets that one system call can send over this socket; 1 if the system has no GSO.
///
/// # Errors
/// The system's error.
pub fn max_gso_segments(socket: &UdpSocket) -> io::Result<usize> {
    Ok(UdpSocketState::new(socket.into())?.max_gso_segments())
}

/// A socket that batches packets.
pub(crate) struct GsoSocket {
    socket: Arc<dyn AsyncUdpSocket>,
    held: Mutex<Held>,
}

/// Packets that wait for a following one.
#[derive(Default)]
struct Held {
    contents: Vec<u8>,
    /// Their route; `None` if there are no packets.
    route: Option<Route>,
    /// Length of each packet but the last, which may be shorter.
    segment: usize,
    /// Waker of the task that sends packets without a following one.
    flusher: Option<Waker>,
}

/// Properties that the packets of a batch share.
#[derive(PartialEq, Clone, Copy)]
struct Route {
    destination: SocketAddr,
    source: Option<IpAddr>,
    ecn: Option<EcnCodepoint>,
}

impl GsoSocket {
    /// Wraps a socket. The future flushes held packets until the socket is dropped; it must run as a
    /// task of its own.
    pub(crate) fn new(
        socket: Arc<dyn AsyncUdpSocket>,
    ) -> (Arc<Self>, impl Future<Output = ()> + Send) {
        let mut writable = socket.clone().create_io_poller();
        let this = Arc::new(Self { socket, held: Mutex::default() });
        let weak: Weak<Self> = Arc::downgrade(&this);
        let flusher = poll_fn(move |cx| match weak.upgrade() {
            Some(this) => this.poll_flush(cx, &mut writable),
            None => Poll::Ready(()),
        });
        (this, flusher)
    }

    /// Sends held packets whenever there are some; never ready.
    fn poll_flush(&self, cx: &mut Context<'_>, writable: &mut Pin<Box<dyn UdpPoller>>) -> Poll<()> {
        let mut held = self.held.lock();
        while !self.flush(&mut held) {
            let Poll::Ready(Ok(())) = writable.as_mut().poll_writable(cx) else { break };
        }
        held.flusher.get_or_insert_with(|| cx.waker().clone()).clone_from(cx.waker());
        Poll::Pending
    }

    /// Sends the held packets; `false` if the socket does not accept them now. After any other error
    /// they are lost, as packets may be.
    fn flush(&self, held: &mut Held) -> bool {
        let Some(route) = held.route else { return true };
        let result = self.socket.try_send(&Transmit {
            destination: route.destination,
            ecn: route.ecn,
            contents: &held.contents,
            segment_size: (held.contents.len() > held.segment).then_some(held.segment),
            src_ip: route.source,
        });
        if result.is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
            return false;
        }
        held.contents.clear();
        held.route = None;
        true
    }
}

impl Held {
    /// Whether the batch accepts that packet.
    fn accepts(&self, route: Route, len: usize, max_count: usize) -> bool {
        self.route == Some(route)
            && !self.is_complete()
            && len <= self.segment
            && self.contents.len() + len <= BATCH.min(max_count * self.segment)
    }

    fn push(&mut self, route: Route, packet: &[u8]) {
        if self.route.is_none() {
            self.route = Some(route);
            self.segment = packet.len();
        }
        self.contents.extend_from_slice(packet);
    }

    /// Whether the last packet is shorter than the others, so that no other can follow.
    fn is_complete(&self) -> bool {
        !self.contents.len().is_multiple_of(self.segment)
    }
}

impl AsyncUdpSocket for GsoSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.socket.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let packet = transmit.contents;
        let route =
            Route { destination: transmit.destination, source: transmit.src_ip, ecn: transmit.ecn };
        let mut held = self.held.lock();
        let max_count = self.socket.max_transmit_segments();
        if held.accepts(route, packet.len(), max_count) {
            held.push(route, packet);
            if held.is_complete() {
                // If the socket is full, the flusher sends them; the first packet has woken it.
                self.flush(&mut held);
            }
            return Ok(());
        }
        if !self.flush(&mut held) {
            return Err(ErrorKind::WouldBlock.into());
        }
        // A packet with a long header belongs to a handshake, and is not followed by its like.
        let is_full = packet.len() >= FULL && packet.first().is_some_and(|first| first & 0x80 == 0);
        if max_count > 1 && is_full {
            held.push(route, packet);
            if let Some(flusher) = &held.flusher {
                flusher.wake_by_ref();
            }
            return Ok(());
        }
        drop(held);
        self.socket.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.socket.poll_recv(cx, bufs, meta)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn max_receive_segments(&self) -> usize {
        self.socket.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.socket.may_fragment()
    }
}

impl Drop for GsoSocket {
    fn drop(&mut self) {
        if let Some(flusher) = self.held.lock().flusher.take() {
            flusher.wake();
        }
    }
}

impl fmt::Debug for GsoSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        sync::atomic::{AtomicBool, Ordering},
    };

    use super::*;

    /// A socket that records what it would send.
    #[derive(Debug)]
    struct Recorder {
        /// Destination port, bytes, and bytes per packet.
        sent: Mutex<Vec<(u16, usize, Option<usize>)>>,
        full: AtomicBool,
        segments: usize,
    }

    #[derive(Debug)]
    struct Writable(Arc<Recorder>);

    impl UdpPoller for Writable {
        fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            if self.0.full.load(Ordering::Relaxed) { Poll::Pending } else { Poll::Ready(Ok(())) }
        }
    }

    impl AsyncUdpSocket for Recorder {
        fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
            Box::pin(Writable(self))
        }

        fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
            if self.full.load(Ordering::Relaxed) {
                return Err(ErrorKind::WouldBlock.into());
            }
            let Transmit { destination, contents, segment_size, .. } = *transmit;
            self.sent.lock().push((destination.port(), contents.len(), segment_size));
            Ok(())
        }

        fn poll_recv(
            &self,
            _: &mut Context<'_>,
            _: &mut [IoSliceMut<'_>],
            _: &mut [RecvMeta],
        ) -> Poll<io::Result<usize>> {
            Poll::Pending
        }

        fn local_addr(&self) -> io::Result<SocketAddr> {
            Ok(client(0))
        }

        fn max_transmit_segments(&self) -> usize {
            self.segments
        }
    }

    impl Recorder {
        fn new(segments: usize) -> Arc<Self> {
            Arc::new(Self { sent: Mutex::default(), full: AtomicBool::new(false), segments })
        }

        /// Everything sent since the last call.
        fn sent(&self) -> Vec<(u16, usize, Option<usize>)> {
            std::mem::take(&mut *self.sent.lock())
        }
    }

    fn client(port: u16) -> SocketAddr {
        ([192, 0, 2, 1], port).into()
    }

    fn send_to(socket: &GsoSocket, port: u16, packet: &[u8]) -> io::Result<()> {
        socket.try_send(&Transmit {
            destination: client(port),
            ecn: None,
            contents: packet,
            segment_size: None,
            src_ip: None,
        })
    }

    /// A packet of an established connection, of that length.
    fn packet(len: usize) -> Vec<u8> {
        vec![0x40; len]
    }

    fn poll(flusher: impl Future<Output = ()>) {
        let _ = pin!(flusher).poll(&mut Context::from_waker(Waker::noop()));
    }

    #[test]
    fn a_small_packet_is_sent_at_once() {
        let recorder = Recorder::new(64);
        let (socket, _flusher) = GsoSocket::new(recorder.clone());
        send_to(&socket, 1, &packet(200)).unwrap();
        send_to(&socket, 1, &packet(200)).unwrap();
        assert_eq!(recorder.sent(), [(1, 200, None), (1, 200, None)]);
    }

    #[test]
    fn full_packets_and_the_last_one_are_batched() {
        let recorder = Recorder::new(64);
        let (socket, _flusher) = GsoSocket::new(recorder.clone());
        for _ in 0..3 {
            send_to(&socket, 1, &packet(1452)).unwrap();
        }
        assert_eq!(recorder.sent(), []);
        send_to(&socket, 1, &packet(30)).unwrap();
        assert_eq!(recorder.sent(), [(1, 3 * 1452 + 30, Some(1452))]);
        send_to(&socket, 1, &packet(30)).unwrap();
        assert_eq!(recorder.sent(), [(1, 30, None)]);
    }

    #[test]
    fn a_packet_that_does_not_fit_flushes_the_batch() {
        let recorder = Recorder::new(64);
        let (socket, _flusher) = GsoSocket::new(recorder.clone());
        send_to(&socket, 1, &packet(1300)).unwrap();
        send_to(&socket, 2, &packet(1300)).unwrap();
        assert_eq!(recorder.sent(), [(1, 1300, None)]);
        send_to(&socket, 2, &packet(1452)).unwrap();
        assert_eq!(recorder.sent(), [(2, 1300, None)]);
        send_to(&socket, 1, &packet(50)).unwrap();
        assert_eq!(recorder.sent(), [(2, 1452, None), (1, 50, None)]);
    }

    #[test]
    fn a_batch_has_the_size_that_the_system_accepts() {
        for (segments, count) in [(4, 4), (64, 44)] {
            let recorder = Recorder::new(segments);
            let (socket, _flusher) = GsoSocket::new(recorder.clone());
            for _ in 0..=count {
                send_to(&socket, 1, &packet(1452)).unwrap();
            }
            assert_eq!(recorder.sent(), [(1, count * 1452, Some(1452))]);
        }
    }

    #[test]
    fn nothing_is_held_without_gso_or_during_a_handshake() {
        let recorder = Recorder::new(1);
        let (socket, _flusher) = GsoSocket::new(recorder.clone());
        send_to(&socket, 1, &packet(1452)).unwrap();
        assert_eq!(recorder.sent(), [(1, 1452, None)]);
        let recorder = Recorder::new(64);
        let (socket, _flusher) = GsoSocket::new(recorder.clone());
        send_to(&socket, 1, &vec![0xc0; 1452]).unwrap();
        assert_eq!(recorder.sent(), [(1, 1452, None)]);
    }

    #[test]
    fn the_flusher_sends_the_last_batch() {
        let recorder = Recorder::new(64);
        let (socket, flusher) = GsoSocket::new(recorder.clone());
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let (mut flusher, mut cx) = (pin!(flusher), Context::from_waker(&waker));
        assert_eq!(flusher.as_mut().poll(&mut cx), Poll::Pending);
        send_to(&socket, 1, &packet(1452)).unwrap();
        send_to(&socket, 1, &packet(1452)).unwrap();
        assert!(woken.0.swap(false, Ordering::Relaxed));
        assert_eq!(flusher.as_mut().poll(&mut cx), Poll::Pending);
        assert_eq!(recorder.sent(), [(1, 2904, Some(1452))]);
        drop(socket);
        assert!(woken.0.load(Ordering::Relaxed));
        assert_eq!(flusher.as_mut().poll(&mut cx), Poll::Ready(()));
    }

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl std::task::Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_full_socket_delays_packets_and_keeps_their_order() {
        let recorder = Recorder::new(64);
        let (socket, flusher) = GsoSocket::new(recorder.clone());
        recorder.full.store(true, Ordering::Relaxed);
        send_to(&socket, 1, &packet(1452)).unwrap();
        send_to(&socket, 1, &packet(100)).unwrap();
        for port in [1, 2] {
            let refused = send_to(&socket, port, &packet(100)).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::WouldBlock);
        }
        let mut flusher = pin!(flusher);
        poll(flusher.as_mut());
        assert_eq!(recorder.sent(), []);
        recorder.full.store(false, Ordering::Relaxed);
        poll(flusher.as_mut());
        assert_eq!(recorder.sent(), [(1, 1552, Some(1452))]);
        send_to(&socket, 2, &packet(100)).unwrap();
        assert_eq!(recorder.sent(), [(2, 100, None)]);
    }
}
