//! Clients that the gateway asks to reconnect elsewhere, because it shuts down.

use std::time::{Duration, Instant};

use signalbox_client::{CloseReason, ConnectOptions, Event};
use signalbox_protocol::GatewayMessage;

use crate::fake::{Fake, bye, next, signal, soon, ticket};

const LONG: u32 = 60_000;

async fn is_told_of_going(events: &mut signalbox_client::Events) {
    match next(events).await {
        Event::SessionReconnecting { reason, .. } => assert_eq!(reason, CloseReason::ShuttingDown),
        other => panic!("{other:?}"),
    }
}

/// It leaves its link, and resumes its connection on another.
#[tokio::test]
async fn a_kept_client_goes_when_it_is_asked_and_comes_back() {
    let fake = Fake::new().await;
    let (client, mut events, mut link) = fake.join_kept(ticket("t1", LONG)).await;
    let started = Instant::now();
    link.say(GatewayMessage::GoAway { within_ms: 400 }).await;
    // Until then nothing changes.
    let sent = client.signal().data("a").enqueue();
    assert_eq!(soon("sending", sent).await, Ok(1));
    assert_eq!(link.hear().await, "signal a");
    link.say(signal(0, 1)).await;
    assert!(matches!(next(&mut events).await, Event::Signal { seq: 1, .. }));
    link.say(GatewayMessage::Accepted { signals: 1 }).await;
    assert_eq!(link.close_code().await, Some(4002), "1000 would be a goodbye");
    let gone = started.elapsed().as_millis();
    assert!((200..400).contains(&gone), "{gone} ms");
    is_told_of_going(&mut events).await;
    // Signals that are sent meanwhile are queued.
    let sent = client.signal().data("b").enqueue();
    assert_eq!(soon("sending", sent).await, Ok(2));
    let mut link = fake.accept().await;
    assert_eq!(link.hear().await, "resume t1, 0 events, heard 0:1");
    link.say(GatewayMessage::Resumed { ticket: ticket("t2", LONG), signals: 1, missed: 0 }).await;
    assert_eq!(next(&mut events).await, Event::SessionReconnected { missed: 0, gap: None });
    assert_eq!(link.hear().await, "ticketStored");
    assert_eq!(link.hear().await, "signal b");
    // The request was for the old link only.
    link.say(signal(0, 2)).await;
    assert!(matches!(next(&mut events).await, Event::Signal { seq: 2, .. }));
}

/// A client without a ticket stays until the gateway ends the link, and misses nothing before.
#[tokio::test]
async fn a_client_that_is_not_kept_stays_to_the_last() {
    let fake = Fake::new().await;
    let (_client, mut events, mut link) = fake.join(&fake.options().resume(false)).await;
    link.say(GatewayMessage::GoAway { within_ms: 0 }).await;
    // A timer is a millisecond coarse: by then it would have gone.
    let asked = Instant::now();
    let mut seq = 0;
    while asked.elapsed() < Duration::from_millis(50) {
        seq += 1;
        link.say(signal(0, seq)).await;
        assert!(
            matches!(next(&mut events).await, Event::Signal { seq: heard, .. } if heard == seq)
        );
    }
    link.say(bye(CloseReason::ShuttingDown)).await;
    is_told_of_going(&mut events).await;
    drop(link);
    let mut link = fake.accept().await;
    assert_eq!(link.hear().await, "hello token");
    link.welcome(1).await;
    assert!(matches!(next(&mut events).await, Event::SessionRejoined { .. }));
}

/// The window of a ticket counts from the end of the gateway that gave it, so a restart may take
/// longer than that.
#[tokio::test]
async fn a_gateway_that_restarts_is_shown_the_ticket_however_long_it_takes() {
    for told in [GatewayMessage::GoAway { within_ms: 1 }, bye(CloseReason::ShuttingDown)] {
        let fake = Fake::new().await;
        let (_client, mut events, mut link) = fake.join_kept(ticket("t1", 1000)).await;
        link.say(told).await;
        is_told_of_going(&mut events).await;
        drop(link);
        let fake = fake.restart_after(Duration::from_secs(30), &mut events).await;
        let mut link = fake.accept().await;
        assert_eq!(link.hear().await, "resume t1, 0 events, heard ");
    }
}

/// The other URL may be another gateway's.
#[tokio::test]
async fn a_gateway_that_shuts_down_is_skipped() {
    let (first, second) = (Fake::new().await, Fake::new().await);
    let options = ConnectOptions::new([first.url(), second.url()], "token");
    let (_client, mut events, mut link) = first.join(&options).await;
    link.say(GatewayMessage::Ticket(ticket("t1", LONG))).await;
    link.say(GatewayMessage::GoAway { within_ms: 0 }).await;
    is_told_of_going(&mut events).await;
    // It keeps running for long, and refuses every client.
    let refusing = async {
        loop {
            let mut link = first.accept().await;
            assert_eq!(link.hear().await, "resume t1, 0 events, heard ");
            link.say(bye(CloseReason::ShuttingDown)).await;
        }
    };
    let other = async {
        let mut link = second.accept().await;
        assert_eq!(link.hear().await, "resume t1, 0 events, heard ");
        link.say(bye(CloseReason::InvalidTicket)).await;
    };
    tokio::select! {
        () = refusing => {}
        () = other => {}
    }
}
