//! What a client presents to resume: the ticket, and its position in each stream of signals.

use std::collections::HashMap;

use signalbox_protocol::{
    ClientMessage, CloseReason, ConnectionId, Sender, SessionId, Streams,
    limits::{CURSORS, CURSORS_IN_ALL},
    message::{Cursor, Resume},
};
use signalbox_relay::{Hold, Instance, ResumeError, TicketSecret};

use super::{
    end::LinkEnd,
    socket_url::SocketClaim,
    ticket::{TicketContents, new_secret},
    transport::{Incoming, LinkError, Reader},
    welcome::check_agent,
};
use crate::services::Services;

/// What a client shows to resume.
pub(super) enum Proof {
    /// A ticket, which is replaced by a new one.
    Ticket(TicketContents),
    /// The secret of its WebSocket's URL, which stays the same. The gateway knows the position of
    /// such a client.
    Socket(SocketClaim),
}

impl Proof {
    pub(super) fn session(&self) -> &SessionId {
        match self {
            Self::Ticket(ticket) => &ticket.session,
            Self::Socket(claim) => &claim.session,
        }
    }

    pub(super) fn connection(&self) -> ConnectionId {
        match self {
            Self::Ticket(ticket) => ticket.connection,
            Self::Socket(claim) => claim.connection,
        }
    }

    /// The secret that the relay compares.
    pub(super) fn verifier(&self) -> TicketSecret {
        match self {
            Self::Ticket(ticket) => ticket.verifier(),
            Self::Socket(claim) => claim.secret,
        }
    }

    /// The gateway that issued it, if it is known.
    pub(super) fn issuer(&self) -> Option<&Instance> {
        match self {
            Self::Ticket(ticket) => Some(&ticket.issuer),
            Self::Socket(_) => None,
        }
    }

    /// The next ticket of the client, if it gets one.
    pub(super) fn next(&self, services: &Services) -> Result<Option<TicketContents>, LinkEnd> {
        let Self::Ticket(ticket) = self else { return Ok(None) };
        let secret = new_secret().map_err(|_| LinkEnd::by(CloseReason::InternalError))?;
        let issuer = services.instance().clone();
        Ok(Some(TicketContents { issuer, secret, ..ticket.clone() }))
    }
}

/// A client's request to resume. It borrows nothing from the link.
pub(super) struct ResumeClaim {
    pub(super) proof: Option<Proof>,
    pub(super) attempt: u32,
    pub(super) streams: Streams,
    pub(super) events: u64,
    pub(super) accepted: u64,
    pub(super) cursors: HashMap<Sender, u64>,
    /// Whether more cursors follow.
    more: bool,
    pub(super) agent: Option<String>,
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

/// The end of a link whose resume is refused. If the ticket was issued elsewhere, the text says so:
/// behind a load balancer that is the first thing to know.
pub(super) fn refused(
    services: &Services,
    error: ResumeError,
    issuer: Option<&Instance>,
) -> LinkEnd {
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
