//! The semantics, once for every carrier: what a session promises does not depend on how one is
//! in it. Each test has a client on the carrier and another on QUIC or WebSocket.

use signalbox_client::{CloseReason, DisconnectReason, ErrorCode, Event, Role};
use signalbox_tests::{Carrier, World, new_session, rest::Server, soon};

/// Runs every test of the suite over one carrier, on both kinds of runtime that a gateway can have.
macro_rules! suite {
    ($($module:ident: $carrier:expr,)+) => {$(
        mod $module {
            suite!(@tests $carrier =>
                whoever_joins_learns_who_is_there,
                signals_reach_all_or_one,
                the_largest_signal_arrives,
                signals_of_a_sender_keep_their_order,
                an_unknown_target_is_an_error_and_the_link_stays,
                subscribers_receive_only,
                subscribers_may_send_if_the_setting_says_so,
                publisheronly_does_neither,
                a_moderator_disconnects_others,
                signals_of_servers_have_no_sender_and_one_order,
                a_server_disconnects_anybody,
                the_last_signals_before_a_goodbye_arrive,
                whoever_wants_no_presence_is_spared_it,
                sessions_are_apart,
                when_the_gateway_stops_everyone_is_told,
                a_full_session_lets_nobody_in,
            );
        }
    )+};
    (@tests $carrier:expr => $($test:ident,)+) => {
        mod one_thread {
            $(#[tokio::test]
            async fn $test() {
                super::super::$test($carrier).await;
            })+
        }
        mod two_threads {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::super::$test($carrier).await;
            })+
        }
    };
}

suite! {
    quic: signalbox_tests::Carrier::Quic,
    quic_single_stream: signalbox_tests::Carrier::QuicSingle,
    websocket_postcard: signalbox_tests::Carrier::Postcard,
    websocket_json: signalbox_tests::Carrier::Json,
}

/// The other client's carrier: the other transport.
fn other(carrier: Carrier) -> Carrier {
    match carrier {
        Carrier::Quic | Carrier::QuicSingle => Carrier::Json,
        Carrier::Postcard | Carrier::Json => Carrier::Quic,
    }
}

async fn whoever_joins_learns_who_is_there(carrier: Carrier) {
    let world = World::new().await;
    let mut alice = world.join(carrier, Role::Publisher).await;
    let mut bob = world.join(other(carrier), Role::Publisher).await;
    let mut carol = world.join(carrier, Role::Publisher).await;
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

async fn signals_reach_all_or_one(carrier: Carrier) {
    let world = World::new().await;
    let mut alice = world.join(carrier, Role::Publisher).await;
    let mut bob = world.join(other(carrier), Role::Publisher).await;
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
    // To one: the sender hears nothing, as its next word shows.
    alice.client.signal().data("psst").to(bob.id()).enqueue().await.unwrap();
    alice.say("aloud").await;
    assert_eq!(bob.hear_data().await, "psst");
    assert_eq!(bob.hear_data().await, "aloud");
    assert_eq!(alice.hear_data().await, "aloud");
    bob.client.signal().data("back").to(alice.id()).enqueue().await.unwrap();
    assert_eq!(alice.hear().await, (Some(bob.id()), None, text("back")));
}

async fn the_largest_signal_arrives(carrier: Carrier) {
    let world = World::new().await;
    let alice = world.join(carrier, Role::Publisher).await;
    let mut bob = world.join(other(carrier), Role::Publisher).await;
    bob.sees_created().await;
    let signal_type = "t".repeat(128);
    // Control characters take six bytes each in JSON.
    for data in ["d".repeat(8192), "\u{1}".repeat(8192), "é".repeat(4096)] {
        alice.client.signal().signal_type(&signal_type).data(&data).enqueue().await.unwrap();
        assert_eq!(bob.hear().await, (Some(alice.id()), Some(signal_type.clone()), Some(data)));
    }
}

async fn signals_of_a_sender_keep_their_order(carrier: Carrier) {
    const SIGNALS: usize = 1000;
    let world = World::new().await;
    let mut alice = world.join(carrier, Role::Publisher).await;
    let mut bob = world.join(other(carrier), Role::Publisher).await;
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

async fn an_unknown_target_is_an_error_and_the_link_stays(carrier: Carrier) {
    let world = World::new().await;
    let mut alice = world.join(carrier, Role::Publisher).await;
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

async fn subscribers_receive_only(carrier: Carrier) {
    let world = World::new().await;
    let mut listener = world.join(carrier, Role::Subscriber).await;
    let speaker = world.join(other(carrier), Role::Publisher).await;
    listener.sees_created().await;
    listener.say("may I?").await;
    let Event::Rejected { signal: Some(1), code: ErrorCode::Forbidden, .. } = listener.next().await
    else {
        panic!("not refused")
    };
    speaker.say("hello").await;
    assert_eq!(listener.hear_data().await, "hello");
}

async fn subscribers_may_send_if_the_setting_says_so(carrier: Carrier) {
    let world = World::with(|config| config.auth.subscribers_may_send = true).await;
    let mut member = world.join(carrier, Role::Subscriber).await;
    member.say("I may").await;
    assert_eq!(member.hear_data().await, "I may");
}

async fn publisheronly_does_neither(carrier: Carrier) {
    let world = World::new().await;
    let mut mute = world.join(carrier, Role::PublisherOnly).await;
    let mut speaker = world.join(other(carrier), Role::Publisher).await;
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

async fn a_moderator_disconnects_others(carrier: Carrier) {
    let world = World::new().await;
    let mut victim = world.join(carrier, Role::Publisher).await;
    let mut moderator = world.join(other(carrier), Role::Moderator).await;
    let mut bystander = world.join(carrier, Role::Publisher).await;
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

async fn the_last_signals_before_a_goodbye_arrive(carrier: Carrier) {
    const SIGNALS: usize = 300;
    let world = World::new().await;
    let mut bob = world.join(other(carrier), Role::Publisher).await;
    for _ in 0..3 {
        let alice = world.join(carrier, Role::Publisher).await;
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

async fn whoever_wants_no_presence_is_spared_it(carrier: Carrier) {
    let world = World::new().await;
    let early = world.join(other(carrier), Role::Publisher).await;
    let options = world.options(carrier, Role::Publisher).presence(false);
    let mut quiet = world.try_join(&options).await.unwrap();
    let late = world.join(other(carrier), Role::Publisher).await;
    late.say("hello").await;
    assert_eq!(quiet.hear().await.0, Some(late.id()));
    late.client.disconnect().await;
    early.say("still here").await;
    assert_eq!(quiet.hear().await.0, Some(early.id()));
}

async fn sessions_are_apart(carrier: Carrier) {
    let world = World::new().await;
    let mut here = world.join(carrier, Role::Publisher).await;
    let elsewhere = new_session(signalbox_tests::PROJECT.0);
    let lifetime = std::time::Duration::from_secs(60);
    let token =
        signalbox_tests::token(signalbox_tests::PROJECT, &elsewhere, Role::Moderator, lifetime);
    let options = signalbox_client::ConnectOptions::new(world.url(carrier), token);
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

async fn when_the_gateway_stops_everyone_is_told(carrier: Carrier) {
    let mut world = World::new().await;
    let mut alice = world.join(carrier, Role::Publisher).await;
    let mut bob = world.join(other(carrier), Role::Publisher).await;
    world.tell_to_stop();
    assert_eq!(alice.loses_link().await, CloseReason::ShuttingDown);
    assert_eq!(bob.loses_link().await, CloseReason::ShuttingDown);
    world.stop().await;
}

async fn a_full_session_lets_nobody_in(carrier: Carrier) {
    let world = World::with(|config| config.limits.connections_per_session = 2).await;
    let first = world.join(carrier, Role::Publisher).await;
    let mut second = world.join(other(carrier), Role::Publisher).await;
    second.sees_created().await;
    let options = world.options(carrier, Role::Publisher);
    match world.try_join(&options).await.err() {
        Some(signalbox_client::ConnectError::Refused { reason, .. }) => {
            assert_eq!(reason, CloseReason::ConnectionLimit);
        }
        other => panic!("{other:?}"),
    }
    second.say("undisturbed").await;
    assert_eq!(second.hear_data().await, "undisturbed");
    first.client.disconnect().await;
    soon("there is room again", async { while world.try_join(&options).await.is_err() {} }).await;
}

async fn signals_of_servers_have_no_sender_and_one_order(carrier: Carrier) {
    const SIGNALS: u32 = 100;
    let world = World::new().await;
    let mut member = world.join(carrier, Role::Subscriber).await;
    let mut bystander = world.join(other(carrier), Role::Subscriber).await;
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

async fn a_server_disconnects_anybody(carrier: Carrier) {
    let world = World::new().await;
    let mut victim = world.join(carrier, Role::Moderator).await;
    let mut bystander = world.join(other(carrier), Role::Publisher).await;
    assert_eq!(bystander.sees_created().await, victim.id());
    let mut server = Server::of(&world).await;
    assert_eq!(server.disconnect(victim.id()).await.status, 204);
    assert_eq!(victim.ends().await, CloseReason::ForceDisconnected);
    let destroyed = (victim.id(), DisconnectReason::ForceDisconnected);
    assert_eq!(bystander.sees_destroyed().await, destroyed);
    assert_eq!(server.disconnect(victim.id()).await.status, 404, "it is gone");
}
