//! The endpoints of the admin page: what they show, who may use them, and what they do.

use std::time::Duration;

use serde_json::{Value, json};
use signalbox_client::{CloseReason, ConnectError, ConnectOptions, Role};
use signalbox_gateway::Config;
use signalbox_protocol::SessionId;
use signalbox_tests::{
    Member, OTHER_PROJECT, PROJECT, TransportMode, World, new_session,
    ops::{ask_ops, get_ops, with_ops},
    raw::opentok::{PREFIX, Page},
    rest::Answer,
    token_for, unix_time, within_timeout,
};

const TOKEN: &str = "0123456789abcdef";
const CHANGE: &str = "X-Signalbox-Admin: 1\r\n";

async fn world() -> World {
    World::with(with_ops).await
}

/// Joins a session as this user.
async fn join(world: &World, mode: TransportMode, session: &SessionId, data: &str) -> Member {
    world.try_join(&options(world, mode, session, data)).await.unwrap()
}

fn options(world: &World, mode: TransportMode, session: &SessionId, data: &str) -> ConnectOptions {
    let token = token_for(PROJECT, session, Role::Publisher, data, Duration::from_secs(3600));
    mode.options(ConnectOptions::new(world.url(mode), token).rejoin(false))
}

async fn get_json(world: &World, path: &str) -> Value {
    let answer = get_ops(world, path).await;
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    answer.json()
}

async fn change(world: &World, method: &str, path: &str, body: &str) -> Answer {
    ask_ops(world, method, path, CHANGE, body).await
}

/// The message of an error in JSON.
fn message(answer: &Answer) -> String {
    assert_eq!(answer.header("content-type"), Some("application/json"), "{answer:?}");
    answer.json()["message"].as_str().unwrap().to_owned()
}

fn ids(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_overview_counts_connections_signals_and_ends() {
    let world = world().await;
    let mut alice = join(&world, TransportMode::Quic, world.session(), "alice").await;
    let mut bob = join(&world, TransportMode::WebSocketJson, world.session(), "bob").await;
    alice.sees_created().await;
    bob.sees_present().await;
    alice.say("hello").await;
    assert_eq!(bob.hear_data().await, "hello");
    assert_eq!(alice.hear_data().await, "hello");
    let overview = get_json(&world, "/admin/overview").await;
    assert_eq!(overview["sessions"], 1);
    assert_eq!(overview["connections"], json!({ "attached": 2, "detached": 0 }));
    assert_eq!(overview["gateway"]["ready"], true);
    assert_eq!(overview["gateway"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(overview["traffic"]["totals"]["signals"], 1);
    assert_eq!(overview["traffic"]["totals"]["deliveries"], 2);
    assert_eq!(overview["cluster"], Value::Null);
    assert_eq!(overview["certificate"]["sha256"].as_str().unwrap().len(), 64);
    assert!(overview["certificate"]["notAfter"].as_u64().unwrap() > unix_time().as_secs());
    let by_transport = |name: &str| {
        let all = overview["byTransport"].as_array().unwrap();
        all.iter().find(|it| it["transport"] == name).unwrap()["attached"].clone()
    };
    assert_eq!([by_transport("quic"), by_transport("websocket")], [1, 1]);
    let projects = json!([
        { "key": PROJECT.0, "sessions": 1, "connections": 2 },
        { "key": OTHER_PROJECT.0, "sessions": 0, "connections": 0 },
    ]);
    assert_eq!(overview["projects"], projects);

    let id = bob.id();
    bob.client.disconnect().await;
    alice.sees_destroyed().await;
    let ended = async {
        loop {
            let overview = get_json(&world, "/admin/overview").await;
            if let Some(ended) = overview["endedLinks"].get(0) {
                return (ended.clone(), overview["traffic"]["ends"].clone());
            }
        }
    };
    let (ended, ends) = within_timeout("the end is listed", ended).await;
    assert_eq!(ended["connection"], id.to_string());
    assert_eq!(ended["session"], world.session().as_str());
    assert_eq!(
        (&ended["reason"], &ended["transport"]),
        (&json!("clientDisconnected"), &json!("websocket"))
    );
    assert_eq!(ends[0]["reason"], "clientDisconnected");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_listed_in_pages() {
    let world = world().await;
    let mut members = Vec::new();
    let mut expected = Vec::new();
    for _ in 0..5 {
        let session = new_session(PROJECT.0);
        members.push(join(&world, TransportMode::WebSocketJson, &session, "").await);
        expected.push(session.to_string());
    }
    expected.sort();
    let mut listed = Vec::new();
    let mut path = "/admin/sessions?limit=2".to_owned();
    loop {
        let page = get_json(&world, &path).await;
        assert!(ids(&page["sessions"]).len() <= 2);
        listed.extend(ids(&page["sessions"]).into_iter().map(str::to_owned));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/admin/sessions?limit=2&after={next}");
    }
    assert_eq!(listed, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_and_connections_are_found_by_ids_and_data() {
    let world = world().await;
    let (one, two) = (new_session(PROJECT.0), new_session(PROJECT.0));
    let alice = join(&world, TransportMode::Quic, &one, "user=Alice & co").await;
    let bob = join(&world, TransportMode::WebSocketJson, &two, "user=Bob").await;
    let found = async |text: &str| {
        let page = get_json(&world, &format!("/admin/sessions?search={text}")).await;
        ids(&page["sessions"]).join(" ")
    };
    assert_eq!(found("alice%20%26").await, one.as_str(), "a part of the data, in any case");
    assert_eq!(found(&bob.id().to_string()[..13]).await, two.as_str(), "the beginning of an id");
    assert_eq!(found(&two.as_str()[10..]).await, two.as_str(), "a part of a session id");
    assert_eq!(found(PROJECT.0).await.split(' ').count(), 2, "the key of a project");
    assert_eq!(found("carol").await, "");
    let matches =
        get_json(&world, "/admin/sessions?search=alice").await["sessions"][0]["matches"].clone();
    assert_eq!(matches, json!([{ "id": alice.id().to_string(), "data": "user=Alice & co" }]));

    let session = get_json(&world, &format!("/admin/sessions/{one}?search=ALICE")).await;
    assert_eq!(ids(&session["items"]), [alice.id().to_string()]);
    let session = get_json(&world, &format!("/admin/sessions/{one}?search=bob")).await;
    assert_eq!(session["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_shown_with_its_connections_and_their_links() {
    let world = world().await;
    let session = world.session();
    let path = format!("/admin/sessions/{session}");
    let mut alice = join(&world, TransportMode::Quic, session, "alice").await;
    let mut bob = join(&world, TransportMode::WebSocketJson, session, "bob").await;
    alice.sees_created().await;
    bob.sees_present().await;
    bob.say("hello").await;
    bob.hear_data().await;
    alice.hear_data().await;
    let shown = get_json(&world, &path).await;
    assert_eq!((&shown["connections"], &shown["elsewhere"]), (&json!(2), &json!(0)));
    assert_eq!(ids(&shown["items"]), [bob.id().to_string(), alice.id().to_string()]);
    let item = &shown["items"][0];
    for (name, value) in [
        ("data", json!("bob")),
        ("role", json!("publisher")),
        ("transport", json!("websocket")),
        ("sent", json!(1)),
    ] {
        assert_eq!(item[name], value, "{item}");
    }
    let link = &item["link"];
    assert!(link["address"].as_str().unwrap().starts_with("127.0.0.1:"), "{link}");
    assert!(link["since"].as_u64().unwrap() >= item["createdAt"].as_u64().unwrap());
    // Its own signal; its link has written that before bob heard it.
    assert!(link["written"].as_u64().unwrap() >= 1, "{link}");

    let first = get_json(&world, &format!("{path}?limit=1")).await;
    let rest = get_json(&world, &format!("{path}?limit=1&before={}", first["next"])).await;
    assert_eq!(ids(&rest["items"]), [alice.id().to_string()]);
    assert_eq!(rest["next"], Value::Null);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_round_trip_of_each_link_is_shown() {
    let world = World::with(|config| {
        with_ops(config);
        config.opentok_js.prefix = Some(PREFIX.to_owned());
    })
    .await;
    let session = world.session();
    let mut members = Vec::new();
    for mode in TransportMode::ALL {
        members.push(join(&world, mode, session, &format!("{mode:?}")).await);
    }
    let page = Page::new(&world, world.token(Role::Publisher));
    let mut link = page.join().await;
    let path = format!("/admin/sessions/{session}");
    let measured = async {
        loop {
            let shown = get_json(&world, &path).await;
            let items = shown["items"].as_array().unwrap();
            let rtts: Vec<_> = items.iter().map(|it| it["link"]["rttMs"].as_f64()).collect();
            assert_eq!(rtts.len(), TransportMode::ALL.len() + 1);
            if let Some(rtts) = rtts.into_iter().collect::<Option<Vec<_>>>() {
                return rtts;
            }
        }
    };
    let measured = async {
        tokio::select! {
            rtts = measured => rtts,
            // Answers pings.
            other = link.find(|_| false) => panic!("{other:?}"),
        }
    };
    let rtts = within_timeout("all round trips are known", measured).await;
    assert!(rtts.iter().all(|ms| (0.001..10_000.0).contains(ms)), "{rtts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_requests_are_errors() {
    let world = world().await;
    let session = world.session();
    for path in [
        "/admin/sessions?limit=0",
        "/admin/sessions?limit=101",
        "/admin/sessions?after=nonsense",
        "/admin/sessions?page=2",
        "/admin/sessions?search=a&search=b",
        &format!("/admin/sessions?search={}", "a".repeat(257)),
        &format!("/admin/sessions/{session}?before=-1"),
        "/admin/sessions/nonsense",
    ] {
        let answer = get_ops(&world, path).await;
        assert_eq!(answer.status, 400, "{path}: {answer:?}");
        assert!(!message(&answer).is_empty());
    }
    for path in [
        format!("/admin/sessions/{session}"),
        "/admin/projects/1/revocations".to_owned(),
        "/admin/nothing".to_owned(),
    ] {
        assert_eq!(get_ops(&world, &path).await.status, 404, "{path}");
    }
    for (method, path, status) in [
        ("DELETE", format!("/admin/sessions/{session}"), 404),
        ("DELETE", format!("/admin/sessions/{session}/connections/x"), 400),
        ("POST", format!("/admin/projects/{}/revocations", PROJECT.0), 400),
        ("POST", format!("/admin/projects/{}/revocations", "1"), 404),
        ("DELETE", format!("/admin/projects/{}/revocations/x", PROJECT.0), 400),
        ("POST", "/admin/overview".to_owned(), 405),
        ("GET", "/admin/drain".to_owned(), 405),
        ("GET", "/reload".to_owned(), 405),
        // This gateway has no program that reads a configuration.
        ("POST", "/reload".to_owned(), 404),
    ] {
        assert_eq!(change(&world, method, &path, "{}").await.status, status, "{method} {path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_needs_the_token_the_header_and_the_own_origin() {
    let world = World::with(|config| {
        with_ops(config);
        config.ops.token = Some(TOKEN.to_owned().into());
        config.ops.hosts = vec!["ops.example.com".into()];
    })
    .await;
    let mut alice = join(&world, TransportMode::Quic, world.session(), "").await;
    let path = format!("/admin/sessions/{}", world.session());
    let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
    let foreign = "Origin: https://evil.example\r\n";
    for (headers, status) in [
        (CHANGE.to_owned(), 401),
        (format!("{CHANGE}Authorization: Bearer 0123456789abcdeF\r\n"), 401),
        (bearer.clone(), 403),
        (format!("{bearer}{CHANGE}{foreign}"), 403),
    ] {
        let answer = ask_ops(&world, "DELETE", &path, &headers, "").await;
        assert_eq!(answer.status, status, "{headers}");
    }
    for path in ["/admin/overview", "/admin/sessions", &path, "/admin/settings"] {
        assert_eq!(get_ops(&world, path).await.status, 401, "{path}");
    }
    assert_eq!(world.stats().current().connections, 1, "nothing has happened");
    let proxied = format!("{bearer}{CHANGE}Origin: https://ops.example.com\r\n");
    let answer = ask_ops(&world, "DELETE", &path, &proxied, "").await;
    assert_eq!((answer.status, answer.json()), (200, json!({ "disconnected": 1 })));
    assert_eq!(alice.ends().await, CloseReason::ForceDisconnected);
}

/// It asks for the token, so its files need none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_is_served_without_the_token_and_may_do_little() {
    let world = World::with(|config| {
        with_ops(config);
        config.ops.token = Some(TOKEN.to_owned().into());
    })
    .await;
    for (path, content_type) in [
        ("/", "text/html; charset=utf-8"),
        ("/admin.js", "text/javascript; charset=utf-8"),
        ("/admin.css", "text/css; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
    ] {
        let answer = get_ops(&world, path).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(content_type)));
        assert_eq!(answer.header("cross-origin-resource-policy"), Some("same-origin"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("set-cookie"), None);
        let policy = answer.header("content-security-policy").unwrap();
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "connect-src 'self';",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
        ] {
            assert!(policy.contains(part), "{policy}");
        }
        let foreign = ask_ops(&world, "GET", path, "Origin: https://evil.example\r\n", "").await;
        assert_eq!(foreign.status, 403);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_disconnected_and_a_session_is_ended() {
    let world = world().await;
    let session = world.session();
    let mut alice = join(&world, TransportMode::Quic, session, "alice").await;
    let mut bob = join(&world, TransportMode::WebSocketJson, session, "bob").await;
    let mut elsewhere =
        join(&world, TransportMode::WebSocketJson, &new_session(PROJECT.0), "bob").await;
    let path = format!("/admin/sessions/{session}");
    let of_alice = format!("{path}/connections/{}", alice.id());
    assert_eq!(change(&world, "DELETE", &of_alice, "").await.status, 204);
    assert_eq!(alice.ends().await, CloseReason::ForceDisconnected);
    assert_eq!(change(&world, "DELETE", &of_alice, "").await.status, 404);
    let answer = change(&world, "DELETE", &path, "").await;
    assert_eq!((answer.status, answer.json()), (200, json!({ "disconnected": 1 })));
    assert_eq!(bob.ends().await, CloseReason::ForceDisconnected);
    elsewhere.say("still here").await;
    assert_eq!(elsewhere.hear_data().await, "still here");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_revoked_and_a_revocation_is_deleted() {
    let world = world().await;
    let session = world.session();
    let mut alice = join(&world, TransportMode::Quic, session, "alice").await;
    let again = options(&world, TransportMode::Quic, session, "alice");
    let path = format!("/admin/projects/{}/revocations", PROJECT.0);
    let body = json!({ "connectionData": "alice", "sessionId": session }).to_string();
    let answer = change(&world, "POST", &path, &body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.json()["disconnected"], 1);
    assert_eq!(alice.ends().await, CloseReason::ForceDisconnected);
    let refused = world.try_join(&again).await.err();
    assert!(
        matches!(refused, Some(ConnectError::Refused { reason: CloseReason::InvalidToken, .. })),
        "{refused:?}"
    );
    let list = get_json(&world, &path).await;
    let of_revocation = format!("{path}/{}", list["items"][0]["id"].as_str().unwrap());
    assert_eq!(change(&world, "DELETE", &of_revocation, "").await.status, 204);
    assert_eq!(change(&world, "DELETE", &of_revocation, "").await.status, 404);
    world.try_join(&again).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_ends_the_gateway() {
    let mut world = world().await;
    let mut alice = join(&world, TransportMode::Quic, world.session(), "").await;
    let without_header = ask_ops(&world, "POST", "/admin/drain", "", "").await;
    assert_eq!(without_header.status, 403);
    assert!(message(&without_header).contains("x-signalbox-admin"));
    let answer = change(&world, "POST", "/admin/drain", "").await;
    assert_eq!((answer.status, answer.json()), (202, json!({ "draining": true })));
    assert_eq!(alice.loses_link().await, CloseReason::ShuttingDown);
    world.is_done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_settings_in_effect_have_no_secrets() {
    let change = |config: &mut Config| {
        with_ops(config);
        config.limits.connections_per_session = 42;
    };
    let mut world = World::with(change).await;
    world.change_projects(|projects| projects.truncate(1)).unwrap();
    let answer = get_ops(&world, "/admin/settings").await;
    assert!(!answer.body.contains(PROJECT.1), "{}", answer.body);
    let settings = answer.json()["settings"].clone();
    let of =
        |name: &str| settings.as_array().unwrap().iter().find(|it| it["name"] == name).cloned();
    let limit = of("limits.connections_per_session").unwrap();
    assert_eq!((&limit["value"], &limit["isDefault"]), (&json!(42), &json!(false)));
    assert_eq!(of("projects.0.key").unwrap()["value"], PROJECT.0);
    let secret = of("projects.0.secrets").unwrap()["value"][0].clone();
    assert!(secret.as_str().unwrap().starts_with("not shown"), "{secret}");
    assert!(of("projects.1.key").is_none(), "the projects are the present ones");
}
