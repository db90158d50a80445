//! The sending half.

use std::time::Duration;

use signalbox_opentok::{Receipt, message};
use signalbox_protocol::{
    CloseReason, ConnectionId, ConnectionInfo, GatewayMessage, Role, SessionId, message::Welcome,
};
use signalbox_relay::{Outbox, Outgoing};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use tokio_tungstenite::tungstenite::{Message, protocol::CloseFrame};

use super::{
    PendingJoin, RETRY_PAUSE,
    farewell::{Farewell, Stage},
};
use crate::{
    link::{
        socket_url::SocketUrl,
        transport::{LinkError, Writer},
        websocket::{MessageForm, MessageWriter},
    },
    link_rtt::LinkRtt,
};

/// Time without a frame after which the client gets a pong unasked, within a tick. A client that has
/// received nothing for 5.9 seconds takes its link for lost. A visible page sends a ping every 2
/// seconds, but a hidden one may do so once a minute.
const QUIET: Duration = Duration::from_secs(2);

/// The time between two checks of that.
const TICK: Duration = Duration::from_secs(1);

/// The sending half of a link of the vendor's SDK.
pub(super) struct OpenTokWriter<S> {
    messages: MessageWriter<S, OpenTokForm>,
    session: Option<SessionId>,
    connection: Option<ConnectionId>,
    pending: PendingJoin,
    /// Whether the client resumes.
    resumes: bool,
    /// Whether it has been told that it has its connection.
    joined: bool,
    /// The client's own connection, while the list of the others is being sent.
    greeting: Option<Box<Greeting>>,
}

/// A greeting that has begun.
struct Greeting {
    own: ConnectionInfo,
    role: Role,
    /// Connections that are still to be announced.
    present: usize,
}

/// The form of frames from the outbox.
#[derive(Default)]
pub(super) struct OpenTokForm {
    /// Whether a frame was written since the last tick.
    wrote: bool,
}

impl MessageForm for OpenTokForm {
    fn message(&mut self, outgoing: Outgoing) -> Option<Message> {
        let frame = match outgoing {
            Outgoing::Frame(frame) => frame,
            Outgoing::Heartbeat => message::pong().into(),
            // The client gets an answer to each request instead, and resumes when the link closes.
            Outgoing::Accepted { .. }
            | Outgoing::GoAway { .. }
            // Made for links with a stream per sender only.
            | Outgoing::Signal { .. }
            | Outgoing::Destroyed { .. } => return None,
        };
        self.wrote = true;
        Some(Message::Binary(frame))
    }
}

impl<S> OpenTokWriter<S> {
    pub(super) fn new(
        messages: MessageWriter<S, OpenTokForm>,
        url: &SocketUrl,
        pending: PendingJoin,
    ) -> Self {
        Self {
            messages,
            session: url.session().cloned(),
            connection: url.connection(),
            pending,
            resumes: url.resumes(),
            joined: false,
            greeting: None,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Writer for OpenTokWriter<S> {
    async fn send(&mut self, message: &GatewayMessage<'_>) -> Result<(), LinkError> {
        match message {
            GatewayMessage::Welcome(welcome) => self.greet(welcome).await,
            GatewayMessage::Present { connections } => self.present(connections).await,
            // Tells the client that it has its connection.
            GatewayMessage::Resumed { .. } => {
                self.joined = true;
                self.frame(message::pong()).await
            }
            // The SDK understands no other.
            _ => Ok(()),
        }
    }

    fn answer_join(&mut self, transaction: &str) {
        *self.pending.lock() = Some(transaction.to_owned());
    }

    async fn pump(&mut self, outbox: &Outbox) -> Result<CloseReason, LinkError> {
        let probe_every = self.messages.probe_every();
        let mut probe_at = Instant::now() + self.messages.first_probe_after();
        let mut ticks = interval(TICK.min(probe_every));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.reset();
        let mut wrote_at = Instant::now();
        let mut silent = 0;
        loop {
            // A blocked write must not hide that the client is gone.
            tokio::select! {
                result = self.messages.write(outbox) => return result,
                now = ticks.tick() => {
                    if std::mem::take(&mut self.messages.form.wrote) {
                        wrote_at = now;
                    }
                    if now >= probe_at {
                        probe_at = now + probe_every;
                        self.messages.probe(&mut silent).await?;
                    }
                    // Unsent frames will reach the client sooner than a pong.
                    if now - wrote_at >= QUIET && self.messages.is_flushed() {
                        wrote_at = now;
                        self.messages.feed(Message::Binary(message::pong().into())).await?;
                    }
                }
            }
        }
    }

    async fn finish(
        &mut self,
        reason: CloseReason,
        text: &str,
        _: Instant,
    ) -> Result<(), LinkError> {
        let pending = self.pending.lock().take();
        let stage = match &pending {
            _ if self.joined => Stage::Joined,
            _ if self.resumes => Stage::Resuming,
            Some(transaction) => Stage::Joining(transaction),
            None => Stage::Silent,
        };
        let own = self.session.as_ref().zip(self.connection);
        let Farewell { frame, pause, code } = Farewell::new(&stage, reason, text, own);
        if let Some(frame) = frame {
            self.frame(frame).await?;
        }
        if pause {
            sleep(RETRY_PAUSE).await;
        }
        let close = CloseFrame { code, reason: reason.name().into() };
        self.messages.send(Message::Close(Some(close))).await
    }

    fn rtt(&self) -> LinkRtt {
        self.messages.rtt()
    }

    fn abort(&mut self, _reason: CloseReason) {
        // The socket closes when both halves are dropped, which happens next.
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> OpenTokWriter<S> {
    /// Answers the request to join, and announces the client to itself. It forgets announcements of
    /// others that come before either.
    async fn greet(&mut self, welcome: &Welcome) -> Result<(), LinkError> {
        self.joined = true;
        self.session = Some(welcome.session.clone());
        let pending = self.pending.lock().take();
        if let Some(transaction) = pending {
            self.frame(message::joined(&transaction)).await?;
        }
        let present = usize::try_from(welcome.present).unwrap_or(usize::MAX);
        let greeting = Greeting { own: welcome.connection.clone(), role: welcome.role, present };
        if present > 0 {
            self.frame(self.own(&greeting, None)).await?;
        }
        self.greeting = Some(Box::new(greeting));
        self.finish_greeting().await
    }

    async fn present(&mut self, connections: &[ConnectionInfo]) -> Result<(), LinkError> {
        if let Some(session) = &self.session {
            for info in connections {
                let frame = message::created(session, None, info, &[]);
                self.messages.send(Message::Binary(frame.into())).await?;
            }
        }
        if let Some(greeting) = &mut self.greeting {
            greeting.present = greeting.present.saturating_sub(connections.len());
        }
        self.finish_greeting().await
    }

    /// Asks the client to confirm the greeting, once all of it has been sent: the client's own
    /// connection is announced again, which the client confirms and otherwise ignores.
    async fn finish_greeting(&mut self) -> Result<(), LinkError> {
        match self.greeting.take_if(|greeting| greeting.present == 0) {
            Some(greeting) => self.frame(self.own(&greeting, Some(&Receipt::Greeting))).await,
            None => Ok(()),
        }
    }

    fn own(&self, greeting: &Greeting, receipt: Option<&Receipt>) -> Vec<u8> {
        let permissions = message::permissions(greeting.role);
        let session = self.session.as_ref();
        session
            .map(|session| message::created(session, receipt, &greeting.own, permissions))
            .unwrap_or_default()
    }

    async fn frame(&mut self, frame: Vec<u8>) -> Result<(), LinkError> {
        self.messages.send(Message::Binary(frame.into())).await
    }
}
