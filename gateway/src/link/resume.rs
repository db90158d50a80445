//! Resumption: from a ticket to the detached connection that it names, on a new link.

use signalbox_protocol::{
    CloseReason, ConnectionId, Features, GatewayMessage, SessionId,
    limits::LOST,
    message::{self, Welcome},
};
use signalbox_relay::{KnownPosition, Rejection, ResumeRequest, Resumed};
use tracing::debug;

use super::{
    LinkForm,
    admitted::Admitted,
    end::LinkEnd,
    resume_claim::{Proof, ResumeClaim, refused},
    ticket::TicketContents,
    transport::Writer,
    welcome::{greet, limits, next_present, record},
};
use crate::{
    clock::unix_time,
    lifecycle::Lifecycle,
    revocation::{Presented, Revocations},
    services::Services,
    tail::TailEvent,
    trace::{self, SpanSide},
};

/// Resumes, in a span of its trace.
pub(super) async fn resume(
    services: &Services,
    lifecycle: &Lifecycle,
    form: LinkForm,
    claim: ResumeClaim,
    writer: &mut impl Writer,
) -> Result<Admitted, LinkEnd> {
    let mut span = services.tracer().span("resume", SpanSide::Server, None);
    span.set("signalbox.transport", form.transport.as_str());
    let attaching = attach(services, lifecycle, form, claim, writer);
    let resumed = trace::caused_by(span.context(), attaching).await;
    match &resumed {
        Ok(admitted) => span.set("signalbox.connection", admitted.connection.id()),
        Err(end) => span.fail(end.reason),
    }
    resumed
}

/// Attaches the connection to this link, and sends what the client must know before its replay.
async fn attach(
    services: &Services,
    lifecycle: &Lifecycle,
    form: LinkForm,
    claim: ResumeClaim,
    writer: &mut impl Writer,
) -> Result<Admitted, LinkEnd> {
    let invalid = || LinkEnd::by(CloseReason::InvalidTicket);
    let used = claim.proof.ok_or_else(invalid)?;
    let (session, connection) = (used.session(), used.connection());
    let moved = services.cluster().filter(|_| !services.relay().is_local(session, connection));
    if let Some(cluster) = moved {
        // What the client has received through other gateways must be known here. Clients ask
        // another gateway if this one shuts down, and so they should if it is cut off.
        let reached = cluster.barrier().await;
        reached.map_err(|error| LinkEnd::new(CloseReason::ShuttingDown, error.to_string()))?;
    }
    let failed = |error| refused(services, error, used.issuer());
    let next = used.next(services)?;
    let known = match &used {
        Proof::Ticket(_) => {
            let (events, sent, cursors) = (claim.events, claim.accepted, claim.cursors);
            let (greeted, presence, unread_join) = (true, true, None);
            KnownPosition { events, sent, cursors, greeted, presence, unread_join }
        }
        Proof::Socket(socket) => {
            let known = services.relay().known_position(session, connection, &socket.secret);
            known.map_err(failed)?
        }
    };
    let request = ResumeRequest {
        session,
        connection,
        secret: used.verifier(),
        attempt: claim.attempt,
        next_secret: next.as_ref().map_or_else(|| used.verifier(), TicketContents::verifier),
        events: known.events,
        accepted: known.sent,
        cursors: &known.cursors,
        encoding: form.encoding(claim.streams),
        transport: form.transport,
    };
    let (connection, resumed) = services.revocations().read(|revocations| {
        end_if_revoked(services, revocations, session, connection)?;
        let resumed = services.relay().resume(&request, services.uptime());
        resumed.map_err(failed)
    })?;
    let Resumed { outbox, token_until, signals, rejections, missed, lost, present } = resumed;
    record(session, connection.id());
    let is_incomplete = !lost.is_empty() || present.is_some();
    // Gateways number presence events differently, so a client that has moved always gets the list.
    let gap = !lost.is_empty() || present.is_some() && moved.is_none();
    debug!(agent = claim.agent, signals, missed, gap, "connection resumed");
    if is_incomplete && next.is_none() {
        // The SDK cannot be told of a gap.
        connection.leave(CloseReason::NetworkDisconnected, services.uptime());
        let detail = "what the client has missed is no longer kept";
        return Err(LinkEnd::new(CloseReason::InvalidTicket, detail));
    }
    let metrics = services.metrics();
    metrics.transport(form.transport).resumed(claim.early);
    metrics.replayed(missed, outbox.load().1, gap);
    if services.tail().is_followed() {
        let id = Some(connection.id());
        services.tail().publish(session, id, TailEvent::resumed(form.transport, missed));
        if gap {
            let signals = lost.iter().map(|lost| lost.until.saturating_sub(lost.after)).sum();
            let event = TailEvent::Gap { signals, presence: present.is_some() };
            services.tail().publish(session, id, event);
        }
    }

    let expires_in = token_until.saturating_sub(unix_time());
    let admitted = Admitted { connection, outbox, expires_in };
    let window_ms = services.resume_window_ms(session.project());
    let ticket = next.map_or_else(String::new, |next| next.encode());
    let ticket = message::Ticket { ticket: ticket.into(), window_ms };
    let greeting = if known.greeted {
        Vec::new()
    } else {
        greeting(services, session, admitted.connection.id(), known.presence)
    };
    if let Some(transaction) = known.unread_join {
        writer.answer_join(&transaction);
    }
    let resumed = GatewayMessage::Resumed { ticket, signals, missed };
    let gaps = lost.chunks(LOST).map(|lost| GatewayMessage::Gap {
        lost: lost.to_vec(),
        presence: false,
        present: 0,
    });
    let presence_gap = present.as_ref().map(|present| GatewayMessage::Gap {
        lost: Vec::new(),
        presence: true,
        present: u32::try_from(present.len()).unwrap_or(u32::MAX),
    });
    let mut present = present.iter().flatten();
    let present = std::iter::from_fn(|| next_present(&mut present));
    let rejections = rejections.iter().map(|Rejection { signal, code, message }| {
        GatewayMessage::Error { signal: Some(*signal), code: *code, message: (&**message).into() }
    });
    // The new ticket comes last: a client that has it has read everything before it.
    let messages =
        rejections.chain(gaps).chain(presence_gap).chain(present).chain([resumed]).chain(greeting);
    greet(services, lifecycle, admitted, messages, writer).await
}

/// The messages that a client gets when it joins, for one that may not have read them.
fn greeting(
    services: &Services,
    session: &SessionId,
    id: ConnectionId,
    presence: bool,
) -> Vec<GatewayMessage<'static>> {
    let (own, mut others): (Vec<_>, Vec<_>) =
        services.relay().connections(session).into_iter().partition(|it| it.info.id == id);
    others.retain(|_| presence);
    let Some(own) = own.first() else { return Vec::new() };
    let welcome = Welcome {
        connection: (*own.info).clone(),
        session: session.clone(),
        role: own.role,
        limits: limits(services),
        features: Features::NONE,
        present: u32::try_from(others.len()).unwrap_or(u32::MAX),
        gateways: Vec::new(),
    };
    let mut others = others.iter().map(|other| &other.info);
    let present = std::iter::from_fn(|| next_present(&mut others));
    [GatewayMessage::Welcome(welcome)].into_iter().chain(present).collect()
}

/// Disconnects a connection whose token is revoked. Connections of this gateway were disconnected
/// when the token was revoked; this one comes from another gateway, which may be lost.
fn end_if_revoked(
    services: &Services,
    revocations: &Revocations,
    session: &SessionId,
    connection: ConnectionId,
) -> Result<(), LinkEnd> {
    let Some((info, token)) = services.relay().token(session, connection) else { return Ok(()) };
    let presented = Presented { session, data: &info.data, token };
    if !revocations.is_revoked(&presented, unix_time().as_secs()) {
        return Ok(());
    }
    // It may have ended in the meantime.
    let _ = services.relay().force_disconnect(session, connection, services.uptime());
    Err(LinkEnd::by(CloseReason::ForceDisconnected))
}

#[cfg(test)]
mod tests {
    use signalbox_protocol::{ConnectionInfo, MediaMode, Role, Transport};
    use signalbox_relay::{Encoding, Join, TokenIdentity};

    use super::*;
    use crate::{
        Config,
        context::ServerContext,
        revocation::{Matcher, NewRevocation},
    };

    /// The list has the revocation, but the connection was not here when it was added.
    #[tokio::test]
    async fn a_connection_with_a_revoked_token_is_disconnected_when_it_is_resumed() {
        let services = ServerContext::of(&Config::default()).services;
        let project = "1".parse().unwrap();
        let session = SessionId::mint(&project, MediaMode::Relayed, None, 0, [0; 24]);
        let id = ConnectionId::from_bytes([1; 16]);
        let join = Join {
            session: session.clone(),
            info: ConnectionInfo { id, created_at: 0, data: "alice".into() },
            role: Role::Publisher,
            token: TokenIdentity { id: None, issued_at: 7 },
            presence: false,
            encoding: Encoding::Shared,
            transport: Transport::WebSocket,
            resume: None,
        };
        let joined = services.relay().join(join, services.uptime()).unwrap();
        let mut revocations = Revocations::default();
        let mut revoke = |issued_before| {
            let connection_data = Some("alice".to_owned());
            let matcher = Matcher { token_id: None, connection_data, session: None };
            let issued_before = Some(issued_before);
            let project = project.clone();
            let new = NewRevocation { project, matcher, issued_before, expires: u64::MAX };
            revocations.add(new, 0).unwrap();
            end_if_revoked(&services, &revocations, &session, id)
        };
        assert!(revoke(6).is_ok());
        assert_eq!(services.relay().stats().connections, 1);
        assert_eq!(revoke(7).unwrap_err().reason, CloseReason::ForceDisconnected);
        let end = LinkEnd::of_closed(&joined.outbox).await;
        assert_eq!(end.reason, CloseReason::ForceDisconnected);
        assert_eq!(services.relay().stats().connections, 0);
    }
}
