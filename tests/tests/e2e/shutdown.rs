//! Beginnings and ends: quiet clients, certificates that change, a gateway that goes down.

use std::{path::PathBuf, time::Duration};

use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use signalbox_certs::DevAuthority;
use signalbox_client::{
    CloseReason, ConnectError, ConnectOptions, Connector, DisconnectReason, Event, Role, SendError,
};
use signalbox_tests::{
    PROJECT, TransportMode, World, authority, credential,
    raw::{self, served_leaf},
    renewed_certificate,
    rest::{Server, ask, ask_on, request, session_path},
    within_timeout,
};

/// A QUIC client whose address changes goes on as if nothing had happened, and nobody is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_address_does_not_interrupt_quic() {
    let world = World::new().await;
    let mut watcher = world.join(TransportMode::WebSocketJson, Role::Publisher).await;
    let token = world.token(Role::Publisher);
    let mover = signalbox_tests::raw::Quic::join(world.addresses().quic, &token).await;
    let id = watcher.sees_created().await;
    let mut signals = mover.signals().await;
    for n in 0..5 {
        let before = mover.endpoint.local_addr().unwrap();
        mover.endpoint.rebind(std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        assert_ne!(mover.endpoint.local_addr().unwrap(), before);
        let text = n.to_string();
        let frame = signalbox_protocol::frame::encode(&signalbox_tests::raw::signal(&text));
        signals.write_all(&frame).await.unwrap();
        assert_eq!(watcher.hear().await, (Some(id), None, Some(n.to_string())));
        watcher.say(n.to_string()).await;
        assert_eq!(watcher.hear_data().await, n.to_string());
    }
    let stream = within_timeout("the watcher's stream", mover.connection.accept_uni()).await;
    assert!(stream.is_ok(), "and back");
}

/// Clients that are quiet stay, on every transport, however short the idle time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_clients_stay_connected() {
    let idle = Duration::from_millis(1000);
    let world = World::with(|config| config.timeouts.idle_ms = 1000).await;
    let mut members = Vec::new();
    for transport in TransportMode::ALL {
        let options = world.options(transport, Role::Publisher).presence(false);
        members.push(world.try_join(&options).await.unwrap());
    }
    // Whoever is lost in three idle times would be told so.
    for member in &mut members {
        let event = tokio::time::timeout(idle * 3 / 4, member.events.next()).await;
        assert!(event.is_err(), "{event:?}");
    }
    members[0].say("still here").await;
    for member in &mut members {
        assert_eq!(member.hear_data().await, "still here");
    }
}

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
    // The last one is heard by one of them, so the gateway has them all.
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

/// A client that does not take its leave does not hold the gateway.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_stops_within_its_drain_timeout() {
    let mut world = World::with(|config| config.drain.timeout_ms = 500).await;
    let token = world.token(Role::Publisher);
    let stubborn = signalbox_tests::raw::Quic::join(world.addresses().quic, &token).await;
    let silent = tokio::net::TcpStream::connect(world.addresses().tcp).await.unwrap();
    world.stop().await;
    drop((stubborn, silent));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_certificate_is_used_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let make = |at| signalbox_certs::DevAuthority::open(dir.path(), at).unwrap();
    let now = std::time::SystemTime::now();
    // Good for thirteen days, so by now for one more.
    let first = make(now - Duration::from_secs(12 * 24 * 3600));
    let mut config = signalbox_gateway::Config::default();
    config.listen.quic = "127.0.0.1:0".parse().unwrap();
    config.listen.tcp = "127.0.0.1:0".parse().unwrap();
    config.tls.certificate = Some(first.certificate_path().to_owned());
    config.tls.key = Some(first.key_path().to_owned());
    let gateway = signalbox_gateway::Gateway::bind(config).unwrap();
    let certificates = gateway.certificates();
    let address = gateway.addresses().quic;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let stopped = async {
        let _ = stopped.await;
    };
    let running = tokio::spawn(gateway.run(stopped, std::future::pending()));
    let roots = std::fs::read(first.ca_pem_path()).unwrap();
    let served = async || served_leaf(address, &roots).await;
    assert_eq!(served().await, leaf(&first));
    let old = first.leaf_sha256();
    let second = make(now);
    assert_ne!(second.leaf_sha256(), old, "it was time for a new one");
    let renewed = leaf(&second);
    certificates.reload().unwrap();
    assert_eq!(served().await, renewed);
    // A damaged file changes nothing.
    std::fs::write(second.certificate_path(), "no certificate").unwrap();
    certificates.reload().unwrap_err();
    assert_eq!(served().await, renewed);
    stop.send(()).unwrap();
    within_timeout("the gateway stops", running).await.unwrap().unwrap();
}

/// The leaf in an authority's files.
fn leaf(authority: &signalbox_certs::DevAuthority) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(authority.certificate_path()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sdk_reports_the_cause_of_a_failed_connect() {
    let world = World::new().await;
    let connector = Connector::with_roots_pem(authority().ca_pem().as_bytes()).unwrap();
    let error = |url: &str| {
        let options = ConnectOptions::new(url, "token");
        let connector = connector.clone();
        async move { within_timeout("a failure", connector.connect(&options)).await.err().unwrap() }
    };
    assert!(matches!(error("http://localhost").await, ConnectError::Url(_)));
    assert!(matches!(error("quic://nobody.invalid").await, ConnectError::Resolve { .. }));
    assert!(matches!(error("wss://127.0.0.1:1").await, ConnectError::Unreachable { .. }));
    let tcp = world.addresses().tcp;
    assert!(matches!(error(&format!("ws://{tcp}")).await, ConnectError::Unreachable { .. }));
    let wrong_path = error(&format!("wss://{tcp}/elsewhere")).await;
    assert!(wrong_path.to_string().contains("404"), "{wrong_path}");
    for url in [world.url(TransportMode::Quic), world.url(TransportMode::WebSocketJson)] {
        match error(&url).await {
            ConnectError::Refused { reason, .. } => assert_eq!(reason, CloseReason::InvalidToken),
            other => panic!("{other:?}"),
        }
    }
    // A gateway whose certificate nobody vouches for.
    let stranger = tempfile::tempdir().unwrap();
    let stranger =
        signalbox_certs::DevAuthority::open(stranger.path(), std::time::SystemTime::now()).unwrap();
    let connector = Connector::with_roots_pem(stranger.ca_pem().as_bytes()).unwrap();
    for transport in [TransportMode::Quic, TransportMode::WebSocketJson] {
        let options = world.options(transport, Role::Publisher);
        let error = within_timeout("a failure", connector.connect(&options)).await.err().unwrap();
        assert!(error.to_string().to_lowercase().contains("certificate"), "{error}");
    }
}

/// What a sender said before somebody was thrown out is heard by that one, too, even if it was
/// the sender's first word, whose stream may arrive after the bye.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_signals_before_the_end_are_delivered() {
    let world = World::new().await;
    for transport in TransportMode::ALL {
        for _ in 0..20 {
            let moderator = world.join(transport, Role::Moderator).await;
            let options = world.options(transport, Role::Subscriber).presence(false);
            let mut victim = world.try_join(&options).await.unwrap();
            moderator.say("goodbye").await;
            // Over QUIC the two travel on different streams, so wait for the first to be there.
            let mut moderator = moderator;
            while !matches!(moderator.next().await, Event::Signal { .. }) {}
            moderator.client.force_disconnect(victim.id()).await.unwrap();
            assert_eq!(victim.hear_data().await, "goodbye", "{transport:?}");
            assert_eq!(victim.ends().await, CloseReason::ForceDisconnected);
        }
    }
}

/// Dropping every handle is leaving.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_a_client_leaves_the_session() {
    let world = World::new().await;
    let mut watcher = world.join(TransportMode::WebSocketJson, Role::Publisher).await;
    for transport in TransportMode::ALL {
        let member = world.join(transport, Role::Publisher).await;
        let id = watcher.sees_created().await;
        member.say("last words").await;
        drop(member);
        match watcher.next().await {
            Event::Signal { from, .. } => assert_eq!(from, id.into()),
            other => panic!("{other:?}"),
        }
        let left = (id, DisconnectReason::ClientDisconnected);
        assert_eq!(watcher.sees_destroyed().await, left);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_after_the_end_is_an_error() {
    let world = World::new().await;
    for transport in TransportMode::ALL {
        let mut member = world.join(transport, Role::Publisher).await;
        Server::of(&world).await.disconnect(member.id()).await;
        assert_eq!(member.ends().await, CloseReason::ForceDisconnected);
        let sent = member.client.signal().data("into the void").send().await;
        assert!(matches!(sent, Err(SendError::Disconnected)), "{sent:?}");
    }
}

/// Without a word from the gateway that crashed, a client would wait for its idle timeout.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_crash_a_client_learns_of_it_from_its_next_packet() {
    crash_and_start_again(None, None).await;
}

/// What the crashed gateway has promised outlives its certificate, if there is a state file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_crash_a_client_learns_of_it_from_a_gateway_with_a_renewed_certificate() {
    let place = tempfile::tempdir().unwrap();
    let renewed = renewed_certificate(&place.path().join("renewed"));
    crash_and_start_again(Some(place.path().join("state")), Some(renewed)).await;
}

/// The second gateway has the same state file, and the renewed certificate if there is one.
async fn crash_and_start_again(state_file: Option<PathBuf>, renewed: Option<DevAuthority>) {
    let crashing = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let file = state_file.clone();
    let world = World::with(|config| config.resume.state_file = file);
    let world = crashing.spawn(world).await.unwrap();
    let client = raw::Quic::join(world.addresses().quic, &world.token(Role::Publisher)).await;
    // All its tasks are gone at once, and nobody says goodbye.
    crashing.shutdown_background();
    let address = world.addresses().quic;
    drop(world);
    let again = async {
        // The port is free when the last of its tasks has been dropped.
        loop {
            let (quic, tcp) = (address, "127.0.0.1:0".parse().unwrap());
            let listen = signalbox_gateway::ListenConfig { quic, tcp };
            let settings = |config: &mut signalbox_gateway::Config| {
                config.listen = listen;
                config.resume.state_file = state_file.clone();
                if let Some(renewed) = &renewed {
                    config.tls.certificate = Some(renewed.certificate_path().to_owned());
                    config.tls.key = Some(renewed.key_path().to_owned());
                }
            };
            if let Some(world) = World::try_with(settings).await {
                return world;
            }
            tokio::task::yield_now().await;
        }
    };
    let _world = within_timeout("the port is free", again).await;
    // It may have sent something by itself already, and know.
    if let Ok(mut stream) = client.connection.open_uni().await {
        let _ = stream.write_all(b"anything").await;
    }
    let error = within_timeout("a reset", client.connection.closed()).await;
    assert!(matches!(error, quinn::ConnectionError::Reset), "{error}");
}

/// Whoever sends clients here is told first that it should not; until then all goes on.
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

/// Who is kept and knows what it is asked goes by itself, whatever its transport.
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
                        message.contains("asked its clients to go"),
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

/// Who does not know what it is asked, or does not care, is served to its end and then told.
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
    // Who comes now is not even shaken hands with.
    let newcomer = world.try_join(&world.options(TransportMode::Quic, Role::Publisher)).await;
    assert!(matches!(newcomer, Err(ConnectError::Unreachable { .. })), "{:?}", newcomer.err());
    // Who has most time says something, and is still served.
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

/// A server whose request has begun when the gateway goes down gets its answer, and what it asked
/// for is done.
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
