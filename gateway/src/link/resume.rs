//! Coming back: from a ticket to the connection that it belongs to, on a new link.

use std::collections::HashMap;

use signalbox_protocol::{
    ClientMessage, CloseReason, GatewayMessage, ProjectKey, Sender, Streams, Transport,
    limits::{AGENT_BYTES, CURSORS, CURSORS_IN_ALL, LOST},
    message::{self, Cursor, Resume},
};
use signalbox_relay::{Comeback, Connection, Refusal, ResumeError, Resumed};
use tracing::{debug, field};

use super::{
    Admitted, End, Incoming, LinkError, Reader, Writer, admit,
    ticket::{self, Ticket},
};
use crate::{clock::unix_time, lifecycle::Lifecycle, services::Services};

/// What a client says when it comes back, without what borrows from the link.
pub(super) struct Claim {
    ticket: Option<Ticket>,
    attempt: u32,
    streams: Streams,
    events: u64,
    cursors: HashMap<Sender, u64>,
    /// Whether more of them follow.
    pub(super) more: bool,
    agent: Option<String>,
}

impl Claim {
    pub(super) fn new(resume: Resume<'_>) -> Result<Self, LinkError> {
        let Resume { ticket, attempt, streams, events, cursors, more, agent } = resume;
        if agent.as_ref().is_some_and(|agent| agent.len() > AGENT_BYTES) {
            return Err(LinkError::protocol("the client's name is longer than 64 bytes"));
        }
        let mut claim = Self {
            ticket: Ticket::decode(&ticket),
            attempt,
            streams,
            events,
            cursors: HashMap::new(),
            more: true,
            agent: agent.map(signalbox_protocol::Text::into_string),
        };
        claim.add(&cursors, more)?;
        Ok(claim)
    }

    /// Looks whether its ticket is good. Who has none may not make us remember what it says it has.
    pub(super) fn check(&self, services: &Services) -> Result<(), End> {
        let ticket = self.ticket.as_ref().ok_or(End::by(CloseReason::InvalidTicket))?;
        let Ticket { session, connection, secret } = ticket;
        services.relay().check_ticket(session, *connection, secret, self.attempt).map_err(refused)
    }

    /// Takes more cursors.
    pub(super) fn add(&mut self, cursors: &[Cursor], more: bool) -> Result<(), LinkError> {
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

    /// Reads the cursors that are still to come.
    pub(super) async fn complete(&mut self, reader: &mut impl Reader) -> Result<(), End> {
        while self.more {
            match reader.next().await? {
                Incoming::Message(ClientMessage::Heard { cursors, more }) => {
                    self.add(&cursors, more)?;
                }
                Incoming::Closed => return Err(LinkError::Closed.into()),
                _ => return Err(LinkError::protocol("a heard must follow").into()),
            }
        }
        Ok(())
    }
}

/// Brings the connection back, and says what there is to be said before what it missed.
pub(super) async fn resume(
    services: &Services,
    lifecycle: &Lifecycle,
    transport: Transport,
    claim: Claim,
    writer: &mut impl Writer,
) -> Result<Admitted, End> {
    let invalid = || End::by(CloseReason::InvalidTicket);
    let Ticket { session, connection, secret } = claim.ticket.ok_or_else(invalid)?;
    let next = new_secret()?;
    let comeback = Comeback {
        session: &session,
        connection,
        secret,
        attempt: claim.attempt,
        next,
        events: claim.events,
        cursors: &claim.cursors,
        encoding: writer.encoding(claim.streams),
        transport,
    };
    let (connection, resumed) =
        services.relay().resume(&comeback, services.uptime()).map_err(refused)?;
    let Resumed { outbox, presence, token_until, signals, refused, missed, lost, present } =
        resumed;
    writer.accept(presence, claim.streams);
    let span = tracing::Span::current();
    span.record("session", field::display(&session));
    span.record("connection", field::display(connection.id()));
    debug!(
        agent = claim.agent,
        signals,
        missed,
        gap = !lost.is_empty() || present.is_some(),
        "resumed"
    );

    let admitted = Admitted {
        connection,
        outbox,
        expires_in: token_until.saturating_sub(unix_time()),
        resumed: true,
    };
    let (id, project) = (admitted.connection.id(), session.project().clone());
    let ticket = Ticket { session, connection: id, secret: next }.encode();
    let ticket =
        message::Ticket { ticket: ticket.into(), window_ms: window_ms(services, &project) };
    let resumed = GatewayMessage::Resumed { ticket, signals, missed };
    let gaps = lost.chunks(LOST).map(|lost| GatewayMessage::Gap {
        lost: lost.to_vec(),
        presence: false,
        present: 0,
    });
    let named = present.as_ref().map(|present| GatewayMessage::Gap {
        lost: Vec::new(),
        presence: true,
        present: u32::try_from(present.len()).unwrap_or(u32::MAX),
    });
    let mut present = present.iter().flatten();
    let present = std::iter::from_fn(|| admit::next_present(&mut present));
    let refused = refused.iter().map(|Refusal { signal, code, message }| GatewayMessage::Error {
        signal: Some(*signal),
        code: *code,
        message: (&**message).into(),
    });
    // Last, so that whoever has the new ticket has read all that.
    let opening = refused.chain(gaps).chain(named).chain(present).chain([resumed]);
    admit::greet(services, lifecycle, admitted, opening, writer).await
}

fn refused(error: ResumeError) -> End {
    End::new(error.close_reason(), error.to_string())
}

/// Answers a `keep`.
pub(super) fn keep(services: &Services, connection: &Connection, expires_in: std::time::Duration) {
    let unsupported = |why: &str| {
        connection.tell_error(None, signalbox_protocol::ErrorCode::Unsupported, why);
    };
    let window_ms = window_ms(services, connection.session_id().project());
    if window_ms == 0 {
        return unsupported("this gateway keeps no connection whose link is lost");
    }
    let Ok(secret) = ticket::secret() else {
        return unsupported("this gateway cannot make a ticket now");
    };
    if connection.keep(secret, unix_time() + expires_in) {
        let session = connection.session_id().clone();
        let ticket = Ticket { session, connection: connection.id(), secret }.encode();
        connection
            .tell(GatewayMessage::Ticket(message::Ticket { ticket: ticket.into(), window_ms }));
    }
}

fn window_ms(services: &Services, project: &ProjectKey) -> u32 {
    u32::try_from(services.resume_window(project).as_millis()).unwrap_or(u32::MAX)
}

fn new_secret() -> Result<signalbox_relay::Secret, End> {
    ticket::secret().map_err(|error| {
        tracing::error!(%error, "cannot make a ticket");
        End::by(CloseReason::InternalError)
    })
}
