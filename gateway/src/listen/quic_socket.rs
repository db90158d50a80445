//! The UDP socket under QUIC: packets to one client that follow each other leave in one call.
//!
//! Sending is the largest part of what a gateway does, and packets of one size to one client take
//! a quarter of the time if the system gets them as one (segmentation offload). quinn can do that,
//! but keeps room for ten packets in every connection then, idle or not. So it hands its packets
//! over one by one, and they are put together here, in one buffer for all.
//!
//! A full packet is likely to be followed by another: it is held until that has come, or until all
//! tasks have had their turn. Any other packet leaves at once. So nothing is held of small signals
//! that are few, and nearly all of those that are many.

use std::{
    fmt,
    future::{Future, poll_fn},
    io::{self, ErrorKind, IoSliceMut},
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;
use quinn::{
    AsyncUdpSocket, UdpPoller,
    udp::{EcnCodepoint, RecvMeta, Transmit},
};

/// From this size on, in bytes, a packet counts as full: every path of QUIC carries so much
/// (RFC 9000, section 14).
const FULL: usize = 1200;

/// Bytes that leave in one call at most: what fits in one UDP datagram, less the headers.
const BATCH: usize = 65_000;

/// A socket that puts packets together.
pub(super) struct BatchingSocket {
    socket: Arc<dyn AsyncUdpSocket>,
    held: Mutex<Held>,
}

/// Packets that wait for the one that follows.
#[derive(Default)]
struct Held {
    contents: Vec<u8>,
    /// Where they go; none if there are none.
    route: Option<Route>,
    /// Length of each but the last, which may be shorter.
    segment: usize,
    /// Of the task that sends what nothing has followed.
    flusher: Option<Waker>,
}

/// What packets must share to leave together.
#[derive(PartialEq, Clone, Copy)]
struct Route {
    destination: SocketAddr,
    source: Option<IpAddr>,
    ecn: Option<EcnCodepoint>,
}

impl BatchingSocket {
    /// Around that socket. The future sends what nothing has followed, until the socket is
    /// dropped: run it beside the tasks that send.
    pub(super) fn new(
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

    /// Sends what is held, and again when more is; never ready.
    fn poll_flush(&self, cx: &mut Context<'_>, writable: &mut Pin<Box<dyn UdpPoller>>) -> Poll<()> {
        let mut held = self.held.lock();
        while !self.flush(&mut held) {
            let Poll::Ready(Ok(())) = writable.as_mut().poll_writable(cx) else { break };
        }
        held.flusher.get_or_insert_with(|| cx.waker().clone()).clone_from(cx.waker());
        Poll::Pending
    }

    /// Sends what is held; `false` if that cannot be sent now. After any other error it is lost, as
    /// packets may be.
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
    /// Whether that packet may follow.
    fn takes(&self, route: Route, len: usize, max_count: usize) -> bool {
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

    /// Whether the last is shorter than the others, so that nothing can follow any more.
    fn is_complete(&self) -> bool {
        !self.contents.len().is_multiple_of(self.segment)
    }
}

impl AsyncUdpSocket for BatchingSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.socket.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let packet = transmit.contents;
        let route =
            Route { destination: transmit.destination, source: transmit.src_ip, ecn: transmit.ecn };
        let mut held = self.held.lock();
        let max_count = self.socket.max_transmit_segments();
        if held.takes(route, packet.len(), max_count) {
            held.push(route, packet);
            if held.is_complete() {
                // What cannot leave now is sent by the flusher, which has been woken for the first.
                self.flush(&mut held);
            }
            return Ok(());
        }
        if !self.flush(&mut held) {
            return Err(ErrorKind::WouldBlock.into());
        }
        // A packet with a long header belongs to a handshake, which another may not follow.
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

impl Drop for BatchingSocket {
    fn drop(&mut self) {
        if let Some(flusher) = self.held.lock().flusher.take() {
            flusher.wake();
        }
    }
}

impl fmt::Debug for BatchingSocket {
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

    /// A socket that writes down what it would send.
    #[derive(Debug)]
    struct Paper {
        /// To whom, how many bytes, in packets of how many.
        sent: Mutex<Vec<(u16, usize, Option<usize>)>>,
        full: AtomicBool,
        segments: usize,
    }

    #[derive(Debug)]
    struct Writable(Arc<Paper>);

    impl UdpPoller for Writable {
        fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            if self.0.full.load(Ordering::Relaxed) { Poll::Pending } else { Poll::Ready(Ok(())) }
        }
    }

    impl AsyncUdpSocket for Paper {
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

    impl Paper {
        fn new(segments: usize) -> Arc<Self> {
            Arc::new(Self { sent: Mutex::default(), full: AtomicBool::new(false), segments })
        }

        /// What has left since the last look.
        fn sent(&self) -> Vec<(u16, usize, Option<usize>)> {
            std::mem::take(&mut *self.sent.lock())
        }
    }

    fn client(port: u16) -> SocketAddr {
        ([192, 0, 2, 1], port).into()
    }

    fn send_to(socket: &BatchingSocket, port: u16, packet: &[u8]) -> io::Result<()> {
        socket.try_send(&Transmit {
            destination: client(port),
            ecn: None,
            contents: packet,
            segment_size: None,
            src_ip: None,
        })
    }

    /// A packet of an established connection, so long.
    fn packet(len: usize) -> Vec<u8> {
        vec![0x40; len]
    }

    fn poll(flusher: impl Future<Output = ()>) {
        let _ = pin!(flusher).poll(&mut Context::from_waker(Waker::noop()));
    }

    #[test]
    fn a_small_packet_leaves_at_once() {
        let paper = Paper::new(64);
        let (socket, _flusher) = BatchingSocket::new(paper.clone());
        send_to(&socket, 1, &packet(200)).unwrap();
        send_to(&socket, 1, &packet(200)).unwrap();
        assert_eq!(paper.sent(), [(1, 200, None), (1, 200, None)]);
    }

    #[test]
    fn full_packets_leave_together_and_with_them_the_last() {
        let paper = Paper::new(64);
        let (socket, _flusher) = BatchingSocket::new(paper.clone());
        for _ in 0..3 {
            send_to(&socket, 1, &packet(1452)).unwrap();
        }
        assert_eq!(paper.sent(), []);
        send_to(&socket, 1, &packet(30)).unwrap();
        assert_eq!(paper.sent(), [(1, 3 * 1452 + 30, Some(1452))]);
        send_to(&socket, 1, &packet(30)).unwrap();
        assert_eq!(paper.sent(), [(1, 30, None)]);
    }

    #[test]
    fn what_goes_elsewhere_or_is_longer_lets_those_before_it_go() {
        let paper = Paper::new(64);
        let (socket, _flusher) = BatchingSocket::new(paper.clone());
        send_to(&socket, 1, &packet(1300)).unwrap();
        send_to(&socket, 2, &packet(1300)).unwrap();
        assert_eq!(paper.sent(), [(1, 1300, None)]);
        send_to(&socket, 2, &packet(1452)).unwrap();
        assert_eq!(paper.sent(), [(2, 1300, None)]);
        send_to(&socket, 1, &packet(50)).unwrap();
        assert_eq!(paper.sent(), [(2, 1452, None), (1, 50, None)]);
    }

    #[test]
    fn no_more_leave_together_than_the_system_takes() {
        for (segments, together) in [(4, 4), (64, 44)] {
            let paper = Paper::new(segments);
            let (socket, _flusher) = BatchingSocket::new(paper.clone());
            for _ in 0..=together {
                send_to(&socket, 1, &packet(1452)).unwrap();
            }
            assert_eq!(paper.sent(), [(1, together * 1452, Some(1452))]);
        }
    }

    #[test]
    fn nothing_is_held_where_nothing_can_leave_together_and_none_of_a_handshake() {
        let paper = Paper::new(1);
        let (socket, _flusher) = BatchingSocket::new(paper.clone());
        send_to(&socket, 1, &packet(1452)).unwrap();
        assert_eq!(paper.sent(), [(1, 1452, None)]);
        let paper = Paper::new(64);
        let (socket, _flusher) = BatchingSocket::new(paper.clone());
        send_to(&socket, 1, &vec![0xc0; 1452]).unwrap();
        assert_eq!(paper.sent(), [(1, 1452, None)]);
    }

    #[test]
    fn what_nothing_follows_is_sent_by_the_flusher() {
        let paper = Paper::new(64);
        let (socket, flusher) = BatchingSocket::new(paper.clone());
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let (mut flusher, mut cx) = (pin!(flusher), Context::from_waker(&waker));
        assert_eq!(flusher.as_mut().poll(&mut cx), Poll::Pending);
        send_to(&socket, 1, &packet(1452)).unwrap();
        send_to(&socket, 1, &packet(1452)).unwrap();
        assert!(woken.0.swap(false, Ordering::Relaxed));
        assert_eq!(flusher.as_mut().poll(&mut cx), Poll::Pending);
        assert_eq!(paper.sent(), [(1, 2904, Some(1452))]);
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
    fn what_cannot_leave_now_leaves_later_and_in_order() {
        let paper = Paper::new(64);
        let (socket, flusher) = BatchingSocket::new(paper.clone());
        paper.full.store(true, Ordering::Relaxed);
        send_to(&socket, 1, &packet(1452)).unwrap();
        send_to(&socket, 1, &packet(100)).unwrap();
        for port in [1, 2] {
            let refused = send_to(&socket, port, &packet(100)).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::WouldBlock);
        }
        let mut flusher = pin!(flusher);
        poll(flusher.as_mut());
        assert_eq!(paper.sent(), []);
        paper.full.store(false, Ordering::Relaxed);
        poll(flusher.as_mut());
        assert_eq!(paper.sent(), [(1, 1552, Some(1452))]);
        send_to(&socket, 2, &packet(100)).unwrap();
        assert_eq!(paper.sent(), [(2, 100, None)]);
    }
}
