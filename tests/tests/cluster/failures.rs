//! Gateways that are stopped, killed, or cut off.

use signalbox_client::{DisconnectReason, Event};
use signalbox_tests::{Member, TransportMode};

use crate::gateways::{Gateways, join_resumable};

/// The member resumes on another gateway, and hears exactly these signals meanwhile.
async fn resumes_and_hears(member: &mut Member, data: &[&str]) {
    let mut resumed = false;
    let mut heard = Vec::new();
    while !resumed || heard.len() < data.len() {
        match member.next().await {
            Event::SessionReconnecting { .. } => {}
            Event::SessionReconnected { .. } => resumed = true,
            Event::Signal { data, .. } => heard.push(data.unwrap()),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(heard, data);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_a_killed_gateway_resume_on_another() {
    for transport in TransportMode::ALL {
        let mut gateways = Gateways::start(3).await;
        let options = gateways.options(&[0, 1], transport);
        let mut moving = join_resumable(gateways.at(0), &options).await;
        let mut staying = gateways.join(2).await;
        assert_eq!(moving.sees_created().await, staying.id());
        let connection = moving.id();

        gateways.kill(0);
        staying.say("meanwhile").await;
        assert_eq!(staying.hear_data().await, "meanwhile");
        resumes_and_hears(&mut moving, &["meanwhile"]).await;
        moving.say("here again").await;
        let (from, _, data) = staying.hear().await;
        assert_eq!((from, data.as_deref()), (Some(connection), Some("here again")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_a_stopped_gateway_resume_on_another() {
    for transport in TransportMode::ALL {
        let mut gateways = Gateways::start(2).await;
        let options = gateways.options(&[0, 1], transport);
        let mut moving = join_resumable(gateways.at(0), &options).await;
        let mut staying = gateways.join(1).await;
        assert_eq!(moving.sees_created().await, staying.id());
        let connection = moving.id();
        gateways.stop(0).await;
        staying.say("meanwhile").await;
        assert_eq!(staying.hear_data().await, "meanwhile");
        resumes_and_hears(&mut moving, &["meanwhile"]).await;
        moving.say("here again").await;
        assert_eq!(staying.hear().await.0, Some(connection));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_of_a_stopped_gateway_alone_are_handed_over() {
    for transport in TransportMode::ALL {
        // All links end at once, so that no client resumes before the gateway has gone.
        let mut gateways = Gateways::start_with(3, |config| config.drain.spread_ms = 0).await;
        let options = gateways.options(&[0, 1, 2], transport);
        let mut first = join_resumable(gateways.at(0), &options).await;
        let mut second = join_resumable(gateways.at(0), &options).await;
        assert_eq!(first.sees_created().await, second.id());
        let id = second.id();
        gateways.stop(0).await;
        resumes_and_hears(&mut first, &[]).await;
        resumes_and_hears(&mut second, &[]).await;
        second.say("both are here").await;
        for member in [&mut first, &mut second] {
            let (from, _, data) = member.hear().await;
            assert_eq!((from, data.as_deref()), (Some(id), Some("both are here")));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_clients_of_a_killed_gateway_are_destroyed_once() {
    let mut gateways = Gateways::start(3).await;
    let options = gateways.options(&[0], TransportMode::Quic).resume(false);
    let lost = gateways.at(0).try_join(&options).await.unwrap();
    let mut staying = [gateways.join(1).await, gateways.join(2).await];
    let second = staying[1].id();
    assert_eq!(staying[0].sees_created().await, second);
    gateways.kill(0);
    let begun = std::time::Instant::now();
    for member in &mut staying {
        let expected = (lost.id(), DisconnectReason::NetworkDisconnected);
        assert_eq!(member.sees_destroyed().await, expected);
    }
    assert!(begun.elapsed().as_millis() < 3000, "{:?}", begun.elapsed());
    // The next event is another one.
    staying[0].say("last").await;
    for member in &mut staying {
        assert_eq!(member.hear_data().await, "last");
    }
}
