//! TLS between gateways and nats-server.

use std::{fs, path::Path};

use rcgen::{CertifiedKey, KeyPair};
use signalbox_nats::{NatsError, NatsOptions, NatsTls};
use tempfile::TempDir;

use signalbox_test_nats::NatsServer;

use crate::{
    gateway::{Gateway, Options as _},
    startup::refused,
};

/// Writes a certificate that is its own authority, and its key.
fn issue(directory: &Path, name: &str) {
    let CertifiedKey { cert, signing_key }: CertifiedKey<KeyPair> =
        rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    fs::write(directory.join(format!("{name}.pem")), cert.pem()).unwrap();
    fs::write(directory.join(format!("{name}.key")), signing_key.serialize_pem()).unwrap();
}

/// A folder with the certificates of a server, a client and a stranger.
fn certificates() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for name in ["server", "client", "stranger"] {
        issue(directory.path(), name);
    }
    directory
}

fn tls(files: &Path, ca: Option<&str>, client: Option<(&str, &str)>) -> NatsTls {
    let path = |name: &str| files.join(name);
    NatsTls {
        ca: ca.map(path),
        client: client.map(|(certificate, key)| (path(certificate), path(key))),
    }
}

#[tokio::test]
async fn the_server_needs_a_trusted_certificate() {
    let directory = certificates();
    let files = directory.path().to_owned();
    let configuration = "tls { cert_file: server.pem, key_file: server.key }";
    let server = NatsServer::start_in(directory, configuration).await;
    let encrypted = server.url().replace("nats:", "tls:");
    for url in [server.url(), encrypted] {
        let options = NatsOptions::new(&[url], "test").unwrap();
        for ca in [None, Some("stranger.pem")] {
            let error = refused("a", &options.clone().tls(tls(&files, ca, None))).await;
            assert!(matches!(error, NatsError::Tls { .. }), "{error:?}");
        }
        let trusted = options.tls(tls(&files, Some("server.pem"), None));
        Gateway::try_start("a", &trusted).await.unwrap().shut_down().await;
    }
}

#[tokio::test]
async fn the_server_may_demand_a_client_certificate() {
    let directory = certificates();
    let files = directory.path().to_owned();
    let configuration =
        "tls { cert_file: server.pem, key_file: server.key, ca_file: client.pem, verify: true }";
    let server = NatsServer::start_in(directory, configuration).await;
    let with = |client| server.options().tls(tls(&files, Some("server.pem"), client));
    for client in [None, Some(("stranger.pem", "stranger.key"))] {
        let error = refused("a", &with(client)).await;
        assert!(matches!(error, NatsError::Tls { .. }), "{error:?}");
    }
    Gateway::try_start("a", &with(Some(("client.pem", "client.key")))).await.unwrap();
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_tls_is_required() {
    let server = NatsServer::start("").await;
    let url = server.url().replace("nats:", "tls:");
    let error = refused("a", &NatsOptions::new(&[url], "test").unwrap()).await;
    assert!(matches!(error, NatsError::Tls { .. }), "{error:?}");
}

#[tokio::test]
async fn unusable_files_are_named() {
    let directory = certificates();
    let files = directory.path();
    let options = NatsOptions::new(&["tls://127.0.0.1:1"], "test").unwrap();
    let missing = refused("a", &options.clone().tls(tls(files, Some("missing.pem"), None))).await;
    assert!(matches!(&missing, NatsError::File { .. }), "{missing:?}");
    assert!(missing.to_string().contains("missing.pem"), "{missing}");
    let empty = refused("a", &options.clone().tls(tls(files, Some("server.key"), None))).await;
    assert!(matches!(&empty, NatsError::Authorities { .. }), "{empty:?}");
    assert!(empty.to_string().contains("server.key"), "{empty}");
    let client = Some(("client.pem", "stranger.key"));
    let mismatch = refused("a", &options.tls(tls(files, None, client))).await;
    assert!(matches!(&mismatch, NatsError::ClientCertificate(_)), "{mismatch:?}");
}
