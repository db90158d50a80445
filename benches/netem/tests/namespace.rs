//! The emulated network with real sockets. It needs root, and says aloud where it has to do without.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's panic is its answer"
)]

use std::{
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use signalbox_netem::{
    Direction, LinkModel, LossModel,
    namespace::{Host, Network},
};

/// No test waits for longer than this for anything that is to come.
const PATIENCE: Duration = Duration::from_secs(10);

/// None, and a word about it, where the system lets us make no network.
fn emulate(to_client: LinkModel, to_server: LinkModel) -> Option<Network> {
    emulate_with(to_client, to_server, 7)
}

fn emulate_with(to_client: LinkModel, to_server: LinkModel, seed: u64) -> Option<Network> {
    match Network::start(to_client, to_server, seed) {
        Ok(network) => Some(network),
        Err(error) => {
            let refused = |it: &io::Error| {
                matches!(it.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound)
            };
            let refused = error.chain().any(|it| it.downcast_ref().is_some_and(refused));
            assert!(
                refused,
                "only what the system refuses or lacks is no fault of ours: {error:#}"
            );
            let note = format!("note: nothing was tested over an emulated network: {error:#}\n");
            // Past the capture of test output, which would hide it.
            let _ = std::io::stderr().write_all(note.as_bytes());
            None
        }
    }
}

fn slow() -> LinkModel {
    LinkModel { delay: Duration::from_millis(20), ..LinkModel::default() }
}

/// A socket on a host.
fn udp(host: &Host, address: &str) -> UdpSocket {
    let _inside = host.enter().unwrap();
    let socket = UdpSocket::bind((address, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Sockets of the server and a client, each of which has heard the other.
fn acquainted(network: &Network) -> (UdpSocket, UdpSocket) {
    let server = udp(network.server(), "127.0.0.1");
    let client = udp(network.client(), "0.0.0.0");
    client.connect(("127.0.0.1", server.local_addr().unwrap().port())).unwrap();
    client.send(b"hello").unwrap();
    let (_, from) = server.recv_from(&mut [0; 16]).unwrap();
    server.connect(from).unwrap();
    (server, client)
}

#[test]
fn datagrams_take_the_delay_of_each_way() {
    let other = LinkModel { delay: Duration::from_millis(50), ..slow() };
    let Some(network) = emulate(slow(), other) else { return };
    let (server, client) = acquainted(&network);
    for (from, to, delay) in [(&server, &client, 20), (&client, &server, 50)] {
        let delay = Duration::from_millis(delay);
        // The machine may be busy now and then, the link is never early.
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

#[test]
fn a_seed_loses_the_same_datagrams_again_about_as_many_as_asked_for_and_keeps_order() {
    const SENT: u32 = 2000;
    let lossy =
        LinkModel { loss: LossModel::Uniform(0.05), jitter: Duration::from_millis(5), ..slow() };
    let arrived = |seed| {
        let network = emulate_with(slow(), lossy, seed)?;
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
        Some(numbers)
    };
    let Some(first) = arrived(3) else { return };
    assert!(first.is_sorted(), "jitter reorders nothing");
    let lost = SENT as usize - first.len();
    assert!((70..130).contains(&lost), "5 % of {SENT} are not {lost}");
    assert_eq!(arrived(3).unwrap(), first);
    assert_ne!(arrived(4).unwrap(), first);
}

#[test]
fn the_link_loses_counts_and_remembers() {
    let Some(network) = emulate(slow(), slow()) else { return };
    let (server, client) = acquainted(&network);
    network.link().change(Direction::ToClient, |it| it.loss = LossModel::Uniform(1.0));
    for _ in 0..10 {
        server.send(b"lost").unwrap();
    }
    until(|| network.link().counts(Direction::ToClient).lost == 10);
    let drops = network.link().drops(Direction::ToClient);
    assert!(drops.iter().all(|it| it.bytes == 32) && drops.is_sorted_by_key(|it| it.at_ns));
    // The other way is as it was, and so is this one again.
    network.link().change(Direction::ToClient, |it| it.loss = LossModel::NONE);
    client.send(b"there").unwrap();
    server.recv(&mut [0; 16]).unwrap();
    server.send(b"back").unwrap();
    assert_eq!(client.recv(&mut [0; 16]).unwrap(), 4);
}

#[test]
fn a_cut_link_mends_by_itself() {
    let Some(network) = emulate(slow(), slow()) else { return };
    let (server, client) = acquainted(&network);
    network.link().cut(Direction::Both, PATIENCE);
    server.send(b"lost").unwrap();
    client.send(b"lost").unwrap();
    until(|| network.link().counts(Direction::Both).cut == 2);
    network.link().cut(Direction::Both, Duration::ZERO);
    server.send(b"again").unwrap();
    assert_eq!(client.recv(&mut [0; 16]).unwrap(), 5);
}

#[test]
fn tcp_gets_everything_through_loss_reordering_and_a_narrow_queue() {
    let bad = LinkModel {
        delay: Duration::from_millis(5),
        jitter: Duration::from_millis(2),
        loss: LossModel::Uniform(0.02),
        reorder: 0.02,
        rate: Some(20_000_000),
        queue: 30_000,
    };
    let Some(network) = emulate(bad, bad) else { return };
    let inside = network.server().enter().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    drop(inside);
    let address = listener.local_addr().unwrap();
    let inside = network.client().enter().unwrap();
    let mut client = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
    drop(inside);
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

#[test]
fn the_thread_comes_back_and_the_hosts_are_apart() {
    let Some(network) = emulate(slow(), slow()) else { return };
    let own = || std::fs::read_link("/proc/thread-self/ns/net").unwrap();
    let before = own();
    let server = {
        let _inside = network.server().enter().unwrap();
        let server = own();
        {
            let _further = network.client().enter().unwrap();
            assert!(own() != server && own() != before);
        }
        assert_eq!(own(), server, "back on the host before");
        server
    };
    assert_ne!(server, before);
    assert_eq!(own(), before);
}

/// Packets need a moment to come to the link.
fn until(happened: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !happened() {
        assert!(Instant::now() < deadline, "it did not happen");
        thread::yield_now();
    }
}
