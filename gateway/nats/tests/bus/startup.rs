//! Reasons for which a gateway does not start.

use std::{path::PathBuf, time::Duration};

use signalbox_nats::{NatsCredentials, NatsError, NatsOptions};
use tokio::{net::TcpListener, time::timeout};

use signalbox_test_nats::NatsServer;

use crate::gateway::{Gateway, Options as _};

pub(crate) async fn refused(name: &str, options: &NatsOptions) -> NatsError {
    let start = Gateway::try_start(name, options);
    let started = timeout(Duration::from_secs(15), start).await.expect("an error in time");
    started.err().expect("an error")
}

fn password(password: &str) -> NatsCredentials {
    NatsCredentials::Password { user: "gateway".to_owned(), password: password.to_owned() }
}

#[tokio::test]
async fn a_server_that_is_not_there() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for url in [format!("nats://{free}"), "nats://host.invalid".to_owned()] {
        let options = NatsOptions::new(&[&url], "test").unwrap();
        let error = refused("a", &options).await;
        assert!(matches!(&error, NatsError::Unreachable { .. }), "{error:?}");
        assert!(error.to_string().contains(&url), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_several_servers_suffices() {
    let server = NatsServer::start("").await;
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let urls = [format!("nats://{free}"), server.url()];
    Gateway::try_start("a", &NatsOptions::new(&urls, "test").unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_server_that_accepts_and_stalls() {
    let server = NatsServer::start("").await;
    server.stop();
    let error = refused("a", &server.options()).await;
    assert!(matches!(error, NatsError::TimedOut { .. }), "{error:?}");
}

#[tokio::test]
async fn another_service_on_the_port() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    let options = NatsOptions::new(&[url], "test").unwrap();
    let serve = async {
        loop {
            drop(listener.accept().await.unwrap());
        }
    };
    tokio::select! {
        () = serve => {}
        error = refused("a", &options) => {
            assert!(matches!(error, NatsError::Refused { .. } | NatsError::Unreachable { .. }), "{error:?}");
        }
    }
}

#[tokio::test]
async fn wrong_credentials() {
    let users = "authorization { user: gateway, password: right }";
    let server = NatsServer::start(users).await;
    let options = server.options();
    let token = NatsCredentials::Token("right".to_owned());
    for credentials in [NatsCredentials::None, password("wrong"), token] {
        let error = refused("a", &options.clone().credentials(credentials)).await;
        assert!(matches!(error, NatsError::Unauthorized { .. }), "{error:?}");
    }
    Gateway::try_start("a", &options.credentials(password("right"))).await.unwrap();
}

#[tokio::test]
async fn a_token() {
    let server = NatsServer::start("authorization { token: right }").await;
    let with = |token: &str| server.options().credentials(NatsCredentials::Token(token.to_owned()));
    let error = refused("a", &with("wrong")).await;
    assert!(matches!(error, NatsError::Unauthorized { .. }), "{error:?}");
    Gateway::try_start("a", &with("right")).await.unwrap();
}

#[tokio::test]
async fn missing_permissions() {
    let all = "publish: 'test.>', subscribe: 'test.>'";
    for (permissions, denied) in [
        ("publish: 'test.>', subscribe: 'test.gw.*'", Some("test.all")),
        ("publish: 'test.>', subscribe: 'test.all'", Some("test.gw.a")),
        ("publish: 'test.gw.*', subscribe: 'test.>'", Some("test.all")),
        ("publish: ['test.all', 'test.gw.a'], subscribe: 'test.>'", Some("test.gw._")),
        (all, None),
    ] {
        let server = NatsServer::start(&format!(
            "authorization {{ users = [{{ user: gateway, password: right, permissions: {{ {permissions} }} }}] }}"
        ))
        .await;
        let options = server.options().credentials(password("right"));
        let Some(denied) = denied else {
            Gateway::try_start("a", &options).await.unwrap();
            continue;
        };
        let error = refused("a", &options).await;
        assert!(matches!(error, NatsError::Denied { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(denied) && text.contains("'test.>'"), "{text}");
    }
}

#[tokio::test]
async fn messages_that_are_not_delivered() {
    // A mapping that loses them stands for a server that accepts and does nothing.
    let server = NatsServer::start("mappings = { 'test.gw.a': lost }").await;
    let error = refused("a", &server.options()).await;
    let NatsError::NotDelivered { subject, .. } = error else { panic!("{error:?}") };
    assert_eq!(subject, "test.gw.a");
}

#[tokio::test]
async fn a_low_limit_of_messages() {
    let server = NatsServer::start("max_payload: 700000").await;
    let error = refused("a", &server.options()).await;
    assert!(matches!(error, NatsError::PayloadLimit { limit: 700_000, .. }), "{error:?}");
    let server = NatsServer::start("max_payload: 786432").await;
    Gateway::try_start("a", &server.options()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_gateway_of_the_same_name() {
    let server = NatsServer::start("").await;
    let options = server.options();
    let (first, second) =
        tokio::join!(Gateway::try_start("a", &options), Gateway::try_start("a", &options));
    let mut refusals = 0;
    for started in [first, second] {
        match started {
            Ok(started) => started.shut_down().await,
            Err(error) => {
                assert!(matches!(error, NatsError::Duplicate { .. }), "{error:?}");
                refusals += 1;
            }
        }
    }
    assert!(refusals > 0, "at most one of them starts");
    let first = Gateway::try_start("a", &options).await.unwrap();
    let error = refused("a", &options).await;
    assert!(matches!(&error, NatsError::Duplicate { name } if name == "a"), "{error:?}");
    assert!(first.is_connected());
    Gateway::try_start("A", &options).await.unwrap();
}

#[tokio::test]
async fn files_that_are_missing() {
    let missing = PathBuf::from("missing.creds");
    let options = NatsOptions::new(&["nats://127.0.0.1:1"], "test").unwrap();
    let credentials = NatsCredentials::File(missing.clone());
    let error = refused("a", &options.credentials(credentials)).await;
    let NatsError::File { path, .. } = error else { panic!("{error:?}") };
    assert_eq!(path, missing);
}
