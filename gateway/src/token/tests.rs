//! What opens a session and what does not.

use std::sync::LazyLock;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use proptest::prelude::*;
use serde_json::{Value, json};
use signalbox_certs::ApplicationKey;
use signalbox_protocol::MediaMode;

use super::*;
use crate::config::{Limits, ProjectEntry};

const SECRET: &str = "1234567890abcdef1234567890abcdef12345678";
const NOW: Duration = Duration::from_secs(1_795_500_000);

fn key(key: &str) -> ProjectKey {
    key.parse().unwrap()
}

fn session(project: &str) -> SessionId {
    SessionId::mint(&key(project), MediaMode::Relayed, None, 1_795_000_000_000, [1; 24])
}

/// An application's key pair. Making one takes a while.
static KEY: LazyLock<ApplicationKey> = LazyLock::new(|| ApplicationKey::generate().unwrap());
const APPLICATION: &str = "29f760f8-7ce1-46c9-ade3-f2dedee4ed5f";

/// Project 100 has an old and a new secret; project 200 has another; the application has a key.
fn projects() -> Projects {
    let mut first = ProjectEntry::with_secret(key("100"), "0ld-secret");
    first.secrets.push(SECRET.into());
    let second = ProjectEntry::with_secret(key("200"), "another");
    let application = ProjectEntry {
        secrets: vec![],
        public_keys: vec![KEY.public_pem.clone()],
        ..ProjectEntry::with_secret(key(APPLICATION), "")
    };
    Projects::new(&[first, second, application], &Limits::default()).unwrap()
}

fn verify_now(token: &str) -> Result<Grant, TokenError> {
    verify(&projects(), token, true, NOW)
}

/// The claims of a good token, with changes; `null` takes a claim away.
fn claims(changes: Value) -> Value {
    let mut claims = json!({
        "iss": "100", "ist": "project", "iat": NOW.as_secs(), "exp": NOW.as_secs() + 60,
        "session_id": session("100"), "role": "moderator", "scope": "session.connect",
        "connection_data": "name=alice", "nonce": 0.5,
    });
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::String(text) if text == "absent" => claims.as_object_mut().unwrap().remove(name),
            value => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    claims
}

fn sign(claims: &Value) -> String {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key).unwrap()
}

#[test]
fn a_good_token_says_what_its_bearer_may_do() {
    assert_eq!(
        verify_now(&sign(&claims(json!({})))),
        Ok(Grant {
            session: session("100"),
            role: Role::Moderator,
            connection_data: "name=alice".into(),
            expires_at: NOW + Duration::from_secs(60),
        })
    );
}

#[test]
fn what_we_mint_we_accept() {
    for role in [Role::Subscriber, Role::Publisher, Role::Moderator, Role::PublisherOnly] {
        let token = NewToken {
            key: &key("100"),
            signer: Signer::Secret("0ld-secret"),
            session: &session("100"),
            role,
            connection_data: "",
            now: NOW,
            lifetime: Duration::from_secs(60),
        };
        let grant = verify_now(&token.mint().unwrap()).unwrap();
        assert_eq!(grant.role, role);
    }
}

#[test]
fn what_sdks_leave_out_has_a_default() {
    let grant = verify_now(&sign(&claims(json!({
        "role": "absent", "scope": "absent", "connection_data": null, "ist": "absent",
        "exp": "absent", "nonce": "absent",
    }))))
    .unwrap();
    assert_eq!(grant.role, Role::Publisher);
    assert_eq!(grant.expires_at, NOW + DEFAULT_LIFETIME);
    let fraction = claims(json!({"iat": NOW.as_secs_f64() + 0.5, "create_time": NOW.as_secs()}));
    assert!(verify_now(&sign(&fraction)).is_ok());
}

#[test]
fn every_defect_has_its_name() {
    use TokenError::*;
    let with = |changes| verify_now(&sign(&claims(changes))).unwrap_err();
    let at = NOW.as_secs();
    assert!(matches!(with(json!({"session_id": "absent"})), Malformed(_)));
    assert!(matches!(with(json!({"session_id": "x"})), Malformed(_)));
    assert!(matches!(with(json!({"role": "king"})), Malformed(_)));
    assert!(matches!(with(json!({"scope": "session.delete"})), Malformed(_)));
    assert!(matches!(with(json!({"connection_data": "x".repeat(4097)})), Malformed(_)));
    assert!(matches!(with(json!({"exp": -1})), Malformed(_)));
    assert!(matches!(with(json!({"iss": "absent"})), Malformed(_)));
    assert_eq!(with(json!({"iss": "300"})), UnknownProject);
    assert_eq!(with(json!({"iss": "200"})), Signature);
    assert_eq!(with(json!({"session_id": session("200")})), WrongProject);
    assert_eq!(with(json!({"exp": at - 60})), Expired);
    assert_eq!(with(json!({"exp": "absent", "iat": at - 90_000})), Expired);
    assert_eq!(with(json!({"iat": at + 61})), NotYet);
    assert_eq!(with(json!({"nbf": at + 61})), NotYet);
    assert_eq!(verify_now(&"x".repeat(20_000)), Err(TooLong));
    for garbage in ["", "a", "a.b.c", "..", "💥"] {
        assert!(matches!(verify_now(garbage), Err(Malformed(_))), "{garbage}");
    }
    // Within the leeway a clock may be off.
    assert!(verify_now(&sign(&claims(json!({"exp": at - 59, "iat": at - 100})))).is_ok());
    assert!(verify_now(&sign(&claims(json!({"iat": at + 59})))).is_ok());
}

#[test]
fn the_token_does_not_choose_its_algorithm() {
    let good = sign(&claims(json!({})));
    let [_, body, _] = good.split('.').collect::<Vec<_>>()[..] else { panic!() };
    // {"alg":"none"} with no signature; {"alg":"RS256"} and {"alg":"HS512"} with the secret as key.
    for token in [
        format!("eyJhbGciOiJub25lIn0.{body}."),
        format!("eyJhbGciOiJub25lIn0.{body}.{}", good.rsplit('.').next().unwrap()),
    ] {
        assert_eq!(verify_now(&token), Err(TokenError::Signature));
    }
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let hs512 = jsonwebtoken::encode(&Header::new(Algorithm::HS512), &claims(json!({})), &key);
    assert_eq!(verify_now(&hs512.unwrap()), Err(TokenError::Signature));
    let signed = format!("eyJhbGciOiJSUzI1NiJ9.{body}");
    let mac = jsonwebtoken::crypto::sign(signed.as_bytes(), &key, Algorithm::HS256).unwrap();
    assert_eq!(verify_now(&format!("{signed}.{mac}")), Err(TokenError::Signature));
}

proptest! {
    #[test]
    fn a_changed_token_opens_nothing(at: prop::sample::Index, with in "[A-Za-z0-9_-]") {
        let good = sign(&claims(json!({})));
        let at = at.index(good.len());
        let mut changed = good.clone();
        changed.replace_range(at..=at, &with);
        // The last character of a signature has bits that no byte holds; decoders refuse those.
        prop_assume!(changed != good);
        prop_assert!(verify_now(&changed).is_err());
    }

    #[test]
    fn arbitrary_text_never_panics(token in "\\PC{0,200}") {
        let _ = verify_now(&token);
        let _ = verify_now(&format!("T1=={token}"));
        let _ = server::verify(&projects(), &token, NOW).is_ok();
    }

    #[test]
    fn arbitrary_bytes_in_a_legacy_token_never_panic(
        head in prop::collection::vec(any::<u8>(), 0..60),
        data in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let _ = verify_now(&t1::tests::wrap(&head));
        // Signed, so that what is in it is looked at.
        let _ = verify_now(&t1::tests::sign(&data, "100", SECRET));
    }
}
