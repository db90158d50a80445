//! Admission of a client: from the first byte of its link to its welcome. (`resume.rs` has the part
//! of a client that resumes.)

use std::sync::Arc;

use signalbox_protocol::{
    ClientMessage, CloseReason, ConnectionId, ConnectionInfo, GatewayMessage, SessionId,
    limits::{AGENT_BYTES, DATA_BYTES, PRESENT_BYTES, TYPE_BYTES},
    message::{Hello, Limits, Welcome},
};
use signalbox_relay::{Join, Joined};
use signalbox_token::{Grant, verify_client_token};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{debug, field};

use super::{
    LinkForm,
    carry::{Admitted, Lease, detach_or_leave},
    end::LinkEnd,
    resume::{ResumeClaim, resume},
    transport::{Incoming, LinkError, Reader, Writer},
};
use crate::{
    clock::{millis, unix_time},
    lifecycle::Lifecycle,
    services::Services,
};

/// Reads the hello or resume, and admits the client. On failure, no connection was created or
/// attached.
pub(super) async fn admit(
    services: &Services,
    lifecycle: &Lifecycle,
    form: LinkForm,
    hello_by: Instant,
    reader: &mut impl Reader,
    writer: &mut impl Writer,
) -> Result<Admitted, LinkEnd> {
    let handshake = timeout_at(hello_by, read_handshake(services, form, reader));
    let handshake = tokio::select! {
        // A draining gateway admits nobody, not even a client whose hello is already there.
        biased;
        () = lifecycle.drain_begun() => return Err(LinkEnd::by(CloseReason::ShuttingDown)),
        result = handshake => result.unwrap_or_else(|_| Err(LinkEnd::by(CloseReason::HelloTimeout)))?,
    };
    match handshake {
        Handshake::Joined { admitted, welcome, present } => {
            let mut present = present.iter();
            let present = std::iter::from_fn(|| next_present(&mut present));
            let messages = [GatewayMessage::Welcome(welcome)].into_iter().chain(present);
            greet(services, lifecycle, admitted, messages, writer).await
        }
        Handshake::Resuming(claim) => resume(services, lifecycle, form, claim, writer).await,
    }
}

/// The outcome of a link's first messages.
enum Handshake {
    /// The client has joined with a hello.
    Joined { admitted: Admitted, welcome: Welcome, present: Vec<Arc<ConnectionInfo>> },
    /// The client wants to resume, and its ticket is valid.
    Resuming(ResumeClaim),
}

async fn read_handshake(
    services: &Services,
    form: LinkForm,
    reader: &mut impl Reader,
) -> Result<Handshake, LinkEnd> {
    let mut claim = match reader.next().await? {
        Incoming::Message(ClientMessage::Hello(hello)) => return join(services, form, &hello),
        Incoming::Message(ClientMessage::Resume(resume)) => ResumeClaim::new(resume)?,
        Incoming::Closed => return Err(LinkError::Closed.into()),
        _ => return Err(LinkError::protocol("the first message must be hello or resume").into()),
    };
    claim.check(services)?;
    claim.complete(reader).await?;
    Ok(Handshake::Resuming(claim))
}

/// Sends the messages that come before the outbox, which fills from now on, within its bound. For
/// each of them the client has as long as for its hello.
pub(super) async fn greet(
    services: &Services,
    lifecycle: &Lifecycle,
    admitted: Admitted,
    messages: impl Iterator<Item = GatewayMessage<'_>>,
    writer: &mut impl Writer,
) -> Result<Admitted, LinkEnd> {
    let patience = services.policy().timeouts.hello();
    for message in messages {
        let end = tokio::select! {
            sent = timeout(patience, writer.send(&message)) => match sent {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => LinkEnd::from(error),
                Err(_) => LinkEnd::by(CloseReason::SlowConsumer).dead(),
            },
            // The relay may close the connection while it is being welcomed.
            end = LinkEnd::of_closed(&admitted.outbox) => end,
        };
        detach_or_leave(services, lifecycle, admitted.connection, end.reason);
        return Err(end);
    }
    Ok(admitted)
}

/// Verifies the token and creates the connection.
fn join(services: &Services, form: LinkForm, hello: &Hello<'_>) -> Result<Handshake, LinkEnd> {
    check_agent(hello.agent.as_deref())?;
    let now = unix_time();
    let legacy = services.policy().auth.legacy_t1_tokens;
    let Grant { session, role, connection_data, expires_at } =
        verify_client_token(&**services.projects(), &hello.token, legacy, now)
            .map_err(|error| LinkEnd::new(error.close_reason(), error.to_string()))?;
    let info = ConnectionInfo {
        id: ConnectionId::from_bytes(uuid::Uuid::new_v4().into_bytes()),
        created_at: millis(now),
        data: connection_data,
    };
    record(&session, info.id);
    let encoding = form.encoding(hello.streams);
    let join = Join {
        session: session.clone(),
        info: info.clone(),
        role,
        presence: hello.presence,
        encoding,
        transport: form.transport,
    };
    let Joined { connection, outbox, present } = services
        .relay()
        .join(join, services.uptime())
        .map_err(|error| LinkEnd::new(error.close_reason(), error.to_string()))?;
    debug!(role = role.name(), agent = hello.agent.as_deref(), "connection joined");
    let welcome = Welcome {
        connection: info,
        session,
        role,
        limits: limits(services),
        present: u32::try_from(present.len()).unwrap_or(u32::MAX),
    };
    let expires_in = (expires_at + signalbox_token::LEEWAY).saturating_sub(now);
    let lease = Lease { expires_in, resumed: false };
    let admitted = Admitted { connection, outbox, encoding, lease };
    Ok(Handshake::Joined { admitted, welcome, present })
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

fn limits(services: &Services) -> Limits {
    Limits {
        type_bytes: TYPE_BYTES as u32,
        data_bytes: DATA_BYTES as u32,
        signals_per_second: services.policy().limits.signals_per_second_per_connection,
        idle_timeout_ms: services.policy().timeouts.idle_ms,
    }
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
