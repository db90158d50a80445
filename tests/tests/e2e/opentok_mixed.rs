//! Pages with the vendor's browser SDK in one session with clients of every transport and with a server.

use signalbox_client::{ConnectOptions, DisconnectReason, Event, Role};
use signalbox_opentok::frame::FrameKind;
use signalbox_tests::{
    Member, PROJECT, TransportMode, World,
    raw::opentok::{OpenTokLink, PREFIX, Page, Received},
    rest::Server,
    token_for,
};

/// Signals of each sender.
const SIGNALS: usize = 20;

/// The transaction of the next announcement of a connection.
async fn created(link: &mut OpenTokLink) -> String {
    let is_created = |it: &Received| it.kind == FrameKind::Message && it.meaning().0 == "created";
    link.find(is_created).await.transaction
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_clients_see_the_same_signals_presence_and_reasons() {
    let world = World::with(|config| config.opentok_js.prefix = Some(PREFIX.to_owned())).await;
    let page = Page::new(&world, world.token(Role::Moderator));
    let mut link = page.join().await;
    let modes = [TransportMode::Quic, TransportMode::WebTransport, TransportMode::WebSocketJson];
    let mut members: Vec<Member> = Vec::new();
    for mode in modes {
        let mut member = world.join(mode, Role::Moderator).await;
        assert_eq!(member.sees_present().await.len(), members.len() + 1, "{mode:?}");
        assert_eq!(created(&mut link).await, format!("c.{}", member.id()), "{mode:?}");
        for other in &mut members {
            assert_eq!(other.sees_created().await, member.id(), "{mode:?}");
        }
        members.push(member);
    }

    // Of each sender, everybody hears all signals in order.
    let mut server = Server::of(&world).await;
    for n in 0..SIGNALS {
        link.send(page.signal(&n.to_string(), &format!("page {n}"))).await;
        for (at, member) in members.iter().enumerate() {
            member.say(format!("{at} {n}")).await;
        }
        assert_eq!(server.signal(None, &format!(r#"{{"data":"server {n}"}}"#)).await.status, 204);
    }
    let senders = ["page", "0", "1", "2", "server"];
    let mut heard = vec![Vec::new(); members.len() + 1];
    for _ in 0..SIGNALS * senders.len() {
        heard[members.len()].push(link.hear().await);
        for (member, heard) in members.iter_mut().zip(&mut heard) {
            heard.push(member.hear_data().await);
        }
    }
    for heard in heard {
        for sender in senders {
            let of = heard.iter().filter(|it| it.split(' ').next() == Some(sender));
            let expected: Vec<_> = (0..SIGNALS).map(|n| format!("{sender} {n}")).collect();
            assert!(of.eq(expected.iter()), "{sender}: {heard:?}");
        }
    }

    // The page disconnects a client, and is disconnected by another.
    let first = members.remove(0);
    link.send(page.request("kick", "delete", &format!("connection/{}", first.id()), "{}")).await;
    assert_eq!(link.answer("kick").await.0, "200");
    for member in &mut members {
        let forced = (first.id(), DisconnectReason::ForceDisconnected);
        assert_eq!(member.sees_destroyed().await, forced);
    }
    members[0].client.force_disconnect(page.id).await.unwrap();
    assert_eq!(link.end().await, (Some("forceDisconnected".to_owned()), 1003));
    for member in &mut members {
        match member.next().await {
            Event::ConnectionDestroyed { id, reason } => {
                assert_eq!((id, reason), (page.id, DisconnectReason::ForceDisconnected));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_and_other_clients_of_a_user_count_together() {
    let world = World::with(|config| {
        config.opentok_js.prefix = Some(PREFIX.to_owned());
        config.limits.connections_per_user = 2;
    })
    .await;
    let hour = std::time::Duration::from_secs(3600);
    let token = token_for(PROJECT, world.session(), Role::Publisher, "alice", hour);
    let page = Page::new(&world, token.clone());
    let mut link = page.join().await;
    let options = ConnectOptions::new(world.url(TransportMode::Quic), token.clone());
    let _member = world.try_join(&options).await.unwrap();
    let second = Page::new(&world, token);
    let mut refused = second.connect().await;
    refused.send(second.create("create")).await;
    let limit = ("403".to_owned(), Some("connectionLimitExceeded".to_owned()));
    assert_eq!(refused.answer("create").await, limit);
    assert!(world.try_join(&options).await.is_err());
    // A page that resumes is no further connection.
    drop(link);
    link = page.resume().await;
    link.send(page.signal("signal", "back")).await;
    assert_eq!(link.hear().await, "back");
}
