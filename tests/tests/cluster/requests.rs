//! Requests of servers at any gateway.

use signalbox_client::{CloseReason, ConnectError, ConnectOptions, DisconnectReason, Role};
use signalbox_tests::{Member, TransportMode, rest::Server, within_timeout};

use crate::gateways::Gateways;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_reach_a_session_through_a_gateway_without_members() {
    let gateways = Gateways::start(3).await;
    let mut server = Server::of(gateways.at(1)).await;
    // Nobody is connected on any gateway.
    assert_eq!(server.signal(None, r#"{"data":"x"}"#).await.status, 404);
    assert_eq!(server.ask("GET", "/connection", None).await.status, 404);

    let mut a = gateways.join(0).await;
    let mut c = gateways.join(2).await;
    assert_eq!(a.sees_created().await, c.id());
    let listed = server.ask("GET", "/connection", None).await;
    assert_eq!((listed.status, listed.json()["count"].as_u64()), (200, Some(2)), "{listed:?}");
    for number in 0..20 {
        let data = format!(r#"{{"data":"{number}"}}"#);
        assert_eq!(server.signal(None, &data).await.status, 204);
    }
    for member in [&mut a, &mut c] {
        for number in 0..20 {
            let (from, _, data) = member.hear().await;
            assert_eq!((from, data), (None, Some(number.to_string())));
        }
    }
    assert_eq!(server.signal(Some(c.id()), r#"{"data":"for c"}"#).await.status, 204);
    assert_eq!(c.hear_data().await, "for c");

    let path = format!("/connection/{}", c.id());
    assert_eq!(server.ask("DELETE", &path, None).await.status, 204);
    c.ends().await;
    assert_eq!(a.sees_destroyed().await, (c.id(), DisconnectReason::ForceDisconnected));
    // The third gateway may hear of it a little later.
    let unknown = async { while server.ask("DELETE", &path, None).await.status != 404 {} };
    within_timeout("the connection is unknown", unknown).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revocations_and_disconnections_take_effect_on_all_gateways() {
    let mut gateways = Gateways::start(3).await;
    let mut server = Server::of(gateways.at(1)).await;
    let token = gateways.at(0).token(Role::Publisher);
    let mut members = [join(&gateways, 0, &token).await, join(&gateways, 2, &token).await];
    let session = format!(r#"{{"sessionId":"{}"}}"#, gateways.at(0).session());
    let answer = server.ask_project("POST", "/disconnect", Some(&session)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    for member in &mut members {
        assert_eq!(member.ends().await, CloseReason::ForceDisconnected);
    }
    // Their token is still valid.
    let mut members = [join(&gateways, 0, &token).await, join(&gateways, 2, &token).await];
    let answer = server.ask_project("POST", "/revocations", Some(&session)).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    for member in &mut members {
        assert_eq!(member.ends().await, CloseReason::ForceDisconnected);
    }
    // A gateway that starts later has the list as well.
    gateways.stop(2).await;
    gateways.run(2).await;
    gateways.are_connected().await;
    for number in 0..3 {
        match try_join(&gateways, number, &token).await {
            Err(ConnectError::Refused { reason: CloseReason::InvalidToken, .. }) => {}
            Err(error) => panic!("{error:?}"),
            Ok(_) => panic!("a revoked token was accepted at gateway {number}"),
        }
    }
}

async fn try_join(gateways: &Gateways, number: usize, token: &str) -> Result<Member, ConnectError> {
    let world = gateways.at(number);
    let options = ConnectOptions::new(world.url(TransportMode::Quic), token).rejoin(false);
    world.try_join(&options).await
}

async fn join(gateways: &Gateways, number: usize, token: &str) -> Member {
    try_join(gateways, number, token).await.unwrap()
}
