//! A gateway in this process, for tests of the benchmark with a gateway that runs already.

use std::{
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use signalbox_certs::DevAuthority;
use signalbox_gateway::{Config, Gateway, ProjectConfig};
use signalbox_protocol::{MediaMode, ProjectKey, Role, SessionId};
use signalbox_token::{NewToken, Signer};

/// Starts one with its authority in `dir`. Returns the URL for a scheme, and a token.
pub(crate) fn start(dir: &Path, scheme: &str) -> (String, String) {
    signalbox_certs::install_provider();
    let authority = DevAuthority::open(dir, SystemTime::now()).unwrap();
    let key: ProjectKey = "12345678".parse().unwrap();
    let mut config = Config::default();
    config.listen.quic = "127.0.0.1:0".parse().unwrap();
    config.listen.tcp = "127.0.0.1:0".parse().unwrap();
    config.tls.certificate = Some(authority.certificate_path().to_owned());
    config.tls.key = Some(authority.key_path().to_owned());
    config.projects = vec![ProjectConfig::with_secret(key.clone(), "secret")];
    let session = SessionId::mint(&key, MediaMode::Relayed, None, 0, [7; 24]);
    let token = NewToken {
        key: &key,
        signer: Signer::Secret("secret"),
        session: &session,
        role: Role::Publisher,
        connection_data: "",
        now: SystemTime::now().duration_since(UNIX_EPOCH).unwrap(),
        lifetime: Duration::from_secs(3600),
    };
    let token = token.mint().unwrap();
    let (ready, addresses) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let gateway = Gateway::bind(config).unwrap();
            let addresses = gateway.addresses();
            ready.send((addresses.tcp, addresses.quic)).unwrap();
            gateway.run(std::future::pending(), std::future::pending()).await.unwrap();
        });
    });
    let (tcp, quic) = addresses.recv().unwrap();
    let address = if scheme == "wss" { tcp } else { quic };
    (format!("{scheme}://{address}"), token)
}
