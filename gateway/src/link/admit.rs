//! Admission: from a link's first byte to the welcome of its connection. (A connection that comes
//! back is welcomed in `resume.rs`.)

use std::{future::poll_fn, sync::Arc, time::Duration};

use signalbox_protocol::{
    ClientMessage, CloseReason, ConnectionId, ConnectionInfo, GatewayMessage, Transport,
    limits::{AGENT_BYTES, DATA_BYTES, PRESENT_BYTES, TYPE_BYTES},
    message::{Hello, Limits, Welcome},
};
use signalbox_relay::{Join, Joined};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{debug, field};

use super::{
    Admitted, End, Incoming, LinkError, Reader, Writer, depart,
    resume::{self, Claim},
};
use crate::{
    clock::{millis, unix_time},
    lifecycle::Lifecycle,
    services::Services,
    token::{self, Grant},
};

/// From the first byte to the welcome. Whoever fails here was never a connection, or has not come
/// back to it.
pub(super) async fn admit(
    services: &Services,
    lifecycle: &Lifecycle,
    transport: Transport,
    hello_by: Instant,
    reader: &mut impl Reader,
    writer: &mut impl Writer,
) -> Result<Admitted, End> {
    let greeting = timeout_at(hello_by, first(services, transport, reader, writer));
    let first = tokio::select! {
        // Nobody comes in once the gateway goes down, not even with a hello that is there already.
        biased;
        () = lifecycle.drain_begun() => return Err(End::by(CloseReason::ShuttingDown)),
        result = greeting => result.unwrap_or_else(|_| Err(End::by(CloseReason::HelloTimeout)))?,
    };
    match first {
        First::Joined(Joined { connection, outbox, present }, welcome, expires_in) => {
            let admitted = Admitted { connection, outbox, expires_in, resumed: false };
            let mut present = present.iter();
            let present = std::iter::from_fn(|| next_present(&mut present));
            let opening = [GatewayMessage::Welcome(welcome)].into_iter().chain(present);
            greet(services, lifecycle, admitted, opening, writer).await
        }
        First::Claim(claim) => resume::resume(services, lifecycle, transport, claim, writer).await,
    }
}

/// What a client begins with.
enum First {
    Joined(Joined, Welcome, Duration),
    Claim(Claim),
}

async fn first(
    services: &Services,
    transport: Transport,
    reader: &mut impl Reader,
    writer: &mut impl Writer,
) -> Result<First, End> {
    let mut claim = match reader.next().await? {
        Incoming::Message(ClientMessage::Hello(hello)) => {
            let (joined, welcome, expires_in) = join(services, transport, &hello, writer)?;
            return Ok(First::Joined(joined, welcome, expires_in));
        }
        Incoming::Message(ClientMessage::Resume(resume)) => Claim::new(resume)?,
        Incoming::Closed => return Err(LinkError::Closed.into()),
        _ => return Err(LinkError::protocol("the first message is no hello").into()),
    };
    claim.check(services)?;
    claim.complete(reader).await?;
    Ok(First::Claim(claim))
}

/// Says what comes before the outbox, which fills from now on, within its bound. A client that does
/// not even read its welcome has as long for each part of it as it had for its hello.
pub(super) async fn greet(
    services: &Services,
    lifecycle: &Lifecycle,
    admitted: Admitted,
    opening: impl Iterator<Item = GatewayMessage<'_>>,
    writer: &mut impl Writer,
) -> Result<Admitted, End> {
    for message in opening {
        let end = tokio::select! {
            sent = timeout(services.policy().timeouts.hello(), writer.send(&message)) => match sent {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => End::from(error),
                Err(_) => End::by(CloseReason::SlowConsumer).dead(),
            },
            // Others may end the connection while it is still being welcomed.
            reason = poll_fn(|cx| admitted.outbox.poll_ended(cx)) => End::by(reason),
        };
        depart(services, lifecycle, admitted.connection, end.reason);
        return Err(end);
    }
    Ok(admitted)
}

/// Checks the token and makes the connection.
fn join(
    services: &Services,
    transport: Transport,
    hello: &Hello<'_>,
    writer: &mut impl Writer,
) -> Result<(Joined, Welcome, Duration), End> {
    if hello.agent.as_ref().is_some_and(|agent| agent.len() > AGENT_BYTES) {
        return Err(LinkError::protocol("the client's name is longer than 64 bytes").into());
    }
    let now = unix_time();
    let Grant { session, role, connection_data, expires_at } = token::verify(
        &services.projects(),
        &hello.token,
        services.policy().auth.legacy_t1_tokens,
        now,
    )
    .map_err(|error| End::new(error.close_reason(), error.to_string()))?;
    let connection = ConnectionInfo {
        id: ConnectionId::from_bytes(uuid::Uuid::new_v4().into_bytes()),
        created_at: millis(now),
        data: connection_data,
    };
    let span = tracing::Span::current();
    span.record("session", field::display(&session));
    span.record("connection", field::display(&connection.id));
    let joined = services
        .relay()
        .join(
            Join {
                session: session.clone(),
                info: connection.clone(),
                role,
                presence: hello.presence,
                encoding: writer.accept(hello.presence, hello.streams),
                transport,
            },
            services.uptime(),
        )
        .map_err(|error| End::new(error.close_reason(), error.to_string()))?;
    debug!(role = role.name(), agent = hello.agent.as_deref(), "joined");
    let welcome = Welcome {
        connection,
        session,
        role,
        limits: limits(services),
        present: u32::try_from(joined.present.len()).unwrap_or(u32::MAX),
    };
    Ok((joined, welcome, (expires_at + token::LEEWAY).saturating_sub(now)))
}

fn limits(services: &Services) -> Limits {
    Limits {
        type_bytes: TYPE_BYTES as u32,
        data_bytes: DATA_BYTES as u32,
        signals_per_second: services.policy().limits.signals_per_second_per_connection,
        idle_timeout_ms: services.policy().timeouts.idle_ms,
    }
}

/// As many descriptions as fit one message; none when all have been named.
pub(super) fn next_present<'a>(
    rest: &mut impl Iterator<Item = &'a Arc<ConnectionInfo>>,
) -> Option<GatewayMessage<'static>> {
    let mut connections = Vec::new();
    let mut bytes = 0;
    // The longest description is a quarter of the budget: going over by one is no harm.
    while bytes < PRESENT_BYTES
        && let Some(info) = rest.next()
    {
        bytes += 32 + info.data.len();
        connections.push((**info).clone());
    }
    (!connections.is_empty()).then_some(GatewayMessage::Present { connections })
}
