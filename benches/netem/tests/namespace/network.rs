//! Sockets on the hosts of a network.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use signalbox_netem::{
    Direction, LinkModel, LossModel,
    namespace::{Host, Network},
};

/// The longest wait of a test for something that must happen.
const PATIENCE: Duration = Duration::from_secs(10);

fn start(to_client: LinkModel, to_server: LinkModel) -> Network {
    Network::start(to_client, to_server, 7).unwrap()
}

fn slow() -> LinkModel {
    LinkModel { delay: Duration::from_millis(20), ..LinkModel::default() }
}

/// A socket on a host.
fn udp(host: &Host, address: &str) -> UdpSocket {
    let _entered = host.enter().unwrap();
    let socket = UdpSocket::bind((address, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Sockets of the server and a client that have exchanged a datagram.
fn connected(network: &Network) -> (UdpSocket, UdpSocket) {
    let server = udp(network.server(), "127.0.0.1");
    let client = udp(network.client(), "0.0.0.0");
    client.connect(("127.0.0.1", server.local_addr().unwrap().port())).unwrap();
    client.send(b"hello").unwrap();
    let (_, from) = server.recv_from(&mut [0; 16]).unwrap();
    server.connect(from).unwrap();
    (server, client)
}

pub(crate) fn datagrams_take_the_delay_of_their_direction() {
    let other = LinkModel { delay: Duration::from_millis(50), ..slow() };
    let network = start(slow(), other);
    let (server, client) = connected(&network);
    for (from, to, delay) in [(&server, &client, 20), (&client, &server, 50)] {
        let delay = Duration::from_millis(delay);
        // A busy machine may be late; the link is never early.
        let took = (0..10).map(|_| {
            let start = Instant::now();
            from.send(&[0; 1000]).unwrap();
            assert_eq!(to.recv(&mut [0; 2000]).unwrap(), 1000);
            start.elapsed()
        });
        let least = took.min().unwrap();
        assert!(least >= delay && least < delay + Duration::from_millis(5), "{least:?}");
    }
    let counts = network.link().counts(Direction::ToClient);
    let bytes = counts.passed_bytes;
    assert_eq!((counts.passed, bytes), (10, 10_280), "with the headers of IP and UDP");
    assert_eq!(network.link().counts(Direction::Both).passed, 21);
}

pub(crate) fn a_seed_reproduces_the_lost_datagrams_and_jitter_keeps_the_order() {
    const SENT: u32 = 2000;
    let lossy =
        LinkModel { loss: LossModel::Uniform(0.05), jitter: Duration::from_millis(5), ..slow() };
    let arrived = |seed| {
        let network = Network::start(slow(), lossy, seed).unwrap();
        let server = udp(network.server(), "127.0.0.1");
        let client = udp(network.client(), "0.0.0.0");
        client.connect(server.local_addr().unwrap()).unwrap();
        let mut numbers = Vec::new();
        for number in 0..SENT {
            client.send(&number.to_be_bytes()).unwrap();
            // No more at a time than the receiver's socket holds.
            if (number + 1).is_multiple_of(100) {
                let counts = || network.link().counts(Direction::ToServer);
                until(|| counts().offered() == u64::from(number + 1));
                while counts().passed > numbers.len() as u64 {
                    let mut number = [0; 4];
                    server.recv(&mut number).unwrap();
                    numbers.push(u32::from_be_bytes(number));
                }
            }
        }
        numbers
    };
    let first = arrived(3);
    assert!(first.is_sorted(), "jitter reorders nothing");
    let lost = SENT as usize - first.len();
    assert!((70..130).contains(&lost), "5 % of {SENT} are not {lost}");
    assert_eq!(arrived(3), first);
    assert_ne!(arrived(4), first);
}

pub(crate) fn lost_packets_are_counted_and_logged() {
    let network = start(slow(), slow());
    let (server, client) = connected(&network);
    network.link().change(Direction::ToClient, |it| it.loss = LossModel::Uniform(1.0));
    for _ in 0..10 {
        server.send(b"lost").unwrap();
    }
    until(|| network.link().counts(Direction::ToClient).lost == 10);
    let drops = network.link().drops(Direction::ToClient);
    assert!(drops.iter().all(|it| it.bytes == 32) && drops.is_sorted_by_key(|it| it.at_ns));
    // The other direction is unchanged, and this one can be repaired.
    network.link().change(Direction::ToClient, |it| it.loss = LossModel::NONE);
    client.send(b"there").unwrap();
    server.recv(&mut [0; 16]).unwrap();
    server.send(b"back").unwrap();
    assert_eq!(client.recv(&mut [0; 16]).unwrap(), 4);
}

pub(crate) fn a_cut_ends_with_its_time() {
    let network = start(slow(), slow());
    let (server, client) = connected(&network);
    network.link().cut(Direction::Both, PATIENCE);
    server.send(b"lost").unwrap();
    client.send(b"lost").unwrap();
    until(|| network.link().counts(Direction::Both).cut == 2);
    network.link().cut(Direction::Both, Duration::ZERO);
    server.send(b"again").unwrap();
    assert_eq!(client.recv(&mut [0; 16]).unwrap(), 5);
}

pub(crate) fn tcp_gets_through_bursts_of_loss_reordering_and_a_small_queue() {
    let bad = LinkModel {
        delay: Duration::from_millis(5),
        jitter: Duration::from_millis(2),
        loss: LossModel::bursts(0.02, 2.0),
        reorder: 0.02,
        rate: Some(20_000_000),
        queue: 30_000,
    };
    let network = start(bad, bad);
    let entered = network.server().enter().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    drop(entered);
    let address = listener.local_addr().unwrap();
    let entered = network.client().enter().unwrap();
    let mut client = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
    drop(entered);
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    let sent: Vec<u8> = (0..500_000u32).flat_map(u32::to_be_bytes).collect();
    let expected = sent.clone();
    let start = Instant::now();
    let sender = thread::spawn(move || server.write_all(&sent));
    let mut received = Vec::new();
    client.read_to_end(&mut received).unwrap();
    sender.join().unwrap().unwrap();
    assert!(received == expected, "{} of {} bytes", received.len(), expected.len());
    let counts = network.link().counts(Direction::ToClient);
    assert!(counts.lost > 0 && counts.reordered > 0, "{counts:?}");
    assert!(start.elapsed() >= Duration::from_millis(800), "2 MB at 20 Mbit/s");
}

pub(crate) fn a_thread_enters_and_leaves_hosts() {
    let network = start(slow(), slow());
    let own = || std::fs::read_link("/proc/thread-self/ns/net").unwrap();
    let before = own();
    let server = {
        let _entered = network.server().enter().unwrap();
        let server = own();
        {
            let _client = network.client().enter().unwrap();
            assert!(own() != server && own() != before);
        }
        assert_eq!(own(), server, "back on the host before");
        server
    };
    assert_ne!(server, before);
    assert_eq!(own(), before);
}

pub(crate) fn an_unplugged_interface_comes_back() {
    let network = start(slow(), slow());
    let (server, client) = connected(&network);
    thread::scope(|scope| {
        let unplugged = scope.spawn(|| network.unplug_client(Duration::from_millis(200)));
        // The system refuses to send without a route.
        until(|| client.send(b"lost").is_err());
        server.send(b"lost").unwrap();
        unplugged.join().unwrap().unwrap();
    });
    client.send(b"there").unwrap();
    until(|| server.recv(&mut [0; 16]).unwrap() == 5);
    server.send(b"again").unwrap();
    assert_eq!(client.recv(&mut [0; 16]).unwrap(), 5);
}

pub(crate) fn a_client_moves_to_another_address() {
    let network = start(slow(), slow());
    let server = udp(network.server(), "127.0.0.1");
    let client = udp(network.client(), "0.0.0.0");
    for last in [3, 6, 2] {
        let address = Ipv4Addr::new(192, 0, 2, last);
        network.move_client(address).unwrap();
        client.send_to(b"hello", server.local_addr().unwrap()).unwrap();
        let (_, from) = server.recv_from(&mut [0; 16]).unwrap();
        assert_eq!(from.ip(), address);
        server.send_to(b"hello", from).unwrap();
        client.recv(&mut [0; 16]).unwrap();
    }
}

/// Waits until packets have reached the link.
fn until(happened: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !happened() {
        assert!(Instant::now() < deadline, "timed out");
        thread::yield_now();
    }
}
