//! REST: responses to good and bad requests, while clients in the same session are not affected.

use signalbox_client::{ConnectionId, Event, Role, Sender};
use signalbox_tests::{
    OTHER_PROJECT, PROJECT, TransportMode, World,
    background::BackgroundTraffic,
    credential, new_session,
    raw::tls_stream,
    rest::{Server, ask, ask_on, request, session_path},
};

const NOBODY: &str = "Not found. No clients are actively connected to the OpenTok session.";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_created_in_json_and_in_xml() {
    let world = World::new().await;
    let create = |accept: &str, label: &str, body: &str| {
        format!(
            "POST /session/create HTTP/1.1\r\nHost: x\r\nX-OPENTOK-AUTH: {}\r\n{accept}{label}\
             Content-Length: {}\r\n\r\n{body}",
            credential(PROJECT),
            body.len()
        )
    };
    let json = "Accept: application/json\r\n";
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let mislabelled = "Content-Type: application/json\r\n";
    for (label, body, prefix, location) in [
        (form, "p2p.preference=enabled&archiveMode=manual&location=10.1.2.3", "1_", "10.1.2.3"),
        (form, "p2p.preference=disabled&location=null&e2ee=False", "2_", ""),
        (mislabelled, "p2p.preference=enabled&location=", "1_", ""),
        (mislabelled, "{\"p2p.preference\":\"enabled\",\"x\":1,\"location\":null}", "1_", ""),
        ("", "", "2_", ""),
        // A byte order mark is ignored, before JSON and before a form.
        (mislabelled, "\u{feff}{\"p2p.preference\":\"enabled\"}", "1_", ""),
        (form, "\u{feff}p2p.preference=enabled", "1_", ""),
    ] {
        let answer = ask(&world, create(json, label, body)).await;
        assert_eq!(answer.status, 200, "{body}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let body = answer.json();
        let [session] = body.as_array().unwrap().as_slice() else { panic!("{body}") };
        let id = session["session_id"].as_str().unwrap();
        assert!(id.starts_with(prefix), "{id}");
        assert_eq!(
            (&session["project_id"], &session["partner_id"]),
            (&PROJECT.0.into(), &PROJECT.0.into())
        );
        assert_eq!(fields(id)[1..3], [PROJECT.0, location]);
        // A token for this session is accepted.
        let id = id.parse().unwrap();
        let token = signalbox_tests::token(
            PROJECT,
            &id,
            Role::Publisher,
            std::time::Duration::from_secs(60),
        );
        let options = signalbox_client::ConnectOptions::new(world.url(TransportMode::Quic), token);
        world.try_join(&options).await.unwrap();
    }
    for accept in ["", "Accept: */*\r\n"] {
        let answer = ask(&world, create(accept, form, "")).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/xml")));
        let start = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?><sessions><Session><session_id>2_";
        assert!(answer.body.starts_with(start), "{answer:?}");
        let partner = format!("</session_id><partner_id>{}</partner_id><create_dt>", PROJECT.0);
        assert!(answer.body.contains(&partner), "{answer:?}");
    }
    for body in [
        "location=somewhere",
        "p2p.preference=maybe",
        "{\"location\":",
        "[{\"p2p.preference\":\"enabled\"}]",
        "{\"p2p.preference\":\"enabled\",\"p2p.preference\":\"disabled\"}",
        "p2p.preference=enabled&p2p.preference=disabled",
    ] {
        assert_eq!(ask(&world, create(json, form, body)).await.error().0, 400, "{body}");
        let answer = ask(&world, create("", form, body)).await;
        assert_eq!((answer.status, answer.header("content-type")), (400, Some("application/xml")));
        assert!(answer.body.contains("<errorPayload><code>400</code><message>"), "{answer:?}");
    }
}

/// The fields of a session id.
fn fields(id: &str) -> Vec<String> {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let plain = String::from_utf8(URL_SAFE_NO_PAD.decode(&id[2..]).unwrap()).unwrap();
    plain.split('~').map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_of_a_signal_has_its_status_and_body() {
    let world = World::new().await;
    let background = BackgroundTraffic::start(&world).await;
    let mut watcher = world.join(TransportMode::WebSocketJson, Role::Moderator).await;
    let mute = world.join(TransportMode::Quic, Role::PublisherOnly).await;
    let mut server = Server::of(&world).await;
    let absent: ConnectionId = "0b2f6a7e-54c1-4d0a-9a39-1c4dca4d9f10".parse().unwrap();
    let long_type = format!("{{\"data\":\"\",\"type\":\"{}\"}}", "t".repeat(129));
    let long_data = format!("{{\"data\":\"{}\"}}", "é".repeat(4097));
    let ids = |count: usize| vec![absent.to_string(); count].join("\",\"");
    for (json, status, code) in [
        ("{\"data\"", 400, 400),
        ("", 400, 400),
        ("[]", 400, 400),
        ("null", 400, 400),
        ("\"data\"", 400, 400),
        ("{\"data\":1}", 400, 400),
        ("{\"data\":\"x\",\"type\":{}}", 400, 400),
        ("{\"data\":\"x\",\"data\":\"y\"}", 400, 400),
        ("{\"data\":\"\\ud800\"}", 400, 400),
        ("[\"chat\",\"x\",null,null]", 400, 400),
        ("{\"data\":\"x\",\"color\":1,\"color\":2}", 400, 400),
        ("{\"data\":\"x\",\"color\":{\"a\":1,\"a\":1}}", 400, 400),
        ("{}", 400, 15202),
        ("{\"type\":null,\"data\":null}", 400, 15202),
        ("{\"type\":\"a b\",\"data\":\"x\"}", 400, 400),
        (&long_type, 413, 413),
        (&long_data, 413, 413),
        ("{\"data\":\"x\",\"to\":[]}", 400, 400),
        ("{\"data\":\"x\",\"to\":[\"me\"]}", 400, 400),
        ("{\"data\":\"x\",\"to\":\"all\"}", 400, 400),
        (&format!("{{\"data\":\"x\",\"to\":[\"{absent}\"],\"except\":[\"{absent}\"]}}"), 400, 400),
        (&format!("{{\"data\":\"x\",\"to\":[\"{}\"]}}", ids(1)), 404, 404),
    ] {
        let answer = server.signal(None, json).await;
        let error = answer.error();
        assert_eq!((error.0, error.1), (status, code), "{json:.60}: {answer:?}");
        if status != 404 {
            // Whether it is to one or to all, the fault is the same.
            assert_eq!(
                server.signal(Some(absent), json).await.error().0,
                400.max(status).min(status)
            );
        }
    }
    let data = "Signal payload 'data' must be set";
    assert_eq!(server.signal(None, "{}").await.error(), (400, 15202, data.into()));
    let good = "{\"data\":\"x\"}";
    assert_eq!(server.signal(Some(absent), good).await.error().0, 404);
    assert_eq!(server.signal(Some(mute.id()), good).await.error().0, 403, "it receives nothing");
    let for_all = format!("{{\"data\":\"x\",\"except\":[\"{absent}\"]}}");
    assert_eq!(server.signal(Some(absent), &for_all).await.error().0, 400);
    for (method, path, status) in [
        ("POST", "/connection/not-an-id/signal", 400),
        ("POST", "/connection/%ff/signal", 400),
        ("DELETE", "/connection/not-an-id", 400),
        ("DELETE", &format!("/connection/{absent}"), 404),
        ("GET", "/connection?details=perhaps", 400),
        ("GET", "/connection?details=true&details=false", 400),
        ("GET", "/stream", 404),
        ("PUT", "/signal", 405),
    ] {
        let answer = server.ask(method, path, (method == "POST").then_some(good)).await;
        assert_eq!(answer.error().0, status, "{method} {path}");
    }
    // Only the signals of the background traffic reached the session.
    background.assert_undisturbed().await;
    server.signal(None, "{\"type\":\"last\",\"data\":\"\"}").await;
    loop {
        match watcher.next().await {
            signalbox_client::Event::Signal { from: Sender::Connection(_), .. } => {}
            signalbox_client::Event::Signal { signal_type, .. } => {
                assert_eq!(signal_type.as_deref(), Some("last"));
                break;
            }
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leading_slashes_of_a_path_are_ignored() {
    let world = World::new().await;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    for path in ["//healthz", "////readyz?x=//", "//openapi.yaml", "http://x//healthz"] {
        assert_eq!(ask(&world, get(path)).await.status, 200, "{path}");
    }
    // Other paths are not changed, and a segment that looks like a host is a path.
    for path in ["/", "//", "/healthz//", "//healthz/", "/v2//healthz", "//x/healthz"] {
        assert_eq!(ask(&world, get(path)).await.status, 404, "{path}");
    }
    let member = world.join(TransportMode::WebSocketJson, Role::Publisher).await;
    let path = format!("/{}/connection", session_path(&world));
    let list = ask(&world, request("GET", &path, &credential(PROJECT), None)).await.json();
    assert_eq!(list["items"][0]["connectionId"], member.id().to_string());
    // For clients, too: it is a request for a WebSocket that lacks something.
    assert_ne!(ask(&world, get("//v1/connect")).await.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_values_of_sdks_count_as_missing() {
    let world = World::new().await;
    let mut member = world.join(TransportMode::WebSocketPostcard, Role::Subscriber).await;
    let mut server = Server::of(&world).await;
    for json in [
        "{\"data\":\"\"}",
        "{\"type\":null,\"data\":\"\"}",
        "{\"type\":\"\",\"data\":\"\",\"unknown\":[1]}",
    ] {
        assert_eq!(server.signal(None, json).await.status, 204, "{json}");
        assert_eq!(member.hear().await, (None, None, Some(String::new())));
    }
    // At their limits, in the longest JSON form.
    let data = "\\u0000".repeat(8192);
    let json = format!("{{\"type\":\"{}\",\"data\":\"{data}\"}}", "t".repeat(128));
    assert_eq!(server.signal(None, &json).await.status, 204);
    assert_eq!(member.hear_data().await, "\0".repeat(8192));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_names_or_excepts_recipients() {
    let world = World::new().await;
    let mut alice = world.join(TransportMode::Quic, Role::Subscriber).await;
    let mut bob = world.join(TransportMode::WebSocketJson, Role::Subscriber).await;
    assert_eq!(alice.sees_created().await, bob.id());
    assert_eq!(bob.sees_created().await, alice.id());
    let mut server = Server::of(&world).await;
    let absent = "0b2f6a7e-54c1-4d0a-9a39-1c4dca4d9f10";
    let (a, b) = (alice.id(), bob.id());
    let only = format!("{{\"data\":\"only alice\",\"to\":[\"{a}\",\"{a}\",\"{absent}\"]}}");
    let answer = server.signal(None, &only).await;
    assert_eq!((answer.status, answer.json()), (200, serde_json::json!({"notReached": [absent]})));
    let except = format!("{{\"data\":\"all but bob\",\"except\":[\"{b}\"]}}");
    assert_eq!(server.signal(None, &except).await.status, 204);
    assert_eq!(server.signal(None, "{\"data\":\"all\"}").await.status, 204);
    for data in ["only alice", "all but bob", "all"] {
        assert_eq!(alice.hear_data().await, data);
    }
    assert_eq!(bob.hear_data().await, "all");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_opens_its_own_project_only() {
    let world = World::new().await;
    let _member = world.join(TransportMode::Quic, Role::Publisher).await;
    let path = session_path(&world);
    let (own, theirs) = (credential(PROJECT), credential(OTHER_PROJECT));
    let swapped = credential((PROJECT.0, OTHER_PROJECT.1));
    let unknown = credential(("11111111", PROJECT.1));
    let client = world.token(Role::Moderator);
    let foreign = format!("/v2/project/{}/session/{}", OTHER_PROJECT.0, world.session());
    let their_session =
        format!("/v2/project/{}/session/{}", PROJECT.0, new_session(OTHER_PROJECT.0));
    let nobody_here = format!("/v2/project/{}/session/{}", PROJECT.0, new_session(PROJECT.0));
    let malformed = format!("/v2/project/{}/session/nonsense", PROJECT.0);
    let no_match = "Id in the token does not match the one in the url";
    for (what, path, credential, expected) in [
        ("another project's", &path, theirs.clone(), (403, -1, no_match)),
        ("own, in another's name", &foreign, own.clone(), (403, -1, no_match)),
        ("another's session by its id", &foreign, theirs, (403, -1, no_match)),
        ("another's session", &their_session, own.clone(), (403, -1, no_match)),
        ("another's secret", &path, swapped, (403, 10002, "Unauthorized token")),
        ("of nobody here", &path, unknown, (403, -1, "Issuer not found")),
        ("a moderator's token", &path, client, (403, 10002, "Unauthorized token")),
        ("none", &path, String::new(), (403, 10002, "Unauthorized token")),
        ("good, nobody there", &nobody_here, own.clone(), (404, 404, NOBODY)),
        ("good, no session id", &malformed, own.clone(), (400, 400, "Invalid session ID")),
    ] {
        let request =
            request("POST", &format!("{path}/signal"), &credential, Some("{\"data\":\"x\"}"));
        let (status, code, message) = ask(&world, request).await.error();
        assert_eq!((status, code, message.as_str()), expected, "{what}");
    }
    let list =
        |headers: &str| format!("GET {path}/connection HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
    let other = credential(PROJECT);
    assert_ne!(own, other);
    for (headers, status) in [
        (String::new(), 403),
        (format!("X-OPENTOK-AUTH: {own}\r\n"), 200),
        (format!("authorization: bearer {own}\r\n"), 200),
        (format!("Authorization: Basic eDp5\r\nX-OPENTOK-AUTH: {own}\r\n"), 200),
        (format!("Authorization: Bearer {own}\r\nX-OPENTOK-AUTH: {own}\r\n"), 200),
        (format!("X-OPENTOK-AUTH: {own}\r\nX-OPENTOK-AUTH: {other}\r\n"), 403),
        (format!("Authorization: Bearer {other}\r\nX-OPENTOK-AUTH: {own}\r\n"), 403),
        ("X-OPENTOK-AUTH: \u{e9}\r\n".into(), 403),
        (format!("X-TB-PARTNER-AUTH: {}:{}\r\n", PROJECT.0, PROJECT.1), 403),
    ] {
        assert_eq!(ask(&world, list(&headers)).await.status, status, "{headers}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_list_has_the_vendors_fields_and_details_on_request() {
    let world = World::new().await;
    let mut server = Server::of(&world).await;
    for path in ["/connection", "/connection/"] {
        let expected = (404, 404, "Session not found".to_owned());
        assert_eq!(server.ask("GET", path, None).await.error(), expected);
    }
    let mut members = Vec::new();
    // More than are written at a time.
    for index in 0..70 {
        members.push(
            world
                .join(TransportMode::ALL[index % TransportMode::ALL.len()], Role::Subscriber)
                .await,
        );
    }
    for path in ["/connection", "/connection/", "/connection?details=false"] {
        let answer = server.ask("GET", path, None).await;
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let items: Vec<_> = members
            .iter()
            .map(|member| {
                let info = member.client.connection();
                serde_json::json!({
                    "connectionId": info.id,
                    "createdAt": info.created_at,
                    "connectionState": "Connected",
                })
            })
            .collect();
        let expected = serde_json::json!({
            "count": 70, "projectId": PROJECT.0, "sessionId": world.session(), "items": items,
        });
        assert_eq!(answer.json(), expected, "exactly the vendor's fields");
    }
    let detailed = server.ask("GET", "/connection?details=true", None).await.json();
    let transports = ["quic", "quic", "webtransport", "websocket", "websocket"];
    for (index, item) in detailed["items"].as_array().unwrap().iter().enumerate() {
        let mode = index % TransportMode::ALL.len();
        assert_eq!(item["transport"], transports[mode]);
        let json = TransportMode::ALL[mode] == TransportMode::WebSocketJson;
        assert_eq!(item["codec"], if json { "json" } else { "postcard" });
        assert_eq!((&item["role"], &item["data"]), (&"subscriber".into(), &"".into()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_of_a_server_names_the_gateway() {
    let world = World::with(|config| config.name = "gw-1".parse().unwrap()).await;
    for transport in TransportMode::ALL {
        let mut member = world.join(transport, Role::Subscriber).await;
        let mut server = Server::of(&world).await;
        assert_eq!(server.signal(None, r#"{"data":"x"}"#).await.status, 204);
        loop {
            match member.next().await {
                Event::Signal { from: Sender::Server(gateway), .. } => {
                    assert_eq!(gateway.as_str(), "gw-1");
                    break;
                }
                Event::Signal { from, .. } => panic!("{from:?}"),
                _ => {}
            }
        }
        member.client.disconnect().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_without_credentials_affects_no_client() {
    const CONNECTIONS: usize = 20;
    const REQUESTS: usize = 500;
    let world = World::with(|config| config.limits.address.requests_per_second = 0).await;
    let background = BackgroundTraffic::start(&world).await;
    let list = format!("GET {}/connection HTTP/1.1\r\nHost: x\r\n\r\n", session_path(&world));
    let flood = async |_| {
        let mut refused = 0;
        while refused < REQUESTS {
            let mut stream = tls_stream(world.addresses().tcp).await;
            while refused < REQUESTS
                && let Some(answer) = ask_on(&mut stream, &list).await
            {
                assert_eq!(answer.error().0, 403);
                refused += 1;
            }
        }
    };
    futures_util::future::join_all((0..CONNECTIONS).map(flood)).await;
    background.assert_undisturbed().await;
}
