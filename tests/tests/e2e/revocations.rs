//! Revocation of client tokens, and disconnection of users.

use std::fs;

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use signalbox_client::{CloseReason, ConnectError, ConnectOptions, DisconnectReason, Role};
use signalbox_protocol::SessionId;
use signalbox_tests::{
    Member, OTHER_PROJECT, PROJECT, TransportMode, World, credential, new_session,
    raw::{Quic, WebSocket, resume, ticket_in},
    rest::{Answer, Server, ask, request},
    unix_time, within_timeout,
};

use super::resume_messages::{cut, hear_until};

/// The kinds of client tokens.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Jwt,
    T1,
}

/// A client token: id, user, session and time of issue.
struct Token<'a> {
    kind: Kind,
    id: &'a str,
    user: &'a str,
    session: &'a SessionId,
    issued_at: u64,
}

impl Token<'_> {
    fn sign(&self) -> String {
        let Self { kind, id, user, session, issued_at } = *self;
        match kind {
            Kind::Jwt => {
                let claims = json!({
                    "iss": PROJECT.0, "ist": "project", "iat": issued_at, "exp": issued_at + 600,
                    "session_id": session, "scope": "session.connect", "connection_data": user,
                    "jti": id,
                });
                let key = EncodingKey::from_secret(PROJECT.1.as_bytes());
                jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap()
            }
            Kind::T1 => {
                let data = format!(
                    "session_id={session}&create_time={issued_at}&expire_time={}&role=publisher\
                     &nonce={id}&connection_data={user}",
                    issued_at + 600
                );
                let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, PROJECT.1.as_bytes());
                let signature: String = hmac::sign(&key, data.as_bytes())
                    .as_ref()
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect();
                let plain = format!("partner_id={}&sig={signature}:{data}", PROJECT.0);
                format!("T1=={}", STANDARD.encode(plain))
            }
        }
    }
}

/// A token of a user for the session of `world`, issued a while ago.
fn token(world: &World, kind: Kind, id: &str, user: &str) -> String {
    let issued_at = unix_time().as_secs() - 10;
    Token { kind, id, user, session: world.session(), issued_at }.sign()
}

async fn join(
    world: &World,
    transport: TransportMode,
    token: &str,
) -> Result<Member, ConnectError> {
    let options = ConnectOptions::new(world.url(transport), token);
    world.try_join(&transport.options(options)).await
}

/// Fails unless the token is refused as revoked.
async fn is_refused(world: &World, transport: TransportMode, token: &str) {
    match join(world, transport, token).await {
        Err(ConnectError::Refused { reason, message }) => {
            assert_eq!(reason, CloseReason::InvalidToken, "{message}");
            assert!(message.contains("revoked"), "{message}");
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("a revoked token was accepted over {transport:?}"),
    }
}

pub(crate) async fn revoke(server: &mut Server, body: Value) -> Value {
    let answer = server.ask_project("POST", "/revocations", Some(&body.to_string())).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_whose_tokens_are_revoked_is_out_until_there_is_a_new_one() {
    for transport in TransportMode::ALL {
        for kind in [Kind::Jwt, Kind::T1] {
            let world = World::new().await;
            let mut server = Server::of(&world).await;
            let (old, bobs) = (token(&world, kind, "1", "alice"), token(&world, kind, "2", "bob"));
            let mut bob = join(&world, TransportMode::WebSocketJson, &bobs).await.unwrap();
            let mut alice = join(&world, transport, &old).await.unwrap();
            assert_eq!(bob.sees_created().await, alice.id());
            let revoked = revoke(&mut server, json!({"connectionData": "alice"})).await;
            assert_eq!(revoked["disconnected"], 1);
            // The SDK would come back if it could.
            assert_eq!(alice.ends().await, CloseReason::ForceDisconnected);
            let gone = (alice.id(), DisconnectReason::ForceDisconnected);
            assert_eq!(bob.sees_destroyed().await, gone, "{transport:?}, {kind:?}");
            is_refused(&world, transport, &old).await;
            let new = Token {
                kind,
                id: "3",
                user: "alice",
                session: world.session(),
                issued_at: revoked["issuedBefore"].as_u64().unwrap() + 1,
            };
            let alice = join(&world, transport, &new.sign()).await.unwrap();
            // Until here, Bob has seen nothing else.
            assert_eq!(bob.sees_created().await, alice.id());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_token_is_revoked_by_its_id() {
    for kind in [Kind::Jwt, Kind::T1] {
        let world = World::new().await;
        let mut server = Server::of(&world).await;
        let tokens = ["0.25", "0.5"].map(|id| token(&world, kind, id, "alice"));
        let mut members = Vec::new();
        for token in &tokens {
            members.push(join(&world, TransportMode::Quic, token).await.unwrap());
        }
        let revoked = revoke(&mut server, json!({"tokenId": "0.25"})).await;
        assert_eq!(revoked["disconnected"], 1, "{kind:?}");
        assert_eq!(revoked.get("issuedBefore"), None);
        assert_eq!(members[0].ends().await, CloseReason::ForceDisconnected);
        is_refused(&world, TransportMode::WebSocketPostcard, &tokens[0]).await;
        let second = join(&world, TransportMode::WebSocketPostcard, &tokens[1]).await;
        members.push(second.unwrap());
        // All given properties must match.
        for body in [
            json!({"tokenId": "0.5", "connectionData": "bob"}),
            json!({"tokenId": "0.5", "sessionId": new_session(PROJECT.0)}),
        ] {
            assert_eq!(revoke(&mut server, body).await["disconnected"], 0);
        }
        let all = json!({
            "tokenId": "0.5", "connectionData": "alice", "sessionId": world.session(),
        });
        assert_eq!(revoke(&mut server, all).await["disconnected"], 2);
        for member in &mut members[1..] {
            assert_eq!(member.ends().await, CloseReason::ForceDisconnected);
        }
        is_refused(&world, TransportMode::Quic, &tokens[1]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_closed_to_all_tokens_that_were_issued_before() {
    let world = World::new().await;
    let mut server = Server::of(&world).await;
    let now = unix_time().as_secs();
    let other = new_session(PROJECT.0);
    let at = |issued_at, session| {
        Token { kind: Kind::Jwt, id: "1", user: "alice", session, issued_at }.sign()
    };
    let [older, old, elsewhere] =
        [at(now - 60, world.session()), at(now - 10, world.session()), at(now - 60, &other)];
    let mut first = join(&world, TransportMode::Quic, &older).await.unwrap();
    let mut second = join(&world, TransportMode::WebTransport, &old).await.unwrap();
    let _elsewhere = join(&world, TransportMode::Quic, &elsewhere).await.unwrap();
    assert_eq!(first.sees_created().await, second.id());
    let body = json!({"sessionId": world.session(), "issuedBefore": now - 30});
    assert_eq!(revoke(&mut server, body).await["disconnected"], 1);
    assert_eq!(first.ends().await, CloseReason::ForceDisconnected);
    second.sees_created().await;
    assert_eq!(second.sees_destroyed().await.0, first.id());
    is_refused(&world, TransportMode::Quic, &older).await;
    let mut third = join(&world, TransportMode::WebSocketJson, &old).await.unwrap();
    let everybody = json!({"sessionId": world.session()});
    assert_eq!(revoke(&mut server, everybody).await["disconnected"], 2);
    for member in [&mut second, &mut third] {
        assert_eq!(member.ends().await, CloseReason::ForceDisconnected);
    }
    is_refused(&world, TransportMode::Quic, &old).await;
    join(&world, TransportMode::Quic, &elsewhere).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_detached_connection_of_a_revoked_token_ends_and_is_not_resumed() {
    let world = World::new().await;
    let mut server = Server::of(&world).await;
    let mut watcher = world.join(TransportMode::Quic, Role::Publisher).await;
    let token = token(&world, Kind::Jwt, "1", "alice");
    let address = world.addresses().tcp;
    let mut link = WebSocket::join_resumable(address, false, &token).await;
    let ticket = ticket_in(&hear_until(&mut link, "Ticket").await);
    let id = watcher.sees_created().await;
    cut(link);
    assert_eq!(revoke(&mut server, json!({"tokenId": "1"})).await["disconnected"], 1);
    assert_eq!(watcher.sees_destroyed().await, (id, DisconnectReason::ForceDisconnected));
    let reason = CloseReason::ForceDisconnected;
    let mut link = WebSocket::connect(address, false).await;
    link.say(&resume(&ticket)).await;
    assert_eq!(link.end().await, (Some(reason), Some(reason)));
    let mut quic = Quic::connect(world.addresses().quic).await;
    quic.say(&resume(&ticket)).await;
    assert_eq!(quic.end().await, (Some(reason), reason));
}

/// A token is either refused, or its connection is found by the revocation.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_client_slips_in_while_its_token_is_revoked() {
    let world = World::new().await;
    for round in 0..10 {
        let user = format!("user {round}");
        let token = token(&world, Kind::Jwt, "1", &user);
        let mut server = Server::of(&world).await;
        let joins = (0..10).map(|number| {
            let transport = TransportMode::ALL[number % TransportMode::ALL.len()];
            join(&world, transport, &token)
        });
        let revoked = revoke(&mut server, json!({"connectionData": user}));
        let (joined, _) = tokio::join!(futures_util::future::join_all(joins), revoked);
        for member in joined {
            match member {
                Ok(mut member) => {
                    assert_eq!(member.ends().await, CloseReason::ForceDisconnected);
                }
                Err(ConnectError::Refused { reason, .. }) => assert!(
                    [CloseReason::InvalidToken, CloseReason::ForceDisconnected].contains(&reason),
                    "{reason}"
                ),
                Err(other) => panic!("{other}"),
            }
        }
        world.is_empty().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_is_disconnected_without_revoking_anything() {
    let world = World::new().await;
    let mut server = Server::of(&world).await;
    let token = token(&world, Kind::T1, "1", "alice");
    let mut alice = join(&world, TransportMode::Quic, &token).await.unwrap();
    let body = json!({"connectionData": "alice"}).to_string();
    let answer = server.ask_project("POST", "/disconnect", Some(&body)).await;
    assert_eq!((answer.status, answer.json()), (200, json!({"disconnected": 1})));
    assert_eq!(alice.ends().await, CloseReason::ForceDisconnected);
    let answer = server.ask_project("POST", "/disconnect", Some(&body)).await;
    assert_eq!((answer.status, answer.json()), (200, json!({"disconnected": 0})));
    join(&world, TransportMode::Quic, &token).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revocations_are_listed_and_deleted() {
    let world = World::new().await;
    let mut server = Server::of(&world).await;
    let list = |answer: Answer| {
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
        answer.json()
    };
    let none = json!({"count": 0, "projectId": PROJECT.0, "items": []});
    assert_eq!(list(server.ask_project("GET", "/revocations", None).await), none);
    let old = token(&world, Kind::Jwt, "1", "alice");
    let mut created = Vec::new();
    // More than are written at a time.
    for number in 0..70 {
        created.push(revoke(&mut server, json!({"connectionData": number.to_string()})).await);
    }
    let mut alice = revoke(&mut server, json!({"connectionData": "alice", "tokenId": "1"})).await;
    // The same again is the same.
    let body = json!({"connectionData": "alice", "tokenId": "1", "expires": alice["expires"]});
    let again = server.ask_project("POST", "/revocations", Some(&body.to_string())).await;
    assert_eq!((again.status, &again.json()), (200, &alice));
    let id = alice["id"].as_str().unwrap().to_owned();
    alice.as_object_mut().unwrap().remove("disconnected");
    let listed = list(server.ask_project("GET", "/revocations", None).await);
    assert_eq!((&listed["count"], &listed["projectId"]), (&json!(71), &json!(PROJECT.0)));
    let items = listed["items"].as_array().unwrap();
    assert_eq!(items.len(), 71);
    assert!(items.contains(&alice), "{listed}");
    is_refused(&world, TransportMode::WebSocketJson, &old).await;
    // Another project neither sees nor deletes it.
    let other = |method: &str, path: &str| {
        let path = format!("/v2/project/{}/revocations{path}", OTHER_PROJECT.0);
        ask(&world, request(method, &path, &credential(OTHER_PROJECT), None))
    };
    assert_eq!(other("GET", "").await.json()["count"], 0);
    assert_eq!(other("DELETE", &format!("/{id}")).await.error().0, 404);
    let path = format!("/revocations/{id}");
    assert_eq!(server.ask_project("DELETE", &path, None).await.status, 204);
    let gone = server.ask_project("DELETE", &path, None).await;
    assert_eq!(gone.error(), (404, 404, "Revocation not found".into()));
    join(&world, TransportMode::WebSocketJson, &old).await.unwrap();
    let malformed = server.ask_project("DELETE", "/revocations/nonsense", None).await;
    assert_eq!(malformed.error(), (400, 400, "Invalid revocation ID".into()));
    for path in ["/revocations", "/disconnect"] {
        let path = format!("/v2/project/{}{path}", PROJECT.0);
        for credential in [credential(OTHER_PROJECT), String::new(), old.clone()] {
            let answer = ask(&world, request("POST", &path, &credential, Some("{}"))).await;
            assert_eq!(answer.error().0, 403, "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_of_a_request_is_named() {
    let world = World::new().await;
    let mut server = Server::of(&world).await;
    // A mistake must not disconnect anybody.
    let token = token(&world, Kind::Jwt, "1", "alice");
    let mut alice = join(&world, TransportMode::Quic, &token).await.unwrap();
    let now = unix_time().as_secs();
    let day = 24 * 3600;
    let theirs = new_session(OTHER_PROJECT.0);
    for (body, fault) in [
        (json!({}), "one or more"),
        (json!({"issuedBefore": now}), "one or more"),
        (json!({"user": "alice"}), "No other member"),
        (json!({"connectionData": "alice", "sessionID": world.session()}), "No other member"),
        (json!({"connectionData": null, "sessionId": world.session()}), "null"),
        (json!({"connectionData": ""}), "'connectionData' is empty"),
        (json!({"tokenId": ""}), "'tokenId' is empty"),
        (json!({"tokenId": 1}), "strings"),
        (json!({"connectionData": {"user": "alice"}}), "strings"),
        (json!({"connectionData": ["alice"]}), "strings"),
        (json!(["alice"]), "JSON object"),
        (json!("alice"), "JSON object"),
        (json!(null), "JSON object"),
        (json!({"sessionId": "1"}), "not a session ID"),
        (json!({"sessionId": ""}), "not a session ID"),
        (json!({"sessionId": theirs}), "another project"),
        (json!({"tokenId": "x".repeat(257)}), "more than 256 bytes"),
        (json!({"connectionData": "é".repeat(2049)}), "more than 4096 bytes"),
    ] {
        for path in ["/revocations", "/disconnect"] {
            let answer = server.ask_project("POST", path, Some(&body.to_string())).await;
            let (status, code, message) = answer.error();
            assert_eq!((status, code), (400, 400), "{path} {body}");
            // A member of a revocation is unknown to the other request.
            let unknown = path == "/disconnect" && body.get("issuedBefore").is_some();
            assert!(unknown || message.contains(fault), "{path} {body}: {message}");
        }
    }
    for (more, fault) in [
        (json!({"expires": now - 1}), "in the past"),
        (json!({"expires": 0}), "in the past"),
        (json!({"expires": now + 31 * day}), "at most"),
        (json!({"expires": now * 1000}), "at most"),
        (json!({"expires": -1}), "whole seconds"),
        (json!({"expires": 1.5}), "whole seconds"),
        (json!({"expires": "tomorrow"}), "whole seconds"),
        (json!({"expires": null}), "null"),
        (json!({"issuedBefore": now + 3600}), "in the future"),
        (json!({"issuedBefore": now * 1000}), "in the future"),
        (json!({"issuedBefore": u64::MAX}), "in the future"),
        (json!({"issuedBefore": now - 31 * day}), "have expired"),
        (json!({"issuedBefore": 0}), "have expired"),
        (json!({"issuedBefore": -1}), "whole seconds"),
        (json!({"issuedBefore": now, "tokenId": "1"}), "Leave out 'issuedBefore'"),
        (json!({"disconnectOnly": true}), "No other member"),
    ] {
        let mut body = json!({"connectionData": "alice"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = server.ask_project("POST", "/revocations", Some(&body.to_string())).await;
        let (status, _, message) = answer.error();
        assert_eq!(status, 400, "{body}");
        assert!(message.contains(fault), "{body}: {message}");
    }
    for text in [
        "",
        "{",
        "{\"tokenId\":\"1\"",
        "{\"tokenId\":\"1\",\"tokenId\":\"2\"}",
        "{\"tokenId\":\"\\ud800\"}",
    ] {
        let answer = server.ask_project("POST", "/revocations", Some(text)).await;
        assert_eq!(answer.error().0, 400, "{text}");
    }
    let long = format!("{{\"tokenId\":\"{}\"}}", "x".repeat(70_000));
    assert_eq!(server.ask_project("POST", "/revocations", Some(&long)).await.status, 413);
    // The longest possible texts.
    for body in [
        json!({"tokenId": "x".repeat(256), "expires": now + 29 * day}),
        json!({"connectionData": "é".repeat(2048), "issuedBefore": now + 30}),
    ] {
        let mut server = Server::of(&world).await;
        assert_eq!(revoke(&mut server, body).await["disconnected"], 0);
    }
    alice.say("still here").await;
    assert_eq!(alice.hear_data().await, "still here");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revocations_survive_a_restart_and_a_crash() {
    let place = tempfile::tempdir().unwrap();
    let folder = |name: &str| {
        let folder = place.path().join(name);
        let _ = fs::create_dir(&folder);
        folder
    };
    let world = |folder: std::path::PathBuf| {
        World::with(move |config| config.resume.state_file = Some(folder.join("state")))
    };
    let [first, crashed] = ["first", "crashed"].map(folder);
    let mut before = world(first.clone()).await;
    let mut server = Server::of(&before).await;
    let [alices, bobs] = ["alice", "bob"].map(|user| token(&before, Kind::Jwt, user, user));
    let alice = revoke(&mut server, json!({"connectionData": "alice"})).await;
    let bob = revoke(&mut server, json!({"connectionData": "bob"})).await;
    let path = format!("/revocations/{}", bob["id"].as_str().unwrap());
    assert_eq!(server.ask_project("DELETE", &path, None).await.status, 204);
    let is_as_before = async |world: &World| {
        is_refused(world, TransportMode::Quic, &alices).await;
        join(world, TransportMode::Quic, &bobs).await.unwrap();
        let mut server = Server::of(world).await;
        let list = server.ask_project("GET", "/revocations", None).await.json();
        assert_eq!((&list["count"], &list["items"][0]["id"]), (&json!(1), &alice["id"]));
    };
    // What a crash would leave behind, once the changes are written.
    let written = async {
        loop {
            for file in fs::read_dir(&first).unwrap().flatten() {
                if file.path().extension().is_none_or(|it| it != "tmp") {
                    let _ = fs::copy(file.path(), crashed.join(file.file_name()));
                }
            }
            if crashed.join("state.revocations").exists() {
                let mut again = world(crashed.clone()).await;
                let mut server = Server::of(&again).await;
                let list = server.ask_project("GET", "/revocations", None).await.json();
                if list["count"] == 1 {
                    is_as_before(&again).await;
                    break;
                }
                again.stop().await;
            }
            tokio::task::yield_now().await;
        }
    };
    within_timeout("the revocations are written", written).await;
    before.stop().await;
    for _ in 0..2 {
        let mut after = world(first.clone()).await;
        is_as_before(&after).await;
        after.stop().await;
    }
}

/// The connection was saved, and its token was revoked elsewhere before it was restored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_connection_ends_if_its_token_is_revoked() {
    let place = tempfile::tempdir().unwrap();
    let [here, there] = ["here", "there"].map(|name| place.path().join(name));
    for folder in [&here, &there] {
        fs::create_dir(folder).unwrap();
    }
    let world = |folder: &std::path::Path| {
        let file = folder.join("state");
        World::with(move |config| config.resume.state_file = Some(file))
    };
    let mut first = world(&here).await;
    let token = token(&first, Kind::Jwt, "1", "alice");
    let mut link = WebSocket::join_resumable(first.addresses().tcp, true, &token).await;
    let ticket = ticket_in(&hear_until(&mut link, "Ticket").await);
    first.stop().await;
    for file in fs::read_dir(&here).unwrap().flatten() {
        if file.file_name() != "state" {
            fs::copy(file.path(), there.join(file.file_name())).unwrap();
        }
    }
    let mut other = world(&there).await;
    revoke(&mut Server::of(&other).await, json!({"tokenId": "1"})).await;
    other.stop().await;
    fs::copy(there.join("state.revocations"), here.join("state.revocations")).unwrap();
    let second = world(&here).await;
    let mut link = WebSocket::connect(second.addresses().tcp, true).await;
    link.say(&resume(&ticket)).await;
    assert_eq!(link.end().await.0, Some(CloseReason::ForceDisconnected));
    second.is_empty().await;
}
