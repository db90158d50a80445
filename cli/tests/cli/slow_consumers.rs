//! Slow consumers: the memory that the gateway uses for them is bounded.

use signalbox_client::{Client, ConnectOptions, Connector, Event, Events};
use tokio::runtime::{Builder, Runtime};

use crate::{Gateway, TIMEOUT};

const RECEIVERS: usize = 20;

/// Each has a stream to each receiver, with a window of 256 KiB.
const SPEAKERS: usize = 4;

/// Clients whose runtime is stopped, like a stopped process: they acknowledge nothing.
struct Stopped {
    _runtime: Runtime,
    _clients: Vec<(Client, Events)>,
}

async fn join(gateway: &Gateway, role: &str) -> (Client, Events) {
    let pem = std::fs::read(gateway.text("/ca")).unwrap();
    let token = gateway.text(&format!("/tokens/{role}"));
    let options = ConnectOptions::new(gateway.url("quic"), token).presence(false);
    Connector::with_roots_pem(&pem).unwrap().connect(&options).await.unwrap()
}

impl Stopped {
    fn join(gateway: &Gateway, number: usize) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let clients = runtime.block_on(async {
            let mut clients = Vec::new();
            for _ in 0..number {
                clients.push(join(gateway, "subscriber").await);
            }
            clients
        });
        Self { _runtime: runtime, _clients: clients }
    }
}

/// A gateway whose members may send more than applications do.
fn start() -> Gateway {
    Gateway::start_with(&[
        // No link reaches its idle timeout during the test.
        ("SIGNALBOX_TIMEOUTS__IDLE_MS", "600000"),
        ("SIGNALBOX_LIMITS__SIGNALS_PER_SECOND_PER_CONNECTION", "0"),
        ("SIGNALBOX_LIMITS__BYTES_PER_SECOND_PER_CONNECTION", "0"),
        ("SIGNALBOX_LIMITS__DELIVERIES_PER_SECOND_PER_SESSION", "0"),
    ])
}

/// Each speaker sends this many empty signals and receives those of all speakers.
async fn speak(speakers: &mut [(Client, Events)], signals: usize) {
    let expected = signals * speakers.len();
    let each = speakers.iter_mut().map(|(client, events)| async move {
        let speaking = async {
            for _ in 0..signals {
                client.signal().enqueue().await.unwrap();
            }
        };
        let hearing = async {
            let mut heard = 0;
            while heard < expected {
                match events.next().await.unwrap() {
                    Event::Signal { .. } => heard += 1,
                    Event::SessionConnected { .. } => {}
                    other => panic!("{other:?}"),
                }
            }
        };
        tokio::join!(speaking, hearing);
    });
    let all = futures_util::future::join_all(each);
    tokio::time::timeout(3 * TIMEOUT, all).await.unwrap();
}

/// An empty signal is six bytes, and quinn alone would need 32 more for each that is not
/// acknowledged.
#[test]
fn unacknowledged_tiny_signals_cost_little_more_than_their_bytes() {
    const SIGNALS: usize = 120_000;
    const MOST_KIB: u64 = 2048;
    let gateway = start();
    let _stopped = Stopped::join(&gateway, RECEIVERS);
    let runtime = Runtime::new().unwrap();
    let grown = runtime.block_on(async {
        let mut speakers = Vec::new();
        for _ in 0..SPEAKERS {
            speakers.push(join(&gateway, "publisher").await);
        }
        speak(&mut speakers, 1000).await;
        let before = gateway.resident_kib();
        speak(&mut speakers, SIGNALS / SPEAKERS).await;
        gateway.resident_kib().saturating_sub(before)
    });
    let each = grown / RECEIVERS as u64;
    assert!(each < MOST_KIB, "{each} KiB for each of them");
}

/// Clients that do not read are disconnected, and their queues do not fill the gateway's memory.
#[test]
fn slow_consumers_do_not_fill_the_memory() {
    use signalbox_client::{CloseReason, ConnectOptions, Connector, Event};

    let gateway = start();
    let pem = std::fs::read(gateway.text("/ca")).unwrap();
    let talk = async {
        let join = async |scheme: &str| {
            let options =
                ConnectOptions::new(gateway.url(scheme), gateway.text("/tokens/publisher"));
            // A disconnected client must not come back.
            let options = options.presence(false).resume(false).rejoin(false);
            Connector::with_roots_pem(&pem).unwrap().connect(&options).await.unwrap()
        };
        let (speaker, mut heard) = join("quic").await;
        let (_deaf_quic, mut never_heard) = join("quic").await;
        let (_deaf_wss, mut never_heard_either) = join("wss").await;
        let before = gateway.resident_kib();
        let mut said_kib = 0;
        // Far more than the outboxes, the windows of the transports and the queues of the clients hold.
        while said_kib < 200 * 1024 {
            speaker.signal().data("d".repeat(8192)).enqueue().await.unwrap();
            said_kib += 8;
            while !matches!(heard.next().await.unwrap(), Event::Signal { .. }) {}
        }
        let grown = gateway.resident_kib().saturating_sub(before);
        assert!(grown < 32 * 1024, "{grown} KiB more after {said_kib} KiB were said");
        for events in [&mut never_heard, &mut never_heard_either] {
            let reason = loop {
                if let Event::SessionDisconnected { reason, .. } = events.next().await.unwrap() {
                    break reason;
                }
            };
            // A full TCP connection cannot carry the reason.
            let known = [CloseReason::SlowConsumer, CloseReason::NetworkDisconnected];
            assert!(known.contains(&reason), "{reason}");
        }
    };
    tokio::runtime::Runtime::new()
        .unwrap()
        .block_on(async { tokio::time::timeout(TIMEOUT * 3, talk).await })
        .unwrap();
}
