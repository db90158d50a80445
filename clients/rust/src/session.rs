//! A client's stay in a session, over all the links that it takes: when one is lost, the
//! connection goes on over another, or the client joins anew, or it is over.

use std::{sync::Arc, time::Duration};

use signalbox_protocol::{CloseReason, close::ComeBack, message::Welcome};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tracing::debug;

use crate::{
    backoff::{Backoff, part_of},
    client::{Client, EVENT_QUEUE, Events, SEND_QUEUE, Shared},
    dial::Dialer,
    error::ConnectError,
    event::Event,
    link::{Answer, End, Keeping, Kept, Link, Sending, SharedOutbox, Teller},
    opening::Opening,
    order::{Claim, Order},
};

/// How long a client tries to join anew.
const REJOIN: Duration = Duration::from_secs(5 * 60);

/// How long clients of a gateway that goes down wait at most before they come back, if it ends all
/// of them at once, so that they do not come all at once.
const SPREAD: Duration = Duration::from_secs(1);

/// How long a client that leaves while it is away tries to say so.
const FAREWELL: Duration = Duration::from_secs(2);

/// Starts the task that carries a new connection, and makes the application's two ends.
pub(crate) fn start(dialer: Dialer, welcome: &Welcome, link: Link) -> (Client, Events) {
    let options = &dialer.options;
    let (command_sender, commands) = mpsc::channel(SEND_QUEUE);
    let (events, event_receiver) = mpsc::channel(EVENT_QUEUE);
    let (leaving_sender, leaving) = watch::channel(false);
    let (ended_sender, ended) = watch::channel(false);
    let outbox = Arc::new(SharedOutbox::new(options.resume));
    let shared = Arc::new(Shared::new(welcome));
    let teller = Teller {
        order: Order::new(welcome, options.presence),
        keeping: if options.resume { Keeping::Asked } else { Keeping::No },
        outbox: outbox.clone(),
        events,
        shared: shared.clone(),
        leaves_at: None,
    };
    let sending = Sending::new(outbox, commands);
    let endpoints = dialer.endpoints();
    let session =
        Session { dialer, teller, sending, leaving, backoff: Backoff::default(), left: false };
    tokio::spawn(async move {
        session.run(link).await;
        let _ = ended_sender.send(true);
    });
    let client = Client {
        shared,
        commands: command_sender,
        sent: Arc::default(),
        leaving: Arc::new(leaving_sender),
        ended,
        endpoints,
    };
    (client, Events::new(event_receiver))
}

struct Session {
    dialer: Dialer,
    teller: Teller,
    sending: Sending,
    leaving: watch::Receiver<bool>,
    backoff: Backoff,
    /// The client has left, and all that is still to be done is to say so.
    left: bool,
}

impl Session {
    async fn run(mut self, mut link: Link) {
        let end = loop {
            let begun = Instant::now();
            let end = link.run(&mut self.teller, &mut self.sending).await;
            self.backoff.lasted(begun.elapsed());
            match self.after(end).await {
                Ok(next) => link = next,
                Err(end) => break end,
            }
        };
        let Self { teller, sending, .. } = self;
        sending.close();
        teller.end(end).await;
    }

    /// What follows the end of a link: another one, or the end of it all.
    async fn after(&mut self, mut end: End) -> Result<Link, End> {
        let left = *self.leaving.borrow() || self.leaving.has_changed().is_err();
        if end.reason == CloseReason::ClientDisconnected && !left {
            // Somebody between the two closed the carrier in good order.
            end = End::lost("the connection was closed on the way");
        }
        if !comes_back(end.reason) || self.left {
            return Err(end);
        }
        self.left = left;
        let claim = self.teller.order.lost();
        let resume = match std::mem::replace(&mut self.teller.keeping, Keeping::No) {
            Keeping::Kept(kept) => claim.map(|claim| (kept, claim)),
            Keeping::Asked | Keeping::No => None,
        };
        let rejoin = self.dialer.options.rejoin;
        if resume.is_none() && (left || !rejoin) {
            return Err(end);
        }
        self.sending.lost();
        let now = Instant::now();
        let pause = part_of(crowd(end.reason, self.teller.leaves_at.take(), now));
        if end.reason == CloseReason::ShuttingDown {
            self.backoff.restarting(now);
        }
        let End { reason, message, .. } = end;
        self.teller.order.tell(Event::SessionReconnecting { reason, message });
        self.teller.tell().await;

        let noticed_within = self.teller.noticed_within();
        let Self { dialer, sending, leaving, backoff, .. } = self;
        let back = tokio::select! {
            biased;
            // An error means that all clients have been dropped.
            _ = leaving.wait_for(|leaving| *leaving) => None,
            () = sending.absorb() => None,
            back = come_back(dialer, backoff, (pause, noticed_within), resume.as_ref()) => {
                Some(back)
            }
        };
        let (answer, link) = match back {
            Some(back) => back?,
            None => {
                self.left = true;
                come_back_to_leave(dialer, resume.as_ref()).await?
            }
        };
        take_answer(&mut self.teller, &mut self.sending, answer, self.dialer.options.resume);
        Ok(link)
    }
}

/// The client is back, one way or the other. `resume` says whether it asks to be kept.
pub(crate) fn take_answer(
    teller: &mut Teller,
    sending: &mut Sending,
    answer: Answer,
    resume: bool,
) {
    match answer {
        Answer::Resumed { kept, signals, refused, missed, gap, present } => {
            teller.keeping = Keeping::Kept(kept);
            teller.order.resume(missed, gap, present);
            for event in sending.resumed(signals, refused) {
                teller.order.tell(event);
            }
        }
        Answer::Welcome(welcome) => {
            teller.keeping = if resume { Keeping::Asked } else { Keeping::No };
            teller.order.rejoin(&welcome);
            teller.shared.set_limits(welcome.limits);
            sending.rejoined(resume);
        }
    }
    sending.pace(teller.shared.limits().signals_per_second);
}

/// Whether a client tries to come back when a link has ended for this reason.
pub(crate) fn comes_back(reason: CloseReason) -> bool {
    reason.come_back() == Some(ComeBack::Resume)
}

/// Over how long the clients are to spread that have lost their links with this one.
fn crowd(reason: CloseReason, leaves_at: Option<Instant>, now: Instant) -> Duration {
    // A gateway has spread those that it has asked to go, unless it was in a hurry after all.
    let spread = leaves_at.is_some_and(|at| at <= now);
    if reason == CloseReason::ShuttingDown && !spread { SPREAD } else { Duration::ZERO }
}

/// Tries to come back after a pause: as the same connection while the gateway can still hold it, else as a
/// new one. The gateway's window begins when it notices the loss, `noticed_within` later at most.
async fn come_back(
    dialer: &mut Dialer,
    backoff: &mut Backoff,
    (pause, noticed_within): (Duration, Duration),
    resume: Option<&(Kept, Claim)>,
) -> Result<(Answer, Link), End> {
    tokio::time::sleep(pause).await;
    let options = dialer.options.clone();
    if let Some((kept, claim)) = resume {
        let opening = Opening::Resume { options: &options, kept, claim };
        let time = kept.window + noticed_within + backoff.restart_left(Instant::now());
        if let Some(back) = attempts(dialer, backoff, opening, time, verdict_on_resuming).await? {
            return Ok(back);
        }
    }
    if options.rejoin {
        let hello = Opening::Hello(&options);
        if let Some(back) = attempts(dialer, backoff, hello, REJOIN, verdict).await? {
            return Ok(back);
        }
    }
    Err(End::lost("the link was lost, and the client could not come back in time"))
}

/// Tries once to come back as the same connection, so that its last signals are sent and it is
/// known to have left.
async fn come_back_to_leave(
    dialer: &mut Dialer,
    resume: Option<&(Kept, Claim)>,
) -> Result<(Answer, Link), End> {
    let over = || End::new(CloseReason::ClientDisconnected, "the client left while it was away");
    let (kept, claim) = resume.ok_or_else(over)?;
    let options = dialer.options.clone();
    let opening = Opening::Resume { options: &options, kept, claim };
    dialer.open(opening, FAREWELL).await.map_err(|_| over())
}

/// What a refusal means for the next attempt.
pub(crate) enum Verdict {
    Again,
    /// Only as another connection.
    Anew,
    Over,
}

fn verdict(reason: CloseReason) -> Verdict {
    match reason {
        CloseReason::NetworkDisconnected
        | CloseReason::ShuttingDown
        | CloseReason::HelloTimeout
        | CloseReason::ConnectionLimit
        | CloseReason::InternalError
        | CloseReason::Unknown(_) => Verdict::Again,
        _ => Verdict::Over,
    }
}

/// The same for a refused `resume`.
pub(crate) fn verdict_on_resuming(reason: CloseReason) -> Verdict {
    match reason {
        // The gateway does not know the connection any more, or knows nothing of resuming.
        CloseReason::InvalidTicket | CloseReason::ProtocolError => Verdict::Anew,
        reason => verdict(reason),
    }
}

/// Tries for some time to get an answer. None if there is no use in trying like this any more.
async fn attempts(
    dialer: &mut Dialer,
    backoff: &mut Backoff,
    opening: Opening<'_>,
    time: Duration,
    verdict: impl Fn(CloseReason) -> Verdict,
) -> Result<Option<(Answer, Link)>, End> {
    let deadline = Instant::now() + time;
    loop {
        let now = Instant::now();
        tokio::time::sleep_until(deadline.min(now + backoff.next(now))).await;
        let now = Instant::now();
        if now >= deadline {
            return Ok(None);
        }
        match dialer.open(opening, backoff.patience(now)).await {
            Ok(back) => return Ok(Some(back)),
            Err(ConnectError::Refused { reason, message }) => match verdict(reason) {
                Verdict::Again => {
                    debug!(%reason, message, "refused for now");
                    if reason == CloseReason::ShuttingDown {
                        backoff.restarting(Instant::now());
                    }
                }
                Verdict::Anew => return Ok(None),
                Verdict::Over => return Err(End::new(reason, message)),
            },
            Err(ConnectError::Timeout { .. }) => {
                debug!("an attempt to come back was not answered in time");
                backoff.unanswered();
            }
            Err(error) => debug!(%error, "an attempt to come back failed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_spread_if_the_gateway_has_not_spread_them() {
        let now = Instant::now();
        let (before, after) = (now.checked_sub(SPREAD), Some(now + SPREAD));
        assert_eq!(crowd(CloseReason::ShuttingDown, None, now), SPREAD);
        assert_eq!(crowd(CloseReason::ShuttingDown, before, now), Duration::ZERO);
        assert_eq!(crowd(CloseReason::ShuttingDown, Some(now), now), Duration::ZERO);
        assert_eq!(crowd(CloseReason::ShuttingDown, after, now), SPREAD, "told twice");
        assert_eq!(crowd(CloseReason::NetworkDisconnected, None, now), Duration::ZERO);
    }
}
