//! Restart with a state file: for clients it is a cut link.

use std::{fs, path::Path};

use signalbox_certs::DevAuthority;
use signalbox_client::{CloseReason, ConnectOptions, Event, Role, Sender};
use signalbox_tests::{
    Member, TransportMode, World, authority, proxy::Proxy, renewed_certificate, within_timeout,
};

/// A gateway with a state file and this certificate.
async fn world(file: &Path, certificate: &DevAuthority) -> World {
    World::with(|config| {
        config.resume.state_file = Some(file.to_owned());
        config.tls.certificate = Some(certificate.certificate_path().to_owned());
        config.tls.key = Some(certificate.key_path().to_owned());
    })
    .await
}

/// Clients on each transport, through the proxy, that have seen each other.
async fn members(world: &World, proxy: &Proxy, rejoin: bool) -> Vec<Member> {
    let mut members: Vec<Member> = Vec::new();
    for transport in TransportMode::ALL {
        let options = ConnectOptions::new(proxy.url(transport), world.token(Role::Publisher));
        let options = transport.options(options).rejoin(rejoin);
        let mut member = world.try_join(&options).await.unwrap();
        for before in &mut members {
            before.sees_created().await;
            member.sees_created().await;
        }
        members.push(member);
    }
    members
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_is_unnoticed() {
    check_that_a_restart_is_unnoticed(|_| authority().clone()).await;
}

/// Most programs that renew certificates also generate a new key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_with_a_new_key_is_unnoticed() {
    check_that_a_restart_is_unnoticed(renewed_certificate).await;
}

/// `certificate` is that of the second gateway.
async fn check_that_a_restart_is_unnoticed(certificate: impl FnOnce(&Path) -> DevAuthority) {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("state");
    let mut first = world(&file, authority()).await;
    let proxy = Proxy::new(&first).await;
    let mut members = members(&first, &proxy, false).await;
    for (n, member) in members.iter().enumerate() {
        assert_eq!(member.client.signal().data(format!("{n} before")).send().await, Ok(1));
    }
    first.stop().await;
    assert!(file.exists());
    for (n, member) in members.iter().enumerate() {
        member.client.signal().data(format!("{n} meanwhile")).enqueue().await.unwrap();
    }
    let second = world(&file, &certificate(&place.path().join("renewed"))).await;
    proxy.lead_to(&second);
    for member in &members {
        assert_eq!(member.client.signal().data("after").send().await, Ok(3));
    }
    assert!(!file.exists(), "it is good once");
    // Each receives three signals of each, and no other event but its own reconnect.
    for member in &mut members {
        let (mut heard, mut away) = (Vec::new(), Vec::new());
        while heard.len() < 3 * TransportMode::ALL.len() {
            match within_timeout("an event", member.events.next()).await.unwrap() {
                Event::Signal { from: Sender::Connection(from), seq, .. } => {
                    heard.push((from, seq));
                }
                Event::SessionReconnecting { reason, .. } => away.push(Some(reason)),
                Event::SessionReconnected { gap: None, .. } => away.push(None),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(away, [Some(CloseReason::ShuttingDown), None]);
        heard.sort_by_key(|(from, _)| *from);
        for of_one in heard.chunks(3) {
            assert!(of_one.iter().all(|(from, _)| *from == of_one[0].0));
            assert_eq!(of_one.iter().map(|(_, seq)| *seq).collect::<Vec<_>>(), [1, 2, 3]);
        }
    }
    // A client that leaves is destroyed at once.
    let last = members.pop().unwrap();
    last.client.disconnect().await;
    for member in &mut members {
        assert_eq!(member.sees_destroyed().await.0, last.id());
    }
}

/// All clients rejoin after the state file was damaged by `spoil`.
async fn everybody_rejoins(state_bytes: usize, spoil: impl FnOnce(&Path)) {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("state");
    let world = || {
        World::with(|config| {
            config.resume.state_file = Some(file.clone());
            config.resume.state_file_max_bytes = state_bytes;
        })
    };
    let mut first = world().await;
    let proxy = Proxy::new(&first).await;
    let mut members = members(&first, &proxy, true).await;
    let before: Vec<_> = members.iter().map(Member::id).collect();
    first.stop().await;
    spoil(&file);
    let second = world().await;
    proxy.lead_to(&second);
    for (member, before) in members.iter_mut().zip(before) {
        assert!(matches!(member.next().await, Event::SessionReconnecting { .. }));
        match member.next().await {
            Event::SessionRejoined { connection } => assert_ne!(connection.id, before),
            other => panic!("{other:?}"),
        }
    }
    assert!(!file.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unusable_state_file_prevents_resumption_only() {
    let spoil = |file: &Path| {
        let mut bytes = fs::read(file).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(file, bytes).unwrap();
    };
    everybody_rejoins(10_000, spoil).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_finds_no_room_in_the_file_ends() {
    let is_short = |file: &Path| assert!(fs::metadata(file).unwrap().len() < 300);
    everybody_rejoins(200, is_short).await;
}

#[tokio::test]
async fn a_state_file_in_a_missing_directory_is_a_config_error() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("not there/state");
    let started = World::try_with(|config| config.resume.state_file = Some(file)).await;
    assert!(started.is_none());
}
