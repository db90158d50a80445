//! Accepted and rejected tokens and credentials.

use std::{collections::HashMap, sync::LazyLock};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use proptest::prelude::*;
use serde_json::{Value, json};
use signalbox_certs::ApplicationKey;
use signalbox_protocol::{MediaMode, ProjectKey, Role, SessionId};

use super::{client::DEFAULT_LIFETIME, keys::PublicKey, *};

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
fn projects() -> HashMap<String, (ProjectKey, VerificationKeys)> {
    let secrets = |secrets: &[&str]| {
        VerificationKeys::Secrets(secrets.iter().map(|&secret| secret.to_owned()).collect())
    };
    let public = PublicKey::from_pem(&KEY.public_pem).unwrap();
    [
        ("100", secrets(&["0ld-secret", SECRET])),
        ("200", secrets(&["another"])),
        (APPLICATION, VerificationKeys::Public(vec![public])),
    ]
    .into_iter()
    .map(|(project, keys)| (project.to_owned(), (key(project), keys)))
    .collect()
}

fn verify_now(token: &str) -> Result<Grant, TokenError> {
    verify_client_token(&projects(), token, true, NOW)
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
fn a_valid_token_grants_session_role_and_data() {
    assert_eq!(
        verify_now(&sign(&claims(json!({})))),
        Ok(Grant {
            session: session("100"),
            role: Role::Moderator,
            connection_data: "name=alice".into(),
            expires_at: NOW + Duration::from_secs(60),
            token_id: None,
            issued_at: Some(NOW),
        })
    );
}

#[test]
fn a_token_has_an_id_and_a_time_of_issue() {
    let identity = |token: &str| {
        let grant = verify_now(token).unwrap();
        (grant.token_id, grant.issued_at)
    };
    let id = |id: Value| identity(&sign(&claims(json!({ "jti": id })))).0;
    assert_eq!(id(json!("one")).as_deref(), Some("one"));
    // Some libraries write a number.
    assert_eq!(id(json!(12)).as_deref(), Some("12"));
    for none in [json!(""), json!(null), json!([1]), json!({"a": 1}), json!(true)] {
        assert_eq!(id(none.clone()), None, "{none}");
    }
    assert_eq!(identity(&t1("")), (Some("0.5".into()), Some(NOW)));
    let no_nonce = format!("session_id={}&create_time={}&nonce=", session("100"), NOW.as_secs());
    assert_eq!(identity(&t1::tests::sign(no_nonce.as_bytes(), "100", SECRET)).0, None);
    let undated = json!({"iat": "absent", "exp": NOW.as_secs() + 60});
    assert_eq!(identity(&sign(&claims(undated))).1, None);
}

#[test]
fn minted_tokens_are_accepted() {
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
fn claims_that_sdks_omit_have_defaults() {
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
    let month = 30 * 24 * 60 * 60;
    assert_eq!(with(json!({"exp": at + month + 61})), TooLongLived);
    assert_eq!(with(json!({"iat": "absent", "exp": at + month + 61})), TooLongLived);
    assert_eq!(with(json!({"exp": at + month, "iat": at - 61})), TooLongLived);
    assert_eq!(with(json!({"exp": 9e15})), TooLongLived);
    assert!(matches!(with(json!({"iat": at + 50, "exp": at + 10})), Malformed(_)));
    for time in
        [json!("soon"), json!([at]), json!({"at": at}), json!(true), json!(-1), json!(1e300)]
    {
        for claim in ["iat", "nbf", "exp", "create_time", "expire_time"] {
            let error = with(json!({claim: time}));
            assert!(matches!(error, Malformed(_)), "{claim}: {time}: {error:?}");
        }
    }
    assert_eq!(with(json!({"exp": "absent", "iat": at - 90_000})), Expired);
    assert_eq!(with(json!({"iat": at + 61})), NotYet);
    assert_eq!(with(json!({"nbf": at + 61})), NotYet);
    assert_eq!(verify_now(&"x".repeat(20_000)), Err(TooLong));
    for garbage in ["", "a", "a.b.c", "..", "💥"] {
        assert!(matches!(verify_now(garbage), Err(Malformed(_))), "{garbage}");
    }
    // The vendor's longest, and a clock that was read twice.
    assert!(verify_now(&sign(&claims(json!({"exp": at + month})))).is_ok());
    assert!(verify_now(&sign(&claims(json!({"exp": at + month + 60})))).is_ok());
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

/// A token of header and claims as they are written, which no library would make, signed well.
fn sign_text(header: &str, claims: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let mac = jsonwebtoken::crypto::sign(signed.as_bytes(), &key, Algorithm::HS256).unwrap();
    format!("{signed}.{mac}")
}

#[test]
fn critical_header_extensions_are_rejected() {
    let client = claims(json!({})).to_string();
    let at = NOW.as_secs();
    let server = json!({"iss": "100", "iat": at, "exp": at + 300}).to_string();
    let verify_server = |token: &str| verify_credential(&projects(), token, NOW).map(|_| ());
    for good in
        [r#"{"alg":"HS256"}"#, r#"{"typ":"JWT","alg":"HS256","ist":"project","x":[{}],"b64":true}"#]
    {
        assert!(verify_now(&sign_text(good, &client)).is_ok(), "{good}");
        assert_eq!(verify_server(&sign_text(good, &server)), Ok(()), "{good}");
    }
    for bad in [
        r#"{"alg":"HS256","crit":["exp"],"exp":1}"#,
        r#"{"alg":"HS256","crit":["b64"],"b64":true}"#,
        r#"{"alg":"HS256","crit":[]}"#,
        r#"{"alg":"HS256","crit":null}"#,
        r#"{"alg":"HS256","crit":"exp"}"#,
        r#"{"alg":"HS256","b64":false}"#,
        r#"{"alg":"HS256","alg":"HS256"}"#,
        r#"{"alg":"none","alg":"HS256"}"#,
        r#"{"alg":"HS256","x":1,"x":1}"#,
        r#"{"alg":"HS256","x":{"a":1,"a":1}}"#,
        r#"["HS256"]"#,
        "",
        "null",
    ] {
        let error = verify_now(&sign_text(bad, &client));
        assert!(matches!(error, Err(TokenError::Malformed(_))), "{bad}: {error:?}");
        assert!(verify_server(&sign_text(bad, &server)).is_err(), "{bad}");
    }
    // A key that the token brings, or names, is not used.
    let own = r#"{"alg":"HS256","kid":"../../dev/null","jku":"https://evil.example","x5u":"a:b"}"#;
    assert!(verify_now(&sign_text(own, &client)).is_ok());
}

#[test]
fn claims_are_an_object_with_each_member_once() {
    let header = r#"{"alg":"HS256"}"#;
    let good = claims(json!({})).to_string();
    assert!(verify_now(&sign_text(header, &good)).is_ok());
    let with = |member: &str| format!("{{{member},{}", &good[1..]);
    for bad in [
        with(r#""role":"moderator""#),
        with(r#""iss":"100""#),
        with(r#""exp":1"#),
        with(r#""x":1,"x":1"#),
        with(r#""x":{"a":1,"a":1}"#),
        format!("[{good}]"),
        "[\"100\",null]".into(),
        format!("\u{feff}{good}"),
        good.replace("\"moderator\"", "{\"moderator\":null}"),
    ] {
        let error = verify_now(&sign_text(header, &bad));
        assert!(matches!(error, Err(TokenError::Malformed(_))), "{bad}: {error:?}");
    }
    let at = NOW.as_secs();
    for bad in [
        format!(r#"{{"iss":"100","exp":{at},"exp":{}}}"#, at + 60),
        format!(r#"{{"iss":"100","iss":"100","exp":{}}}"#, at + 60),
        format!(r#"["100",{at},{at},{}]"#, at + 60),
        format!(r#"{{"iss":"100","iat":{},"exp":{}}}"#, at + 50, at + 10),
    ] {
        assert!(verify_credential(&projects(), &sign_text(header, &bad), NOW).is_err(), "{bad}");
    }
}

/// An application's claims, with changes.
fn application_claims(changes: Value) -> Value {
    let mut claims = claims(json!({
        "iss": "absent", "ist": "absent", "application_id": APPLICATION,
        "session_id": session(APPLICATION), "sub": "video", "jti": "1",
        "acl": {"paths": {"/session/**": {}}}, "initial_layout_class_list": ["a", "b"],
    }));
    for (name, value) in changes.as_object().unwrap() {
        match value.as_str() {
            Some("absent") => claims.as_object_mut().unwrap().remove(name),
            _ => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    claims
}

fn sign_rs256(claims: &Value) -> String {
    let key = EncodingKey::from_rsa_pem(KEY.private_pem.as_bytes()).unwrap();
    jsonwebtoken::encode(&Header::new(Algorithm::RS256), claims, &key).unwrap()
}

#[test]
fn an_applications_token_is_checked_with_its_public_key() {
    let grant = verify_now(&sign_rs256(&application_claims(json!({})))).unwrap();
    assert_eq!((grant.session, grant.role), (session(APPLICATION), Role::Moderator));
    // One SDK names the application as the issuer.
    let iss = application_claims(json!({"application_id": null, "iss": APPLICATION}));
    assert!(verify_now(&sign_rs256(&iss)).is_ok());
    for missing in ["exp", "role"] {
        let error = verify_now(&sign_rs256(&application_claims(json!({missing: "absent"}))));
        assert!(matches!(error, Err(TokenError::Malformed(_))), "{missing}");
    }
    let other = application_claims(json!({"session_id": session("100")}));
    assert_eq!(verify_now(&sign_rs256(&other)), Err(TokenError::WrongProject));
    // Signed by the application, but in the name of a project that has a secret.
    let hundred = claims(json!({}));
    assert_eq!(verify_now(&sign_rs256(&hundred)), Err(TokenError::Signature));
}

#[test]
fn a_public_key_is_no_secret() {
    // The classic confusion: HS256, with the text of the public key as the secret.
    for secret in [KEY.public_pem.as_str(), KEY.public_pem.trim_end(), ""] {
        let key = EncodingKey::from_secret(secret.as_bytes());
        let claims = application_claims(json!({}));
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap();
        assert_eq!(verify_now(&token), Err(TokenError::Signature));
        let data = format!("session_id={}", session(APPLICATION));
        let t1 = t1::tests::sign(data.as_bytes(), APPLICATION, secret);
        assert_eq!(verify_now(&t1), Err(TokenError::Signature));
    }
}

#[test]
fn a_key_may_be_written_as_a_number() {
    assert!(verify_now(&sign(&claims(json!({"iss": 100})))).is_ok());
    assert!(verify_now(&sign(&claims(json!({"iss": "absent", "application_id": "100"})))).is_ok());
    let error = verify_now(&sign(&claims(json!({"iss": ["100"]}))));
    assert!(matches!(error, Err(TokenError::Malformed(_))), "{error:?}");
}

/// The data of a good legacy token, with something appended.
fn t1(more: &str) -> String {
    let at = NOW.as_secs();
    let session = session("100");
    let data = format!("session_id={session}&create_time={at}&nonce=0.5&role=moderator{more}");
    t1::tests::sign(data.as_bytes(), "100", SECRET)
}

#[test]
fn legacy_tokens_of_every_sdk_are_accepted() {
    let day = Duration::from_secs(24 * 60 * 60);
    let plain = verify_now(&t1("")).unwrap();
    assert_eq!((plain.session, plain.role), (session("100"), Role::Moderator));
    assert_eq!(plain.expires_at, NOW + day, "a day, if it does not say");
    for data in ["&connection_data=a+b:c", "&connection_data=a%20b%3Ac", "&connection_data=a b:c"] {
        let token = t1(&format!("{data}&initial_layout_class_list=x y&unknown=&expire_time="));
        for token in [
            token.clone(),
            token.trim_end_matches('=').to_owned(),
            format!("T1=={}", token["T1==".len()..].replace('+', "-").replace('/', "_")),
        ] {
            let grant = verify_now(&token).unwrap();
            assert_eq!((grant.connection_data.as_str(), grant.expires_at), ("a b:c", NOW + day));
        }
    }
    let expiring = verify_now(&t1(&format!("&expire_time={}", NOW.as_secs() + 60))).unwrap();
    assert_eq!(expiring.expires_at, NOW + Duration::from_secs(60));
    let at = NOW.as_secs();
    let no_role = format!("session_id={}&create_time={at}.25", session("100"));
    let no_role = verify_now(&t1::tests::sign(no_role.as_bytes(), "100", "0ld-secret")).unwrap();
    assert_eq!(no_role.role, Role::Publisher);
}

#[test]
fn legacy_tokens_fail_as_others_do() {
    use TokenError::*;
    let at = NOW.as_secs();
    let sign = |data: &str, key: &str, secret: &str| {
        verify_now(&t1::tests::sign(data.as_bytes(), key, secret)).unwrap_err()
    };
    let good = format!("session_id={}&create_time={at}", session("100"));
    assert_eq!(sign(&good, "100", "another"), Signature);
    assert_eq!(sign(&good, "200", "another"), WrongProject);
    assert_eq!(sign(&good, "300", SECRET), UnknownProject);
    assert_eq!(verify_now(&t1(&format!("&expire_time={}", at - 61))), Err(Expired));
    assert_eq!(sign(&format!("session_id={}", session("100")), "100", SECRET), Expired);
    let future = format!("session_id={}&create_time={}", session("100"), at + 61);
    assert_eq!(sign(&future, "100", SECRET), NotYet);
    let month = at + 30 * 24 * 60 * 60;
    assert_eq!(verify_now(&t1(&format!("&expire_time={}", month + 61))), Err(TooLongLived));
    assert!(verify_now(&t1(&format!("&expire_time={month}"))).is_ok());
    let twice = t1::tests::wrap(b"partner_id=100&partner_id=100&sig=00:");
    assert!(matches!(verify_now(&twice), Err(Malformed(_))));
    for bad in [
        "&role=king",
        "&role=moderator",
        "&x=1&x=1",
        "&expire_time=soon",
        "&expire_time=-1",
        "&expire_time=1e300",
    ] {
        assert!(matches!(verify_now(&t1(bad)), Err(Malformed(_))), "{bad}");
    }
    for garbage in ["T1==", "T1==%%%", "T1==eA==", "T1==cGFydG5lcl9pZD0xMDAmc2lnPXh4Og=="] {
        assert!(matches!(verify_now(garbage), Err(Malformed(_))), "{garbage}");
    }
    assert_eq!(verify_client_token(&projects(), &t1(""), false, NOW), Err(T1), "the setting");
}

#[test]
fn the_longest_connection_data_fits_a_token_of_every_form() {
    let data = "é".repeat(2048);
    let escaped: String = form_urlencoded::byte_serialize(data.as_bytes()).collect();
    let grant = verify_now(&t1(&format!("&connection_data={escaped}"))).unwrap();
    assert_eq!(grant.connection_data, data);
    assert!(verify_now(&sign(&claims(json!({"connection_data": data})))).is_ok());
}

#[test]
fn a_credential_is_short_lived_and_not_a_client_token() {
    let at = NOW.as_secs();
    let verify =
        |token: &str| verify_credential(&projects(), token, NOW).map(|it| it.as_str().to_owned());
    let why = |claims: Value| match verify(&sign(&claims)) {
        Err(CredentialError::Unauthorized(why)) => why,
        other => panic!("{other:?}"),
    };
    let good = json!({"iss": "100", "ist": "project", "iat": at, "exp": at + 300});
    assert_eq!(verify(&sign(&good)), Ok("100".into()));
    // What SDKs leave out, or put elsewhere.
    assert_eq!(verify(&sign(&json!({"iss": "100", "exp": at + 300}))), Ok("100".into()));
    let mut header = Header::new(Algorithm::HS256);
    header.typ = None;
    header.extras.insert("ist", "project");
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let ruby = json!({"iss": "100", "iat": at, "exp": at + 300});
    let ruby = jsonwebtoken::encode(&header, &ruby, &key).unwrap();
    assert_eq!(verify(&ruby), Ok("100".into()));
    let app = json!({"application_id": APPLICATION, "iat": at, "exp": at + 900, "jti": "x"});
    assert_eq!(verify(&sign_rs256(&app)), Ok(APPLICATION.into()));
    // A clock may be off by a minute.
    let late = json!({"iss": "100", "iat": at - 359, "exp": at - 59});
    assert_eq!(verify(&sign(&late)), Ok("100".into()));
    let early = json!({"iss": "100", "iat": at + 59, "exp": at + 359});
    assert_eq!(verify(&sign(&early)), Ok("100".into()));

    assert!(why(claims(json!({}))).contains("client token"), "a token for a session");
    assert!(why(claims(json!({"session_id": "absent"}))).contains("client token"), "its scope");
    for (claim, value) in
        [("role", json!("publisher")), ("sub", json!("alice")), ("acl", json!({}))]
    {
        let limited = json!({"iss": "100", "exp": at + 60, claim: value});
        assert!(why(limited).contains("client token"), "{claim}");
    }
    assert!(why(json!({"iss": "100", "iat": at})).contains("no expiry"));
    assert!(why(json!({"iss": "100", "iat": at - 600, "exp": at - 60})).contains("expired"));
    assert!(why(json!({"iss": "100", "iat": at + 61, "exp": at + 90})).contains("future"));
    assert!(why(json!({"iss": "100", "nbf": at + 61, "exp": at + 90})).contains("future"));
    assert!(why(json!({"iss": "100", "iat": at, "exp": at + 86_401})).contains("24 hours"));
    assert!(why(json!({"iss": "200", "exp": at + 60})).contains("signature"));
    assert_eq!(verify(&t1("")), verify("garbage"), "the legacy form is for clients");
    let unknown = CredentialError::UnknownProject;
    assert_eq!(verify(&sign(&json!({"iss": "300", "exp": at + 60}))), Err(unknown));
    assert!(verify(&"x".repeat(5000)).is_err());
}

#[test]
fn minted_credentials_are_accepted_and_open_no_session() {
    let lifetime = Duration::from_secs(300);
    let (hundred, application) = (key("100"), key(APPLICATION));
    for (key, signer) in
        [(&hundred, Signer::Secret(SECRET)), (&application, Signer::PrivateKey(&KEY.private_pem))]
    {
        let credential = NewServerToken { key, signer, now: NOW, lifetime }.mint().unwrap();
        assert!(verify_credential(&projects(), &credential, NOW).is_ok());
        assert!(matches!(verify_now(&credential), Err(TokenError::Malformed(_))));
        let client = NewToken {
            key,
            signer,
            session: &session(key.as_str()),
            role: Role::Publisher,
            connection_data: "",
            now: NOW,
            lifetime,
        };
        let client = client.mint().unwrap();
        assert!(verify_now(&client).is_ok());
        assert!(verify_credential(&projects(), &client, NOW).is_err());
    }
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
        let _ = verify_credential(&projects(), &token, NOW).is_ok();
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
