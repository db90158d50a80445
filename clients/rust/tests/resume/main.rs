//! Lost links, against a scripted gateway.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's panic is its answer"
)]

mod fake;
mod going;

use std::time::Duration;

use fake::{Fake, bye, error, id, info, next, signal, soon, ticket};
use signalbox_client::{CloseReason, ErrorCode, Event, Lost, SendError};
use signalbox_protocol::{Feature, Features, GatewayMessage};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// The client has resumed, and nothing is lost.
const BACK: Event = Event::SessionReconnected { missed: 0, gap: None };

/// Signals that a client takes before sending waits: those that it keeps and those in its queue.
const KEPT: usize = 1024 + 256;

/// A window that no test outlasts.
const LONG: u32 = 60_000;

#[tokio::test]
async fn a_lost_link_is_replaced_and_no_signal_is_repeated() {
    let fake = Fake::new().await;
    let (client, mut events, mut link) = fake.join_kept(ticket("t1", LONG)).await;
    link.say(GatewayMessage::ConnectionCreated(info(1))).await;
    link.say(signal(1, 7)).await;
    assert!(matches!(next(&mut events).await, Event::ConnectionCreated(_)));
    assert!(matches!(next(&mut events).await, Event::Signal { seq: 7, .. }));
    for data in ["a", "b", "c"] {
        client.signal().data(data).enqueue().await.unwrap();
        assert_eq!(link.hear().await, format!("signal {data}"));
    }
    link.say(GatewayMessage::Accepted { signals: 1 }).await;
    drop(link);
    assert!(matches!(next(&mut events).await, Event::SessionReconnecting { .. }));
    let waiting = client.signal().data("d").send();
    let gateway = async {
        let mut link = fake.accept().await;
        assert_eq!(link.hear().await, "resume t1, 1 events, heard 1:7");
        // It has "b", too, and only its confirmation was lost.
        link.say(GatewayMessage::Resumed { ticket: ticket("t2", LONG), signals: 2, missed: 0 })
            .await;
        for message in ["ticketStored", "signal c", "signal d"] {
            assert_eq!(link.hear().await, message);
        }
        link.say(GatewayMessage::Accepted { signals: 4 }).await;
        link
    };
    let (sent, mut link) = tokio::join!(soon("sending", waiting), gateway);
    assert_eq!(sent, Ok(4));
    assert_eq!(next(&mut events).await, BACK);
    link.say(signal(1, 9)).await;
    assert!(matches!(next(&mut events).await, Event::Signal { seq: 9, .. }));
    // Again, with the new ticket.
    drop(link);
    assert!(matches!(next(&mut events).await, Event::SessionReconnecting { .. }));
    let mut link = fake.accept().await;
    assert_eq!(link.hear().await, "resume t2, 1 events, heard 1:9");
    link.say(GatewayMessage::Resumed { ticket: ticket("t3", LONG), signals: 4, missed: 0 }).await;
    assert_eq!(next(&mut events).await, BACK);
    assert_eq!(link.hear().await, "ticketStored");
    assert_eq!(client.connection().id, id(0));
    drop(client);
    assert_eq!(link.hear().await, "goodbye 4");
}

#[tokio::test]
async fn an_answer_that_is_lost_leaves_the_ticket_as_it_was() {
    let fake = Fake::new().await;
    let (_client, mut events, link) = fake.join_kept(ticket("t1", LONG)).await;
    drop(link);
    assert!(matches!(next(&mut events).await, Event::SessionReconnecting { .. }));
    for _ in 0..3 {
        let mut link = fake.accept().await;
        assert_eq!(link.hear().await, "resume t1, 0 events, heard ");
    }
    let mut link = fake.accept().await;
    link.say(GatewayMessage::Resumed { ticket: ticket("t2", LONG), signals: 0, missed: 0 }).await;
    assert_eq!(next(&mut events).await, BACK);
}

#[tokio::test]
async fn a_resume_reports_lost_signals_and_presence() {
    let fake = Fake::new().await;
    let (client, mut events, mut link) = fake.join_kept(ticket("t1", LONG)).await;
    link.say(GatewayMessage::ConnectionCreated(info(1))).await;
    next(&mut events).await;
    drop(link);
    assert!(matches!(next(&mut events).await, Event::SessionReconnecting { .. }));
    let mut link = fake.accept().await;
    link.hear().await;
    let all = [1, 2].map(|n| Lost { from: id(n).into(), after: 0, until: 3 });
    for lost in all.clone() {
        link.say(GatewayMessage::Gap { lost: vec![lost], presence: false, present: 0 }).await;
    }
    link.say(GatewayMessage::Gap { lost: vec![], presence: true, present: 1 }).await;
    link.say(GatewayMessage::Present { connections: vec![info(2)] }).await;
    link.say(GatewayMessage::Resumed { ticket: ticket("t2", LONG), signals: 0, missed: 7 }).await;
    match next(&mut events).await {
        Event::SessionReconnected { missed: 7, gap: Some(gap) } => {
            assert_eq!((gap.lost, gap.presence), (all.to_vec(), true));
        }
        other => panic!("{other:?}"),
    }
    assert!(
        matches!(next(&mut events).await, Event::ConnectionDestroyed { id: it, .. } if it == id(1))
    );
    assert_eq!(next(&mut events).await, Event::ConnectionCreated(info(2)));
    assert_eq!(client.presence(), [info(2)]);
}

#[tokio::test]
async fn a_gap_on_an_open_link_is_reported_at_once() {
    let fake = Fake::new().await;
    let (_client, mut events, mut link) = fake.join_kept(ticket("t1", LONG)).await;
    link.say(GatewayMessage::ConnectionCreated(info(1))).await;
    link.say(signal(1, 1)).await;
    let lost = vec![Lost { from: id(1).into(), after: 2, until: 4 }];
    link.say(GatewayMessage::Gap { lost: lost.clone(), presence: false, present: 0 }).await;
    link.say(signal(1, 2)).await;
    next(&mut events).await;
    assert!(matches!(next(&mut events).await, Event::Signal { seq: 1, .. }));
    assert_eq!(next(&mut events).await, Event::Gap { lost });
    assert!(matches!(next(&mut events).await, Event::Signal { seq: 2, .. }));
    drop(link);
    assert!(matches!(next(&mut events).await, Event::SessionReconnecting { .. }));
    assert_eq!(fake.accept().await.hear().await, "resume t1, 1 events, heard 1:2");
}

#[tokio::test]
async fn a_gap_of_presence_on_an_open_link_violates_the_protocol() {
    let fake = Fake::new().await;
    let (_client, mut events, mut link) = fake.join_kept(ticket("t1", LONG)).await;
    link.say(GatewayMessage::Gap { lost: vec![], presence: true, present: 0 }).await;
    match next(&mut events).await {
        Event::SessionDisconnected { reason: CloseReason::ProtocolError, message } => {
            assert_eq!(message, "a gap of presence outside a resume");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_client_whose_ticket_is_refused_rejoins() {
    let fake = Fake::new().await;
    let (client, mut events, mut link) = fake.join_kept(ticket("t1", LONG)).await;
    link.say(GatewayMessage::ConnectionCreated(info(1))).await;
    next(&mut events).await;
    client.signal().data("a").enqueue().await.unwrap();
    client.signal().data("b").enqueue().await.unwrap();
    assert_eq!(link.hear().await, "signal a");
    assert_eq!(link.hear().await, "signal b");
    link.say(GatewayMessage::Accepted { signals: 1 }).await;
    // A client that has this event has the confirmation, too.
    link.say(signal(1, 1)).await;
    assert!(matches!(next(&mut events).await, Event::Signal { .. }));
    drop(link);
    assert!(matches!(next(&mut events).await, Event::SessionReconnecting { .. }));
    let mut link = fake.accept().await;
    assert_eq!(link.hear().await, "resume t1, 1 events, heard 1:1");
    link.say(bye(CloseReason::InvalidTicket)).await;
    drop(link);
    let mut link = fake.accept().await;
    assert_eq!(link.hear().await, "hello token");
    link.welcome(9).await;
    assert_eq!(next(&mut events).await, Event::SessionRejoined { connection: info(9) });
    assert_eq!((client.connection().id, client.presence()), (id(9), vec![]));
    assert_eq!(link.hear().await, "signal b");
    link.say(error(Some(1), ErrorCode::RateLimited)).await;
    match next(&mut events).await {
        Event::Rejected { signal, .. } => assert_eq!(signal, Some(2), "the application's number"),
        other => panic!("{other:?}"),
    }
    link.say(GatewayMessage::Ticket(ticket("u1", LONG))).await;
    drop(link);
    let mut link = fake.accept().await;
    assert_eq!(link.hear().await, "resume u1, 0 events, heard ");
}

/// The gateway's window begins when it notices the loss, which takes it up to four thirds of its idle
/// timeout (30 s here).
#[tokio::test]
async fn the_ticket_is_tried_while_the_gateway_may_hold_the_connection() {
    for (away, then) in [(20, "resume t1, 0 events, heard "), (45, "hello token")] {
        let fake = Fake::new().await;
        let (_client, mut events, link) = fake.join_kept(ticket("t1", 0)).await;
        drop(link);
        assert!(matches!(next(&mut events).await, Event::SessionReconnecting { .. }));
        let fake = fake.restart_after(Duration::from_secs(away), &mut events).await;
        assert_eq!(fake.accept().await.hear().await, then, "after {away} s");
    }
}

/// What closes a link without a bye is no gateway that refuses the client.
#[tokio::test]
async fn a_link_that_is_closed_before_the_answer_is_tried_again() {
    for code in [None, Some(CloseCode::Normal)] {
        let fake = Fake::new().await;
        let (_client, mut events, link) = fake.join_kept(ticket("t1", LONG)).await;
        drop(link);
        assert!(matches!(next(&mut events).await, Event::SessionReconnecting { .. }));
        let mut link = fake.accept().await;
        assert_eq!(link.hear().await, "resume t1, 0 events, heard ");
        link.close(code).await;
        let mut link = fake.accept().await;
        assert_eq!(link.hear().await, "resume t1, 0 events, heard ");
        link.say(GatewayMessage::Resumed { ticket: ticket("t2", LONG), signals: 0, missed: 0 })
            .await;
        assert_eq!(next(&mut events).await, BACK);
    }
}

#[tokio::test]
async fn a_refused_rejoin_ends_the_client() {
    let fake = Fake::new().await;
    let (client, mut events, link) = fake.join_kept(ticket("t1", LONG)).await;
    drop(link);
    assert!(matches!(next(&mut events).await, Event::SessionReconnecting { .. }));
    let mut link = fake.accept().await;
    link.hear().await;
    link.say(bye(CloseReason::InvalidTicket)).await;
    drop(link);
    let waiting = client.signal().data("a").send();
    let gateway = async {
        let mut link = fake.accept().await;
        assert_eq!(link.hear().await, "hello token");
        link.say(bye(CloseReason::TokenExpired)).await;
    };
    let (sent, ()) = tokio::join!(soon("sending", waiting), gateway);
    assert_eq!(sent, Err(SendError::Disconnected));
    ends(&mut events, CloseReason::TokenExpired).await;
}

/// The next event is the last.
async fn ends(events: &mut signalbox_client::Events, expected: CloseReason) {
    match next(events).await {
        Event::SessionDisconnected { reason, .. } => assert_eq!(reason, expected),
        other => panic!("{other:?}"),
    }
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn a_client_does_not_reconnect_after_a_final_reason() {
    for reason in
        [CloseReason::ForceDisconnected, CloseReason::Superseded, CloseReason::SlowConsumer]
    {
        let fake = Fake::new().await;
        let (_client, mut events, mut link) = fake.join_kept(ticket("t1", LONG)).await;
        link.say(bye(reason)).await;
        drop(link);
        ends(&mut events, reason).await;
        // It may learn of it only when it comes back.
        let (_client, mut events, link) = fake.join_kept(ticket("t1", LONG)).await;
        drop(link);
        assert!(matches!(next(&mut events).await, Event::SessionReconnecting { .. }));
        let mut link = fake.accept().await;
        assert_eq!(link.hear().await, "resume t1, 0 events, heard ");
        link.say(bye(reason)).await;
        drop(link);
        ends(&mut events, reason).await;
    }
}

#[tokio::test]
async fn a_client_resumes_after_a_shutdown_of_its_gateway() {
    let fake = Fake::new().await;
    let (_client, mut events, mut link) = fake.join_kept(ticket("t1", LONG)).await;
    link.say(bye(CloseReason::ShuttingDown)).await;
    drop(link);
    match next(&mut events).await {
        Event::SessionReconnecting { reason, .. } => assert_eq!(reason, CloseReason::ShuttingDown),
        other => panic!("{other:?}"),
    }
    let mut link = fake.accept().await;
    assert_eq!(link.hear().await, "resume t1, 0 events, heard ");
    link.say(bye(CloseReason::ShuttingDown)).await;
    drop(link);
    // It is asked again until it knows.
    let mut link = fake.accept().await;
    assert_eq!(link.hear().await, "resume t1, 0 events, heard ");
    link.say(GatewayMessage::Resumed { ticket: ticket("t2", LONG), signals: 0, missed: 0 }).await;
    assert_eq!(next(&mut events).await, BACK);
}

#[tokio::test]
async fn a_client_does_not_wait_for_confirmations_of_a_gateway_without_resumption() {
    let fake = Fake::with(Features::NONE.with(Feature::Presence, true)).await;
    let (client, mut events, mut link) = fake.join(&fake.options()).await;
    for (number, data) in [(1, "a"), (2, "b")] {
        assert_eq!(soon("sending", client.signal().data(data).send()).await, Ok(number));
        assert_eq!(link.hear().await, format!("signal {data}"));
    }
    drop(link);
    assert!(matches!(next(&mut events).await, Event::SessionReconnecting { .. }));
    let mut link = fake.accept().await;
    assert_eq!(link.hear().await, "hello token");
}

#[tokio::test]
async fn a_client_without_resume_and_rejoin_ends_with_its_link() {
    let fake = Fake::new().await;
    let options = fake.options().resume(false).rejoin(false);
    let (client, mut events, mut link) = fake.join(&options).await;
    assert_eq!(soon("sending", client.signal().data("a").send()).await, Ok(1));
    assert_eq!(link.hear().await, "signal a");
    drop(link);
    ends(&mut events, CloseReason::NetworkDisconnected).await;
}

#[tokio::test]
async fn a_client_can_leave_while_its_link_is_lost() {
    let fake = Fake::new().await;
    let (client, mut events, link) = fake.join_kept(ticket("t1", LONG)).await;
    drop(link);
    assert!(matches!(next(&mut events).await, Event::SessionReconnecting { .. }));
    client.signal().data("a").enqueue().await.unwrap();
    // This attempt is not answered, nor is there time for another: leaving makes one at once.
    let unanswered = fake.accept().await;
    let gateway = async {
        let mut link = fake.accept().await;
        assert_eq!(link.hear().await, "resume t1, 0 events, heard ");
        link.say(GatewayMessage::Resumed { ticket: ticket("t2", LONG), signals: 0, missed: 0 })
            .await;
        for message in ["ticketStored", "signal a", "goodbye 1"] {
            assert_eq!(link.hear().await, message);
        }
        link.say(bye(CloseReason::ClientDisconnected)).await;
    };
    tokio::join!(soon("leaving", client.disconnect()), gateway);
    drop(unanswered);
    assert_eq!(next(&mut events).await, BACK);
    ends(&mut events, CloseReason::ClientDisconnected).await;
    // And so does one that is dropped, however much it has to send.
    let (client, mut events, link) = fake.join_kept(ticket("t1", LONG)).await;
    drop(link);
    assert!(matches!(next(&mut events).await, Event::SessionReconnecting { .. }));
    for _ in 0..KEPT {
        soon("there is room", client.signal().enqueue()).await.unwrap();
    }
    let one_more = client.signal().enqueue();
    assert!(futures_util::poll!(Box::pin(one_more)).is_pending(), "what waits is bounded");
    drop(client);
    ends(&mut events, CloseReason::ClientDisconnected).await;
}

#[tokio::test]
async fn a_signal_without_retry_is_not_sent_after_a_reconnect() {
    let fake = Fake::new().await;
    let (client, mut events, mut link) = fake.join_kept(ticket("t1", LONG)).await;
    let now = || client.signal().retry_after_reconnect(false).data("now").send();
    let lost = async {
        assert_eq!(link.hear().await, "signal now");
        drop(link);
        assert!(matches!(next(&mut events).await, Event::SessionReconnecting { .. }));
        assert_eq!(soon("sending", now()).await, Err(SendError::NotSent));
        client.signal().data("later").enqueue().await.unwrap();
        let mut link = fake.accept().await;
        link.hear().await;
        link.say(GatewayMessage::Resumed { ticket: ticket("t2", LONG), signals: 0, missed: 0 })
            .await;
        assert_eq!(link.hear().await, "ticketStored");
        assert_eq!(link.hear().await, "signal later");
    };
    let (sent, ()) = tokio::join!(soon("sending", now()), lost);
    assert_eq!(sent, Err(SendError::NotSent));
}

#[tokio::test]
async fn a_signal_is_confirmed_or_refused() {
    let fake = Fake::new().await;
    let (client, mut events, mut link) = fake.join_kept(ticket("t1", LONG)).await;
    let (first, second) = (client.signal().data("a").send(), client.signal().data("b").send());
    let gateway = async {
        link.hear().await;
        link.hear().await;
        link.say(error(Some(1), ErrorCode::NotFound)).await;
        link.say(GatewayMessage::Accepted { signals: 2 }).await;
    };
    let (first, second, ()) = tokio::join!(first, second, gateway);
    let refused = SendError::Rejected { code: ErrorCode::NotFound, message: "no".into() };
    assert_eq!((first, second), (Err(refused), Ok(2)));
    link.say(GatewayMessage::ConnectionCreated(info(1))).await;
    let event = next(&mut events).await;
    assert!(matches!(event, Event::ConnectionCreated(_)), "nothing is told twice: {event:?}");
}

/// A task that both sends and reads events must not wait for itself.
#[tokio::test]
async fn a_client_that_does_not_read_waits_for_no_confirmation() {
    let fake = Fake::new().await;
    let (client, _events, mut link) = fake.join_kept(ticket("t1", LONG)).await;
    let waiting = client.signal().data("a").send();
    let gateway = async {
        assert_eq!(link.hear().await, "signal a");
        for seq in 1..3000 {
            link.say(signal(0, seq)).await;
        }
        link.say(GatewayMessage::Accepted { signals: 1 }).await;
    };
    let (sent, ()) = tokio::join!(soon("sending", waiting), gateway);
    assert_eq!(sent, Ok(1));
    assert_eq!(soon("sending", client.signal().data("b").send()).await, Ok(2));
}

#[tokio::test]
async fn a_second_url_is_used_and_tried_first_from_then_on() {
    let (first, second) = (Fake::new().await, Fake::new().await);
    // The first accepts and says nothing, not even in TLS.
    let url = first.url().replace("ws://", "wss://");
    let options = signalbox_client::ConnectOptions::new([url, second.url()], "token");
    let (_client, mut events, mut link) = second.join(&options).await;
    link.say(GatewayMessage::Ticket(ticket("t1", LONG))).await;
    link.say(GatewayMessage::ConnectionCreated(info(1))).await;
    next(&mut events).await;
    drop(first);
    drop(link);
    assert!(matches!(next(&mut events).await, Event::SessionReconnecting { .. }));
    let begun = Instant::now();
    let mut link = second.accept().await;
    assert!(begun.elapsed() < Duration::from_millis(300), "there was no head start to wait for");
    assert_eq!(link.hear().await, "resume t1, 1 events, heard ");
}

/// With a paused clock, which advances whenever every task waits.
#[tokio::test(start_paused = true)]
async fn a_client_does_not_try_for_ever() {
    let fake = Fake::new().await;
    let (_client, mut events, link) = fake.join_kept(ticket("t1", LONG)).await;
    drop(fake);
    drop(link);
    let begun = Instant::now();
    match events.next().await {
        Some(Event::SessionReconnecting { .. }) => {}
        other => panic!("{other:?}"),
    }
    match events.next().await {
        Some(Event::SessionDisconnected { reason, .. }) => {
            assert_eq!(reason, CloseReason::NetworkDisconnected);
        }
        other => panic!("{other:?}"),
    }
    let minutes = begun.elapsed().as_secs_f64() / 60.0;
    assert!((6.6..7.1).contains(&minutes), "{minutes}: 100 s for the ticket, five minutes more");
}
