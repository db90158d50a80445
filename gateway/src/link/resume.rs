//! Resumption: from a ticket to the detached connection that it names, on a new link.

use std::collections::HashMap;

use signalbox_protocol::{
    ClientMessage, CloseReason, ConnectionId, Features, GatewayMessage, Sender, SessionId, Streams,
    limits::{CURSORS, CURSORS_IN_ALL, LOST},
    message::{self, Cursor, Resume, Welcome},
};
use signalbox_relay::{
    Hold, Instance, KnownPosition, Rejection, ResumeError, ResumeRequest, Resumed, TicketSecret,
};
use tracing::debug;

use super::{
    LinkForm,
    admitted::Admitted,
    end::LinkEnd,
    socket_url::SocketClaim,
    ticket::{TicketContents, new_secret},
    transport::{Incoming, LinkError, Reader, Writer},
    welcome::{check_agent, greet, limits, next_present, record},
};
use crate::{
    clock::unix_time,
    lifecycle::Lifecycle,
    revocation::{Presented, Revocations},
    services::Services,
    tail::TailEvent,
    trace::{self, SpanSide},
};

/// What a client shows to resume.
enum Proof {
    /// A ticket, which is replaced by a new one.
    Ticket(TicketContents),
    /// The secret of its WebSocket's URL, which stays the same. The gateway knows the position of
    /// such a client.
    Socket(SocketClaim),
}

impl Proof {
    fn session(&self) -> &SessionId {
        match self {
            Self::Ticket(ticket) => &ticket.session,
            Self::Socket(claim) => &claim.session,
        }
    }

    fn connection(&self) -> ConnectionId {
        match self {
            Self::Ticket(ticket) => ticket.connection,
            Self::Socket(claim) => claim.connection,
        }
    }

    /// The secret that the relay compares.
    fn verifier(&self) -> TicketSecret {
        match self {
            Self::Ticket(ticket) => ticket.verifier(),
            Self::Socket(claim) => claim.secret,
        }
    }

    /// The gateway that issued it, if it is known.
    fn issuer(&self) -> Option<&Instance> {
        match self {
            Self::Ticket(ticket) => Some(&ticket.issuer),
            Self::Socket(_) => None,
        }
    }

    /// The next ticket of the client, if it gets one.
    fn next(&self, services: &Services) -> Result<Option<TicketContents>, LinkEnd> {
        let Self::Ticket(ticket) = self else { return Ok(None) };
        let secret = new_secret().map_err(|_| LinkEnd::by(CloseReason::InternalError))?;
        let issuer = services.instance().clone();
        Ok(Some(TicketContents { issuer, secret, ..ticket.clone() }))
    }
}

/// A client's request to resume. It borrows nothing from the link.
pub(super) struct ResumeClaim {
    proof: Option<Proof>,
    attempt: u32,
    streams: Streams,
    events: u64,
    accepted: u64,
    cursors: HashMap<Sender, u64>,
    /// Whether more cursors follow.
    more: bool,
    agent: Option<String>,
    /// Whether it may have come before the transport's handshake was complete.
    pub(super) early: bool,
    /// Keeps the session open until the connection has moved here from another gateway.
    hold: Option<Hold>,
}

impl ResumeClaim {
    pub(super) fn new(resume: Resume<'_>) -> Result<Self, LinkError> {
        let Resume { ticket, attempt, streams, events, accepted, cursors, more, agent } = resume;
        check_agent(agent.as_deref())?;
        let mut claim = Self {
            proof: TicketContents::decode(&ticket).map(Proof::Ticket),
            attempt,
            streams,
            events,
            accepted,
            cursors: HashMap::new(),
            more: true,
            agent: agent.map(signalbox_protocol::Text::into_string),
            early: false,
            hold: None,
        };
        claim.add(&cursors, more)?;
        Ok(claim)
    }

    /// The claim of a client of the vendor's SDK. Each is the first attempt: the SDK has one
    /// WebSocket at a time, and the latest counts.
    pub(super) fn of_socket(claim: Option<SocketClaim>) -> Self {
        Self {
            proof: claim.map(Proof::Socket),
            attempt: 1,
            streams: Streams::default(),
            events: 0,
            accepted: 0,
            cursors: HashMap::new(),
            more: false,
            agent: None,
            early: false,
            hold: None,
        }
    }

    /// Checks the ticket. Without a valid one, a client's cursors are not worth any memory. Opens
    /// the session if the connection may be on another gateway.
    pub(super) async fn check(&mut self, services: &Services) -> Result<(), LinkEnd> {
        let proof = self.proof.as_ref().ok_or_else(|| {
            services.metrics().resume_rejected(CloseReason::InvalidTicket);
            LinkEnd::by(CloseReason::InvalidTicket)
        })?;
        let (session, connection) = (proof.session(), proof.connection());
        if let Some(cluster) = services.cluster()
            && !services.relay().is_local(session, connection)
            && services.projects().get(session.project().as_str()).is_some()
        {
            let opened = cluster.open_for_resume(session).await;
            self.hold = Some(
                opened.map_err(|error| LinkEnd::new(error.close_reason(), error.to_string()))?,
            );
        }
        let verifier = proof.verifier();
        let checked = services.relay().check_ticket(session, connection, &verifier, self.attempt);
        checked.map_err(|error| refused(services, error, proof.issuer()))
    }

    fn add(&mut self, cursors: &[Cursor], more: bool) -> Result<(), LinkError> {
        if cursors.len() > CURSORS || self.cursors.len() + cursors.len() > CURSORS_IN_ALL {
            return Err(LinkError::protocol("too many cursors"));
        }
        for Cursor { from, seq } in cursors {
            if self.cursors.insert(from.clone(), *seq).is_some() {
                return Err(LinkError::protocol("two cursors for one sender"));
            }
        }
        self.more = more;
        Ok(())
    }

    /// Reads the remaining cursors.
    pub(super) async fn complete(&mut self, reader: &mut impl Reader) -> Result<(), LinkEnd> {
        while self.more {
            match reader.next().await? {
                Incoming::Message(ClientMessage::Cursors { cursors, more }) => {
                    self.add(&cursors, more)?;
                }
                Incoming::Control => {}
                Incoming::Closed => return Err(LinkError::Closed.into()),
                _ => return Err(LinkError::protocol("a cursors message must follow").into()),
            }
        }
        Ok(())
    }
}

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
    if let Some(cluster) = services.cluster()
        && !services.relay().is_local(session, connection)
    {
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
    let gap = !lost.is_empty() || present.is_some();
    debug!(agent = claim.agent, signals, missed, gap, "connection resumed");
    if gap && next.is_none() {
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

/// The end of a link whose resume is refused. If the ticket was issued elsewhere, the text says so:
/// behind a load balancer that is the first thing to know.
fn refused(services: &Services, error: ResumeError, issuer: Option<&Instance>) -> LinkEnd {
    services.metrics().resume_rejected(error.close_reason());
    let here = services.instance();
    let mut detail = error.to_string();
    if error == ResumeError::InvalidTicket
        && let Some(issuer) = issuer.filter(|issuer| *issuer != here)
    {
        detail += &format!("; it was issued by gateway {issuer}, and this is {here}");
    }
    LinkEnd::new(error.close_reason(), detail)
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
