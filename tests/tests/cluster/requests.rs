//! Requests of servers at any gateway.

use signalbox_client::DisconnectReason;
use signalbox_tests::rest::Server;

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
    assert_eq!(server.ask("DELETE", &path, None).await.status, 404);
}
