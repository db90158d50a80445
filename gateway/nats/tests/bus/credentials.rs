//! Credentials files, as `nsc` writes them: a JWT of the user, and the seed of its key.

use std::fs;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use nkeys::KeyPair;
use serde_json::{Value, json};
use signalbox_nats::{NatsCredentials, NatsError};

use signalbox_test_nats::NatsServer;

use crate::{
    gateway::{Gateway, Options as _},
    startup::refused,
};

/// A JWT about a key, signed by another one.
fn jwt(issuer: &KeyPair, subject: &KeyPair, name: &str, nats: &Value) -> String {
    let (issued_by, about) = (issuer.public_key(), subject.public_key());
    let claims = json!({ "jti": name, "iat": 1, "iss": issued_by, "sub": about, "name": name, "nats": nats });
    let header = json!({ "typ": "JWT", "alg": "ed25519-nkey" });
    let [header, claims] = [header, claims].map(|it| URL_SAFE_NO_PAD.encode(it.to_string()));
    let signed = format!("{header}.{claims}");
    let signature = URL_SAFE_NO_PAD.encode(issuer.sign(signed.as_bytes()).unwrap());
    format!("{signed}.{signature}")
}

#[tokio::test]
async fn a_credentials_file() {
    let (operator, account) = (KeyPair::new_operator(), KeyPair::new_account());
    let of_operator =
        jwt(&operator, &operator, "operator", &json!({ "type": "operator", "version": 2 }));
    let limits = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
        "conn": -1, "leaf": -1,
    });
    let of_account = jwt(
        &operator,
        &account,
        "account",
        &json!({ "type": "account", "version": 2, "limits": limits }),
    );
    let preload = format!("{}: {of_account}", account.public_key());
    let server = NatsServer::start(&format!(
        "operator: {of_operator}\nresolver: MEMORY\nresolver_preload: {{ {preload} }}"
    ))
    .await;

    let directory = tempfile::tempdir().unwrap();
    let user_of = |account: &KeyPair, name: &str| {
        let (user, path) = (KeyPair::new_user(), directory.path().join(name));
        let rights = json!({
            "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1,
            "pub": {}, "sub": {},
        });
        let (jwt, seed) = (jwt(account, &user, "user", &rights), user.seed().unwrap());
        let text = format!(
            "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        fs::write(&path, text).unwrap();
        server.options().credentials(NatsCredentials::File(path))
    };
    let known = user_of(&account, "known.creds");
    Gateway::try_start("a", &known).await.unwrap().shut_down().await;
    let error = refused("a", &user_of(&KeyPair::new_account(), "unknown.creds")).await;
    assert!(matches!(error, NatsError::Unauthorized { .. }), "{error:?}");

    let damaged = directory.path().join("damaged.creds");
    fs::write(&damaged, "not a credentials file").unwrap();
    let error =
        refused("a", &server.options().credentials(NatsCredentials::File(damaged.clone()))).await;
    let NatsError::File { path, .. } = error else { panic!("{error:?}") };
    assert_eq!(path, damaged);
}
