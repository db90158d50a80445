//! Graceful shutdown: readiness, go away, deadlines.

use signalbox_client::{CloseReason, ConnectError, Event, Role};
use signalbox_tests::{
    PROJECT, TransportMode, World, credential,
    raw::{self},
    rest::{ask, ask_on, request, session_path},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signals_before_a_shutdown_are_delivered() {
    let mut world = World::new().await;
    let mut listeners = Vec::new();
    for transport in TransportMode::ALL {
        let options = world.options(transport, Role::Publisher).presence(false);
        listeners.push(world.try_join(&options).await.unwrap());
    }
    let speaker = world.join(TransportMode::WebSocketJson, Role::Publisher).await;
    for n in 0..200 {
        speaker.say(n.to_string()).await;
    }
    // One client has received the last signal, so the gateway has all of them.
    let mut first = listeners.remove(0);
    while first.hear_data().await != "199" {}
    world.stop().await;
    for mut listener in listeners {
        for n in 0..200 {
            assert_eq!(listener.hear_data().await, n.to_string());
        }
        assert_eq!(listener.loses_link().await, CloseReason::ShuttingDown);
    }
    assert_eq!(first.loses_link().await, CloseReason::ShuttingDown);
}

/// A client that does not leave does not block the shutdown.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_stops_within_its_drain_timeout() {
    let mut world = World::with(|config| config.drain.timeout_ms = 500).await;
    let token = world.token(Role::Publisher);
    let stubborn = signalbox_tests::raw::Quic::join(world.addresses().quic, &token).await;
    let silent = tokio::net::TcpStream::connect(world.addresses().tcp).await.unwrap();
    world.stop().await;
    drop((stubborn, silent));
}

/// Load balancers see a failing readiness check first; the gateway serves until the delay is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_fails_before_a_gateway_closes() {
    let mut world = World::with(|config| config.drain.readiness_delay_ms = 2000).await;
    let mut member = world.join(TransportMode::Quic, Role::Publisher).await;
    let ready = "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n";
    assert_eq!(ask(&world, ready).await.status, 200);
    world.tell_to_stop();
    while ask(&world, ready).await.status != 503 {}
    let newcomer = world.join(TransportMode::WebSocketJson, Role::Publisher).await;
    assert_eq!(member.sees_created().await, newcomer.id());
    let Event::SessionReconnecting { reason, .. } = member.next().await else { panic!() };
    assert_eq!(reason, CloseReason::ShuttingDown);
    world.stop().await;
}

/// Resumable clients leave by themselves when they are asked to, on every transport.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_leaves_when_asked_during_a_drain() {
    let mut world = World::with(|config| config.drain.spread_ms = 4000).await;
    let mut members = Vec::new();
    for transport in TransportMode::ALL {
        let options = world.options(transport, Role::Publisher).presence(false);
        let member = world.try_join(&options).await.unwrap();
        assert_eq!(member.client.signal().data("here").send().await, Ok(1));
        members.push((transport, member));
    }
    world.tell_to_stop();
    for (transport, member) in &mut members {
        loop {
            match member.next().await {
                Event::Signal { .. } => {}
                Event::SessionReconnecting { reason, message } => {
                    assert_eq!(reason, CloseReason::ShuttingDown);
                    assert!(
                        message.contains("asked its clients to reconnect"),
                        "{transport:?}: {message}"
                    );
                    break;
                }
                other => panic!("{transport:?}: {other:?}"),
            }
        }
    }
    world.stop().await;
}

/// Clients that ignore `goAway` are served until their deadline, and then receive the reason.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_ignores_the_drain_is_disconnected() {
    let mut world = World::with(|config| config.drain.spread_ms = 4000).await;
    let token = world.token(Role::Publisher);
    let mut quic = raw::Quic::join(world.addresses().quic, &token).await;
    let json = raw::WebSocket::join(world.addresses().tcp, true, &token).await;
    let postcard = raw::WebSocket::join(world.addresses().tcp, false, &token).await;
    world.tell_to_stop();
    assert!(quic.hear().await.starts_with("GoAway"));
    let mut sockets = Vec::new();
    for mut socket in [json, postcard] {
        let asked = socket.hear().await;
        let within = asked.trim_start_matches("GoAway { within_ms: ").trim_end_matches(" }");
        sockets.push((within.parse::<u32>().expect(&asked), socket));
    }
    // A new client gets no handshake.
    let newcomer = world.try_join(&world.options(TransportMode::Quic, Role::Publisher)).await;
    assert!(matches!(newcomer, Err(ConnectError::Unreachable { .. })), "{:?}", newcomer.err());
    // The client with the latest deadline sends a signal, and is still served.
    sockets.sort_by_key(|(within, _)| *within);
    let (within, last) = sockets.last_mut().unwrap();
    assert!(*within > 1000, "{within}");
    last.say(&raw::signal("still here")).await;
    assert!(last.hear().await.starts_with("Signal"));
    let shutting_down = CloseReason::ShuttingDown;
    let ends = sockets.into_iter().map(|(_, socket)| socket.end());
    let (sockets, quic) = tokio::join!(futures_util::future::join_all(ends), quic.end());
    for end in sockets {
        assert_eq!(end, (Some(shutting_down), Some(shutting_down)));
    }
    assert_eq!(quic, (Some(shutting_down), shutting_down));
    world.stop().await;
}

/// A request in progress when the drain begins is executed and answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_in_progress_is_served_during_the_drain() {
    let mut world = World::with(|config| config.drain.spread_ms = 8000).await;
    let token = world.token(Role::Publisher);
    let mut listener = raw::WebSocket::join(world.addresses().tcp, true, &token).await;
    let path = format!("{}/signal", session_path(&world));
    let request = request("POST", &path, &credential(PROJECT), Some(r#"{"data":"late"}"#));
    let request = request.replace("Host: x\r\n", "Host: x\r\nExpect: 100-continue\r\n");
    let (head, body) = request.split_at(request.find("{\"").unwrap());
    let mut server = raw::tls_stream(world.addresses().tcp).await;
    assert_eq!(ask_on(&mut server, head).await.unwrap().status, 100, "it has begun");
    world.tell_to_stop();
    assert!(listener.hear().await.starts_with("GoAway"));
    let answer = ask_on(&mut server, body).await.expect("an answer");
    assert_eq!((answer.status, answer.header("connection")), (204, Some("close")));
    assert_eq!(answer.header("keep-alive"), None);
    assert!(listener.hear().await.contains("late"));
    drop(listener);
    world.stop().await;
}
