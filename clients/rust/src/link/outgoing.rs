//! The queue between the application and successive links.

use std::sync::Arc;

use parking_lot::Mutex;
use signalbox_protocol::{ClientMessage, ErrorCode};
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, sleep_until},
};

use super::{RejectedSignal, pacer::Pacer};
use crate::{
    event::Event,
    send_queue::{ClientCommand, SendQueue, WriteOutcome},
};

/// Commands taken from the application, and messages written, at once.
const BATCH: usize = 64;

/// The send queue of a connection, shared by the half of a link that writes and the half that reads
/// confirmations.
#[derive(Debug)]
pub(crate) struct SharedSendQueue {
    queue: Mutex<SendQueue>,
    /// Notified when there may be room again.
    room: Notify,
}

impl SharedSendQueue {
    pub(crate) fn new(confirms: bool) -> Self {
        Self { queue: Mutex::new(SendQueue::new(confirms)), room: Notify::new() }
    }

    pub(super) fn accepted(&self, signals: u64) {
        self.queue.lock().accepted(signals);
        self.room.notify_one();
    }

    pub(super) fn accepted_signals(&self) -> u64 {
        self.queue.lock().accepted_signals()
    }

    pub(super) fn rejected(&self, signal: u64, code: ErrorCode, message: String) -> Option<Event> {
        self.queue.lock().rejected(signal, code, message)
    }

    pub(super) fn set_stalled(&self, stalled: bool) {
        self.queue.lock().set_stalled(stalled);
    }
}

/// The messages that a link has to write.
pub(crate) struct OutgoingMessages {
    send_queue: Arc<SharedSendQueue>,
    commands: mpsc::Receiver<ClientCommand>,
    /// Commands just received; empty between calls.
    received: Vec<ClientCommand>,
    /// Limits the rate of what was queued when the client reconnected, until all of it is written.
    pacer: Option<Pacer>,
}

impl OutgoingMessages {
    pub(crate) fn new(
        send_queue: Arc<SharedSendQueue>,
        commands: mpsc::Receiver<ClientCommand>,
    ) -> Self {
        Self { send_queue, commands, received: Vec::new(), pacer: None }
    }

    /// Waits for messages and writes them. `false` after a goodbye, which is also sent when all
    /// clients have been dropped.
    pub(crate) async fn next(&mut self, mut write: impl FnMut(ClientMessage<'_>)) -> bool {
        loop {
            let max = self.allowed().await;
            let mut signals = 0;
            let counted = |message: ClientMessage<'_>| {
                signals += u64::from(matches!(message, ClientMessage::Signal(_)));
                write(message);
            };
            let outcome = self.send_queue.queue.lock().write(max, counted);
            if let Some(pacer) = &mut self.pacer {
                pacer.written(signals);
            }
            match outcome {
                WriteOutcome::Empty => self.pacer = None,
                WriteOutcome::Wrote => return true,
                WriteOutcome::Goodbye => return false,
            }
            if self.receive().await == 0 {
                self.received.push(ClientCommand::Goodbye);
            }
            let mut queue = self.send_queue.queue.lock();
            self.received.drain(..).for_each(|command| queue.enqueue(command));
        }
    }

    /// Waits until something may be written, and returns how much. Cancel-safe.
    async fn allowed(&self) -> usize {
        let Some(pacer) = &self.pacer else { return BATCH };
        loop {
            match pacer.allowed(Instant::now()) {
                0 => sleep_until(pacer.next()).await,
                allowed => return allowed.min(BATCH),
            }
        }
    }

    /// Limits the rate after a reconnect; 0 means no limit.
    pub(crate) fn pace(&mut self, signals_per_second: u32) {
        self.pacer = Pacer::new(signals_per_second, Instant::now());
    }

    /// Queues what the application sends while there is no link. Never returns.
    pub(crate) async fn queue_offline(&mut self) {
        while self.receive().await > 0 {
            let mut queue = self.send_queue.queue.lock();
            self.received.drain(..).for_each(|command| queue.enqueue_offline(command));
        }
        // All clients have been dropped. The reconnect loop sees that by itself.
        std::future::pending::<()>().await;
    }

    /// Waits for room and for commands. Cancel-safe.
    async fn receive(&mut self) -> usize {
        loop {
            let room = self.send_queue.queue.lock().room();
            if room > 0 {
                return self.commands.recv_many(&mut self.received, room.min(BATCH)).await;
            }
            self.send_queue.room.notified().await;
        }
    }

    pub(crate) fn link_lost(&self) {
        self.send_queue.queue.lock().link_lost();
    }

    /// The connection continues on a new link. Returns the events for signals that were rejected.
    pub(crate) fn resumed(&self, signals: u64, rejected: Vec<RejectedSignal>) -> Vec<Event> {
        let mut queue = self.send_queue.queue.lock();
        let events = rejected.into_iter().filter_map(|RejectedSignal { signal, code, message }| {
            queue.rejected_on_earlier_link(signal, code, message)
        });
        let events = events.collect();
        queue.resumed(signals);
        events
    }

    pub(crate) fn rejoined(&self, confirms: bool) {
        self.send_queue.queue.lock().rejoined(confirms);
    }

    /// Ends the queue: commands are no longer accepted, and callers that wait get an error.
    pub(crate) fn close(self) {
        drop(self.commands);
        self.send_queue.queue.lock().close();
    }
}
