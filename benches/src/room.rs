//! Where the clients of a measurement meet, and how they get there.

use std::net::SocketAddr;

use rustls_pki_types::ServerName;
use signalbox_protocol::Streams;
use tokio_rustls::rustls::RootCertStore;

use crate::{
    floors::Echoes,
    transport::Transport,
    wire::{Client, Speech, quic, signalbox::WebSocketSpeech, stream},
};

/// Makes what a client says, by its number.
pub(crate) type Speeches = Box<dyn Fn(u32) -> Box<dyn Speech> + Send + Sync>;

/// A place in which all hear each other, of any system.
pub(crate) enum Room {
    /// Over a stream of bytes.
    Stream {
        /// To the system.
        dialer: stream::Dialer,
        /// What its clients say.
        speeches: Speeches,
    },
    /// A session of Signalbox over QUIC.
    Quic {
        /// To the gateway.
        dialer: quic::Dialer,
        /// Opens the session.
        token: String,
    },
    /// An echo, for one client.
    Floor(Echoes),
}

impl Room {
    /// The session of a token.
    pub(crate) fn signalbox(
        transport: Transport,
        address: SocketAddr,
        host: &str,
        roots: RootCertStore,
        token: String,
    ) -> anyhow::Result<Self> {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name).to_owned();
        let name = name.trim_matches(['[', ']']).to_owned();
        if transport.is_quic() {
            let streams = match transport {
                Transport::QuicSingle => Streams::Single,
                _ => Streams::PerSender,
            };
            let tls = signalbox_certs::client(roots, &[]);
            let dialer = quic::Dialer::new(address, &name, tls, streams)?;
            return Ok(Self::Quic { dialer, token });
        }
        let tls = transport.is_encrypted().then(|| signalbox_certs::client(roots, &[b"http/1.1"]));
        let dialer = stream::Dialer::new(address, ServerName::try_from(name)?, tls.map(Into::into));
        let (host, json) = (host.to_owned(), transport == Transport::WssJson);
        let speeches: Speeches =
            Box::new(move |_| Box::new(WebSocketSpeech::new(&host, &token, json)));
        Ok(Self::Stream { dialer, speeches })
    }

    /// Connects a client, which has this number.
    pub(crate) async fn join(&self, number: u32) -> anyhow::Result<Client> {
        match self {
            Self::Stream { dialer, speeches } => dialer.join(speeches(number)).await,
            Self::Quic { dialer, token } => dialer.join(token).await,
            Self::Floor(echoes) => echoes.join().await,
        }
    }
}
