//! Dialling: from the gateway's URLs to a link on which it has answered.
//!
//! URLs and addresses race, but only to the end of the transport's handshake; then the winner alone
//! sends the opening. There is one exception: the first attempt may send a `resume` in its first
//! packet (0-RTT) if it is QUIC and the gateway is known. If the answer to that takes longer than
//! another attempt's handshake, the winner sends the `resume` again with a higher attempt number,
//! and the first attempt is abandoned.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use parking_lot::Mutex;
use rustls::RootCertStore;
use signalbox_protocol::CloseReason::ShuttingDown;

use crate::{
    endpoints::Endpoints,
    error::ConnectError,
    gateway_url::{GatewayUrl, Scheme},
    link::{HandshakeReply, Link, PendingLink, quic, websocket},
    opening::Opening,
    options::ConnectOptions,
};

/// Head start of each address over the next one of the same host ("Connection Attempt Delay", for
/// which RFC 8305 §5 recommends 250 ms).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Head start of the URL that worked last over the others: enough for a handshake on most
/// networks, and hardly noticeable if that URL does not work.
const URL_HEAD_START: Duration = Duration::from_millis(300);

/// Opens links to one gateway.
#[derive(Debug)]
pub(crate) struct Dialer {
    roots: Arc<RootCertStore>,
    endpoints: Arc<Endpoints>,
    quic: quic::QuicConfig,
    pub(crate) options: ConnectOptions,
    targets: Vec<GatewayUrl>,
    /// Index of the target to try first: the one that worked last.
    first: usize,
}

impl Dialer {
    pub(crate) fn new(
        roots: Arc<RootCertStore>,
        endpoints: Arc<Endpoints>,
        options: ConnectOptions,
    ) -> Result<Self, ConnectError> {
        let targets = options.targets()?;
        let quic = quic::QuicConfig::new(&roots, options.keep_alive, options.early_data)?;
        Ok(Self { roots, endpoints, quic, options, targets, first: 0 })
    }

    /// The sockets for QUIC.
    pub(crate) fn endpoints(&self) -> Arc<Endpoints> {
        self.endpoints.clone()
    }

    /// Reaches the gateway, sends `opening` and receives the answer, within a time.
    pub(crate) async fn open(
        &mut self,
        opening: Opening<'_>,
        within: Duration,
    ) -> Result<(HandshakeReply, Link), ConnectError> {
        let tried = Mutex::default();
        let (index, answer, link) = tokio::time::timeout(within, self.race(opening, &tried))
            .await
            .unwrap_or_else(|_| Err(ConnectError::Timeout { tried: tried.into_inner() }))?;
        self.first = index;
        Ok((answer, link))
    }

    async fn race(
        &self,
        opening: Opening<'_>,
        tried: &Mutex<Vec<String>>,
    ) -> Result<(usize, HandshakeReply, Link), ConnectError> {
        let first = self.targets.iter().enumerate().skip(self.first).take(1);
        let others = self.targets.iter().enumerate().filter(|(index, _)| *index != self.first);
        let mut dials: FuturesUnordered<_> = (0u32..)
            .zip(first.chain(others))
            .map(|(rank, (index, target))| async move {
                tokio::time::sleep(URL_HEAD_START * rank).await;
                let early = (rank == 0).then_some(opening);
                (index, self.dial(target, early, tried).await)
            })
            .collect();
        let mut failure = ConnectError::Timeout { tried: Vec::new() };
        while let Some((index, dialled)) = dials.next().await {
            let opened = match dialled {
                Ok(dialled) => dialled.open(opening).await,
                Err(error) => Err(error),
            };
            match opened {
                Ok((answer, link)) => return Ok((index, answer, link)),
                // Another URL may lead to another gateway if this one is shutting down.
                Err(refused @ ConnectError::Refused { reason: ShuttingDown, .. }) => {
                    failure = refused;
                }
                // A refusal is an answer: the other URLs lead to the same gateway.
                Err(refused @ ConnectError::Refused { .. }) => return Err(refused),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Connects to one target. `early` may be sent before the gateway has answered.
    async fn dial(
        &self,
        target: &GatewayUrl,
        early: Option<Opening<'_>>,
        tried: &Mutex<Vec<String>>,
    ) -> Result<PendingLink, ConnectError> {
        let addresses = target.resolve().await?;
        let scheme = target.scheme.name();
        tried.lock().extend(addresses.iter().map(|address| format!("{scheme}://{address}")));
        match target.scheme {
            Scheme::Quic | Scheme::Https => {
                let dial = |rank, to| {
                    let early = early.filter(|_| rank == 0);
                    quic::dial(&self.endpoints, &self.quic, target, to, early)
                };
                race(addresses, dial).await.map(|it| PendingLink::Quic(Box::new(it)))
            }
            Scheme::Wss | Scheme::Ws => {
                let postcard = self.options.postcard;
                let dial = |_, to| websocket::dial(self.roots.clone(), target, to, postcard);
                race(addresses, dial).await.map(|it| PendingLink::WebSocket(Box::new(it)))
            }
        }
    }
}

/// Tries the addresses in turn, each with a head start over the next; the first to succeed wins.
async fn race<T, F: Future<Output = Result<T, ConnectError>>>(
    addresses: Vec<SocketAddr>,
    dial: impl Fn(u32, SocketAddr) -> F,
) -> Result<T, ConnectError> {
    let mut attempts: FuturesUnordered<_> = (0u32..)
        .zip(addresses)
        .map(|(rank, address)| {
            let attempt = dial(rank, address);
            async move {
                tokio::time::sleep(ATTEMPT_DELAY * rank).await;
                attempt.await
            }
        })
        .collect();
    let mut failure = ConnectError::Timeout { tried: Vec::new() };
    while let Some(result) = attempts.next().await {
        match result {
            Ok(dialled) => return Ok(dialled),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}
