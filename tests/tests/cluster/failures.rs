//! Gateways that are stopped, killed, or cut off.

use std::time::Duration;

use signalbox_client::{ConnectOptions, DisconnectReason, Event};
use signalbox_gateway::Config;
use signalbox_tests::{
    Member, PROJECT, TransportMode, World, credential, new_session,
    ops::{Scrape, with_ops},
    rest::{ask, request},
    within_timeout,
};

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

/// A client of the first of two gateways, which is killed, resumes on the second, and hears a signal that
/// was sent there meanwhile.
async fn resumes_on_the_second(gateways: &mut Gateways, options: &ConnectOptions) {
    let mut moving = join_resumable(gateways.at(0), options).await;
    let mut staying = gateways.join(1).await;
    assert_eq!(moving.sees_created().await, staying.id());
    gateways.kill(0);
    staying.say("meanwhile").await;
    assert_eq!(staying.hear_data().await, "meanwhile");
    resumes_and_hears(&mut moving, &["meanwhile"]).await;
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

/// Gateways number presence events differently, so such a client gets the list of members again. Nothing
/// that it missed is lost, and operators are not alarmed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_moves_to_another_gateway_counts_as_no_gap() {
    let mut gateways = Gateways::start_with(2, with_ops).await;
    let options = gateways.options(&[0, 1], TransportMode::WebSocketPostcard);
    resumes_on_the_second(&mut gateways, &options).await;
    let scrape = Scrape::of(gateways.at(1)).await;
    let count = |name| scrape.sum(name, &[]);
    assert_eq!(count("signalbox_resumes_total"), 1.0);
    assert_eq!(count("signalbox_resume_gaps_total"), 0.0);
}

/// The other gateways know of the loss before the client: they keep its connection for the time in
/// which it can notice, and then for its resume window.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_notices_late_resumes() {
    let late = |config: &mut Config| {
        config.timeouts.idle_ms = 6000;
        config.resume.window_ms = 1000;
    };
    let mut gateways = Gateways::start_with(2, late).await;
    // Its link is idle when its gateway is killed, so it notices after the whole idle timeout.
    let options = gateways.options(&[0, 1], TransportMode::Quic);
    let options = options.keep_alive(Duration::from_secs(60));
    resumes_on_the_second(&mut gateways, &options).await;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_cut_off_says_so_to_load_balancers_and_servers() {
    let second_stays_ready = |config: &mut Config| {
        config.cluster.ready_without_bus = config.name.as_str() == "gw-1";
    };
    let mut gateways = Gateways::start_with(2, second_stays_ready).await;
    let is_ready = (200, "ready\n".to_owned());
    assert_eq!(ready(gateways.at(0)).await, is_ready);
    let _shared = [gateways.join(0).await, gateways.join(1).await];
    gateways.nats.kill().await;
    let cut_off = (503, "cut off from the other gateways\n".to_owned());
    let said = async { while ready(gateways.at(0)).await != cut_off {} };
    within_timeout("the gateway is not ready", said).await;
    assert_eq!(ready(gateways.at(1)).await, is_ready, "as configured");
    // It cannot know whether another gateway has connections of this session.
    let session = new_session(PROJECT.0);
    let path = format!("/v2/project/{}/session/{session}/connection", PROJECT.0);
    let answer = ask(gateways.at(0), &request("GET", &path, &credential(PROJECT), None)).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(answer.header("retry-after"), Some("1"));
}

async fn ready(world: &World) -> (u16, String) {
    let answer = ask(world, &request("GET", "/readyz", "", None)).await;
    (answer.status, answer.body)
}
