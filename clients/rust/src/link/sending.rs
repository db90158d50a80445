//! The way from the application's calls to a link, which one after the other take from it.

use std::sync::Arc;

use parking_lot::Mutex;
use signalbox_protocol::{ClientMessage, ErrorCode};
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, sleep_until},
};

use super::{Refused, pace::Pace};
use crate::{
    event::Event,
    outbox::{Command, Outbox, Wrote},
};

/// Commands taken from the queue, and messages written, at once.
const BATCH: usize = 64;

/// The outbox of a connection, between the half of a link that writes and the half that reads
/// confirmations.
#[derive(Debug)]
pub(crate) struct SharedOutbox {
    outbox: Mutex<Outbox>,
    /// There may be room again.
    room: Notify,
}

impl SharedOutbox {
    pub(crate) fn new(confirms: bool) -> Self {
        Self { outbox: Mutex::new(Outbox::new(confirms)), room: Notify::new() }
    }

    pub(super) fn accepted(&self, signals: u64) {
        self.outbox.lock().accepted(signals);
        self.room.notify_one();
    }

    pub(super) fn unconfirmed(&self) {
        self.outbox.lock().unconfirmed();
        self.room.notify_one();
    }

    pub(super) fn refused(&self, signal: u64, code: ErrorCode, message: String) -> Option<Event> {
        self.outbox.lock().refused(signal, code, message)
    }

    pub(super) fn stall(&self, stalled: bool) {
        self.outbox.lock().stall(stalled);
    }
}

/// What the application wants to be sent.
pub(crate) struct Sending {
    outbox: Arc<SharedOutbox>,
    commands: mpsc::Receiver<Command>,
    /// Taken from the queue a moment ago; empty in between.
    taken: Vec<Command>,
    /// How fast that is written which had gathered when the client came back; none when all of it is.
    pace: Option<Pace>,
}

impl Sending {
    pub(crate) fn new(outbox: Arc<SharedOutbox>, commands: mpsc::Receiver<Command>) -> Self {
        Self { outbox, commands, taken: Vec::new(), pace: None }
    }

    /// Writes what there is to be written next, and waits for it. `false` after a goodbye, which
    /// is also said when all clients have been dropped.
    pub(crate) async fn next(&mut self, mut write: impl FnMut(ClientMessage<'_>)) -> bool {
        loop {
            let max = self.allowed().await;
            let mut signals = 0;
            let counted = |message: ClientMessage<'_>| {
                signals += u64::from(matches!(message, ClientMessage::Signal(_)));
                write(message);
            };
            let wrote = self.outbox.outbox.lock().write(max, counted);
            if let Some(pace) = &mut self.pace {
                pace.wrote(signals);
            }
            match wrote {
                Wrote::Nothing => self.pace = None,
                Wrote::Something => return true,
                Wrote::Goodbye => return false,
            }
            if self.take().await == 0 {
                self.taken.push(Command::Goodbye);
            }
            let mut outbox = self.outbox.outbox.lock();
            self.taken.drain(..).for_each(|command| outbox.put(command));
        }
    }

    /// Waits until something may be written; says how much. May be dropped at its await.
    async fn allowed(&self) -> usize {
        let Some(pace) = &self.pace else { return BATCH };
        loop {
            match pace.allowed(Instant::now()) {
                0 => sleep_until(pace.next()).await,
                allowed => return allowed.min(BATCH),
            }
        }
    }

    /// The client is back, and may send so many signals a second; 0 means no limit.
    pub(crate) fn pace(&mut self, signals_per_second: u32) {
        self.pace = Pace::new(signals_per_second, Instant::now());
    }

    /// Takes what the application wants to be sent while there is no link.
    pub(crate) async fn absorb(&mut self) {
        while self.take().await > 0 {
            let mut outbox = self.outbox.outbox.lock();
            self.taken.drain(..).for_each(|command| outbox.put_away(command));
        }
        // All clients have been dropped. That is noticed elsewhere.
        std::future::pending::<()>().await;
    }

    /// Waits for room and commands. May be dropped at its awaits.
    async fn take(&mut self) -> usize {
        loop {
            let room = self.outbox.outbox.lock().room();
            if room > 0 {
                return self.commands.recv_many(&mut self.taken, room.min(BATCH)).await;
            }
            self.outbox.room.notified().await;
        }
    }

    pub(crate) fn lost(&self) {
        self.outbox.outbox.lock().lost();
    }

    /// The connection goes on on a new link. Yields what the application must be told of signals
    /// that were refused.
    pub(crate) fn resumed(&self, signals: u64, refused: Vec<Refused>) -> Vec<Event> {
        let mut outbox = self.outbox.outbox.lock();
        let told = refused.into_iter().filter_map(|Refused { signal, code, message }| {
            outbox.refused_before(signal, code, message)
        });
        let told = told.collect();
        outbox.resumed(signals);
        told
    }

    pub(crate) fn rejoined(&self, confirms: bool) {
        self.outbox.outbox.lock().rejoined(confirms);
    }

    /// It is over: nothing is taken any more, and nobody waits.
    pub(crate) fn close(self) {
        drop(self.commands);
        self.outbox.outbox.lock().close();
    }
}
