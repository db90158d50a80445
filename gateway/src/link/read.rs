//! The reading half of a link: hands the client's messages to the relay.

use std::ops::ControlFlow::{self, Break, Continue};

use signalbox_protocol::{
    ClientMessage, CloseReason, ErrorCode, limits::FAREWELL, message::SendSignal,
};
use signalbox_relay::{Connection, Outbox, SignalCost, SignalError};
use tokio::time::timeout;
use tracing::trace;

use super::{
    control_rate::ControlRate,
    end::LinkEnd,
    opentok,
    pace::{CoopBudget, cost_of_message, cost_of_rejection},
    transport::{Incoming, LinkError, Reader},
};
use crate::{metrics::TransportMetrics, services::Services};

/// Reads until the client ends the link or breaks the protocol.
pub(super) async fn read<R: Reader>(
    services: &Services,
    transport: &TransportMetrics,
    connection: &mut Connection,
    outbox: &Outbox,
    reader: &mut R,
) -> LinkEnd {
    let mut budget = CoopBudget::default();
    let mut controls = ControlRate::default();
    loop {
        budget.tick(connection).await;
        let message = match reader.next().await {
            Ok(Incoming::Message(message)) => message,
            Ok(Incoming::Request(request)) => {
                match opentok::answer(services, transport, &mut controls, connection, request) {
                    Continue(cost) => budget.spend(cost).await,
                    Break(()) => return LinkEnd::of_closed(outbox).await,
                }
                continue;
            }
            Ok(Incoming::Receipt(receipt)) => {
                connection.confirm(&receipt);
                continue;
            }
            Ok(Incoming::Nothing | Incoming::Resume(_)) => {
                budget.spend(cost_of_message(controls.take(services.uptime()))).await;
                continue;
            }
            Ok(Incoming::Control) => match controls.check(services.uptime()) {
                Ok(()) => continue,
                Err(error) => return error.into(),
            },
            Ok(Incoming::Unknown) => {
                if let Err(error) = controls.check(services.uptime()) {
                    return error.into();
                }
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
            ClientMessage::Signal(send) => match signal(services, transport, connection, send) {
                Continue(cost) => budget.spend(cost).await,
                Break(()) => return LinkEnd::of_closed(outbox).await,
            },
            ClientMessage::ForceDisconnect { .. } if !controls.take(services.uptime()) => {
                let detail = "too many requests to disconnect a connection; try again later";
                connection.send_error(None, ErrorCode::RateLimited, detail);
            }
            ClientMessage::ForceDisconnect { id } => {
                if let Err(reason) = connection.force_disconnect(id, services.uptime()) {
                    services.metrics().rejected(reason.code());
                    connection.send_error(None, reason.code(), &reason.to_string());
                }
            }
            ClientMessage::Goodbye { signals } => {
                if R::OVERTAKES {
                    let rest =
                        Box::pin(read_overtaken(services, transport, connection, reader, signals));
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

/// Passes a signal to the relay, and returns its cost. Breaks if the relay has closed the
/// connection.
fn signal(
    services: &Services,
    transport: &TransportMetrics,
    connection: &mut Connection,
    send: SendSignal<'_>,
) -> ControlFlow<(), SignalCost> {
    let (to, signal) = (send.to, send.into_signal());
    let tailed = services.tail().signal(&signal, to);
    match connection.signal(to, signal, services.uptime()) {
        Ok(cost) => {
            transport.signal();
            trace!(seq = connection.sent(), "signal");
            if let Some(signal) = tailed {
                services.tail().sent(connection, signal, cost.wait);
            }
            Continue(cost)
        }
        Err(SignalError::Rejected { seq, reason }) => {
            services.metrics().rejected(reason.code());
            if let Some(signal) = tailed {
                services.tail().rejected(connection, signal, reason.code());
            }
            connection.send_error(Some(seq), reason.code(), &reason.to_string());
            Continue(cost_of_rejection(&reason))
        }
        Err(SignalError::Closed) => Break(()),
    }
}

/// Reads the signals that a goodbye has overtaken. Breaks if the relay has closed the connection.
async fn read_overtaken(
    services: &Services,
    transport: &TransportMetrics,
    connection: &mut Connection,
    reader: &mut impl Reader,
    signals: u64,
) -> ControlFlow<()> {
    let mut budget = CoopBudget::default();
    while connection.sent() < signals {
        budget.tick(connection).await;
        match reader.next().await {
            Ok(Incoming::Message(ClientMessage::Signal(send))) => {
                budget.spend(signal(services, transport, connection, send)?).await;
            }
            // The client may end its control stream after the goodbye.
            Ok(Incoming::Closed | Incoming::Unknown) => {}
            _ => break,
        }
    }
    Continue(())
}
