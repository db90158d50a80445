//! The messages between a client's first one and the beginning of its outbox.

use std::{pin::pin, sync::Arc};

use signalbox_protocol::{
    CloseReason, ConnectionId, ConnectionInfo, GatewayMessage, SessionId,
    limits::{AGENT_BYTES, DATA_BYTES, PRESENT_BYTES, TYPE_BYTES},
    message::Limits,
};
use tokio::time::{Instant, timeout_at};
use tracing::field;

use super::{
    admitted::{Admitted, detach_or_leave},
    end::LinkEnd,
    transport::{LinkError, Writer},
};
use crate::{lifecycle::Lifecycle, services::Services};

/// Sends the messages that come before the outbox, which fills from now on, within its bound. For
/// each of them the client has as long as for its hello.
///
/// The relay may close the outbox meanwhile. These messages are then sent within the farewell, and
/// what is queued in the outbox follows them: the client is entitled to what was sent to it before.
pub(super) async fn greet(
    services: &Services,
    lifecycle: &Lifecycle,
    admitted: Admitted,
    messages: impl Iterator<Item = GatewayMessage<'_>>,
    writer: &mut impl Writer,
) -> Result<Admitted, LinkEnd> {
    let patience = services.policy().timeouts.hello();
    // Once the outbox is closed.
    let mut closed: Option<LinkEnd> = None;
    for message in messages {
        let by = Instant::now() + patience;
        let mut sending = pin!(writer.send(&message));
        let end = loop {
            let by = closed.as_ref().map_or(by, |end| by.min(end.farewell_by));
            tokio::select! {
                sent = timeout_at(by, &mut sending) => match sent {
                    Ok(Ok(())) => break None,
                    Ok(Err(error)) => break Some(LinkEnd::from(error)),
                    Err(_) => {
                        let slow = || LinkEnd::by(CloseReason::SlowConsumer);
                        break Some(closed.take().unwrap_or_else(slow).dead());
                    }
                },
                end = LinkEnd::of_closed(&admitted.outbox), if closed.is_none() => {
                    // Nothing is queued for a slow consumer any more.
                    if end.reason == CloseReason::SlowConsumer {
                        break Some(end);
                    }
                    closed = Some(end);
                }
            }
        };
        if let Some(end) = end {
            detach_or_leave(services, lifecycle, admitted.connection, end.reason);
            return Err(end);
        }
    }
    Ok(admitted)
}

/// The next part of the list of connections, as many as fit one message. `None` at its end.
pub(super) fn next_present<'a>(
    rest: &mut impl Iterator<Item = &'a Arc<ConnectionInfo>>,
) -> Option<GatewayMessage<'static>> {
    let mut connections = Vec::new();
    let mut bytes = 0;
    // The longest description is a quarter of the budget, so exceeding it by one does no harm.
    while bytes < PRESENT_BYTES
        && let Some(info) = rest.next()
    {
        bytes += 32 + info.data.len();
        connections.push((**info).clone());
    }
    (!connections.is_empty()).then_some(GatewayMessage::Present { connections })
}

/// Names the connection in the link's span.
pub(super) fn record(session: &SessionId, connection: ConnectionId) {
    let span = tracing::Span::current();
    span.record("session", field::display(session));
    span.record("connection", field::display(connection));
}

/// Bounds the name that a client gives for its software.
pub(super) fn check_agent(agent: Option<&str>) -> Result<(), LinkError> {
    if agent.is_some_and(|agent| agent.len() > AGENT_BYTES) {
        return Err(LinkError::protocol("agent is longer than 64 bytes"));
    }
    Ok(())
}

/// The limits for a client.
pub(super) fn limits(services: &Services) -> Limits {
    Limits {
        type_bytes: TYPE_BYTES as u32,
        data_bytes: DATA_BYTES as u32,
        signals_per_second: services.policy().limits.signals_per_second_per_connection,
        idle_timeout_ms: services.policy().timeouts.idle_ms,
    }
}
