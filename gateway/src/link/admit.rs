//! Admission of a client: from the first byte of its link to its welcome. (`resume.rs` has the part
//! of a client that resumes.)

use std::sync::Arc;

use signalbox_protocol::{
    ClientMessage, CloseReason, ConnectionId, ConnectionInfo, Feature, Features, GatewayMessage,
    message::{Hello, Ticket, Welcome},
};
use signalbox_relay::{Answer, Join, JoinError, Joined};
use signalbox_token::{Grant, verify_client_token};
use tokio::time::{Instant, timeout_at};
use tracing::debug;

use super::{
    LinkForm,
    admitted::Admitted,
    end::LinkEnd,
    opentok::{self, ChosenConnection},
    resume::resume,
    resume_claim::ResumeClaim,
    ticket,
    transport::{Incoming, LinkError, Reader, Writer},
    welcome::{check_agent, greet, limits, next_present, record},
};
use crate::{
    admission::{AddressRate, AdmissionPermit, ClientAccount},
    clock::{millis, unix_time},
    lifecycle::Lifecycle,
    metrics::{REVOKED, TokenKind},
    revocation::{Presented, token_identity},
    services::Services,
    tail::TailEvent,
    trace::{self, SpanSide},
};

/// The fault of a client whose address has presented too many invalid tokens.
const INVALID_TOKENS: &str = "too many invalid tokens from this address; try again later (setting \
                              limits.address.invalid_tokens_per_second)";

/// Reads the hello or resume, and admits the client. On failure, no connection was created or
/// attached.
pub(super) async fn admit(
    services: &Services,
    lifecycle: &Lifecycle,
    form: LinkForm,
    hello_by: Instant,
    permit: &AdmissionPermit,
    reader: &mut impl Reader,
    writer: &mut impl Writer,
) -> Result<Admitted, LinkEnd> {
    let client = permit.client();
    let handshake = timeout_at(hello_by, read_handshake(services, form, client, reader));
    let handshake = tokio::select! {
        // A draining gateway admits nobody, not even a client whose hello is already there.
        biased;
        () = lifecycle.drain_begun() => return Err(LinkEnd::by(CloseReason::ShuttingDown)),
        result = handshake => result.unwrap_or_else(|_| Err(LinkEnd::by(CloseReason::HelloTimeout)))?,
        // Without a reason: the client is to try again, and to resume if it can.
        () = permit.evicted() => {
            let detail = "another client got its permit (setting limits.pending_handshakes)";
            return Err(LinkEnd::new(CloseReason::NetworkDisconnected, detail).dead());
        }
    };
    match handshake {
        Handshake::Joined { admitted, welcome, present, ticket } => {
            let mut present = present.iter();
            let present = std::iter::from_fn(|| next_present(&mut present));
            let welcome = [GatewayMessage::Welcome(welcome)].into_iter();
            // The ticket comes last: a client that has it knows every connection in the session.
            let ticket = ticket.map(GatewayMessage::Ticket);
            let messages = welcome.chain(present).chain(ticket);
            greet(services, lifecycle, admitted, messages, writer).await
        }
        Handshake::Resuming(claim) => resume(services, lifecycle, form, claim, writer).await,
    }
}

/// The outcome of a link's first messages.
enum Handshake {
    /// The client has joined with a hello.
    Joined {
        admitted: Admitted,
        welcome: Welcome,
        present: Vec<Arc<ConnectionInfo>>,
        /// With the feature `resume`.
        ticket: Option<Ticket<'static>>,
    },
    /// The client wants to resume, and its ticket is valid.
    Resuming(ResumeClaim),
}

async fn read_handshake(
    services: &Services,
    form: LinkForm,
    client: &ClientAccount,
    reader: &mut impl Reader,
) -> Result<Handshake, LinkEnd> {
    let mut claim = loop {
        match reader.next().await? {
            Incoming::Message(ClientMessage::Hello(hello)) => {
                return join(services, form, client, &hello, None).await;
            }
            Incoming::Message(ClientMessage::Resume(resume)) => break ResumeClaim::new(resume)?,
            Incoming::Request(request) => {
                let (hello, chosen) = opentok::read_join_request(&request)?;
                return join(services, form, client, &hello, Some(chosen)).await;
            }
            Incoming::Resume(claim) => break ResumeClaim::of_socket(claim),
            Incoming::Nothing | Incoming::Control => {}
            Incoming::Closed => return Err(LinkError::Closed.into()),
            _ => {
                let first = "the first message must be hello or resume";
                return Err(LinkError::protocol(first).into());
            }
        }
    };
    claim.early = reader.is_early();
    claim.check(services).await.inspect_err(|end| {
        let mut span = services.tracer().span("resume", SpanSide::Server, None);
        span.set("signalbox.transport", form.transport.as_str());
        span.fail(end.reason);
    })?;
    claim.complete(reader).await?;
    Ok(Handshake::Resuming(claim))
}

/// Joins, in a span of its trace.
async fn join(
    services: &Services,
    form: LinkForm,
    client: &ClientAccount,
    hello: &Hello<'_>,
    chosen: Option<ChosenConnection<'_>>,
) -> Result<Handshake, LinkEnd> {
    let mut span = services.tracer().span("join", SpanSide::Server, None);
    span.set("signalbox.transport", form.transport.as_str());
    let creating = create(services, form, client, hello, chosen);
    let joined = trace::caused_by(span.context(), creating).await;
    match &joined {
        Ok(Handshake::Joined { welcome, .. }) => {
            span.set("signalbox.session", &welcome.session);
            span.set("signalbox.connection", welcome.connection.id);
        }
        Ok(Handshake::Resuming(_)) => {}
        Err(end) => span.fail(end.reason),
    }
    joined
}

/// Verifies the token and creates the connection.
async fn create(
    services: &Services,
    form: LinkForm,
    client: &ClientAccount,
    hello: &Hello<'_>,
    chosen: Option<ChosenConnection<'_>>,
) -> Result<Handshake, LinkEnd> {
    check_agent(hello.agent.as_deref())?;
    if !client.check(AddressRate::InvalidTokens) {
        return Err(LinkEnd::new(CloseReason::ConnectionLimit, INVALID_TOKENS));
    }
    let now = unix_time();
    let legacy = services.policy().auth.legacy_t1_tokens;
    let Grant { session, role, connection_data, expires_at, token_id, issued_at } =
        verify_client_token(&**services.projects(), &hello.token, legacy, now).map_err(
            |error| {
                client.charge(AddressRate::InvalidTokens);
                services.metrics().token_rejected(TokenKind::Client, error.name());
                LinkEnd::new(error.close_reason(), error.to_string())
            },
        )?;
    if let Some(cause) = services.overload().refuses(services.relay().stats().connections) {
        client.refused(cause);
        let detail = format!("the gateway is full; try again later (setting {})", cause.setting());
        return Err(LinkEnd::new(CloseReason::ConnectionLimit, detail));
    }
    let minted = || ConnectionId::from_bytes(uuid::Uuid::new_v4().into_bytes());
    let info = ConnectionInfo {
        id: chosen.as_ref().map_or_else(minted, |chosen| chosen.id),
        created_at: millis(now),
        data: connection_data,
    };
    record(&session, info.id);
    let encoding = form.encoding(hello.streams);
    let presence = hello.features.contains(Feature::Presence);
    let token_until = expires_at + signalbox_token::LEEWAY;
    let (ticket, resume) = match &chosen {
        Some(chosen) => (None, chosen.resume(services, &session, token_until)?),
        None if hello.features.contains(Feature::Resume) => {
            ticket::first(services, &session, info.id, token_until).unzip()
        }
        None => (None, None),
    };
    let join = Join {
        session: session.clone(),
        info: info.clone(),
        role,
        token: token_identity(token_id.as_deref(), issued_at),
        presence,
        encoding,
        transport: form.transport,
        resume,
    };
    let refused = |error: JoinError| LinkEnd::new(error.close_reason(), error.to_string());
    let _hold = match services.cluster() {
        Some(cluster) => Some(cluster.open_for_join(&session).await.map_err(refused)?),
        None => None,
    };
    let presented = Presented { session: &session, data: &info.data, token: join.token };
    let joined = services.revocations().read(|revocations| {
        if revocations.is_revoked(&presented, now.as_secs()) {
            services.metrics().token_rejected(TokenKind::Client, REVOKED);
            return Err(LinkEnd::new(CloseReason::InvalidToken, "the token has been revoked"));
        }
        services.relay().join(join, services.uptime()).map_err(refused)
    });
    let Joined { connection, outbox, present } = joined?;
    services.metrics().transport(form.transport).joined();
    let agent = hello.agent.as_deref();
    debug!(role = role.name(), agent, "connection joined");
    if services.tail().is_followed() {
        let (role, transport) = (role.name(), form.transport.as_str());
        let event = TailEvent::Joined { role, transport, agent };
        services.tail().publish(&session, Some(info.id), event);
    }
    if let Some(chosen) = chosen {
        connection.answer(chosen.transaction, Answer::Accepted, None, services.uptime());
    }
    let welcome = Welcome {
        connection: info,
        session,
        role,
        limits: limits(services),
        features: Features::NONE
            .with(Feature::Presence, presence)
            .with(Feature::Resume, ticket.is_some()),
        present: u32::try_from(present.len()).unwrap_or(u32::MAX),
        gateways: services.policy().gateways.clone(),
    };
    let expires_in = token_until.saturating_sub(now);
    let admitted = Admitted { connection, outbox, expires_in };
    Ok(Handshake::Joined { admitted, welcome, present, ticket })
}
