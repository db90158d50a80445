//! The reading half of a link: hands the client's messages to the relay.

use std::ops::ControlFlow::{self, Break, Continue};

use signalbox_protocol::{
    ClientMessage, CloseReason, ErrorCode, limits::FAREWELL, message::SendSignal,
};
use signalbox_relay::{Connection, Outbox, SignalError};
use tokio::time::timeout;
use tracing::trace;

use super::{
    end::LinkEnd,
    opentok,
    transport::{Incoming, LinkError, Reader},
};
use crate::services::Services;

/// Messages in a row after which other tasks run, so that a sender that never pauses cannot starve
/// the receivers.
const COOP_MESSAGES: u32 = 32;

/// Reads until the client ends the link or breaks the protocol.
pub(super) async fn read<R: Reader>(
    services: &Services,
    connection: &mut Connection,
    outbox: &Outbox,
    reader: &mut R,
) -> LinkEnd {
    let mut budget = CoopBudget::default();
    loop {
        budget.tick().await;
        let message = match reader.next().await {
            Ok(Incoming::Message(message)) => message,
            Ok(Incoming::Request(request)) => {
                if opentok::answer(services, connection, request).is_break() {
                    return LinkEnd::of_closed(outbox).await;
                }
                continue;
            }
            Ok(Incoming::Receipt(receipt)) => {
                connection.confirm(&receipt);
                continue;
            }
            Ok(Incoming::Nothing | Incoming::Comeback(_)) => continue,
            Ok(Incoming::Unknown) => {
                connection.send_error(
                    None,
                    ErrorCode::Unsupported,
                    "this gateway does not know that kind of message",
                );
                continue;
            }
            Ok(Incoming::Closed) => return LinkError::Closed.into(),
            Err(error) => return error.into(),
        };
        match message {
            ClientMessage::Signal(send) => {
                if signal(services, connection, send).is_break() {
                    return LinkEnd::of_closed(outbox).await;
                }
            }
            ClientMessage::ForceDisconnect { id } => {
                if let Err(reason) = connection.force_disconnect(id, services.uptime()) {
                    connection.send_error(None, reason.code(), &reason.to_string());
                }
            }
            ClientMessage::Goodbye { signals } => {
                if R::OVERTAKES {
                    let rest = Box::pin(read_overtaken(services, connection, reader, signals));
                    if let Ok(Break(())) = timeout(FAREWELL, rest).await {
                        return LinkEnd::of_closed(outbox).await;
                    }
                }
                // Made after that, so that the farewell has its full time.
                return LinkEnd::by(CloseReason::ClientDisconnected);
            }
            ClientMessage::TicketStored {} => connection.confirm_ticket(),
            ClientMessage::Heartbeat {} => outbox.heartbeat(),
            ClientMessage::Hello(_) | ClientMessage::Resume(_) | ClientMessage::Cursors { .. } => {
                return LinkError::protocol("hello, resume and cursors only begin a link").into();
            }
        }
    }
}

/// A budget of messages that a task handles before it yields to others.
#[derive(Default)]
struct CoopBudget(u32);

impl CoopBudget {
    /// Counts one message. Yields when the budget is used up, so that other tasks run and timers
    /// fire.
    async fn tick(&mut self) {
        self.0 += 1;
        if self.0 == COOP_MESSAGES {
            self.0 = 0;
            tokio::task::yield_now().await;
        }
    }
}

/// Hands a signal to the relay. Breaks if the relay has closed the connection.
fn signal(
    services: &Services,
    connection: &mut Connection,
    send: SendSignal<'_>,
) -> ControlFlow<()> {
    let to = send.to;
    match connection.signal(to, send.into_signal(), services.uptime()) {
        Ok(()) => trace!(seq = connection.sent(), "signal"),
        Err(SignalError::Rejected { seq, reason }) => {
            connection.send_error(Some(seq), reason.code(), &reason.to_string());
        }
        Err(SignalError::Closed) => return Break(()),
    }
    Continue(())
}

/// Reads the signals that a goodbye has overtaken. Breaks if the relay has closed the connection.
async fn read_overtaken(
    services: &Services,
    connection: &mut Connection,
    reader: &mut impl Reader,
    signals: u64,
) -> ControlFlow<()> {
    let mut budget = CoopBudget::default();
    while connection.sent() < signals {
        budget.tick().await;
        match reader.next().await {
            Ok(Incoming::Message(ClientMessage::Signal(send))) => {
                signal(services, connection, send)?;
            }
            // The client may end its control stream after the goodbye.
            Ok(Incoming::Closed | Incoming::Unknown) => {}
            _ => break,
        }
    }
    Continue(())
}
