//! Requests of the vendor's browser SDK over HTTP, good and bad. It reads an error from a successful
//! answer only, and nothing without the headers of CORS.

use signalbox_client::Role;
use signalbox_tests::{
    PROJECT, World,
    background::BackgroundTraffic,
    new_session,
    raw::opentok::{OpenTokLink, PREFIX, Page},
    rest::{Answer, Server, ask},
    token,
};
use tokio::time::Duration;
use tokio_tungstenite::tungstenite;

/// The close code after which a page does not resume.
const ENDED: u16 = 1003;

const ID: &str = "0b2f6a7e-54c1-4d0a-9a39-1c4dca4d9f10";

async fn world(origins: &[&str]) -> World {
    World::with(|config| {
        config.opentok_js.prefix = Some(PREFIX.to_owned());
        config.auth.allowed_origins = origins.iter().map(|&it| it.to_owned()).collect();
    })
    .await
}

/// A request of a page at `origin`, with these further headers.
async fn page_asks(world: &World, method: &str, path: &str, origin: &str, more: &str) -> Answer {
    let request = format!(
        "{method} {PREFIX}/{path} HTTP/1.1\r\nHost: x\r\nOrigin: {origin}\r\n{more}\
         Content-Length: 0\r\n\r\n"
    );
    ask(world, request).await
}

/// The code and the message with which the SDK is refused a session.
async fn refusal(world: &World, session: &str, headers: &[(&str, &str)]) -> (i64, String) {
    let more: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let path = format!("anvil.opentok.com/session/{session}?extended=true");
    let answer = page_asks(world, "GET", &path, "https://app.example", &more).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, Some("*")));
    let error = &answer.json()[0]["error"];
    let message = error["errorMessage"]["message"].as_str().expect("a refusal");
    (error["code"].as_i64().unwrap(), message.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_told_where_to_connect() {
    let world = world(&["*"]).await;
    let session = world.session().to_string();
    let token = world.token(Role::Publisher);
    let headers = format!("X-OPENTOK-AUTH: {token}\r\nX-TB-CONNECTIONID: {ID}\r\n");
    let path = format!("any.host/session/{session}?extended=true");
    let answer = page_asks(&world, "GET", &path, "https://app.example", &headers).await;
    let info = &answer.json()[0];
    assert_eq!(info["session_id"], session.as_str());
    assert_eq!(info["partner_id"], PROJECT.0);
    assert_eq!(info["messaging_url"], format!("wss://signalbox/rumor/{session}/{ID}"));
    assert_eq!(info["properties"]["reconnection"], true);
    // Without it the SDK asks the vendor, and shows it the token.
    assert_eq!(info["ice_servers"], serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_requests_for_a_session_name_their_fault() {
    let world = world(&["*"]).await;
    let background = BackgroundTraffic::start(&world).await;
    let session = world.session().to_string();
    let elsewhere = new_session(PROJECT.0);
    let lifetime = Duration::from_secs(60);
    let good = world.token(Role::Publisher);
    let foreign = token(PROJECT, &elsewhere, Role::Publisher, lifetime);
    let forged = token((PROJECT.0, "another secret"), world.session(), Role::Publisher, lifetime);
    let stranger = token(("999", "secret"), &new_session("999"), Role::Publisher, lifetime);
    let connection = ("X-TB-CONNECTIONID", ID);
    let auth = |token| ("X-OPENTOK-AUTH", token);
    for (what, session, headers, code, message) in [
        ("no token", &*session, vec![connection], 403, "the token is missing"),
        (
            "no session",
            "1_nonsense",
            vec![connection, auth(&*good)],
            404,
            "not the id of a session",
        ),
        ("no such token", &session, vec![connection, auth("T1==x")], 403, "token"),
        ("another session's", &session, vec![connection, auth(&foreign)], 403, "another session"),
        ("a forged one", &session, vec![connection, auth(&forged)], 403, "signature"),
        ("another project's", &session, vec![connection, auth(&stranger)], 403, ""),
        ("no connection", &session, vec![auth(&good)], 400, "X-TB-CONNECTIONID"),
        (
            "a connection that is no UUID",
            &session,
            vec![("X-TB-CONNECTIONID", "me"), auth(&good)],
            400,
            "X-TB-CONNECTIONID",
        ),
    ] {
        let (found, why) = refusal(&world, session, &headers).await;
        assert_eq!(found, code, "{what}: {why}");
        assert!(why.contains(message), "{what}: {why}");
        // With this text the SDK repeats the whole token.
        assert_ne!(why, "Invalid token format", "{what}");
    }
    background.assert_undisturbed().await;
    let mut server = Server::of(&world).await;
    let everybody = serde_json::json!({ "sessionId": session }).to_string();
    let revoked = server.ask_project("POST", "/revocations", Some(&everybody)).await;
    assert_eq!(revoked.status, 201, "{revoked:?}");
    let why = refusal(&world, &session, &[connection, auth(&good)]).await;
    assert_eq!(why, (403, "the token has been revoked".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_can_be_read_by_pages_of_allowed_origins_alone() {
    let world = world(&["https://app.example"]).await;
    for (method, path, status) in [
        ("OPTIONS", "any.host/session/x", 204),
        ("OPTIONS", "any.host/prod/logging/ClientEvent", 204),
        ("GET", "config.opentok.com/project/1/config.json", 200),
        ("GET", "any.host/session/x", 200),
        ("POST", "any.host/prod/logging/ClientEvent", 204),
        ("GET", "any.host/nothing", 404),
        ("DELETE", "any.host/session/x", 405),
    ] {
        for (origin, expected) in
            [("https://app.example", Some("https://app.example")), ("https://evil.example", None)]
        {
            let answer = page_asks(&world, method, path, origin, "").await;
            assert_eq!(answer.status, status, "{method} {path}");
            assert_eq!(answer.header("access-control-allow-origin"), expected, "{method} {path}");
        }
    }
    let preflight = page_asks(&world, "OPTIONS", "x/session/x", "https://app.example", "").await;
    let headers = preflight.header("access-control-allow-headers").unwrap();
    for name in ["x-opentok-auth", "x-tb-connectionid", "x-tb-token-auth", "content-type"] {
        assert!(headers.contains(name), "{headers}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_are_read_and_dropped_and_disturb_nobody() {
    let world = world(&["*"]).await;
    let background = BackgroundTraffic::start(&world).await;
    let post = |length: usize| {
        let body = "x".repeat(length);
        format!(
            "POST {PREFIX}/hlg.tokbox.com/prod/logging/ClientEvent HTTP/1.1\r\nHost: x\r\n\
             Origin: https://app.example\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        )
    };
    let flood = (0..20).map(|_| async {
        for length in [0, 1000, 64 * 1024] {
            let answer = ask(&world, post(length)).await;
            assert_eq!(answer.status, 204, "{length}");
            assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        }
    });
    futures_util::future::join_all(flood).await;
    assert_eq!(ask(&world, post(1_000_000)).await.status, 204);
    background.assert_undisturbed().await;
    world.is_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_is_refused_to_pages_of_other_origins() {
    let world = world(&["https://app.example"]).await;
    let background = BackgroundTraffic::start(&world).await;
    let page = Page::new(&world, world.token(Role::Publisher));
    let (address, path) = (world.addresses().tcp, page.path(false));
    let origin = [("Origin", "https://evil.example")];
    match OpenTokLink::open(address, &path, &origin).await.map(|_| ()) {
        Err(tungstenite::Error::Http(response)) => assert_eq!(response.status(), 403),
        other => panic!("{other:?}"),
    }
    OpenTokLink::open(address, &path, &[("Origin", "https://app.example")]).await.unwrap();
    background.assert_undisturbed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_is_refused_to_an_address_with_too_many_links() {
    let world = World::with(|config| {
        config.opentok_js.prefix = Some(PREFIX.to_owned());
        config.proxy.trusted = vec!["127.0.0.1".to_owned()];
        config.limits.address.links_per_second = 1;
    })
    .await;
    let background = BackgroundTraffic::start(&world).await;
    let page = Page::new(&world, world.token(Role::Publisher));
    let open = async |client: &'static str| {
        let headers = [("X-Forwarded-For", client)];
        OpenTokLink::open(page.address, &page.path(true), &headers).await
    };
    let mut links = 0;
    loop {
        match open("203.0.113.7").await {
            Ok(link) => assert_eq!(link.end().await, (None, ENDED)),
            Err(tungstenite::Error::Http(response)) => {
                assert_eq!(response.status(), 429);
                break;
            }
            Err(other) => panic!("{other}"),
        }
        links += 1;
        assert!(links < 100, "never refused");
    }
    assert_eq!(open("203.0.113.8").await.unwrap().end().await, (None, ENDED), "another address");
    background.assert_undisturbed().await;
    world.is_empty().await;
}
