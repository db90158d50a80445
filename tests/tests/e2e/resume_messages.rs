//! Detaching and resuming a connection, message by message, with raw links.

use signalbox_client::{CloseReason, Event, Role};
use signalbox_gateway::ProjectLimitOverrides;
use signalbox_protocol::{
    ClientMessage, Feature,
    message::{Cursor, Resume},
};
use signalbox_tests::{
    Member, PROJECT, TransportMode, World, new_session,
    raw::{Quic, WebSocket, hello_with, resume, resume_again, signal, ticket_in},
    rest::Server,
    token, unix_time, within_timeout,
};
use std::time::Duration;
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

/// Reads messages up to the one that begins with `start`.
pub(super) async fn hear_until(link: &mut WebSocket, start: &str) -> String {
    loop {
        let message = link.hear().await;
        if message.starts_with(start) {
            return message;
        }
        assert!(!message.starts_with("Bye"), "{message}");
    }
}

/// A resumable connection on a raw WebSocket, and its ticket.
pub(super) async fn resumable_client(world: &World, role: Role) -> (WebSocket, String) {
    let mut link =
        WebSocket::join_resumable(world.addresses().tcp, false, &world.token(role)).await;
    let ticket = ticket_in(&hear_until(&mut link, "Ticket").await);
    (link, ticket)
}

/// Closes the TCP connection without a goodbye.
pub(super) fn cut(link: WebSocket) {
    drop(link);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signals_are_confirmed_on_request() {
    let world = World::new().await;
    let (mut link, _) = resumable_client(&world, Role::Publisher).await;
    link.say(&signal("one")).await;
    link.say(&signal(&"x".repeat(9000))).await;
    let mut errors = 0;
    loop {
        let message = link.hear().await;
        if message.starts_with("Error") {
            errors += 1;
        }
        if message == "Accepted { signals: 2 }" {
            assert_eq!(errors, 1, "the error comes before the number that covers it");
            break;
        }
    }
    // The first ticket has no predecessor: nothing changes.
    link.say(&ClientMessage::TicketStored {}).await;
    link.say(&signal("three")).await;
    assert!(link.hear().await.starts_with("Signal"));
    assert_eq!(link.hear().await, "Accepted { signals: 3 }");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_resumes_over_another_transport_unnoticed() {
    let world = World::new().await;
    let mut watcher = world.join(TransportMode::Quic, Role::Publisher).await;
    let (link, ticket) = resumable_client(&world, Role::Publisher).await;
    let id = watcher.sees_created().await;
    cut(link);
    watcher.client.signal().to(id).data("while away").send().await.unwrap();
    // To QUIC and back.
    let mut quic = Quic::connect(world.addresses().quic).await;
    quic.say(&resume(&ticket)).await;
    let resumed = quic.hear().await;
    assert!(
        resumed.starts_with("Resumed") && resumed.ends_with("signals: 0, missed: 1 }"),
        "{resumed}"
    );
    assert!(quic.hear().await.contains("while away"));
    quic.endpoint.close(2u32.into(), b"not a goodbye");
    let mut back = WebSocket::connect(world.addresses().tcp, true).await;
    let ticket = ticket_in(&resumed);
    let ClientMessage::Resume(again) = resume(&ticket) else { panic!() };
    let cursors = vec![Cursor { from: watcher.id().into(), seq: 1 }];
    back.say(&ClientMessage::Resume(Resume { cursors, ..again })).await;
    assert!(hear_until(&mut back, "Resumed").await.contains("signals: 0"));
    back.say(&signal("still the same")).await;
    loop {
        match watcher.next().await {
            Event::Signal { from, data, .. } if data.as_deref() == Some("still the same") => {
                assert_eq!(from, id.into());
                break;
            }
            Event::Signal { .. } => {}
            other => panic!("somebody noticed: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_is_reported_before_the_replay() {
    let world = World::with(|config| config.resume.history_bytes = 2000).await;
    let watcher = world.join(TransportMode::Quic, Role::Publisher).await;
    let token = world.token(Role::Publisher);
    let mut link = WebSocket::connect(world.addresses().tcp, true).await;
    link.say(&hello_with(&token, &Feature::ALL)).await;
    let ticket = ticket_in(&hear_until(&mut link, "Ticket").await);
    cut(link);
    let mut passing = Vec::new();
    for _ in 0..10 {
        passing.push(world.join(TransportMode::WebSocketJson, Role::Publisher).await);
    }
    for _ in 0..10 {
        watcher.client.signal().data("x".repeat(500)).send().await.unwrap();
    }
    let mut link = WebSocket::connect(world.addresses().tcp, true).await;
    link.say(&resume(&ticket)).await;
    let mut heard = Vec::new();
    while !heard.last().is_some_and(|message: &String| message.starts_with("Resumed")) {
        heard.push(link.hear().await);
    }
    let kinds: Vec<_> = heard.iter().map(|it| it.split([' ', '(']).next().unwrap()).collect();
    assert_eq!(kinds, ["Gap", "Gap", "Present", "Resumed"], "{heard:#?}");
    assert!(heard[0].contains(&format!("from: Connection({})", watcher.id())), "{}", heard[0]);
    assert!(heard[1].contains("presence: true, present: 11"), "{}", heard[1]);
}

/// Without its rejection, the sender would take the signal for accepted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejections_are_repeated_until_confirmed() {
    let world = World::new().await;
    let (mut link, ticket) = resumable_client(&world, Role::Publisher).await;
    let long = "x".repeat(9000);
    for data in [&long, "fine", &long] {
        link.say(&signal(data)).await;
    }
    hear_until(&mut link, "Accepted { signals: 3 }").await;
    cut(link);
    // It is unknown whether the client has read that, or the first answer.
    for attempt in [1, 2] {
        let mut link = WebSocket::connect(world.addresses().tcp, false).await;
        link.say(&resume_again(&ticket, attempt)).await;
        for refused in [1, 3] {
            let error = link.hear().await;
            assert!(error.starts_with(&format!("Error {{ signal: Some({refused})")), "{error}");
        }
        let resumed = link.hear().await;
        assert!(resumed.starts_with("Resumed") && resumed.contains("signals: 3, "), "{resumed}");
        cut(link);
    }
    // A client that has the new ticket has read the errors.
    let mut link = WebSocket::connect(world.addresses().tcp, false).await;
    link.say(&resume_again(&ticket, 3)).await;
    let ticket = ticket_in(&hear_until(&mut link, "Resumed").await);
    link.say(&ClientMessage::TicketStored {}).await;
    link.say(&signal("4")).await;
    hear_until(&mut link, "Accepted { signals: 4 }").await;
    cut(link);
    let mut link = WebSocket::connect(world.addresses().tcp, false).await;
    link.say(&resume(&ticket)).await;
    assert!(link.hear().await.starts_with("Resumed"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_detached_connection_is_listed_and_counts() {
    let world = World::with(|config| config.limits.connections_per_session = 2).await;
    let mut watcher = world.join(TransportMode::Quic, Role::Publisher).await;
    let (link, ticket) = resumable_client(&world, Role::Publisher).await;
    let id = watcher.sees_created().await;
    cut(link);
    let mut server = Server::of(&world).await;
    assert_eq!(server.signal(Some(id), "{\"data\":\"while away\"}").await.status, 204);
    let list = server.ask("GET", "/connection", None).await.json();
    assert_eq!(list["count"], 2);
    assert!(
        world
            .try_join(&world.options(TransportMode::WebSocketJson, Role::Publisher))
            .await
            .is_err(),
        "full"
    );
    assert_eq!(server.disconnect(id).await.status, 204);
    let forced = signalbox_client::DisconnectReason::ForceDisconnected;
    assert_eq!(watcher.sees_destroyed().await, (id, forced));
    let mut link = WebSocket::connect(world.addresses().tcp, false).await;
    link.say(&resume(&ticket)).await;
    assert_eq!(link.end().await.0, Some(CloseReason::ForceDisconnected));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_project_overrides_the_resume_window() {
    let mut world = World::with(|config| config.resume.window_ms = 0).await;
    let mut link = WebSocket::connect(world.addresses().tcp, true).await;
    link.say(&hello_with(&world.token(Role::Publisher), &Feature::ALL)).await;
    assert!(link.hear().await.contains("features: {Presence}"), "no resume");
    drop(link);
    let own =
        ProjectLimitOverrides { resume_window_ms: Some(300), ..ProjectLimitOverrides::default() };
    assert_eq!(world.change_projects(|it| it[0].limits = own), Ok(true));
    let mut watcher = in_new_session(&world).await;
    let token = token(PROJECT, watcher.client.session(), Role::Publisher, Duration::from_secs(60));
    let mut link = WebSocket::join_resumable(world.addresses().tcp, true, &token).await;
    assert!(hear_until(&mut link, "Ticket").await.contains("window_ms: 300"));
    let id = watcher.sees_created().await;
    cut(link);
    let lost = signalbox_client::DisconnectReason::NetworkDisconnected;
    assert_eq!(watcher.sees_destroyed().await, (id, lost), "when its window is over");
}

/// A client alone in a new session.
async fn in_new_session(world: &World) -> Member {
    let session = new_session(PROJECT.0);
    let token = token(PROJECT, &session, Role::Publisher, Duration::from_secs(60));
    let options = signalbox_client::ConnectOptions::new(world.url(TransportMode::Quic), token);
    world.try_join(&options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_expiry_applies_after_a_resume() {
    let world = World::with(|config| config.auth.end_on_token_expiry = true).await;
    // Expired, but still accepted within the leeway for clocks.
    let issued = unix_time() - Duration::from_secs(60);
    let claims = serde_json::json!({
        "iss": PROJECT.0, "iat": issued.as_secs(), "exp": issued.as_secs() + 5,
        "session_id": world.session(), "role": "publisher",
    });
    let key = jsonwebtoken::EncodingKey::from_secret(PROJECT.1.as_bytes());
    let token = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap();
    let mut link = WebSocket::join_resumable(world.addresses().tcp, false, &token).await;
    let ticket = ticket_in(&hear_until(&mut link, "Ticket").await);
    cut(link);
    let mut link = WebSocket::connect(world.addresses().tcp, false).await;
    link.say(&resume(&ticket)).await;
    hear_until(&mut link, "Resumed").await;
    assert_eq!(within_timeout("the end", link.end()).await.0, Some(CloseReason::TokenExpired));
}

/// A link can end without its connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_close_without_a_goodbye_is_answered_and_detaches() {
    let world = World::new().await;
    let mut watcher = world.join(TransportMode::Quic, Role::Publisher).await;
    let (mut link, ticket) = resumable_client(&world, Role::Publisher).await;
    let id = watcher.sees_created().await;
    let close = CloseFrame { code: CloseCode::from(4002), reason: "".into() };
    link.write(Message::Close(Some(close))).await;
    assert_eq!(link.end().await.0, None, "there is nothing to say");
    let mut link = WebSocket::connect(world.addresses().tcp, false).await;
    link.say(&resume(&ticket)).await;
    hear_until(&mut link, "Resumed").await;
    link.say(&signal("still here")).await;
    assert_eq!(watcher.hear().await, (Some(id), None, Some("still here".into())));
}
