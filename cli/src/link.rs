//! How a command reaches the gateway: the flags that say so, and the connection they lead to.

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;
use signalbox_client::{Client, ConnectOptions, Connector, Events, Streams};

use crate::stop::Stop;

/// How long a client that is asked to stop while it connects waits for the connection, so that it
/// can say goodbye on it.
const LATE_WELCOME: Duration = Duration::from_secs(1);

/// How to reach the gateway; the same for every command that does.
#[derive(Debug, clap::Args)]
pub(crate) struct LinkArgs {
    /// The gateway: quic://HOST:PORT, wss://HOST:PORT, or ws://HOST:PORT without TLS. The port is
    /// 4433 unless named.
    url: String,
    /// Another way to the same gateway, if the first does not work, such as wss:// where quic:// is
    /// blocked.
    #[arg(long, value_name = "URL")]
    fallback: Option<String>,
    /// The token, from the project's server or `signalbox token`.
    #[arg(long, env = "SIGNALBOX_TOKEN", hide_env_values = true)]
    token: String,
    /// PEM file with the certificate authority to trust, instead of the system's.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// On QUIC, take all senders on one stream.
    #[arg(long)]
    single_stream: bool,
    /// On WebSocket, speak JSON instead of postcard.
    #[arg(long)]
    websocket_json: bool,
}

impl LinkArgs {
    /// Connects, unless the process is asked to stop first. A connection that the gateway has made
    /// by then is left again.
    pub(crate) async fn connect_or(
        &self,
        stop: &mut Stop,
        presence: bool,
        rejoin: bool,
    ) -> anyhow::Result<(Client, Events)> {
        let connecting = self.connect(presence, rejoin);
        tokio::pin!(connecting);
        tokio::select! {
            connected = &mut connecting => connected,
            () = stop.requested() => {
                if let Ok(Ok((client, _))) = tokio::time::timeout(LATE_WELCOME, connecting).await {
                    client.disconnect().await;
                }
                anyhow::bail!("stopped while connecting")
            }
        }
    }

    async fn connect(&self, presence: bool, rejoin: bool) -> anyhow::Result<(Client, Events)> {
        let connector = match &self.ca {
            None => Connector::new()?,
            Some(file) => {
                let pem = std::fs::read(file)
                    .with_context(|| format!("cannot read --ca {}", file.display()))?;
                Connector::trusting(&pem).with_context(|| format!("--ca {}", file.display()))?
            }
        };
        let mut options = ConnectOptions::new(&self.url, &self.token)
            .presence(presence)
            .rejoin(rejoin)
            .agent(concat!("signalbox-cli/", env!("CARGO_PKG_VERSION")));
        if let Some(fallback) = &self.fallback {
            options = options.fallback(fallback);
        }
        if self.single_stream {
            options = options.streams(Streams::Single);
        }
        if self.websocket_json {
            options = options.json();
        }
        Ok(connector.connect(&options).await?)
    }
}
