//! What a client has to send, from the application to the gateway's confirmation, without any I/O.
//!
//! A signal waits until there is a link, is written, and is kept until the gateway confirms that
//! it has taken it. When the link is lost, those that were not confirmed are written again on the
//! next one, in the same order, unless the gateway says that it has them: each is taken once. Of a
//! gateway that does not confirm (or is not asked to), a signal counts as taken once it is written.

use std::collections::VecDeque;

use signalbox_protocol::{ClientMessage, ConnectionId, ErrorCode, Text, message::SendSignal};
use tokio::sync::oneshot;

use crate::{error::SendError, event::Event};

/// Signals that may wait to be written or confirmed. When as many do, sending waits. At 8 KiB
/// each they are 8 MiB.
pub(crate) const CAPACITY: usize = 1024;

/// Who waits to hear what became of a signal.
pub(crate) type Done = oneshot::Sender<Result<u64, SendError>>;

/// What the application wants of the link.
#[derive(Debug)]
pub(crate) enum Command {
    Signal(Outgoing),
    ForceDisconnect(ConnectionId),
    Keep,
    Goodbye,
}

/// A signal on its way.
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// By the application's count, over all connections.
    pub(crate) number: u64,
    pub(crate) signal: SendSignal<'static>,
    /// Whether to send it again after a loss.
    pub(crate) retry: bool,
    pub(crate) done: Option<Done>,
}

/// A signal that was written on this link.
#[derive(Debug)]
struct Written {
    number: u64,
    retry: bool,
    done: Option<Done>,
    /// None if nobody will confirm it.
    signal: Option<SendSignal<'static>>,
    /// Whether the application knows that it was refused.
    refused: bool,
}

/// What [`Outbox::write`] came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrote {
    Nothing,
    Something,
    /// The last thing to be said on this link.
    Goodbye,
}

/// What is to be sent and what was sent, in order.
#[derive(Debug)]
pub(crate) struct Outbox {
    /// Whether the gateway confirms what it takes, as far as is known.
    confirms: bool,
    /// The application does not read, so no confirmation can be read either: nobody waits for one.
    stalled: bool,
    /// The client has said goodbye, and says it again if that was lost.
    left: bool,
    /// Signals of this connection before the first of `written`.
    taken: u64,
    written: VecDeque<Written>,
    waiting: VecDeque<Command>,
}

impl Outbox {
    pub(crate) fn new(confirms: bool) -> Self {
        Self {
            confirms,
            stalled: false,
            left: false,
            taken: 0,
            written: VecDeque::new(),
            waiting: VecDeque::new(),
        }
    }

    /// How many commands may be put in.
    pub(crate) fn room(&self) -> usize {
        let unconfirmed = if self.confirms { self.written.len() } else { 0 };
        CAPACITY.saturating_sub(unconfirmed + self.waiting.len())
    }

    /// Takes a command, to be written as soon as can be.
    pub(crate) fn put(&mut self, command: Command) {
        self.waiting.push_back(command);
    }

    /// Takes a command while there is no link.
    pub(crate) fn put_away(&mut self, command: Command) {
        match command {
            Command::Signal(Outgoing { retry: false, done, .. }) => fail(done),
            command => self.waiting.push_back(command),
        }
    }

    /// Writes up to `max` of what waits.
    pub(crate) fn write(&mut self, max: usize, mut write: impl FnMut(ClientMessage<'_>)) -> Wrote {
        let mut wrote = Wrote::Nothing;
        for _ in 0..max {
            let Some(command) = self.waiting.pop_front() else { break };
            wrote = Wrote::Something;
            match command {
                Command::Signal(outgoing) => {
                    write(ClientMessage::Signal(borrow(&outgoing.signal)));
                    self.wrote(outgoing);
                }
                Command::ForceDisconnect(id) => write(ClientMessage::ForceDisconnect { id }),
                Command::Keep => write(ClientMessage::Keep {}),
                Command::Goodbye => {
                    self.left = true;
                    let signals = self.taken + self.written.len() as u64;
                    write(ClientMessage::Goodbye { signals });
                    return Wrote::Goodbye;
                }
            }
        }
        wrote
    }

    fn wrote(&mut self, Outgoing { number, signal, retry, mut done }: Outgoing) {
        let seq = self.taken + self.written.len() as u64 + 1;
        if self.stalled || !self.confirms {
            succeed(&mut done, seq);
        }
        let signal = self.confirms.then_some(signal);
        self.written.push_back(Written { number, retry, done, signal, refused: false });
        // Their numbers are of use as long as an error may name them.
        if !self.confirms && self.written.len() > CAPACITY {
            self.written.pop_front();
            self.taken += 1;
        }
    }

    /// The gateway has taken so many signals of this connection.
    pub(crate) fn accepted(&mut self, signals: u64) {
        while self.taken < signals
            && let Some(mut written) = self.written.pop_front()
        {
            self.taken += 1;
            succeed(&mut written.done, self.taken);
        }
    }

    /// The gateway refused a signal. Whoever waits for that one is told; else the event is.
    pub(crate) fn refused(
        &mut self,
        signal: u64,
        code: ErrorCode,
        message: String,
    ) -> Option<Event> {
        let (mut number, mut told) = (signal, false);
        if let Some(written) = self.written(signal) {
            number = written.number;
            written.refused = true;
            told = written.done.take().is_some_and(|done| {
                done.send(Err(SendError::Refused { code, message: message.clone() })).is_ok()
            });
        }
        (!told).then_some(Event::Refused { signal: Some(number), code, message })
    }

    /// The gateway refused a signal on an earlier link, and says so again, as it does not know
    /// whether that was read. What was confirmed has been told, as the error comes before.
    pub(crate) fn refused_before(
        &mut self,
        signal: u64,
        code: ErrorCode,
        message: String,
    ) -> Option<Event> {
        if self.written(signal)?.refused { None } else { self.refused(signal, code, message) }
    }

    /// A signal that was written and is not confirmed.
    fn written(&mut self, signal: u64) -> Option<&mut Written> {
        let index = signal.checked_sub(self.taken + 1)?;
        self.written.get_mut(usize::try_from(index).ok()?)
    }

    /// The gateway will not confirm anything.
    pub(crate) fn unconfirmed(&mut self) {
        self.confirms = false;
        for (written, seq) in self.written.iter_mut().zip(self.taken + 1..) {
            written.signal = None;
            succeed(&mut written.done, seq);
        }
    }

    /// Whether the application has stopped reading, so that confirmations are not read either.
    pub(crate) fn stall(&mut self, stalled: bool) {
        self.stalled = stalled;
        if stalled {
            for (written, seq) in self.written.iter_mut().zip(self.taken + 1..) {
                succeed(&mut written.done, seq);
            }
        }
    }

    /// The link is lost.
    pub(crate) fn lost(&mut self) {
        for command in std::mem::take(&mut self.waiting) {
            self.put_away(command);
        }
    }

    /// The connection goes on on a new link; the gateway has taken so many of its signals.
    pub(crate) fn resumed(&mut self, signals: u64) {
        self.accepted(signals);
        self.again();
        // Any word of the client's shows the gateway that its new ticket has arrived.
        self.waiting.push_front(Command::Keep);
    }

    /// Another connection takes the place of the one before.
    pub(crate) fn rejoined(&mut self, confirms: bool) {
        self.again();
        self.confirms = confirms;
        self.taken = 0;
    }

    /// What was written and not confirmed goes in front of what waits. Nothing waits behind a
    /// goodbye.
    fn again(&mut self) {
        while let Some(Written { number, retry, done, signal, .. }) = self.written.pop_back() {
            match signal {
                Some(signal) if retry => {
                    let outgoing = Outgoing { number, signal, retry, done };
                    self.waiting.push_front(Command::Signal(outgoing));
                }
                _ => fail(done),
            }
        }
        if self.left {
            self.waiting.push_back(Command::Goodbye);
        }
    }

    /// It is over: whoever waits learns it by the end of the wait.
    pub(crate) fn close(&mut self) {
        self.written.clear();
        self.waiting.clear();
    }
}

fn succeed(done: &mut Option<Done>, seq: u64) {
    if let Some(done) = done.take() {
        // It may have stopped waiting.
        let _ = done.send(Ok(seq));
    }
}

fn fail(done: Option<Done>) {
    if let Some(done) = done {
        let _ = done.send(Err(SendError::NotSent));
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
