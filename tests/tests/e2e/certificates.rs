//! Certificates: reload, and the errors of clients that cannot verify one.

use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use signalbox_client::{CloseReason, ConnectError, ConnectOptions, Connector, Role};
use signalbox_tests::{TransportMode, World, authority, raw::served_leaf, within_timeout};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_certificate_is_used_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let make = |at| signalbox_certs::DevAuthority::open(dir.path(), at).unwrap();
    let now = std::time::SystemTime::now();
    // Valid for thirteen days, so for one more day now.
    let first = make(now - Duration::from_secs(12 * 24 * 3600));
    let mut config = signalbox_gateway::Config::default();
    config.listen.quic = "127.0.0.1:0".parse().unwrap();
    config.listen.tcp = "127.0.0.1:0".parse().unwrap();
    config.tls.certificate = Some(first.certificate_path().to_owned());
    config.tls.key = Some(first.key_path().to_owned());
    let gateway = signalbox_gateway::Gateway::bind(config.clone()).unwrap();
    let reload = gateway.reload();
    let address = gateway.addresses().quic;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let stopped = async {
        let _ = stopped.await;
    };
    let running = tokio::spawn(gateway.run(stopped, std::future::pending()));
    let roots = std::fs::read(first.ca_pem_path()).unwrap();
    let served = async || served_leaf(address, "localhost", &roots).await;
    assert_eq!(served().await, leaf(&first));
    let old = first.leaf_sha256();
    let second = make(now);
    assert_ne!(second.leaf_sha256(), old, "it was time for a new one");
    let renewed = leaf(&second);
    reload.apply(&config).unwrap();
    assert_eq!(served().await, renewed);
    // A damaged file changes nothing.
    std::fs::write(second.certificate_path(), "no certificate").unwrap();
    reload.apply(&config).unwrap_err();
    assert_eq!(served().await, renewed);
    stop.send(()).unwrap();
    within_timeout("the gateway stops", running).await.unwrap().unwrap();
}

/// The leaf certificate of an authority.
fn leaf(authority: &signalbox_certs::DevAuthority) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(authority.certificate_path()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sdk_reports_the_cause_of_a_failed_connect() {
    let world = World::new().await;
    let connector = Connector::with_roots_pem(authority().ca_pem().as_bytes()).unwrap();
    let error = |url: &str| {
        let options = ConnectOptions::new(url, "token");
        let connector = connector.clone();
        async move { within_timeout("a failure", connector.connect(&options)).await.err().unwrap() }
    };
    assert!(matches!(error("http://localhost").await, ConnectError::Url(_)));
    assert!(matches!(error("quic://nobody.invalid").await, ConnectError::Resolve { .. }));
    assert!(matches!(error("wss://127.0.0.1:1").await, ConnectError::Unreachable { .. }));
    let tcp = world.addresses().tcp;
    assert!(matches!(error(&format!("ws://{tcp}")).await, ConnectError::Unreachable { .. }));
    let wrong_path = error(&format!("wss://{tcp}/elsewhere")).await;
    assert!(wrong_path.to_string().contains("404"), "{wrong_path}");
    for url in [world.url(TransportMode::Quic), world.url(TransportMode::WebSocketJson)] {
        match error(&url).await {
            ConnectError::Refused { reason, .. } => assert_eq!(reason, CloseReason::InvalidToken),
            other => panic!("{other:?}"),
        }
    }
    // A gateway with an untrusted certificate.
    let stranger = tempfile::tempdir().unwrap();
    let stranger =
        signalbox_certs::DevAuthority::open(stranger.path(), std::time::SystemTime::now()).unwrap();
    let connector = Connector::with_roots_pem(stranger.ca_pem().as_bytes()).unwrap();
    for transport in [TransportMode::Quic, TransportMode::WebSocketJson] {
        let options = world.options(transport, Role::Publisher);
        let error = within_timeout("a failure", connector.connect(&options)).await.err().unwrap();
        assert!(error.to_string().to_lowercase().contains("certificate"), "{error}");
    }
}
