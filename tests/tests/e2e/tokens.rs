//! Accepted and rejected tokens, on each transport.

use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;
use signalbox_client::{CloseReason, Role};
use signalbox_tests::{
    OTHER_PROJECT, PROJECT, TransportMode, World,
    background::BackgroundTraffic,
    new_session,
    raw::{Quic, WebSocket, hello},
    token, unix_time,
};

/// Claims of a good token for the session of `world`.
fn claims(world: &World) -> serde_json::Value {
    let now = unix_time().as_secs();
    json!({
        "iss": PROJECT.0, "ist": "project", "iat": now, "exp": now + 60,
        "session_id": world.session(), "role": "publisher", "scope": "session.connect",
    })
}

fn sign(claims: &serde_json::Value, secret: &str) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_tokens_open_nothing() {
    let world = World::new().await;
    let background = BackgroundTraffic::start(&world).await;
    let good = sign(&claims(&world), PROJECT.1);
    let [_, body, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!() };
    let mut expired = claims(&world);
    expired["exp"] = json!(unix_time().as_secs() - 61);
    let mut future = claims(&world);
    future["iat"] = json!(unix_time().as_secs() + 3600);
    // {"alg":"none"} and {"alg":"RS256"}, the latter signed with the secret as if it were a key.
    let none = "eyJhbGciOiJub25lIn0";
    let rs256 = format!("eyJhbGciOiJSUzI1NiJ9.{body}");
    let key = EncodingKey::from_secret(PROJECT.1.as_bytes());
    let mac = jsonwebtoken::crypto::sign(rs256.as_bytes(), &key, Algorithm::HS256).unwrap();
    let foreign = token(PROJECT, &new_session(OTHER_PROJECT.0), Role::Publisher, Duration::MAX / 4);
    let stranger = token(OTHER_PROJECT, world.session(), Role::Publisher, Duration::from_secs(60));
    let cases = [
        ("an empty one", String::new(), CloseReason::InvalidToken),
        ("garbage", "a.b.c".into(), CloseReason::InvalidToken),
        ("a huge one", "x".repeat(18 * 1024 + 1), CloseReason::InvalidToken),
        ("another secret", sign(&claims(&world), OTHER_PROJECT.1), CloseReason::InvalidToken),
        ("no signature", format!("{none}.{body}."), CloseReason::InvalidToken),
        ("alg none", format!("{none}.{body}.{signature}"), CloseReason::InvalidToken),
        ("RS256 with the secret", format!("{rs256}.{mac}"), CloseReason::InvalidToken),
        ("expired", sign(&expired, PROJECT.1), CloseReason::TokenExpired),
        ("of the future", sign(&future, PROJECT.1), CloseReason::TokenExpired),
        ("another project's session", foreign, CloseReason::WrongProject),
        ("another project's token", stranger, CloseReason::WrongProject),
    ];
    for (what, token, reason) in cases {
        let mut quic = Quic::connect(world.addresses().quic).await;
        quic.say(&hello(&token)).await;
        assert_eq!(quic.end().await, (Some(reason), reason), "{what} over QUIC");
        for json in [false, true] {
            let mut link = WebSocket::connect(world.addresses().tcp, json).await;
            link.say(&hello(&token)).await;
            assert_eq!(link.end().await, (Some(reason), Some(reason)), "{what} over WebSocket");
        }
    }
    background.assert_undisturbed().await;
    world.is_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_token_ends_its_connection_only_if_configured() {
    for ends in [false, true] {
        let world = World::with(|config| config.auth.end_on_token_expiry = ends).await;
        for transport in [TransportMode::Quic, TransportMode::WebSocketJson] {
            // Expired, but still accepted within the leeway for clocks.
            let mut claims = claims(&world);
            (claims["iat"], claims["exp"]) = {
                let now = unix_time().as_secs();
                (json!(now - 100), json!(now - 55))
            };
            let token = sign(&claims, PROJECT.1);
            let options = signalbox_client::ConnectOptions::new(world.url(transport), &token);
            let mut member = world.try_join(&options).await.unwrap();
            if ends {
                assert_eq!(member.ends().await, CloseReason::TokenExpired);
            } else {
                member.say("still here").await;
                assert_eq!(member.hear_data().await, "still here");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connection_data_of_a_token_is_shown_to_the_others() {
    let world = World::new().await;
    let mut watcher = world.join(TransportMode::Quic, Role::Publisher).await;
    let data = "é".repeat(2048);
    let mut claims = claims(&world);
    claims["connection_data"] = json!(data);
    let token = sign(&claims, PROJECT.1);
    let options =
        signalbox_client::ConnectOptions::new(world.url(TransportMode::WebSocketJson), token);
    let member = world.try_join(&options).await.unwrap();
    assert_eq!(member.client.connection().data, data);
    assert_eq!(watcher.sees_created().await, member.id());
    assert_eq!(watcher.client.presence()[0].data, data);
    // Many such fill more than one message of a welcome.
    let mut members = vec![member];
    for _ in 0..20 {
        members.push(world.try_join(&options).await.unwrap());
    }
    let mut late = world.join(TransportMode::Quic, Role::Publisher).await;
    for _ in 0..=members.len() {
        late.sees_created().await;
    }
    assert_eq!(late.client.presence().len(), members.len() + 1);
}
