//! Conformance suite, run for every transport: the semantics of a session do not depend on it. Each test
//! has a client on the transport and another one on QUIC or WebSocket.

use signalbox_client::{
    CloseReason, ConnectError, ConnectOptions, DisconnectReason, ErrorCode, Event, Role,
};
use signalbox_tests::{
    PROJECT, TransportMode, World, new_session, rest::Server, token_for, within_timeout,
};

/// Runs every test of the suite over one transport, on both kinds of runtime that a gateway can have.
macro_rules! suite {
    ($($module:ident: $transport:expr,)+) => {$(
        mod $module {
            suite!(@tests $transport =>
                a_new_client_receives_the_present_connections,
                signals_reach_all_or_one,
                the_largest_signal_arrives,
                signals_of_a_sender_keep_their_order,
                an_unknown_target_is_an_error_and_the_link_stays,
                subscribers_receive_only,
                subscribers_may_send_if_configured,
                a_publisheronly_client_neither_sends_nor_receives,
                a_moderator_disconnects_others,
                signals_of_servers_have_no_sender_and_one_order,
                a_server_disconnects_anybody,
                the_last_signals_before_a_goodbye_arrive,
                presence_can_be_declined,
                sessions_are_apart,
                all_clients_are_told_of_a_shutdown,
                a_full_session_rejects_clients,
                a_user_has_no_more_connections_than_the_limit,
                the_welcome_names_other_gateways,
            );
        }
    )+};
    (@tests $transport:expr => $($test:ident,)+) => {
        mod one_thread {
            $(#[tokio::test]
            async fn $test() {
                super::super::$test($transport).await;
            })+
        }
        mod two_threads {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::super::$test($transport).await;
            })+
        }
    };
}

suite! {
    quic: signalbox_tests::TransportMode::Quic,
    quic_single_stream: signalbox_tests::TransportMode::QuicSingleStream,
    webtransport: signalbox_tests::TransportMode::WebTransport,
    websocket_postcard: signalbox_tests::TransportMode::WebSocketPostcard,
    websocket_json: signalbox_tests::TransportMode::WebSocketJson,
}

/// The transport of the other client.
fn other(transport: TransportMode) -> TransportMode {
    match transport {
        TransportMode::Quic | TransportMode::QuicSingleStream => TransportMode::WebSocketJson,
        TransportMode::WebTransport
        | TransportMode::WebSocketPostcard
        | TransportMode::WebSocketJson => TransportMode::Quic,
    }
}

async fn a_new_client_receives_the_present_connections(transport: TransportMode) {
    let world = World::new().await;
    let mut alice = world.join(transport, Role::Publisher).await;
    let mut bob = world.join(other(transport), Role::Publisher).await;
    let mut carol = world.join(transport, Role::Publisher).await;
    assert_eq!(alice.sees_created().await, bob.id());
    assert_eq!(alice.sees_created().await, carol.id());
    assert_eq!(bob.sees_created().await, alice.id());
    assert_eq!(bob.sees_created().await, carol.id());
    assert_eq!(carol.sees_created().await, alice.id());
    assert_eq!(carol.sees_created().await, bob.id());
    let present: Vec<_> = carol.client.presence().into_iter().map(|info| info.id).collect();
    assert_eq!(present, [alice.id(), bob.id()]);
    bob.client.disconnect().await;
    for member in [&mut alice, &mut carol] {
        let left = (bob.id(), DisconnectReason::ClientDisconnected);
        assert_eq!(member.sees_destroyed().await, left);
    }
    assert_eq!(bob.ends().await, CloseReason::ClientDisconnected);
    assert_eq!(carol.client.presence().len(), 1);
    drop((alice, carol));
    world.is_empty().await;
}

async fn signals_reach_all_or_one(transport: TransportMode) {
    let world = World::new().await;
    let mut alice = world.join(transport, Role::Publisher).await;
    let mut bob = world.join(other(transport), Role::Publisher).await;
    alice.sees_created().await;
    bob.sees_created().await;
    let from = Some(alice.id());
    let text = |text: &str| Some(text.to_owned());

    alice.client.signal().signal_type("chat").data("grüße 🚦").enqueue().await.unwrap();
    for member in [&mut alice, &mut bob] {
        assert_eq!(member.hear().await, (from, text("chat"), text("grüße 🚦")));
    }
    // A ping has neither type nor data.
    alice.client.signal().enqueue().await.unwrap();
    for member in [&mut alice, &mut bob] {
        assert_eq!(member.hear().await, (from, None, None));
    }
    // To one: the sender does not receive it, as its next signal shows.
    alice.client.signal().data("psst").to(bob.id()).enqueue().await.unwrap();
    alice.say("aloud").await;
    assert_eq!(bob.hear_data().await, "psst");
    assert_eq!(bob.hear_data().await, "aloud");
    assert_eq!(alice.hear_data().await, "aloud");
    bob.client.signal().data("back").to(alice.id()).enqueue().await.unwrap();
    assert_eq!(alice.hear().await, (Some(bob.id()), None, text("back")));
}

async fn the_largest_signal_arrives(transport: TransportMode) {
    let world = World::new().await;
    let alice = world.join(transport, Role::Publisher).await;
    let mut bob = world.join(other(transport), Role::Publisher).await;
    bob.sees_created().await;
    let signal_type = "t".repeat(128);
    // Control characters take six bytes each in JSON.
    for data in ["d".repeat(8192), "\u{1}".repeat(8192), "é".repeat(4096)] {
        alice.client.signal().signal_type(&signal_type).data(&data).enqueue().await.unwrap();
        assert_eq!(bob.hear().await, (Some(alice.id()), Some(signal_type.clone()), Some(data)));
    }
}

async fn signals_of_a_sender_keep_their_order(transport: TransportMode) {
    const SIGNALS: usize = 1000;
    let world = World::new().await;
    let mut alice = world.join(transport, Role::Publisher).await;
    let mut bob = world.join(other(transport), Role::Publisher).await;
    alice.sees_created().await;
    bob.sees_created().await;
    // To all and to one in turn: both are the same order.
    for n in 0..SIGNALS {
        let signal = alice.client.signal().data(n.to_string());
        let signal = if n % 3 == 0 { signal.to(bob.id()) } else { signal };
        signal.enqueue().await.unwrap();
    }
    for n in 0..SIGNALS {
        assert_eq!(bob.hear_data().await, n.to_string());
        if n % 3 != 0 {
            assert_eq!(alice.hear_data().await, n.to_string());
        }
    }
}

async fn an_unknown_target_is_an_error_and_the_link_stays(transport: TransportMode) {
    let world = World::new().await;
    let mut alice = world.join(transport, Role::Publisher).await;
    alice.say("one").await;
    let nobody = "0b2f6a7e-54c1-4d0a-9a39-1c4dca4d9f10".parse().unwrap();
    let number = alice.client.signal().data("two").to(nobody).enqueue().await.unwrap();
    assert_eq!(number, 2);
    alice.say("three").await;
    // Errors come on the control stream, so over QUIC they may overtake signals.
    let (mut heard, mut refused) = (Vec::new(), None);
    while heard.len() < 2 || refused.is_none() {
        match alice.next().await {
            Event::Signal { data, .. } => heard.extend(data),
            Event::Rejected { signal, code, .. } => refused = Some((signal, code)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(heard, ["one", "three"]);
    assert_eq!(refused, Some((Some(2), ErrorCode::NotFound)));
}

async fn subscribers_receive_only(transport: TransportMode) {
    let world = World::new().await;
    let mut listener = world.join(transport, Role::Subscriber).await;
    let speaker = world.join(other(transport), Role::Publisher).await;
    listener.sees_created().await;
    listener.say("may I?").await;
    let Event::Rejected { signal: Some(1), code: ErrorCode::Forbidden, .. } = listener.next().await
    else {
        panic!("not refused")
    };
    speaker.say("hello").await;
    assert_eq!(listener.hear_data().await, "hello");
}

async fn subscribers_may_send_if_configured(transport: TransportMode) {
    let world = World::with(|config| config.auth.subscribers_may_send = true).await;
    let mut member = world.join(transport, Role::Subscriber).await;
    member.say("I may").await;
    assert_eq!(member.hear_data().await, "I may");
}

async fn a_publisheronly_client_neither_sends_nor_receives(transport: TransportMode) {
    let world = World::new().await;
    let mut mute = world.join(transport, Role::PublisherOnly).await;
    let mut speaker = world.join(other(transport), Role::Publisher).await;
    mute.sees_created().await;
    speaker.sees_created().await;
    speaker.say("to all").await;
    speaker.client.signal().to(mute.id()).enqueue().await.unwrap();
    mute.say("may I?").await;
    let Event::Rejected { code: ErrorCode::Forbidden, .. } = mute.next().await else {
        panic!("not refused, or it heard what it must not")
    };
    let (mut heard, mut refused) = (false, false);
    while !(heard && refused) {
        match speaker.next().await {
            Event::Signal { .. } => heard = true,
            Event::Rejected { code, .. } => refused = code == ErrorCode::Forbidden,
            other => panic!("{other:?}"),
        }
    }
}

async fn a_moderator_disconnects_others(transport: TransportMode) {
    let world = World::new().await;
    let mut victim = world.join(transport, Role::Publisher).await;
    let mut moderator = world.join(other(transport), Role::Moderator).await;
    let mut bystander = world.join(transport, Role::Publisher).await;
    bystander.sees_created().await;
    bystander.sees_created().await;
    moderator.sees_created().await;
    moderator.sees_created().await;

    bystander.client.force_disconnect(victim.id()).await.unwrap();
    let Event::Rejected { signal: None, code: ErrorCode::Forbidden, .. } = bystander.next().await
    else {
        panic!("anyone may disconnect others")
    };
    moderator.client.force_disconnect(victim.id()).await.unwrap();
    assert_eq!(victim.ends().await, CloseReason::ForceDisconnected);
    let gone = (victim.id(), DisconnectReason::ForceDisconnected);
    assert_eq!(bystander.sees_destroyed().await, gone);
    assert_eq!(moderator.sees_destroyed().await, gone);
    moderator.client.force_disconnect(victim.id()).await.unwrap();
    let Event::Rejected { signal: None, code: ErrorCode::NotFound, .. } = moderator.next().await
    else {
        panic!("somebody is disconnected twice")
    };
}

async fn the_last_signals_before_a_goodbye_arrive(transport: TransportMode) {
    const SIGNALS: usize = 300;
    let world = World::new().await;
    let mut bob = world.join(other(transport), Role::Publisher).await;
    for _ in 0..3 {
        let alice = world.join(transport, Role::Publisher).await;
        assert_eq!(bob.sees_created().await, alice.id());
        for n in 0..SIGNALS {
            alice.say(n.to_string()).await;
        }
        alice.client.disconnect().await;
        for n in 0..SIGNALS {
            assert_eq!(bob.hear_data().await, n.to_string());
        }
        let left = (alice.id(), DisconnectReason::ClientDisconnected);
        assert_eq!(bob.sees_destroyed().await, left);
    }
}

async fn presence_can_be_declined(transport: TransportMode) {
    let world = World::new().await;
    let early = world.join(other(transport), Role::Publisher).await;
    let options = world.options(transport, Role::Publisher).presence(false);
    let mut quiet = world.try_join(&options).await.unwrap();
    let late = world.join(other(transport), Role::Publisher).await;
    late.say("hello").await;
    assert_eq!(quiet.hear().await.0, Some(late.id()));
    late.client.disconnect().await;
    early.say("still here").await;
    assert_eq!(quiet.hear().await.0, Some(early.id()));
}

async fn sessions_are_apart(transport: TransportMode) {
    let world = World::new().await;
    let mut here = world.join(transport, Role::Publisher).await;
    let elsewhere = new_session(signalbox_tests::PROJECT.0);
    let lifetime = std::time::Duration::from_secs(60);
    let token =
        signalbox_tests::token(signalbox_tests::PROJECT, &elsewhere, Role::Moderator, lifetime);
    let options = signalbox_client::ConnectOptions::new(world.url(transport), token);
    let mut there = world.try_join(&options).await.unwrap();
    there.say("in there").await;
    there.client.signal().to(here.id()).enqueue().await.unwrap();
    there.client.force_disconnect(here.id()).await.unwrap();
    let mut refused = 0;
    while refused < 2 {
        match there.next().await {
            Event::Rejected { code: ErrorCode::NotFound, .. } => refused += 1,
            Event::Signal { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    here.say("in here").await;
    assert_eq!(here.hear_data().await, "in here");
}

async fn all_clients_are_told_of_a_shutdown(transport: TransportMode) {
    let mut world = World::new().await;
    let mut alice = world.join(transport, Role::Publisher).await;
    let mut bob = world.join(other(transport), Role::Publisher).await;
    world.tell_to_stop();
    assert_eq!(alice.loses_link().await, CloseReason::ShuttingDown);
    assert_eq!(bob.loses_link().await, CloseReason::ShuttingDown);
    world.stop().await;
}

async fn a_full_session_rejects_clients(transport: TransportMode) {
    let world = World::with(|config| config.limits.connections_per_session = 2).await;
    let first = world.join(transport, Role::Publisher).await;
    let mut second = world.join(other(transport), Role::Publisher).await;
    second.sees_created().await;
    let options = world.options(transport, Role::Publisher);
    match world.try_join(&options).await.err() {
        Some(signalbox_client::ConnectError::Refused { reason, .. }) => {
            assert_eq!(reason, CloseReason::ConnectionLimit);
        }
        other => panic!("{other:?}"),
    }
    second.say("undisturbed").await;
    assert_eq!(second.hear_data().await, "undisturbed");
    first.client.disconnect().await;
    within_timeout("there is room again", async {
        while world.try_join(&options).await.is_err() {}
    })
    .await;
}

async fn a_user_has_no_more_connections_than_the_limit(transport: TransportMode) {
    let world = World::with(|config| config.limits.connections_per_user = 2).await;
    let options = |transport: TransportMode, session, user| {
        let hour = std::time::Duration::from_secs(3600);
        let token = token_for(PROJECT, session, Role::Publisher, user, hour);
        let options = ConnectOptions::new(world.url(transport), token).rejoin(false);
        transport.options(options)
    };
    let elsewhere = new_session(PROJECT.0);
    let first = world.try_join(&options(transport, world.session(), "alice")).await.unwrap();
    let _second = world.try_join(&options(other(transport), &elsewhere, "alice")).await.unwrap();
    let third = options(transport, world.session(), "alice");
    match world.try_join(&third).await.err() {
        Some(ConnectError::Refused { reason, message }) => {
            assert_eq!(reason, CloseReason::ConnectionLimit);
            assert!(message.contains("limits.connections_per_user"), "{message}");
        }
        other => panic!("{other:?}"),
    }
    let _bob = world.try_join(&options(transport, world.session(), "bob")).await.unwrap();
    let _nobody = [
        world.join(transport, Role::Publisher).await,
        world.join(transport, Role::Publisher).await,
        world.join(transport, Role::Publisher).await,
    ];
    first.client.disconnect().await;
    within_timeout("there is room again", async { while world.try_join(&third).await.is_err() {} })
        .await;
}

async fn the_welcome_names_other_gateways(transport: TransportMode) {
    let gateways = ["quic://gw-2.example", "https://gw-3.example:443"].map(str::to_owned);
    let world = World::with(|config| config.resume.gateways = gateways.to_vec()).await;
    let member = world.join(transport, Role::Subscriber).await;
    assert_eq!(member.client.gateways(), gateways);
}

async fn signals_of_servers_have_no_sender_and_one_order(transport: TransportMode) {
    const SIGNALS: u32 = 100;
    let world = World::new().await;
    let mut member = world.join(transport, Role::Subscriber).await;
    let mut bystander = world.join(other(transport), Role::Subscriber).await;
    assert_eq!(member.sees_created().await, bystander.id());
    assert_eq!(bystander.sees_created().await, member.id());
    let mut server = Server::of(&world).await;
    for n in 0..SIGNALS {
        // Half to all, half to one: all of them are of one sender.
        let to = if n % 2 == 0 { None } else { Some(member.id()) };
        let body = format!("{{\"type\":\"count\",\"data\":\"{n}\"}}");
        assert_eq!(server.signal(to, &body).await.status, 204);
    }
    for n in 0..SIGNALS {
        let expected = (None, Some("count".into()), Some(n.to_string()));
        assert_eq!(member.hear().await, expected);
        if n % 2 == 0 {
            assert_eq!(bystander.hear().await, expected);
        }
    }
}

async fn a_server_disconnects_anybody(transport: TransportMode) {
    let world = World::new().await;
    let mut victim = world.join(transport, Role::Moderator).await;
    let mut bystander = world.join(other(transport), Role::Publisher).await;
    assert_eq!(bystander.sees_created().await, victim.id());
    let mut server = Server::of(&world).await;
    assert_eq!(server.disconnect(victim.id()).await.status, 204);
    assert_eq!(victim.ends().await, CloseReason::ForceDisconnected);
    let destroyed = (victim.id(), DisconnectReason::ForceDisconnected);
    assert_eq!(bystander.sees_destroyed().await, destroyed);
    assert_eq!(server.disconnect(victim.id()).await.status, 404, "it is gone");
}
