//! Rejected attempts to resume: late, concurrent, malformed, or with an invalid ticket.

use super::resume_messages::{cut, hear_until, resumable_client};
use futures_util::StreamExt as _;
use signalbox_client::{CloseReason, Role};
use signalbox_protocol::{
    ClientMessage, ConnectionId, GatewayId,
    message::{Cursor, Resume},
};
use signalbox_tests::{
    TransportMode, World,
    background::BackgroundTraffic,
    raw::{Quic, WebSocket, hello, resume, resume_again, signal, ticket_in},
    within_timeout,
};

/// An abandoned attempt can still arrive, on any transport.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_attempt_is_rejected_and_the_later_link_stays() {
    let world = World::new().await;
    let (link, ticket) = resumable_client(&world, Role::Publisher).await;
    cut(link);
    let mut later = WebSocket::connect(world.addresses().tcp, true).await;
    later.say(&resume_again(&ticket, 2)).await;
    let resumed = hear_until(&mut later, "Resumed").await;
    for attempt in [1, 2] {
        let mut late = Quic::connect(world.addresses().quic).await;
        late.say(&resume_again(&ticket, attempt)).await;
        let answer = late.hear().await;
        assert!(answer.starts_with("Bye { reason: Superseded"), "{answer}");
    }
    later.say(&ClientMessage::TicketStored {}).await;
    later.say(&signal("still here")).await;
    assert!(hear_until(&mut later, "Signal").await.contains("still here"));
    // The client has shown that it has the new ticket, so the used one is void for later attempts, too.
    let mut late = Quic::connect(world.addresses().quic).await;
    late.say(&resume_again(&ticket, 3)).await;
    assert!(late.hear().await.starts_with("Bye { reason: InvalidTicket"));
    // The ticket that came with the answer is valid.
    cut(later);
    let mut back = Quic::connect(world.addresses().quic).await;
    back.say(&resume(&ticket_in(&resumed))).await;
    assert!(back.hear().await.starts_with("Resumed"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_ticket_is_rejected() {
    let world = World::new().await;
    let elsewhere = World::new().await;
    let background = BackgroundTraffic::start(&world).await;
    let (link, ticket) = resumable_client(&world, Role::Publisher).await;
    let (other, others) = resumable_client(&elsewhere, Role::Publisher).await;
    cut(link);
    let forged = format!("{}{}", &ticket[..40], &others[40..]);
    for (what, bad) in [
        ("none", String::new()),
        ("nonsense", "%%%".into()),
        ("far too long", "A".repeat(2000)),
        ("of another gateway", others.clone()),
        ("put together", forged),
        ("cut short", ticket[..ticket.len() - 4].to_owned()),
    ] {
        let expected = CloseReason::InvalidTicket;
        let mut quic = Quic::connect(world.addresses().quic).await;
        quic.say(&resume(&bad)).await;
        assert_eq!(quic.end().await, (Some(expected), expected), "{what}");
        let mut link = WebSocket::connect(world.addresses().tcp, true).await;
        link.say(&resume(&bad)).await;
        assert_eq!(link.end().await, (Some(expected), Some(expected)), "{what}");
    }
    // The rejection does not wait for all cursors.
    let mut link = WebSocket::connect(world.addresses().tcp, true).await;
    let ClientMessage::Resume(more) = resume(&others) else { panic!() };
    link.say(&ClientMessage::Resume(Resume { more: true, ..more })).await;
    assert_eq!(link.end().await.0, Some(CloseReason::InvalidTicket));
    // None of this changed the session.
    let mut link = WebSocket::connect(world.addresses().tcp, false).await;
    link.say(&resume(&ticket)).await;
    hear_until(&mut link, "Resumed").await;
    drop(other);
    background.assert_undisturbed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_malformed_resume_is_rejected_and_may_be_retried() {
    let world = World::new().await;
    let (link, ticket) = resumable_client(&world, Role::Publisher).await;
    cut(link);
    let ClientMessage::Resume(good) = resume(&ticket) else { panic!() };
    let with = |change: &dyn Fn(&mut Resume<'static>)| {
        let mut resume =
            Resume { ticket: good.ticket.clone().into_owned(), agent: None, ..good.clone() };
        change(&mut resume);
        ClientMessage::Resume(resume)
    };
    let stranger = Cursor { from: ConnectionId::from_bytes([9; 16]).into(), seq: 7 };
    let other = Cursor { from: ConnectionId::from_bytes([8; 16]).into(), seq: 7 };
    let servers = Cursor { from: GatewayId::default().into(), seq: 1 };
    let many: Vec<_> = (0..501u128)
        .map(|number| ConnectionId::from_bytes(number.to_be_bytes()))
        .map(|id| Cursor { from: id.into(), seq: 7 })
        .collect();
    for (what, messages) in [
        ("ahead in events", vec![with(&|it| it.events = 1)]),
        ("ahead in confirmations", vec![with(&|it| it.accepted = 1)]),
        ("ahead of the servers", vec![with(&|it| it.cursors = vec![servers.clone()])]),
        ("too many cursors", vec![with(&|it| it.cursors = many.clone())]),
        ("a sender twice", vec![with(&|it| it.cursors = vec![stranger.clone(); 2])]),
        (
            "a sender twice, over two messages",
            vec![
                with(&|it| (it.cursors, it.more) = (vec![stranger.clone()], true)),
                ClientMessage::Cursors { cursors: vec![other.clone()], more: true },
                ClientMessage::Cursors {
                    cursors: vec![Cursor { seq: 0, ..stranger.clone() }],
                    more: false,
                },
            ],
        ),
        (
            "the servers twice",
            vec![with(&|it| it.cursors = vec![Cursor { seq: 0, ..servers.clone() }; 2])],
        ),
        ("a signal where more should come", vec![with(&|it| it.more = true), signal("x")]),
        ("cursors first", vec![ClientMessage::Cursors { cursors: vec![], more: false }]),
        ("a long name", vec![with(&|it| it.agent = Some("x".repeat(65).into()))]),
        ("a hello too", vec![with(&|it| it.more = true), hello("x")]),
    ] {
        let mut link = WebSocket::connect(world.addresses().tcp, false).await;
        for message in &messages {
            link.say(message).await;
        }
        let expected = CloseReason::ProtocolError;
        assert_eq!(link.end().await, (Some(expected), Some(expected)), "{what}");
    }
    // Unknown senders are ignored, and more cursors may follow.
    let mut link = WebSocket::connect(world.addresses().tcp, false).await;
    link.say(&with(&|it| (it.cursors, it.more) = (vec![stranger.clone()], true))).await;
    link.say(&ClientMessage::Cursors { cursors: vec![other.clone()], more: true }).await;
    link.say(&ClientMessage::Cursors { cursors: vec![], more: false }).await;
    hear_until(&mut link, "Resumed").await;
    link.say(&resume(&ticket)).await;
    assert_eq!(link.end().await.0, Some(CloseReason::ProtocolError), "a second one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_concurrent_resumes_one_wins() {
    let world = World::new().await;
    let mut watcher = world.join(TransportMode::WebSocketJson, Role::Publisher).await;
    let (link, ticket) = resumable_client(&world, Role::Publisher).await;
    let id = watcher.sees_created().await;
    // The old link is still alive.
    let mut links = vec![link];
    for _ in 0..10 {
        links.push(WebSocket::connect(world.addresses().tcp, false).await);
    }
    let resume = resume(&ticket);
    let asking = links[1..].iter_mut().map(|link| link.say(&resume));
    futures_util::future::join_all(asking).await;
    let (speak, _) = tokio::sync::broadcast::channel(1);
    let mut tasks = tokio::task::JoinSet::new();
    for mut link in links {
        let mut told = speak.subscribe();
        tasks.spawn(async move {
            loop {
                tokio::select! {
                    message = link.socket.next() => {
                        if !matches!(message, Some(Ok(_))) {
                            return;
                        }
                    }
                    _ = told.recv() => link.say(&signal("the one")).await,
                }
            }
        });
    }
    // All but one have ended.
    for _ in 0..10 {
        within_timeout("the end of a link", tasks.join_next()).await.unwrap().unwrap();
    }
    speak.send(()).unwrap();
    assert_eq!(
        watcher.hear().await,
        (Some(id), None, Some("the one".into())),
        "nobody came or went"
    );
}
