//! Bad input in the protocol of the vendor's browser SDK. It ends at worst its own link, in the way
//! that the SDK understands, and nobody else notices.

use std::collections::HashSet;

use signalbox_client::Role;
use signalbox_opentok::frame::FrameKind;
use signalbox_protocol::ConnectionId;
use signalbox_tests::{
    PROJECT, World,
    background::BackgroundTraffic,
    new_session,
    raw::opentok::{OpenTokLink, PREFIX, Page, frame},
    token,
};
use tokio::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::Message;

/// Ends a page for good: its session is over, or was never joined.
const ENDED: u16 = 1003;

async fn world() -> World {
    World::with(|config| config.opentok_js.prefix = Some(PREFIX.to_owned())).await
}

fn page(world: &World) -> Page {
    Page::new(world, world.token(Role::Publisher))
}

fn lost() -> (Option<String>, u16) {
    (Some("networkDisconnected".to_owned()), ENDED)
}

/// A page that has joined, and still works after what has happened.
async fn still_works(page: &Page, link: &mut OpenTokLink, what: &str) {
    link.send(page.signal(what, what)).await;
    assert_eq!(link.answer(what).await.0, "200", "{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_frames_end_the_link() {
    let world = world().await;
    let background = BackgroundTraffic::start(&world).await;
    let request = |headers: &[(&str, &str)]| Message::Binary(frame(2, headers, "{}").into());
    let own = ("X-TB-FROM-ADDRESS", "x");
    let bytes = |bytes: &[u8]| Message::Binary(bytes.to_vec().into());
    let long = "x".repeat(65);
    for (what, message) in [
        ("a text message", Message::text("{}")),
        ("nothing", bytes(&[])),
        ("a wrong length", bytes(&[0, 0, 0, 6, 0, 0, 7, 0, 0])),
        ("reserved bytes", bytes(&[0, 0, 0, 5, 0, 1, 7, 0, 0])),
        ("an unknown kind", bytes(&[0, 0, 0, 5, 0, 0, 5, 0, 0])),
        ("a pong, which is the gateway's", bytes(&[0, 0, 0, 5, 0, 0, 8, 0, 0])),
        ("a header beyond the end", bytes(&[0, 0, 0, 7, 0, 0, 2, 0, 1, 0, 9])),
        ("a body that is not UTF-8", bytes(&[0, 0, 0, 7, 0, 0, 7, 0, 0, 0xc3, 0x28])),
        ("an address that is not UTF-8", bytes(&[0, 0, 0, 9, 0, 0, 7, 1, 0, 2, 0xc3, 0x28, 0])),
        ("no transaction", request(&[own])),
        ("an empty transaction", request(&[own, ("TRANSACTION-ID", "")])),
        ("a long transaction", request(&[own, ("TRANSACTION-ID", &long)])),
        ("an address beyond the end", bytes(&[0, 0, 0, 7, 0, 0, 7, 2, 0, 1, b'a'])),
        ("two senders", request(&[own, own, ("TRANSACTION-ID", "1")])),
        ("two transactions", request(&[own, ("TRANSACTION-ID", "1"), ("TRANSACTION-ID", "2")])),
        ("no sender", request(&[("TRANSACTION-ID", "1")])),
        ("more than a message may have", bytes(&vec![0; 64 * 1024 + 1])),
    ] {
        let mut silent = page(&world).connect().await;
        silent.write(message.clone()).await;
        assert_eq!(silent.end().await, (None, ENDED), "{what}, before the request to join");
        let mut joined = page(&world).join().await;
        joined.write(message).await;
        assert_eq!(joined.end().await, lost(), "{what}, of a member");
    }
    background.assert_undisturbed().await;
    world.is_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_requests_are_refused_and_the_session_goes_on() {
    let world = world().await;
    let background = BackgroundTraffic::start(&world).await;
    let page = page(&world);
    let mut link = page.join().await;
    let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
    let long = format!(r#"{{"data":"{}"}}"#, "x".repeat(8193));
    let wide = format!(r#"{{"more":[{}1]}}"#, "1,".repeat(30_000));
    let nobody = ConnectionId::from_bytes([9; 16]);
    let refused = [
        ("no JSON", frame_of(&page, "1", "{"), "400"),
        ("an array", frame_of(&page, "2", "[]"), "400"),
        ("no uri", frame_of(&page, "3", r#"{"method":"signal"}"#), "400"),
        ("a member twice", frame_of(&page, "4", r#"{"method":"a","method":"b","uri":"c"}"#), "400"),
        (
            "deep JSON",
            page.request("5", "signal", "signal/x", &format!(r#"{{"a":{deep}}}"#)),
            "400",
        ),
        ("a number as data", page.request("6", "signal", "signal/x", r#"{"data":7}"#), "400"),
        ("long data", page.request("14", "signal", "signal/x", &long), "413"),
        ("no such type", page.request("7", "signal", "signal/x", r#"{"type":"a b"}"#), "400"),
        ("a stream", page.request("8", "create", "stream/x", "{}"), "403"),
        ("a migration", page.request("9", "migrate", "migrate", "{}"), "403"),
        ("to nobody", page.request("10", "signal", &to(&nobody.to_string()), "{}"), "404"),
        ("to what is no id", page.request("11", "signal", &to("me"), "{}"), "404"),
        ("to another session", page.request("12", "signal", &to("1_MX4x"), "{}"), "404"),
        (
            "no moderator",
            page.request("13", "delete", &format!("connection/{nobody}"), "{}"),
            "403",
        ),
    ];
    for (what, request, status) in refused {
        link.send(request).await;
        let answer = link.next_answer().await;
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        assert!(!answer.meaning().1.is_empty(), "{what}: has a reason");
    }
    // Members that nobody asked for, as many as there is room for.
    link.send(page.request("wide", "signal", "signal/x", &wide)).await;
    assert_eq!(link.answer("wide").await.0, "200");
    let other = Page { id: nobody, ..page.clone() };
    link.send(other.signal("as another", "x")).await;
    assert_eq!(link.answer("as another").await.0, "403");
    still_works(&page, &mut link, "after all").await;
    link.send(goodbye()).await;
    assert_eq!(link.end().await.1, 1000);
    background.assert_undisturbed().await;
    world.is_empty().await;
}

fn to(id: &str) -> String {
    format!("connection/{id}/signal/x")
}

fn frame_of(page: &Page, transaction: &str, body: &str) -> Vec<u8> {
    let id = page.id.to_string();
    frame(2, &[("TRANSACTION-ID", transaction), ("X-TB-FROM-ADDRESS", &id)], body)
}

fn goodbye() -> Vec<u8> {
    frame(4, &[("reconnect", "")], "")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_repeated_gets_the_same_answer_and_has_no_further_effect() {
    let world = world().await;
    let page = page(&world);
    let mut link = page.join().await;
    link.send(page.signal("1", "first")).await;
    assert_eq!(link.answer("1").await.0, "200");
    link.send(page.signal("1", "other content")).await;
    assert_eq!(link.answer("1").await.0, "200");
    let refused = page.request("2", "signal", "signal/x", r#"{"data":7}"#);
    link.send(refused).await;
    let answer = link.answer("2").await;
    assert_eq!(answer.0, "400");
    link.send(page.signal("2", "other content")).await;
    assert_eq!(link.answer("2").await, answer);
    // The session itself is a documented recipient: all.
    let session = world.session().to_string();
    link.send(page.request("3", "signal", &to(&session), r#"{"data":"to the session"}"#)).await;
    link.send(page.signal("4", "last")).await;
    let mut heard = vec![];
    while heard.last().is_none_or(|it| it != "last") {
        heard.push(link.hear().await);
    }
    // What came before the answers has been skipped.
    assert_eq!(heard, ["to the session", "last"]);
    let mut other = self::page(&world).join().await;
    link.send(page.signal("4", "other content")).await;
    link.send(page.signal("5", "end")).await;
    assert_eq!(other.hear().await, "end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_resumed_with_its_own_secret_alone() {
    let world = world().await;
    let background = BackgroundTraffic::start(&world).await;
    let [alice, bob] = [page(&world), page(&world)];
    let mut at_alice = alice.join().await;
    let mut at_bob = bob.join().await;
    let other = page(&world);
    for (what, forged) in [
        ("a forged secret", Page { socket_id: other.socket_id.clone(), ..alice.clone() }),
        ("the secret of another", Page { socket_id: bob.socket_id.clone(), ..alice.clone() }),
        ("a secret that is too short", Page { socket_id: "x".into(), ..alice.clone() }),
        ("no secret", Page { socket_id: String::new(), ..alice.clone() }),
        ("an unknown connection", Page { id: other.id, ..alice.clone() }),
    ] {
        assert_eq!(forged.resume().await.end().await, (None, ENDED), "{what}");
    }
    let address = world.addresses().tcp;
    let named = format!("{}/{}", alice.session, alice.id);
    for (what, path) in [
        ("no session", alice.path(true).replace(&alice.session.to_string(), "1_MX4x")),
        ("no UUID", alice.path(true).replace(&alice.id.to_string(), "me")),
        ("upper case", alice.path(true).replace(&named, &named.to_uppercase())),
    ] {
        let link = OpenTokLink::open(address, &path, &[]).await.unwrap();
        assert_eq!(link.end().await, (None, ENDED), "{what}");
    }
    still_works(&alice, &mut at_alice, "alice").await;
    still_works(&bob, &mut at_bob, "bob").await;
    for (page, mut link) in [(alice, at_alice), (bob, at_bob)] {
        link.send(goodbye()).await;
        assert_eq!(link.end().await.1, 1000, "{}", page.id);
    }
    background.assert_undisturbed().await;
    world.is_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_joins_as_the_connection_of_its_url_alone() {
    let world = world().await;
    let background = BackgroundTraffic::start(&world).await;
    let alice = page(&world);
    let mut at_alice = alice.join().await;
    let gone = page(&world);
    let mut at_gone = gone.join().await;
    at_gone.send(goodbye()).await;
    assert_eq!(at_gone.end().await.1, 1000);
    let other = page(&world);
    let elsewhere = new_session(PROJECT.0);
    let foreign = token(PROJECT, &elsewhere, Role::Publisher, Duration::from_secs(60));
    let member = world.token(Role::Publisher);
    let at = |page: Page, first: Vec<u8>| async move {
        let mut link = page.connect().await;
        link.send(first).await;
        (link.answer("create").await.0, link.end().await.1)
    };
    for (what, page, first, status) in [
        ("another id than its URL's", other.clone(), page(&world).create("create"), "400"),
        ("the id of another", other.clone(), alice.create("create"), "400"),
        (
            "an id that is in use",
            Page { socket_id: other.socket_id.clone(), ..alice.clone() },
            alice.create("create"),
            "409",
        ),
        (
            "an id that was in use",
            Page { socket_id: other.socket_id.clone(), ..gone.clone() },
            gone.create("create"),
            "409",
        ),
        ("a signal first", other.clone(), other.signal("create", "x"), "400"),
        (
            "a token that is none",
            other.clone(),
            Page::new(&world, "T1==x".into()).named(&other).create("create"),
            "403",
        ),
        (
            "a token of another session",
            other.clone(),
            Page::new(&world, foreign).named(&other).create("create"),
            "403",
        ),
        (
            "another session than its token's",
            Page { session: elsewhere.clone(), ..other.clone() },
            Page { session: elsewhere, ..Page::new(&world, member).named(&other) }.create("create"),
            "403",
        ),
    ] {
        assert_eq!(at(page, first).await, (status.to_owned(), ENDED), "{what}");
    }
    for (what, id) in
        [("no UUID", "me".to_owned()), ("upper case", other.id.to_string().to_uppercase())]
    {
        let path = other.path(false).replace(&other.id.to_string(), &id);
        let mut link = OpenTokLink::open(other.address, &path, &[]).await.unwrap();
        let token = ("X-TB-TOKEN-AUTH", &*other.token);
        let headers = [("TRANSACTION-ID", "create"), ("X-TB-FROM-ADDRESS", &*id), token];
        let uri = format!("/v2/partner/1/session/{}/connection/{id}", other.session);
        let body = format!(r#"{{"method":"create","uri":"{uri}","content":{{}}}}"#);
        link.send(frame(2, &headers, &body)).await;
        assert_eq!(link.answer("create").await.0, "400", "{what}");
        assert_eq!(link.end().await.1, ENDED, "{what}");
    }
    still_works(&alice, &mut at_alice, "alice").await;
    at_alice.send(goodbye()).await;
    assert_eq!(at_alice.end().await.1, 1000);
    background.assert_undisturbed().await;
    world.is_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_ten_resumes_at_once_one_wins() {
    let world = world().await;
    let background = BackgroundTraffic::start(&world).await;
    let page = page(&world);
    let first = page.join().await;
    let connections = world.stats().current().connections;
    let resuming: Vec<_> = (0..10)
        .map(|_| {
            let page = page.clone();
            tokio::spawn(async move { page.resume().await })
        })
        .collect();
    let mut links = Vec::new();
    for link in resuming {
        links.push(link.await.unwrap());
    }
    assert_eq!(first.end().await, (None, ENDED));
    // The winner is the one that hears the page's next signal. All others end.
    let mut open = HashSet::new();
    let mut ended = Vec::new();
    for (n, mut link) in links.into_iter().enumerate() {
        let transaction = n.to_string();
        link.send(page.signal(&transaction, &transaction)).await;
        ended.push(tokio::spawn(async move { (n, link.answered_or_ended(&transaction).await) }));
    }
    for outcome in ended {
        let (n, outcome) = outcome.await.unwrap();
        match outcome {
            Ok(link) => drop(open.insert(n).then_some(link)),
            Err(code) => assert_eq!(code, ENDED, "{n}"),
        }
    }
    assert_eq!(open.len(), 1);
    assert_eq!(world.stats().current().connections, connections);
    background.assert_undisturbed().await;
}

/// Frames of a page by their number, and what they are.
type Flood = (&'static str, fn(&Page, u32) -> Vec<u8>);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_refused_requests_or_of_frames_without_effect_slows_its_sender_alone() {
    let world = world().await;
    let background = BackgroundTraffic::start(&world).await;
    let refused = |page: &Page, n| page.request(&format!("media {n}"), "create", "stream/x", "{}");
    let without_effect = |_: &Page, n| match n % 3 {
        0 => frame(0, &[], ""),
        1 => frame(3, &[("uniqueId", "x")], ""),
        _ => frame(9, &[("TRANSACTION-ID", "x")], ""),
    };
    let floods: [Flood; 2] =
        [("refused requests", refused), ("frames without effect", without_effect)];
    for (what, flood) in floods {
        let page = page(&world);
        let mut link = page.join().await;
        let started = Instant::now();
        // 300 more than a burst. Each eleventh of them costs a tenth of a second.
        for n in 0..1300 {
            link.send(flood(&page, n)).await;
        }
        still_works(&page, &mut link, what).await;
        let elapsed = started.elapsed();
        assert!(elapsed >= Duration::from_secs(2), "{what}: {elapsed:?}");
    }
    background.assert_undisturbed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quiet_page_gets_a_pong_unasked() {
    let world = world().await;
    let mut link = page(&world).join().await;
    for _ in 0..2 {
        link.find(|it| it.kind == FrameKind::Pong).await;
    }
}
