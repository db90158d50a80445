//! Crash of a gateway: the next one answers its QUIC clients with a stateless reset.

use signalbox_certs::DevAuthority;
use signalbox_client::Role;
use signalbox_tests::{
    World,
    raw::{self},
    renewed_certificate, within_timeout,
};
use std::path::PathBuf;

/// Without a reset, a client of a crashed gateway would wait for its idle timeout.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_crash_a_client_learns_of_it_from_its_next_packet() {
    crash_and_start_again(None, None).await;
}

/// With a state file, the reset tokens of the crashed gateway do not depend on its certificate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_crash_a_client_learns_of_it_from_a_gateway_with_a_renewed_certificate() {
    let place = tempfile::tempdir().unwrap();
    let renewed = renewed_certificate(&place.path().join("renewed"));
    crash_and_start_again(Some(place.path().join("state")), Some(renewed)).await;
}

/// The second gateway has the same state file, and the renewed certificate if there is one.
async fn crash_and_start_again(state_file: Option<PathBuf>, renewed: Option<DevAuthority>) {
    let crashing = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let file = state_file.clone();
    let world = World::with(|config| config.resume.state_file = file);
    let world = crashing.spawn(world).await.unwrap();
    let client = raw::Quic::join(world.addresses().quic, &world.token(Role::Publisher)).await;
    // All its tasks end at once, without a goodbye.
    crashing.shutdown_background();
    let address = world.addresses().quic;
    drop(world);
    let again = async {
        // The port is free when the last of its tasks has been dropped.
        loop {
            let (quic, tcp) = (address, "127.0.0.1:0".parse().unwrap());
            let listen = signalbox_gateway::ListenConfig { quic, tcp, page: None };
            let settings = |config: &mut signalbox_gateway::Config| {
                config.listen = listen;
                config.resume.state_file = state_file.clone();
                if let Some(renewed) = &renewed {
                    config.tls.certificate = Some(renewed.certificate_path().to_owned());
                    config.tls.key = Some(renewed.key_path().to_owned());
                }
            };
            if let Some(world) = World::try_with(settings).await {
                return world;
            }
            tokio::task::yield_now().await;
        }
    };
    let _world = within_timeout("the port is free", again).await;
    // It may have sent something by itself already, and know.
    if let Ok(mut stream) = client.connection.open_uni().await {
        let _ = stream.write_all(b"anything").await;
    }
    let error = within_timeout("a reset", client.connection.closed()).await;
    assert!(matches!(error, quinn::ConnectionError::Reset), "{error}");
}
