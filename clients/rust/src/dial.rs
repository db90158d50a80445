//! Dialling: from the gateway's URLs to a link on which it has answered.
//!
//! URLs and addresses race, but only to the end of the transport's handshake; then the winner alone
//! sends the opening, and the other attempts are abandoned. If the winner fails before its answer, or
//! refuses the client because it shuts down, the others race again; any other refusal is an answer.
//!
//! There is one exception: the first attempt may send a `resume` in its first packet (0-RTT) if it
//! is QUIC and the gateway is known. If the answer to that takes longer than another attempt's
//! handshake, the winner sends the `resume` again with a higher attempt number, and the first
//! attempt is abandoned.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use rustls::RootCertStore;
use signalbox_protocol::CloseReason::ShuttingDown;
use tokio::time::{Instant, sleep_until};

use crate::{
    endpoints::Endpoints,
    error::ConnectError,
    gateway_list::GatewayList,
    gateway_url::{GatewayUrl, Scheme},
    link::{HandshakeReply, Link, PendingLink, quic, websocket},
    opening::Opening,
    options::ConnectOptions,
    race::Race,
};

/// Head start of each address over the next one of the same host ("Connection Attempt Delay", for
/// which RFC 8305 §5 recommends 250 ms).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Head start of each URL over the next one: enough for a handshake on most networks, and hardly
/// noticeable if that URL does not work.
const URL_HEAD_START: Duration = Duration::from_millis(300);

/// The same for a client that reconnects, and perhaps thousands of others with it, all of which would
/// make two handshakes instead of one if the first gateway were busy for the shorter time.
const RECONNECT_HEAD_START: Duration = Duration::from_secs(1);

/// The time that an attempt may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Before the next URL is tried.
    head_start: Duration,
    /// Until a gateway has completed the transport's handshake.
    handshake: Duration,
    /// From then on, at least. A gateway that is busy with thousands of clients answers late, and an
    /// attempt that is abandoned after the handshake is the dearest to repeat.
    answer: Duration,
}

impl Patience {
    /// For an application that waits: this long in all.
    pub(crate) fn in_all(time: Duration) -> Self {
        Self { head_start: URL_HEAD_START, handshake: time, answer: Duration::ZERO }
    }

    /// For an attempt to reconnect: this long for the handshake with the last of the URLs, and again
    /// for the answer.
    pub(crate) fn for_each(time: Duration, urls: u32) -> Self {
        let head_start = RECONNECT_HEAD_START;
        Self { head_start, handshake: head_start * (urls - 1) + time, answer: time }
    }
}

/// Opens links to the gateways of one session.
#[derive(Debug)]
pub(crate) struct Dialer {
    roots: Arc<RootCertStore>,
    endpoints: Arc<Endpoints>,
    quic: quic::QuicConfig,
    pub(crate) options: ConnectOptions,
    gateways: GatewayList,
}

impl Dialer {
    pub(crate) fn new(
        roots: Arc<RootCertStore>,
        endpoints: Arc<Endpoints>,
        options: ConnectOptions,
    ) -> Result<Self, ConnectError> {
        let gateways = GatewayList::parse(&options.urls)?;
        let quic = quic::QuicConfig::new(&roots, options.keep_alive, options.early_data)?;
        Ok(Self { roots, endpoints, quic, options, gateways })
    }

    /// The sockets.
    pub(crate) fn endpoints(&self) -> Arc<Endpoints> {
        self.endpoints.clone()
    }

    /// Tries the other gateways before the one that has answered last.
    pub(crate) fn avoid_current(&mut self) {
        self.gateways.avoid_current();
    }

    /// Takes the other gateways of a welcome, which are tried after the application's.
    pub(crate) fn welcomed(&mut self, gateways: &[String]) {
        self.gateways.welcomed(gateways);
    }

    /// The number of URLs.
    pub(crate) fn urls(&self) -> u32 {
        self.gateways.len()
    }

    /// Reaches a gateway, sends `opening` and receives the answer, within these times.
    pub(crate) async fn open(
        &mut self,
        opening: Opening<'_>,
        patience: Patience,
    ) -> Result<(HandshakeReply, Link), ConnectError> {
        let progress = DialProgress::new(patience.handshake);
        let opened = tokio::select! {
            biased;
            opened = self.race(opening, patience, &progress) => Some(opened),
            () = progress.timed_out() => None,
        };
        let DialProgress { tried, opened: asked, .. } = progress;
        let Some(opened) = opened else {
            if let Some(silent) = asked.into_inner() {
                self.gateways.avoid(&silent);
            }
            return Err(ConnectError::Timeout { tried: tried.into_inner() });
        };
        // A refusal that was not passed over is an answer, too.
        if let (Ok(_) | Err(ConnectError::Refused { .. }), Some(url)) =
            (&opened, asked.into_inner())
        {
            self.gateways.answered(url);
        }
        opened
    }

    async fn race(
        &self,
        opening: Opening<'_>,
        patience: Patience,
        progress: &DialProgress,
    ) -> Result<(HandshakeReply, Link), ConnectError> {
        let mut urls = self.gateways.in_order();
        let mut early = Some(opening);
        let mut failure = ConnectError::Timeout { tried: Vec::new() };
        loop {
            let attempts = urls.clone().into_iter().map(|url| {
                let early = early.take();
                async move {
                    let dialled = self.dial(&url, early, &progress.tried).await;
                    (url, dialled)
                }
            });
            let mut race = Race::new(attempts, patience.head_start);
            let (url, winner) = loop {
                let Some((url, dialled)) = race.next().await else { return Err(failure) };
                urls.retain(|it| *it != url);
                match dialled {
                    Ok(dialled) => break (url, dialled),
                    Err(error) if is_passed_over(&error) => failure = error,
                    Err(error) => return Err(error),
                }
            };
            // The others are abandoned now, not when the winner has answered: their gateways may have
            // thousands of clients to serve that have lost the same gateway.
            drop(race);
            *progress.opened.lock() = Some(url);
            progress.extend(patience.answer);
            match winner.open(opening).await {
                Err(error) if is_passed_over(&error) => failure = error,
                answered => return answered,
            }
            *progress.opened.lock() = None;
        }
    }

    /// Connects to one URL. `early` may be sent before the gateway has answered.
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
                let dial = |_, to| {
                    websocket::dial(&self.endpoints, self.roots.clone(), target, to, postcard)
                };
                race(addresses, dial).await.map(|it| PendingLink::WebSocket(Box::new(it)))
            }
        }
    }
}

/// How far an attempt to open a link has come.
struct DialProgress {
    /// The addresses that were dialled.
    tried: Mutex<Vec<String>>,
    /// The URL on whose link the opening was sent.
    opened: Mutex<Option<GatewayUrl>>,
    /// When the attempt is given up.
    deadline: Mutex<Instant>,
}

impl DialProgress {
    fn new(time: Duration) -> Self {
        let deadline = Mutex::new(Instant::now() + time);
        Self { tried: Mutex::default(), opened: Mutex::default(), deadline }
    }

    /// Moves the deadline, if it is nearer than this time from now.
    fn extend(&self, time: Duration) {
        let mut deadline = self.deadline.lock();
        *deadline = deadline.max(Instant::now() + time);
    }

    /// Waits until the deadline, which may move meanwhile.
    async fn timed_out(&self) {
        loop {
            let deadline = *self.deadline.lock();
            if Instant::now() >= deadline {
                return;
            }
            sleep_until(deadline).await;
        }
    }
}

/// Whether another gateway is asked after this failure. A refusal is an answer, which another
/// gateway would give as well, unless it was refused because the gateway shuts down.
fn is_passed_over(error: &ConnectError) -> bool {
    !matches!(error, ConnectError::Refused { reason, .. } if *reason != ShuttingDown)
}

/// Tries the addresses of a host; the first to succeed wins.
async fn race<T, F: Future<Output = Result<T, ConnectError>>>(
    addresses: Vec<SocketAddr>,
    dial: impl Fn(u32, SocketAddr) -> F,
) -> Result<T, ConnectError> {
    let attempts = (0u32..).zip(addresses).map(|(rank, address)| dial(rank, address));
    let mut race = Race::new(attempts, ATTEMPT_DELAY);
    let mut failure = ConnectError::Timeout { tried: Vec::new() };
    while let Some(result) = race.next().await {
        match result {
            Ok(dialled) => return Ok(dialled),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// The time after which an attempt is given up whose handshake ends after `handshake`.
    async fn given_up_after(patience: Patience, handshake: Duration) -> Duration {
        let (begin, progress) = (Instant::now(), DialProgress::new(patience.handshake));
        let race = async {
            tokio::time::sleep(handshake).await;
            progress.extend(patience.answer);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = race => {}
            () = progress.timed_out() => {}
        }
        begin.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_gateway_has_time_for_its_answer_from_the_end_of_the_handshake() {
        let seconds = Duration::from_secs;
        for (patience, handshake, expected) in [
            (Patience::for_each(seconds(5), 1), 3, 8),
            (Patience::for_each(seconds(5), 1), 6, 5),
            (Patience::for_each(seconds(5), 3), 6, 11),
            (Patience::for_each(seconds(5), 3), 8, 7),
            (Patience::in_all(seconds(10)), 3, 10),
        ] {
            let given_up = given_up_after(patience, seconds(handshake)).await;
            assert_eq!(given_up, seconds(expected), "{patience:?}, handshake of {handshake} s");
        }
    }

    /// The time after which the second of two silent gateways is dialled.
    async fn head_start(patience: Patience) -> Duration {
        let first = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let second = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let urls = [&first, &second].map(|it| format!("ws://{}", it.local_addr().unwrap()));
        let options = ConnectOptions::new(urls, "token");
        let roots = Arc::new(RootCertStore::empty());
        let mut dialer = Dialer::new(roots, Arc::default(), options.clone()).unwrap();
        let begin = Instant::now();
        tokio::select! {
            _ = dialer.open(Opening::Hello(&options), patience) => panic!("both are silent"),
            _second = async { (first.accept().await.unwrap(), second.accept().await.unwrap()) } => {}
        }
        begin.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_gateway_has_a_longer_head_start_when_a_client_reconnects() {
        let time = Duration::from_secs(5);
        let joining = head_start(Patience::in_all(time)).await;
        assert!((300..1000).contains(&joining.as_millis()), "{joining:?}");
        let reconnecting = head_start(Patience::for_each(time, 2)).await;
        assert!((1000..5000).contains(&reconnecting.as_millis()), "{reconnecting:?}");
    }
}
