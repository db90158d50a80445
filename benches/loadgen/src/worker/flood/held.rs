//! Connections of strangers that are held open, and opened again when the gateway closes them.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use quinn::{Endpoint, crypto::rustls::QuicClientConfig};
use signalbox_protocol::ALPN;
use tokio::{io::AsyncReadExt as _, task::JoinSet, time::sleep};

use super::{FloodKind, FloodWorker, RAMP, SharedProgress};
use crate::{client::websocket::upgrade, http::HttpEndpoint};

/// Pause before a connection is opened again.
const PAUSE: Duration = Duration::from_secs(1);

/// Half of the head of a request.
const HALF_HEAD: &[u8] = b"GET /v1/connect HTTP/1.1\r\nHost";

impl FloodWorker {
    /// Starts all connections.
    pub(super) fn start_held(
        &self,
        progress: &SharedProgress,
        senders: &mut JoinSet<anyhow::Result<()>>,
    ) -> anyhow::Result<()> {
        let server = HttpEndpoint::new(&self.https, &self.ca()?)?;
        let dialers: Vec<_> = match self.kind {
            FloodKind::Handshakes => (0..self.addresses)
                .map(|index| self.quic_dialer(self.source(index)))
                .collect::<anyhow::Result<_>>()?,
            _ => Vec::new(),
        };
        let first: Option<Arc<[u8]>> = match self.kind {
            FloodKind::SlowHeads => Some(HALF_HEAD.into()),
            FloodKind::SilentWebsockets => {
                let json = Some("signalbox.v1.json");
                Some(upgrade(&self.https, "/v1/connect", json).into())
            }
            _ => None,
        };
        for index in 0..self.connections {
            let held = match dialers.get((index % self.addresses.max(1)) as usize) {
                Some(dialer) => HeldConnection::Quic(dialer.clone()),
                None => HeldConnection::Tcp {
                    server: server.clone(),
                    source: self.source(index),
                    first: first.clone(),
                },
            };
            let (progress, connections) = (progress.clone(), self.connections);
            senders.spawn(async move {
                sleep(RAMP * index / connections).await;
                loop {
                    if held.hold(&progress).await.is_err() {
                        progress.lock().refused += 1;
                    }
                    sleep(PAUSE).await;
                }
            });
        }
        Ok(())
    }

    fn quic_dialer(&self, source: IpAddr) -> anyhow::Result<QuicFloodDialer> {
        let roots = signalbox_certs::roots_from_pem(&self.ca()?)?;
        let tls = signalbox_certs::client(roots, &[ALPN]);
        let crypto = QuicClientConfig::try_from(tls)?;
        let mut endpoint = Endpoint::client(SocketAddr::new(source, 0))?;
        endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(crypto)));
        Ok(QuicFloodDialer { endpoint, gateway: self.quic.parse()? })
    }
}

/// Opens QUIC connections from one address.
#[derive(Clone)]
struct QuicFloodDialer {
    endpoint: Endpoint,
    gateway: SocketAddr,
}

/// A connection that is held open.
enum HeldConnection {
    /// Without a stream.
    Quic(QuicFloodDialer),
    /// With these bytes over TLS; without them, not even TLS begins.
    Tcp { server: HttpEndpoint, source: IpAddr, first: Option<Arc<[u8]>> },
}

impl HeldConnection {
    /// Opens the connection and holds it until the gateway closes it.
    async fn hold(&self, progress: &SharedProgress) -> anyhow::Result<()> {
        match self {
            Self::Quic(QuicFloodDialer { endpoint, gateway }) => {
                let name = gateway.ip().to_string();
                let connection = endpoint.connect(*gateway, &name)?.await?;
                progress.lock().connected += 1;
                Err(connection.closed().await.into())
            }
            Self::Tcp { server, source, first: None } => {
                let mut stream = server.connect_tcp(*source).await?;
                progress.lock().connected += 1;
                stream.read_to_end(&mut Vec::new()).await.context("closed")?;
                Ok(())
            }
            Self::Tcp { server, source, first: Some(first) } => {
                let mut connection = server.connect_from(*source).await?;
                progress.lock().connected += 1;
                connection.send(first).await?;
                connection.closed().await
            }
        }
    }
}
