//! One stream per sender: opened with the first signal, given to another sender without breaking order,
//! and independent of the others.

use std::collections::BTreeMap;

use signalbox_client::{ConnectionId, Event, Role, Sender};
use signalbox_protocol::{
    GatewayStream, SenderMessage, binary, frame::FrameBuffer, limits::GATEWAY_FRAME_BYTES,
};
use signalbox_tests::{
    Member, TransportMode, World,
    raw::{Quic, hello},
    within_timeout,
};

/// The contents of one stream: its header, and the sequence numbers of its signals.
#[derive(Debug)]
struct Stream {
    from: ConnectionId,
    after: u64,
    seqs: Vec<u64>,
}

/// Reads a stream of the gateway until it has carried `enough` signals.
async fn read(mut stream: quinn::RecvStream, enough: usize) -> Stream {
    let mut buffer = FrameBuffer::new(GATEWAY_FRAME_BYTES);
    let mut read = None::<Stream>;
    while read.as_ref().is_none_or(|read| read.seqs.len() < enough) {
        let Some(chunk) = stream.read_chunk(4096, true).await.unwrap() else {
            break;
        };
        buffer.push(&chunk.bytes);
        while let Some(frame) = buffer.next_frame().unwrap() {
            match &mut read {
                None => {
                    let GatewayStream::Sender { from, after } =
                        binary::decode(frame).unwrap().unwrap();
                    read =
                        Some(Stream { from: from.connection().unwrap(), after, seqs: Vec::new() });
                }
                Some(read) => {
                    let message = binary::decode(frame).unwrap().unwrap();
                    let SenderMessage::Signal(signal) = message else { panic!("{message:?}") };
                    read.seqs.push(signal.seq);
                }
            }
        }
    }
    read.expect("a stream has a header")
}

/// Senders in a session with one receiver.
async fn senders(world: &World, count: usize) -> Vec<Member> {
    let mut senders = Vec::new();
    for _ in 0..count {
        let options =
            world.options(TransportMode::WebSocketPostcard, Role::Publisher).presence(false);
        senders.push(world.try_join(&options).await.unwrap());
    }
    senders
}

/// A raw receiver that has joined, and grants this many streams.
async fn receiver(world: &World, streams: u32) -> Quic {
    let mut receiver = Quic::connect_with(world.addresses().quic, streams).await;
    receiver.say(&hello(&world.token(Role::Subscriber))).await;
    assert!(receiver.hear().await.starts_with("Welcome"));
    receiver
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_sender_gets_one_stream_with_its_first_signal() {
    let world = World::new().await;
    let receiver = receiver(&world, 100).await;
    let senders = senders(&world, 3).await;
    for sender in &senders {
        for n in 0..5 {
            sender.say(n.to_string()).await;
        }
    }
    let mut heard = BTreeMap::new();
    for _ in &senders {
        let stream = within_timeout("a stream", receiver.connection.accept_uni()).await.unwrap();
        let stream = within_timeout("its signals", read(stream, 5)).await;
        assert_eq!(stream.after, 0);
        assert!(heard.insert(stream.from, stream.seqs).is_none(), "one stream a sender");
    }
    for sender in &senders {
        assert_eq!(heard[&sender.id()], [1, 2, 3, 4, 5]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_few_streams_the_longest_idle_sender_makes_room() {
    for (granted, allowed) in [(2, 256), (100, 2), (1, 256), (100, 1)] {
        let world = World::with(|config| config.limits.streams_per_client = allowed).await;
        let receiver = receiver(&world, granted).await;
        let senders = senders(&world, 5).await;
        // Streams are read side by side, as a client must.
        let (report, mut reports) = tokio::sync::mpsc::channel(100);
        let connection = receiver.connection.clone();
        tokio::spawn(async move {
            while let Ok(stream) = connection.accept_uni().await {
                tokio::spawn(read_on(stream, report.clone()));
            }
        });
        // Several rounds, so that every sender loses its stream and gets another.
        let mut streams = 0;
        for round in 1..=4 {
            for sender in &senders {
                sender.say("x").await;
                let heard: Signal = within_timeout("a signal", reports.recv()).await.unwrap();
                assert_eq!((heard.from, heard.seq), (sender.id(), round));
                // Five senders in turn on at most two streams: each signal needs a new one.
                assert_eq!(heard.after, Some(round - 1), "a stream says what comes before it");
                streams += 1;
            }
        }
        assert_eq!(streams, 20);
        // One that speaks again at once keeps its stream.
        let last = senders.last().unwrap();
        last.say("x").await;
        let heard = within_timeout("a signal", reports.recv()).await.unwrap();
        assert_eq!((heard.from, heard.seq, heard.after), (last.id(), 5, None));
    }
}

/// A signal, and what the header of its stream said if it is the first there.
#[derive(Debug)]
struct Signal {
    from: ConnectionId,
    seq: u64,
    after: Option<u64>,
}

/// Reports the signals of a stream as they come.
async fn read_on(mut stream: quinn::RecvStream, report: tokio::sync::mpsc::Sender<Signal>) {
    let mut buffer = FrameBuffer::new(GATEWAY_FRAME_BYTES);
    let mut header = None;
    while let Ok(Some(chunk)) = stream.read_chunk(4096, true).await {
        buffer.push(&chunk.bytes);
        while let Some(frame) = buffer.next_frame().unwrap() {
            let Some((from, after)) = &mut header else {
                let GatewayStream::Sender { from, after } = binary::decode(frame).unwrap().unwrap();
                header = Some((from.connection().unwrap(), Some(after)));
                continue;
            };
            let signal = match binary::decode(frame).unwrap().unwrap() {
                SenderMessage::Signal(signal) => signal,
                SenderMessage::Sender { from, after } => {
                    header = Some((from.connection().unwrap(), Some(after)));
                    continue;
                }
            };
            let (from, after) = (*from, after.take());
            let _ = report.send(Signal { from, seq: signal.seq, after }).await;
        }
    }
}

/// With the SDK: a client that grants 128 streams receives all signals of 150 senders in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_senders_than_streams_keep_their_order() {
    const SENDERS: usize = 150;
    const ROUNDS: u64 = 3;
    let world = World::new().await;
    let options = world.options(TransportMode::Quic, Role::Subscriber).presence(false);
    let mut receiver = world.try_join(&options).await.unwrap();
    let senders = senders(&world, SENDERS).await;
    for _ in 0..ROUNDS {
        for sender in &senders {
            sender.say("x").await;
        }
    }
    let mut last: BTreeMap<ConnectionId, u64> = BTreeMap::new();
    for _ in 0..ROUNDS * SENDERS as u64 {
        let Event::Signal { from: Sender::Connection(from), seq, .. } = receiver.next().await
        else {
            panic!()
        };
        let before = last.insert(from, seq).unwrap_or_default();
        assert_eq!(before + 1, seq);
    }
    assert_eq!(last.len(), SENDERS);
}

/// A sender that waits for a stream gets it as soon as a sender with a stream has left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_that_leaves_makes_room() {
    let world = World::with(|config| config.limits.streams_per_client = 1).await;
    let options = world.options(TransportMode::Quic, Role::Subscriber).presence(false);
    let mut receiver = world.try_join(&options).await.unwrap();
    let stays = world.join(TransportMode::WebSocketJson, Role::Publisher).await;
    for _ in 0..50 {
        let leaves = world.join(TransportMode::WebSocketJson, Role::Publisher).await;
        let ids = [leaves.id(), stays.id()];
        leaves.say("x").await;
        tokio::join!(leaves.client.disconnect(), stays.say("x"));
        let mut heard = [receiver.hear().await.0.unwrap(), receiver.hear().await.0.unwrap()];
        heard.sort_by_key(|id| *id != ids[0]);
        assert_eq!(heard, ids);
    }
}

/// A client that does not read the stream of one sender still receives those of the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_stream_does_not_hold_up_the_others() {
    let world = World::new().await;
    let receiver = receiver(&world, 100).await;
    let mut senders = senders(&world, 2).await;
    // More than the default window of a stream, on an unread stream.
    let window = 1_250_000;
    let [blocker, other] = &mut senders[..] else { panic!() };
    blocker.say("first").await;
    blocker.hear().await;
    let unread = within_timeout("a stream", receiver.connection.accept_uni()).await.unwrap();
    let mut sent = 0;
    while sent < window + 200_000 {
        blocker.say("x".repeat(8000)).await;
        // Its echo says that the gateway has put it into the receiver's outbox, too.
        blocker.hear().await;
        sent += 8000;
    }
    // Only now, with more waiting on the first stream than it takes, does the other speak.
    other.say("hello").await;
    let stream = within_timeout("another stream", receiver.connection.accept_uni()).await.unwrap();
    let heard = within_timeout("its signal", read(stream, 1)).await;
    assert_eq!((heard.from, heard.seqs), (other.id(), vec![1]));
    drop(unread);
}
