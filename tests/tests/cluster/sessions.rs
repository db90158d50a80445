//! Sessions with members on several gateways.

use signalbox_client::{CloseReason, ConnectError, DisconnectReason, Role};
use signalbox_tests::{TransportMode, within_timeout};

use crate::gateways::Gateways;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signals_and_presence_reach_members_on_all_gateways() {
    let gateways = Gateways::start(3).await;
    for transport in TransportMode::ALL {
        let mut a = gateways.at(0).join(transport, Role::Moderator).await;
        let mut b = gateways.at(1).join(transport, Role::Publisher).await;
        assert_eq!(b.sees_present().await, [a.id()], "{transport:?}");
        let mut c = gateways.at(2).join(transport, Role::Publisher).await;
        let present = c.sees_present().await;
        assert!(present.len() == 2 && present.contains(&a.id()), "{transport:?}: {present:?}");
        assert_eq!(a.sees_created().await, b.id());
        assert_eq!(a.sees_created().await, c.id());
        assert_eq!(b.sees_created().await, c.id());

        for number in 0..100 {
            a.say(number.to_string()).await;
        }
        for member in [&mut a, &mut b, &mut c] {
            for number in 0..100 {
                assert_eq!(member.hear_data().await, number.to_string(), "{transport:?}");
            }
        }
        // To one connection on another gateway.
        b.client.signal().to(c.id()).data("for c").send().await.unwrap();
        assert_eq!(c.hear_data().await, "for c");

        // A moderator disconnects a member of another gateway.
        a.client.force_disconnect(c.id()).await.unwrap();
        c.ends().await;
        for member in [&mut a, &mut b] {
            let expected = (c.id(), DisconnectReason::ForceDisconnected);
            assert_eq!(member.sees_destroyed().await, expected);
        }
        let id = b.id();
        b.client.disconnect().await;
        assert_eq!(a.sees_destroyed().await, (id, DisconnectReason::ClientDisconnected));
        a.client.disconnect().await;
        for number in 0..3 {
            gateways.at(number).is_empty().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_on_all_gateways_count_for_the_limit_of_a_project() {
    let limit = |config: &mut signalbox_gateway::Config| config.limits.connections_per_project = 3;
    let gateways = Gateways::start_with(2, limit).await;
    let _members = [gateways.join(0).await, gateways.join(0).await, gateways.join(1).await];
    // The gateways hear of each other's connections twice a second.
    for (number, own) in [(0, 2), (1, 1)] {
        let world = gateways.at(number);
        let options = world.options(TransportMode::Quic, Role::Publisher);
        let refused = async {
            loop {
                match world.try_join(&options).await {
                    Ok(member) => member.client.disconnect().await,
                    Err(error) => return error,
                }
                while world.stats().current().connections > own {
                    tokio::task::yield_now().await;
                }
            }
        };
        let error = within_timeout("the limit applies", refused).await;
        let expected = CloseReason::ConnectionLimit;
        assert!(
            matches!(&error, ConnectError::Refused { reason, .. } if *reason == expected),
            "{error:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_on_all_gateways_count_for_the_limit_of_a_session() {
    let limit = |config: &mut signalbox_gateway::Config| config.limits.connections_per_session = 2;
    let gateways = Gateways::start_with(3, limit).await;
    let mut first = gateways.join(0).await;
    let second = gateways.join(1).await;
    assert_eq!(first.sees_created().await, second.id());
    // The third has no members of the session, and asks the others for theirs.
    for number in 0..3 {
        let world = gateways.at(number);
        let options = world.options(TransportMode::Quic, Role::Publisher);
        let error = match world.try_join(&options).await {
            Err(error) => error,
            Ok(_) => panic!("a third member joined at gateway {number}"),
        };
        let expected = CloseReason::ConnectionLimit;
        assert!(
            matches!(&error, ConnectError::Refused { reason, .. } if *reason == expected),
            "{error:?}"
        );
    }
    // A member that leaves makes room at every gateway.
    second.client.disconnect().await;
    first.sees_destroyed().await;
    let joined = async {
        let world = gateways.at(2);
        let options = world.options(TransportMode::Quic, Role::Publisher);
        while world.try_join(&options).await.is_err() {}
    };
    within_timeout("there is room", joined).await;
}
