//! Embedding: a gateway and two clients in one process, as a test of an application may want it.
//!
//! ```sh
//! cargo run -p signalbox-client --example embed_gateway
//! ```
#![allow(clippy::print_stdout, reason = "printing is its purpose")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use signalbox_certs::DevAuthority;
use signalbox_client::{ConnectOptions, Connector, Event, Role, SessionId};
use signalbox_gateway::{Config, Gateway, ProjectConfig};
use signalbox_protocol::{MediaMode, ProjectKey};
use signalbox_token::{NewToken, Signer};
use tokio::sync::oneshot;

const SECRET: &str = "0123456789abcdef0123456789abcdef01234567";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    signalbox_certs::install_provider();
    let dir = tempfile::tempdir()?;
    let authority = DevAuthority::open(dir.path(), SystemTime::now())?;
    let key: ProjectKey = "12345678".parse()?;

    // Port 0: the system picks free ports.
    let mut config = Config::default();
    config.listen.quic = "127.0.0.1:0".parse()?;
    config.listen.tcp = "127.0.0.1:0".parse()?;
    config.tls.certificate = Some(authority.certificate_path().to_owned());
    config.tls.key = Some(authority.key_path().to_owned());
    config.projects = vec![ProjectConfig::with_secret(key.clone(), SECRET)];
    let gateway = Gateway::bind(config)?;
    let addresses = gateway.addresses();
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async {
        let _ = stopped.await;
    };
    let running = tokio::spawn(gateway.run(shutdown, std::future::pending()));

    // What the application's server does: a session, and a token for each client.
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let session = SessionId::mint(&key, MediaMode::Relayed, None, 0, rand_bytes());
    let token = NewToken {
        key: &key,
        signer: Signer::Secret(SECRET),
        session: &session,
        role: Role::Publisher,
        connection_data: "",
        now,
        lifetime: Duration::from_secs(60),
    }
    .mint()?;

    let connector = Connector::with_roots_pem(authority.ca_pem().as_bytes())?;
    let quic = ConnectOptions::new(format!("quic://{}", addresses.quic), &token);
    let wss = ConnectOptions::new(format!("wss://{}", addresses.tcp), &token);
    let (alice, _alices_events) = connector.connect(&quic).await?;
    let (bob, mut bobs_events) = connector.connect(&wss).await?;
    alice.signal().to(bob.connection().id).data("hello").send().await?;
    loop {
        let event = bobs_events.next().await.context("the session ended early")?;
        if let Event::Signal { data: Some(data), .. } = event {
            println!("bob received: {data}");
            break;
        }
    }
    alice.disconnect().await;
    bob.disconnect().await;
    let _ = stop.send(());
    running.await??;
    Ok(())
}

/// Makes the session's id unique.
fn rand_bytes() -> [u8; 24] {
    std::array::from_fn(|_| fastrand::u8(..))
}
