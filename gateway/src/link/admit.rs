//! Admission of a client: from the first byte of its link to its welcome. (`resume.rs` has the part
//! of a client that resumes.)

use std::{future::Future, net::IpAddr, sync::Arc};

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
    connect_webhook::{Applicant, ConnectRefusal, Slot},
    lifecycle::Lifecycle,
    metrics::{REVOKED, TokenKind},
    project::Project,
    revocation::{Presented, Revocations, token_identity},
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
    stranger: Stranger<'_>,
    reader: &mut impl Reader,
    writer: &mut impl Writer,
) -> Result<Admitted, LinkEnd> {
    let Stranger { form, permit, .. } = stranger;
    let handshake = read_handshake(services, &stranger, reader);
    let handshake = tokio::select! {
        // A draining gateway admits nobody, not even a client whose hello is already there.
        biased;
        () = lifecycle.drain_begun() => return Err(LinkEnd::by(CloseReason::ShuttingDown)),
        result = handshake => result?,
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

/// A client before its welcome.
pub(super) struct Stranger<'a> {
    pub(super) form: LinkForm,
    pub(super) address: IpAddr,
    pub(super) permit: &'a AdmissionPermit,
    /// The deadline of its first messages.
    pub(super) hello_by: Instant,
}

/// Waits for a part of the first messages of a client, or for what depends on it, until the deadline.
async fn in_time<T, E: Into<LinkEnd>>(
    hello_by: Instant,
    part: impl Future<Output = Result<T, E>>,
) -> Result<T, LinkEnd> {
    match timeout_at(hello_by, part).await {
        Ok(result) => result.map_err(Into::into),
        Err(_) => Err(LinkEnd::by(CloseReason::HelloTimeout)),
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
    stranger: &Stranger<'_>,
    reader: &mut impl Reader,
) -> Result<Handshake, LinkEnd> {
    let hello_by = stranger.hello_by;
    let mut claim = loop {
        match in_time(hello_by, reader.next()).await? {
            Incoming::Message(ClientMessage::Hello(hello)) => {
                return join(services, stranger, &hello, None).await;
            }
            Incoming::Message(ClientMessage::Resume(resume)) => break ResumeClaim::new(resume)?,
            Incoming::Request(request) => {
                let (hello, chosen) = opentok::read_join_request(&request)?;
                return join(services, stranger, &hello, Some(chosen)).await;
            }
            Incoming::Resume(claim) => break ResumeClaim::of_socket(claim),
            // A client that always sends something is never waited for.
            Incoming::Nothing | Incoming::Control if Instant::now() < hello_by => {}
            Incoming::Nothing | Incoming::Control => {
                return Err(LinkEnd::by(CloseReason::HelloTimeout));
            }
            Incoming::Closed => return Err(LinkError::Closed.into()),
            _ => {
                let first = "the first message must be hello or resume";
                return Err(LinkError::protocol(first).into());
            }
        }
    };
    claim.early = reader.is_early();
    in_time(hello_by, claim.check(services)).await.inspect_err(|end| {
        let mut span = services.tracer().span("resume", SpanSide::Server, None);
        span.set("signalbox.transport", stranger.form.transport.as_str());
        span.fail(end.reason);
    })?;
    in_time(hello_by, claim.complete(reader)).await?;
    Ok(Handshake::Resuming(claim))
}

/// Joins, in a span of its trace.
async fn join(
    services: &Services,
    stranger: &Stranger<'_>,
    hello: &Hello<'_>,
    chosen: Option<ChosenConnection<'_>>,
) -> Result<Handshake, LinkEnd> {
    let mut span = services.tracer().span("join", SpanSide::Server, None);
    span.set("signalbox.transport", stranger.form.transport.as_str());
    let creating = create(services, stranger, hello, chosen);
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

/// Refuses a client if the gateway is full.
fn check_room(services: &Services, client: &ClientAccount) -> Result<(), LinkEnd> {
    let Some(cause) = services.overload().refuses(services.relay().stats().connections) else {
        return Ok(());
    };
    client.refused(cause);
    let detail = format!("the gateway is full; try again later (setting {})", cause.setting());
    Err(LinkEnd::new(CloseReason::ConnectionLimit, detail))
}

/// Asks the project's server whether the client may join, if the project has a connect webhook. The
/// time for that is not the client's: returns its deadline, later by as much.
///
/// The client has shown a valid token. It gives its admission permit back and takes one of the places
/// of its project's clients that wait: a slow server must not take the permits from the clients of
/// others. It keeps the place until it has joined.
async fn ask_server(
    services: &Services,
    stranger: &Stranger<'_>,
    applicant: &Applicant<'_>,
) -> Result<(Option<Slot>, Instant), LinkEnd> {
    let refused = |why: ConnectRefusal| LinkEnd::new(why.close_reason(), why.to_string());
    let webhooks = services.connect_webhooks();
    let project = applicant.session.project();
    let endpoint =
        services.projects().get(project.as_str()).and_then(Project::connect_webhook).cloned();
    let Some(endpoint) = endpoint else { return Ok((None, stranger.hello_by)) };
    let slot = webhooks.enter(project, endpoint).map_err(refused)?;
    stranger.permit.release();
    let began = Instant::now();
    webhooks.ask(&slot, applicant).await.map_err(refused)?;
    Ok((Some(slot), stranger.hello_by + began.elapsed()))
}

/// Verifies the token and creates the connection.
async fn create(
    services: &Services,
    stranger: &Stranger<'_>,
    hello: &Hello<'_>,
    chosen: Option<ChosenConnection<'_>>,
) -> Result<Handshake, LinkEnd> {
    let (form, client) = (stranger.form, stranger.permit.client());
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
    check_room(services, client)?;
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
    let presented = Presented { session: &session, data: &info.data, token: join.token };
    let check_revoked = |revocations: &Revocations| {
        if revocations.is_revoked(&presented, now.as_secs()) {
            services.metrics().token_rejected(TokenKind::Client, REVOKED);
            return Err(LinkEnd::new(CloseReason::InvalidToken, "the token has been revoked"));
        }
        Ok(())
    };
    // What has been checked is checked again after the project's server is asked, as that takes time.
    services.revocations().read(check_revoked)?;
    let applicant = Applicant {
        session: &session,
        connection: info.id,
        data: &info.data,
        role,
        token_id: token_id.as_deref(),
        transport: form.transport,
        address: stranger.address,
    };
    let (_slot, hello_by) = Box::pin(ask_server(services, stranger, &applicant)).await?;
    let _hold = match services.cluster() {
        Some(cluster) => {
            let opened = async { cluster.open_for_join(&session).await.map_err(refused) };
            Some(in_time(hello_by, opened).await?)
        }
        None => None,
    };
    check_room(services, client)?;
    let joined = services.revocations().read(|revocations| {
        check_revoked(revocations)?;
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
