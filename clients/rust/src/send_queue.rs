//! The send queue: signals and commands on their way from the application to the gateway, without
//! any I/O.
//!
//! A signal waits until there is a link, is written, and is kept until the gateway confirms that it
//! has accepted it. When the link is lost, signals that were not confirmed are written again on the
//! next link, in the same order, except those that the gateway then reports as accepted: each is
//! accepted once. If the gateway does not confirm signals, a signal counts as accepted once it is
//! written.

use std::collections::VecDeque;

use signalbox_protocol::{ClientMessage, ConnectionId, ErrorCode, Text, message::SendSignal};
use tokio::sync::oneshot;

use crate::{error::SendError, event::Event};

/// Signals that may wait to be written or confirmed; at this limit, sending waits. At 8 KiB each
/// they are 8 MiB.
pub(crate) const CAPACITY: usize = 1024;

/// Tells a waiting caller what became of its signal.
pub(crate) type Completion = oneshot::Sender<Result<u64, SendError>>;

/// A request of the application, or of the queue itself.
#[derive(Debug)]
pub(crate) enum ClientCommand {
    Signal(QueuedSignal),
    ForceDisconnect(ConnectionId),
    TicketStored,
    Goodbye,
}

/// A signal that waits to be written.
#[derive(Debug)]
pub(crate) struct QueuedSignal {
    /// Its number among all signals of the application, over all connections.
    pub(crate) number: u64,
    pub(crate) signal: SendSignal<'static>,
    /// Whether to send it again after a loss.
    pub(crate) retry: bool,
    pub(crate) completion: Option<Completion>,
}

/// A signal that was written on this link and is not confirmed.
#[derive(Debug)]
struct UnconfirmedSignal {
    number: u64,
    retry: bool,
    completion: Option<Completion>,
    /// `None` if the gateway does not confirm signals.
    signal: Option<SendSignal<'static>>,
    /// Whether the application was told that it was rejected.
    rejected: bool,
}

/// The result of [`SendQueue::write`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteOutcome {
    /// Nothing was waiting.
    Empty,
    Wrote,
    /// The last message of this link was written.
    Goodbye,
}

/// Commands to be written and signals to be confirmed, in order.
#[derive(Debug)]
pub(crate) struct SendQueue {
    /// Whether the gateway confirms signals.
    confirms: bool,
    /// The application does not read events, so no confirmation can be read either; callers do not
    /// wait for one.
    stalled: bool,
    /// The client has sent its goodbye, and repeats it on the next link.
    left: bool,
    /// Signals of this connection before the first of `unconfirmed`.
    accepted: u64,
    unconfirmed: VecDeque<UnconfirmedSignal>,
    waiting: VecDeque<ClientCommand>,
}

impl SendQueue {
    pub(crate) fn new(confirms: bool) -> Self {
        Self {
            confirms,
            stalled: false,
            left: false,
            accepted: 0,
            unconfirmed: VecDeque::new(),
            waiting: VecDeque::new(),
        }
    }

    /// Number of commands that may be added.
    pub(crate) fn room(&self) -> usize {
        let unconfirmed = if self.confirms { self.unconfirmed.len() } else { 0 };
        CAPACITY.saturating_sub(unconfirmed + self.waiting.len())
    }

    /// Adds a command.
    pub(crate) fn enqueue(&mut self, command: ClientCommand) {
        self.waiting.push_back(command);
    }

    /// Adds a command while there is no link. A signal that is not to be retried fails at once.
    pub(crate) fn enqueue_offline(&mut self, command: ClientCommand) {
        match command {
            ClientCommand::Signal(QueuedSignal { retry: false, completion, .. }) => {
                fail(completion);
            }
            command => self.waiting.push_back(command),
        }
    }

    /// Writes up to `max` commands.
    pub(crate) fn write(
        &mut self,
        max: usize,
        mut write: impl FnMut(ClientMessage<'_>),
    ) -> WriteOutcome {
        let mut outcome = WriteOutcome::Empty;
        for _ in 0..max {
            let Some(command) = self.waiting.pop_front() else { break };
            outcome = WriteOutcome::Wrote;
            match command {
                ClientCommand::Signal(queued) => {
                    write(ClientMessage::Signal(borrow(&queued.signal)));
                    self.signal_written(queued);
                }
                ClientCommand::ForceDisconnect(id) => write(ClientMessage::ForceDisconnect { id }),
                ClientCommand::TicketStored => write(ClientMessage::TicketStored {}),
                ClientCommand::Goodbye => {
                    self.left = true;
                    let signals = self.accepted + self.unconfirmed.len() as u64;
                    write(ClientMessage::Goodbye { signals });
                    return WriteOutcome::Goodbye;
                }
            }
        }
        outcome
    }

    fn signal_written(&mut self, queued: QueuedSignal) {
        let QueuedSignal { number, signal, retry, mut completion } = queued;
        let seq = self.accepted + self.unconfirmed.len() as u64 + 1;
        if self.stalled || !self.confirms {
            succeed(&mut completion, seq);
        }
        let signal = self.confirms.then_some(signal);
        let unconfirmed = UnconfirmedSignal { number, retry, completion, signal, rejected: false };
        self.unconfirmed.push_back(unconfirmed);
        // Without confirmations only the numbers are needed, as long as a rejection may name them.
        if !self.confirms && self.unconfirmed.len() > CAPACITY {
            self.unconfirmed.pop_front();
            self.accepted += 1;
        }
    }

    /// The gateway has accepted `signals` signals of this connection in all.
    pub(crate) fn accepted(&mut self, signals: u64) {
        while self.accepted < signals
            && let Some(mut accepted) = self.unconfirmed.pop_front()
        {
            self.accepted += 1;
            succeed(&mut accepted.completion, self.accepted);
        }
    }

    /// Number of signals of this connection that the gateway has confirmed.
    pub(crate) fn accepted_signals(&self) -> u64 {
        self.accepted
    }

    /// The gateway rejected a signal. Returns an event unless a caller waits for that signal.
    pub(crate) fn rejected(
        &mut self,
        signal: u64,
        code: ErrorCode,
        message: String,
    ) -> Option<Event> {
        let (mut number, mut reported) = (signal, false);
        if let Some(rejected) = self.unconfirmed(signal) {
            number = rejected.number;
            rejected.rejected = true;
            reported = rejected.completion.take().is_some_and(|completion| {
                completion.send(Err(SendError::Rejected { code, message: message.clone() })).is_ok()
            });
        }
        (!reported).then_some(Event::Rejected { signal: Some(number), code, message })
    }

    /// The gateway rejected a signal on an earlier link, and repeats that because the client may
    /// not have read it. For a confirmed signal it was read: the error precedes the confirmation.
    pub(crate) fn rejected_on_earlier_link(
        &mut self,
        signal: u64,
        code: ErrorCode,
        message: String,
    ) -> Option<Event> {
        if self.unconfirmed(signal)?.rejected { None } else { self.rejected(signal, code, message) }
    }

    /// An unconfirmed signal by its number in this connection.
    fn unconfirmed(&mut self, signal: u64) -> Option<&mut UnconfirmedSignal> {
        let index = signal.checked_sub(self.accepted + 1)?;
        self.unconfirmed.get_mut(usize::try_from(index).ok()?)
    }

    /// Sets whether the application has stopped reading, so that confirmations are not read either.
    pub(crate) fn set_stalled(&mut self, stalled: bool) {
        self.stalled = stalled;
        if stalled {
            for (unconfirmed, seq) in self.unconfirmed.iter_mut().zip(self.accepted + 1..) {
                succeed(&mut unconfirmed.completion, seq);
            }
        }
    }

    /// The link is lost. Signals that wait and are not to be retried fail.
    pub(crate) fn link_lost(&mut self) {
        for command in std::mem::take(&mut self.waiting) {
            self.enqueue_offline(command);
        }
    }

    /// The connection continues on a new link; the gateway has accepted `signals` of its signals.
    pub(crate) fn resumed(&mut self, signals: u64) {
        self.accepted(signals);
        self.requeue_unconfirmed();
        self.waiting.push_front(ClientCommand::TicketStored);
    }

    /// Another connection replaces the previous one.
    pub(crate) fn rejoined(&mut self, confirms: bool) {
        self.requeue_unconfirmed();
        self.confirms = confirms;
        self.accepted = 0;
    }

    /// Moves unconfirmed signals in front of the commands that wait. Nothing waits behind a
    /// goodbye.
    fn requeue_unconfirmed(&mut self) {
        while let Some(unconfirmed) = self.unconfirmed.pop_back() {
            let UnconfirmedSignal { number, retry, completion, signal, .. } = unconfirmed;
            match signal {
                Some(signal) if retry => {
                    let queued = QueuedSignal { number, signal, retry, completion };
                    self.waiting.push_front(ClientCommand::Signal(queued));
                }
                _ => fail(completion),
            }
        }
        if self.left {
            self.waiting.push_back(ClientCommand::Goodbye);
        }
    }

    /// Drops everything. Callers that wait get an error.
    pub(crate) fn close(&mut self) {
        self.unconfirmed.clear();
        self.waiting.clear();
    }
}

fn succeed(completion: &mut Option<Completion>, seq: u64) {
    if let Some(completion) = completion.take() {
        // The caller may have stopped waiting.
        let _ = completion.send(Ok(seq));
    }
}

fn fail(completion: Option<Completion>) {
    if let Some(completion) = completion {
        let _ = completion.send(Err(SendError::NotSent));
    }
}

fn borrow<'a>(signal: &'a SendSignal<'static>) -> SendSignal<'a> {
    SendSignal {
        to: signal.to,
        signal_type: signal.signal_type.as_deref().map(Text::from),
        data: signal.data.as_deref().map(Text::from),
    }
}

#[cfg(test)]
mod tests;
