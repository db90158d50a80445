// A gateway in this process for doctests, which include this file.

use std::{
    error::Error,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use signalbox_certs::DevAuthority;
use signalbox_client::{Client, ConnectOptions, Connector, Event, Events, Role, SessionId};
use signalbox_gateway::{Config, Gateway, ProjectConfig};
use signalbox_protocol::MediaMode;
use signalbox_token::{NewToken, Signer};

const SECRET: &str = "0123456789abcdef0123456789abcdef01234567";

/// A session of a gateway on ports of its own, which runs as long as the runtime.
pub struct LocalSession {
    pub connector: Connector,
    /// `quic://` and the address.
    pub quic: String,
    /// `wss://` and the address.
    pub wss: String,
    session: SessionId,
}

impl LocalSession {
    pub async fn start() -> Result<Self, Box<dyn Error>> {
        signalbox_certs::install_provider();
        let dir = tempfile::tempdir()?;
        let authority = DevAuthority::open(dir.path(), SystemTime::now())?;
        let key = "12345678".parse()?;
        let session = SessionId::mint(&key, MediaMode::Relayed, None, 0, [7; 24]);
        let mut config = Config::default();
        config.listen.quic = "127.0.0.1:0".parse()?;
        config.listen.tcp = "127.0.0.1:0".parse()?;
        config.tls.certificate = Some(authority.certificate_path().to_owned());
        config.tls.key = Some(authority.key_path().to_owned());
        config.projects = vec![ProjectConfig::with_secret(key, SECRET)];
        let gateway = Gateway::bind(config)?;
        let addresses = gateway.addresses();
        tokio::spawn(gateway.run(std::future::pending(), std::future::pending()));
        Ok(Self {
            connector: Connector::with_roots_pem(authority.ca_pem().as_bytes())?,
            quic: format!("quic://{}", addresses.quic),
            wss: format!("wss://{}", addresses.tcp),
            session,
        })
    }

    pub fn token(&self, role: Role) -> String {
        let new = NewToken {
            key: &"12345678".parse().expect("a project key"),
            signer: Signer::Secret(SECRET),
            session: &self.session,
            role,
            connection_data: "",
            now: SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is set"),
            lifetime: Duration::from_secs(60),
        };
        new.mint().expect("the secret signs")
    }

    /// Joins over QUIC and waits for [`Event::SessionConnected`].
    pub async fn join(&self, role: Role) -> Result<(Client, Events), Box<dyn Error>> {
        let options = ConnectOptions::new(&self.quic, self.token(role));
        let (client, mut events) = self.connector.connect(&options).await?;
        let first = events.next().await;
        assert!(matches!(first, Some(Event::SessionConnected { .. })), "{first:?}");
        Ok((client, events))
    }
}

/// Runs an example that starts a session of its own.
pub fn in_session(example: impl AsyncFnOnce(LocalSession) -> Result<(), Box<dyn Error>>) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    let example = async { example(LocalSession::start().await?).await };
    let limited = async { tokio::time::timeout(Duration::from_secs(20), example).await };
    let result = runtime.block_on(limited).expect("the example ends in time");
    result.expect("the example succeeds");
}

/// Runs an example that needs one client, which may moderate.
pub fn with_client(example: impl AsyncFnOnce(Client, Events) -> Result<(), Box<dyn Error>>) {
    in_session(async |session| {
        let (client, events) = session.join(Role::Moderator).await?;
        example(client, events).await
    });
}
