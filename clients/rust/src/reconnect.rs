//! The reconnect loop: carries a client's session over successive links. When one is lost, the
//! client resumes its connection over another, or joins again, or gives up.

use std::{sync::Arc, time::Duration};

use signalbox_protocol::{CloseReason, Feature, close::ComeBack, message::Welcome};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tracing::debug;

use crate::{
    backoff::{Backoff, jitter},
    client::{Client, ClientChannels},
    dial::{Dialer, Patience},
    error::ConnectError,
    event::Event,
    events::{EVENT_QUEUE, Events},
    link::{
        Disconnection, EventDispatcher, HandshakeReply, Link, OutgoingMessages, SharedSendQueue,
    },
    opening::Opening,
    order::{Order, ResumePosition},
    session_view::SessionView,
    ticket::ResumeTicket,
};

/// Timeout of joining again, over all attempts.
const REJOIN_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// Time over which the clients of a gateway spread their reconnects after it has ended all links at
/// once.
const SHUTDOWN_SPREAD: Duration = Duration::from_secs(1);

/// Timeout of resuming to send a goodbye, for a client that leaves while it has no link.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

/// Starts the task of a new connection, and returns the application's two halves.
pub(crate) fn start(mut dialer: Dialer, welcome: &Welcome, link: Link) -> (Client, Events) {
    dialer.welcomed(&welcome.gateways);
    let confirms = welcome.features.contains(Feature::Resume);
    let view = Arc::new(SessionView::new(welcome));
    let send_queue = Arc::new(SharedSendQueue::new(confirms));
    let (events, event_receiver) = mpsc::channel(EVENT_QUEUE);
    let order = Order::new(welcome, dialer.options.presence);
    let dispatcher = EventDispatcher::new(order, send_queue.clone(), events, view.clone());
    let (client, channels) = Client::new(view, dialer.endpoints());
    let ClientChannels { commands, leaving, ended } = channels;
    let outgoing = OutgoingMessages::new(send_queue, commands);
    let reconnect_loop = ReconnectLoop {
        dialer,
        dispatcher,
        outgoing,
        leaving,
        backoff: Backoff::default(),
        left: false,
    };
    tokio::spawn(async move {
        reconnect_loop.run(link).await;
        let _ = ended.send(true);
    });
    (client, Events::new(event_receiver))
}

struct ReconnectLoop {
    dialer: Dialer,
    dispatcher: EventDispatcher,
    outgoing: OutgoingMessages,
    leaving: watch::Receiver<bool>,
    backoff: Backoff,
    /// The client has left, and only its goodbye is still to be sent.
    left: bool,
}

impl ReconnectLoop {
    async fn run(mut self, mut link: Link) {
        let end = loop {
            let started = Instant::now();
            let end = link.run(&mut self.dispatcher, &mut self.outgoing).await;
            self.backoff.reset_if_stable(started.elapsed());
            match self.next_link(end).await {
                Ok(next) => link = next,
                Err(end) => break end,
            }
        };
        let Self { dispatcher, outgoing, .. } = self;
        outgoing.close();
        dispatcher.finish(end).await;
    }

    /// The link after one that has ended; an error if the client does not reconnect.
    async fn next_link(&mut self, mut end: Disconnection) -> Result<Link, Disconnection> {
        let left = *self.leaving.borrow() || self.leaving.has_changed().is_err();
        if end.reason == CloseReason::ClientDisconnected && !left {
            // A middlebox has closed the connection in good order.
            end = Disconnection::lost("the connection was closed on the way");
        }
        if !should_reconnect(end.reason) || self.left {
            return Err(end);
        }
        self.left = left;
        let position = self.dispatcher.link_lost();
        let resume = self.dispatcher.ticket.take().zip(position);
        let rejoin = self.dialer.options.rejoin;
        if resume.is_none() && (left || !rejoin) {
            return Err(end);
        }
        self.outgoing.link_lost();
        let now = Instant::now();
        let leave_at = self.dispatcher.take_leave_at();
        let pause = jitter(reconnect_spread(end.reason, leave_at, now));
        if end.reason == CloseReason::ShuttingDown {
            self.backoff.gateway_restarts(now.into_std());
            self.dialer.avoid_current();
        }
        let Disconnection { reason, message, .. } = end;
        self.dispatcher.order.emit(Event::SessionReconnecting { reason, message });
        self.dispatcher.deliver().await;

        let detection_time = self.dispatcher.loss_detection_time();
        let Self { dialer, outgoing, leaving, backoff, .. } = self;
        let reconnected = tokio::select! {
            biased;
            // An error means that all clients have been dropped.
            _ = leaving.wait_for(|leaving| *leaving) => None,
            () = outgoing.queue_offline() => None,
            reconnected = reconnect(dialer, backoff, (pause, detection_time), resume.as_ref()) => {
                Some(reconnected)
            }
        };
        let (reply, link) = match reconnected {
            Some(reconnected) => reconnected?,
            None => {
                self.left = true;
                resume_to_leave(dialer, resume.as_ref()).await?
            }
        };
        if let HandshakeReply::Welcome(welcome) = &reply {
            self.dialer.welcomed(&welcome.gateways);
        }
        apply_reply(&mut self.dispatcher, &mut self.outgoing, reply);
        Ok(link)
    }
}

/// Continues with the gateway's reply: as the same connection, or as another one.
pub(crate) fn apply_reply(
    dispatcher: &mut EventDispatcher,
    outgoing: &mut OutgoingMessages,
    reply: HandshakeReply,
) {
    match reply {
        HandshakeReply::Resumed { ticket, signals, rejected, missed, gap, present } => {
            dispatcher.ticket = Some(ticket);
            dispatcher.order.resume(missed, gap, present);
            for event in outgoing.resumed(signals, rejected) {
                dispatcher.order.emit(event);
            }
        }
        HandshakeReply::Welcome(welcome) => {
            let confirms = welcome.features.contains(Feature::Resume);
            dispatcher.rejoined(&welcome);
            outgoing.rejoined(confirms);
        }
    }
    outgoing.pace(dispatcher.limits().signals_per_second);
}

/// Whether a client reconnects when a link has ended for this reason.
pub(crate) fn should_reconnect(reason: CloseReason) -> bool {
    reason.come_back() == Some(ComeBack::Resume)
}

/// Time over which the clients that lost their links together with this one spread their
/// reconnects.
fn reconnect_spread(reason: CloseReason, leave_at: Option<Instant>, now: Instant) -> Duration {
    // A gateway has spread the clients that it asked to leave, unless it then hurried.
    let spread = leave_at.is_some_and(|at| at <= now);
    if reason == CloseReason::ShuttingDown && !spread { SHUTDOWN_SPREAD } else { Duration::ZERO }
}

/// Reconnects after a pause: as the same connection while the gateway can resume it, then as
/// another one. The gateway's resume window begins when it detects the loss, which takes up to
/// `detection_time`.
async fn reconnect(
    dialer: &mut Dialer,
    backoff: &mut Backoff,
    (pause, detection_time): (Duration, Duration),
    resume: Option<&(ResumeTicket, ResumePosition)>,
) -> Result<(HandshakeReply, Link), Disconnection> {
    tokio::time::sleep(pause).await;
    let options = dialer.options.clone();
    if let Some((ticket, position)) = resume {
        let opening = Opening::Resume { options: &options, ticket, position };
        let restart_time_left = backoff.restart_time_left(Instant::now().into_std());
        let time = ticket.window() + detection_time + restart_time_left;
        if let Some(back) = attempts(dialer, backoff, opening, time, after_refused_resume).await? {
            return Ok(back);
        }
    }
    if options.rejoin {
        let hello = Opening::Hello(&options);
        if let Some(back) =
            attempts(dialer, backoff, hello, REJOIN_TIMEOUT, after_refused_hello).await?
        {
            return Ok(back);
        }
    }
    Err(Disconnection::lost("the link was lost, and the client could not reconnect in time"))
}

/// Tries once to resume, so that the last signals and the goodbye are sent.
async fn resume_to_leave(
    dialer: &mut Dialer,
    resume: Option<&(ResumeTicket, ResumePosition)>,
) -> Result<(HandshakeReply, Link), Disconnection> {
    let left = || {
        Disconnection::new(CloseReason::ClientDisconnected, "the client left while it had no link")
    };
    let (ticket, position) = resume.ok_or_else(left)?;
    let options = dialer.options.clone();
    let opening = Opening::Resume { options: &options, ticket, position };
    dialer.open(opening, Patience::in_all(LEAVE_TIMEOUT)).await.map_err(|_| left())
}

/// A client's reaction when the gateway has rejected its opening.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NextStep {
    Retry,
    /// Join as another connection.
    Rejoin,
    GiveUp,
}

fn after_refused_hello(reason: CloseReason) -> NextStep {
    match reason {
        CloseReason::NetworkDisconnected
        | CloseReason::ShuttingDown
        | CloseReason::HelloTimeout
        | CloseReason::ConnectionLimit
        | CloseReason::InternalError
        | CloseReason::Unknown(_) => NextStep::Retry,
        _ => NextStep::GiveUp,
    }
}

pub(crate) fn after_refused_resume(reason: CloseReason) -> NextStep {
    match reason {
        // The gateway does not know the connection any more, or does not support resuming.
        CloseReason::InvalidTicket | CloseReason::ProtocolError => NextStep::Rejoin,
        reason => after_refused_hello(reason),
    }
}

/// Sends an opening until it is answered, within a time. `None` if this opening will not succeed.
async fn attempts(
    dialer: &mut Dialer,
    backoff: &mut Backoff,
    opening: Opening<'_>,
    time: Duration,
    next_step: impl Fn(CloseReason) -> NextStep,
) -> Result<Option<(HandshakeReply, Link)>, Disconnection> {
    let deadline = Instant::now() + time;
    loop {
        let now = Instant::now();
        let pause = backoff.next_pause(now.into_std());
        tokio::time::sleep_until(deadline.min(now + pause)).await;
        let now = Instant::now();
        if now >= deadline {
            return Ok(None);
        }
        let timeout = backoff.attempt_timeout(now.into_std());
        match dialer.open(opening, Patience::for_each(timeout, dialer.urls())).await {
            Ok(back) => return Ok(Some(back)),
            Err(ConnectError::Refused { reason, message }) => match next_step(reason) {
                NextStep::Retry => {
                    debug!(%reason, message, "reconnect attempt refused; retrying");
                    if reason == CloseReason::ShuttingDown {
                        backoff.gateway_restarts(Instant::now().into_std());
                    }
                }
                NextStep::Rejoin => return Ok(None),
                NextStep::GiveUp => return Err(Disconnection::new(reason, message)),
            },
            Err(ConnectError::Timeout { .. }) => {
                debug!("reconnect attempt timed out");
                backoff.attempt_timed_out();
            }
            Err(error) => debug!(%error, "reconnect attempt failed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_spread_if_the_gateway_has_not_spread_them() {
        let now = Instant::now();
        let (before, after) = (now.checked_sub(SHUTDOWN_SPREAD), Some(now + SHUTDOWN_SPREAD));
        let shutting_down = CloseReason::ShuttingDown;
        assert_eq!(reconnect_spread(shutting_down, None, now), SHUTDOWN_SPREAD);
        assert_eq!(reconnect_spread(shutting_down, before, now), Duration::ZERO);
        assert_eq!(reconnect_spread(shutting_down, Some(now), now), Duration::ZERO);
        assert_eq!(reconnect_spread(shutting_down, after, now), SHUTDOWN_SPREAD, "it hurried");
        assert_eq!(reconnect_spread(CloseReason::NetworkDisconnected, None, now), Duration::ZERO);
    }
}
