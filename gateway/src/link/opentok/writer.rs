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
    PendingJoin,
    farewell::{Farewell, Stage},
};
use crate::link::{
    socket_url::SocketUrl,
    transport::{LinkError, Writer},
    websocket::{MessageForm, MessageWriter},
};

/// Time without a frame after which the client gets a sign of life, within a tick. Without one for
/// 5.9 seconds it gives the link up. A visible page asks for one every 2 seconds, but a hidden one
/// may do so once a minute.
const QUIET: Duration = Duration::from_secs(2);

/// The time between two looks at that.
const TICK: Duration = Duration::from_secs(1);

/// Time for which a client that would come back at once is kept waiting.
const PAUSE: Duration = Duration::from_millis(500);

/// The sending half of a link of the vendor's SDK.
pub(super) struct OpenTokWriter<S> {
    messages: MessageWriter<S, OpenTokForm>,
    session: Option<SessionId>,
    connection: Option<ConnectionId>,
    pending: PendingJoin,
    /// Whether the client has come back, and whether it has its connection.
    returns: bool,
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
            // The client is answered request by request, and comes back when the link closes.
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
            returns: url.returns(),
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
            // Shows the client that it has its connection.
            GatewayMessage::Resumed { .. } => {
                self.joined = true;
                self.frame(message::pong()).await
            }
            // The SDK has no word for any other.
            _ => Ok(()),
        }
    }

    async fn pump(&mut self, outbox: &Outbox) -> Result<CloseReason, LinkError> {
        let probe_every = self.messages.probe_every();
        let mut ticks = interval(TICK.min(probe_every));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.reset();
        let mut probe_at = Instant::now() + probe_every;
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
                    // Unsent frames will be a sign of life.
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
            Some(transaction) => Stage::Joining(transaction),
            None if self.returns => Stage::Returning,
            None => Stage::Silent,
        };
        let own = self.session.as_ref().zip(self.connection);
        let Farewell { frame, pause, code } = Farewell::new(&stage, reason, text, own);
        if let Some(frame) = frame {
            self.frame(frame).await?;
        }
        if pause {
            sleep(PAUSE).await;
        }
        let close = CloseFrame { code, reason: reason.name().into() };
        self.messages.send(Message::Close(Some(close))).await
    }

    fn abort(&mut self, _reason: CloseReason) {
        // The socket closes when both halves are dropped, which happens next.
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> OpenTokWriter<S> {
    /// Answers the request to join, and announces the client to itself. It ignores what it hears of
    /// others before that.
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
    /// connection is announced again, which has no effect on the client but that.
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
