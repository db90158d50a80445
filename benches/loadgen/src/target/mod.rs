//! Targets: where the clients of a measurement meet.

pub mod cluster;
pub mod gateway;
pub mod remote;

use std::net::SocketAddr;

use anyhow::Context as _;
use rustls_pki_types::ServerName;
use signalbox_protocol::{Codec, Streams};
use tokio_rustls::rustls::RootCertStore;

use crate::{
    client::{
        ClientProtocol, MinimalClient,
        echo::EchoTarget,
        opentok::OpenTokPages,
        quic::{Purpose, QuicDialer},
        signalbox::{Entry, SignalboxProtocol},
        stream::StreamDialer,
    },
    transport::TransportVariant,
};

/// Makes the protocol of a client from its number.
pub type ProtocolFactory = Box<dyn Fn(u32) -> Box<dyn ClientProtocol> + Send + Sync>;

/// A session, a topic or an echo, of any system.
pub enum Target {
    /// Reached over a stream of bytes.
    Stream {
        /// To the system.
        dialer: StreamDialer,
        /// Its protocol.
        protocols: ProtocolFactory,
    },
    /// A session of Signalbox over QUIC or WebTransport.
    Quic {
        /// To the gateway.
        dialer: Box<QuicDialer>,
        /// Opens the session.
        entry: Entry,
    },
    /// An echo, for one client.
    Echo(EchoTarget),
    /// The same session or topic at several processes, which clients join in turn.
    Spread(Vec<Self>),
}

impl Target {
    /// The session of a token.
    pub fn signalbox(
        transport: TransportVariant,
        address: SocketAddr,
        host: &str,
        roots: RootCertStore,
        token: String,
    ) -> anyhow::Result<Self> {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name).to_owned();
        let name = name.trim_matches(['[', ']']).to_owned();
        if transport.is_quic() {
            let entry = Entry::Join { token, resumable: false };
            let streams = match transport {
                TransportVariant::QuicSingle => Streams::Single,
                _ => Streams::PerSender,
            };
            let (tls, protocol) = (signalbox_certs::client(roots, &[]), transport.quic_protocol());
            let dialer = QuicDialer::new(address, &name, tls, protocol, Purpose::Load(streams))?;
            let dialer = Box::new(dialer);
            return Ok(Self::Quic { dialer, entry });
        }
        let tls = transport.is_encrypted().then(|| signalbox_certs::client(roots, &[b"http/1.1"]));
        let dialer = StreamDialer::new(address, ServerName::try_from(name)?, tls.map(Into::into));
        if transport == TransportVariant::OpenTokJs {
            let pages = OpenTokPages::new(host, token)?;
            return Ok(Self::Stream {
                dialer,
                protocols: Box::new(move |_| Box::new(pages.page())),
            });
        }
        let entry = Entry::Join { token, resumable: false };
        let json = transport == TransportVariant::WssJson;
        let (host, codec) = (host.to_owned(), if json { Codec::Json } else { Codec::Postcard });
        let protocols: ProtocolFactory =
            Box::new(move |_| Box::new(SignalboxProtocol::new(&host, codec, entry.clone())));
        Ok(Self::Stream { dialer, protocols })
    }

    /// Connects the client with this number.
    pub async fn join(&self, number: u32) -> anyhow::Result<MinimalClient> {
        match self {
            Self::Stream { dialer, protocols } => dialer.join(protocols(number)).await,
            Self::Quic { dialer, entry } => dialer.join(entry).await,
            Self::Echo(echo) => echo.join().await,
            Self::Spread(targets) => {
                let turn = number as usize % targets.len().max(1);
                let target = targets.get(turn).context("a spread target without targets")?;
                Box::pin(target.join(number)).await
            }
        }
    }
}
