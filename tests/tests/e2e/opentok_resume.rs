//! Pages with the vendor's browser SDK whose link is lost while they join.

use signalbox_client::Role;
use signalbox_opentok::frame::FrameKind;
use signalbox_tests::{
    TransportMode, World,
    raw::opentok::{PREFIX, Page, Received, frame},
};

/// A frame in short.
fn summary(frame: &Received) -> String {
    let Received { kind, transaction, status, .. } = frame;
    match kind {
        FrameKind::Message => format!("{} {transaction}", frame.meaning().0),
        FrameKind::Status => format!("{status} {transaction}"),
        other => format!("{other:?}"),
    }
}

/// The SDK forgets all that comes before the answer to its request and its own announcement.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_may_not_know_that_it_has_joined_is_told_so_first() {
    let world = World::with(|config| config.opentok_js.prefix = Some(PREFIX.to_owned())).await;
    let mut bob = world.join(TransportMode::Quic, Role::Publisher).await;
    assert_eq!(bob.sees_present().await, []);
    let page = Page::new(&world, world.token(Role::Publisher));
    let mut link = page.connect().await;
    link.send(page.create("create")).await;
    assert_eq!(bob.sees_created().await, page.id);
    drop(link);
    bob.say("missed").await;
    let signal = format!("signal {}.1", bob.id());
    for _ in 0..2 {
        let mut link = page.resume().await;
        let mut frames = Vec::new();
        while frames.last() != Some(&signal) {
            frames.push(summary(&link.find(|_| true).await));
        }
        let greeting = ["Pong", "200 create", "created ", "created ", "created g.1", &*signal];
        assert_eq!(frames, greeting);
        // The request that it repeats is answered, too.
        link.send(page.create("create")).await;
        assert_eq!(link.answer("create").await, ("200".to_owned(), None));
    }
    let mut link = page.resume().await;
    link.confirm_next("g.1").await;
    link.send(frame(9, &[("TRANSACTION-ID", &format!("{}.1", bob.id()))], "")).await;
    link.send(page.signal("1", "hello")).await;
    assert_eq!(link.answer("1").await.0, "200");
    // From now on it is not greeted again.
    let mut link = page.resume().await;
    link.send(page.signal("2", "last")).await;
    let mut frames = Vec::new();
    while frames.last().is_none_or(|it| it != "200 2") {
        frames.push(summary(&link.find(|_| true).await));
    }
    let [own, last] = [1, 2].map(|seq| format!("signal {}.{seq}", page.id));
    assert_eq!(frames, ["Pong", &*own, &*last, "200 2"]);
}
