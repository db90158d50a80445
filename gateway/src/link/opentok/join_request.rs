//! The request to join: the first one of a new connection.

use std::time::Duration;

use signalbox_opentok::Action;
use signalbox_protocol::{
    CloseReason, ConnectionId, Feature, Features, SessionId, Streams, message::Hello,
};
use signalbox_relay::{ResumeOptions, TicketSecret};

use crate::{
    link::{
        end::LinkEnd,
        transport::{LinkError, LinkRequest},
    },
    services::Services,
};

/// The connection that a client of the vendor's SDK has chosen itself.
pub(in crate::link) struct ChosenConnection<'a> {
    /// The transaction id of its request.
    pub(in crate::link) transaction: &'a str,
    /// Its connection id.
    pub(in crate::link) id: ConnectionId,
    /// The session that it has named.
    session: &'a str,
    /// The secret with which it may resume.
    secret: Option<TicketSecret>,
}

/// Reads the first request of a client: the hello that corresponds to it, and the connection that the
/// client has chosen.
pub(in crate::link) fn read_join_request<'a>(
    request: &'a LinkRequest<'_>,
) -> Result<(Hello<'a>, ChosenConnection<'a>), LinkEnd> {
    let create = match &request.action {
        Ok(Action::Create(create)) => create,
        Ok(_) => return Err(LinkError::protocol("the first request must be to join").into()),
        Err(refusal) => return Err(LinkError::protocol(refusal.reason.clone()).into()),
    };
    let token = request.token.ok_or(LinkEnd::by(CloseReason::InvalidToken))?.into();
    let hello = Hello {
        token,
        features: Features::NONE.with(Feature::Presence, create.presence),
        streams: Streams::default(),
        agent: create.agent.as_deref().map(Into::into),
    };
    let chosen = ChosenConnection {
        transaction: request.transaction,
        id: create.connection,
        session: &create.session,
        secret: request.secret,
    };
    Ok((hello, chosen))
}

impl ChosenConnection<'_> {
    /// Resumption of the connection, if the client can resume and its project allows it.
    ///
    /// # Errors
    /// The client has named another session than its token.
    pub(in crate::link) fn resume(
        &self,
        services: &Services,
        session: &SessionId,
        token_until: Duration,
    ) -> Result<Option<ResumeOptions>, LinkEnd> {
        if self.session != session.as_str() {
            let other = "the token is for another session";
            return Err(LinkEnd::new(CloseReason::InvalidToken, other));
        }
        let window = services.resume_window(session.project());
        let secret = self.secret.filter(|_| !window.is_zero());
        let orphan_window = services.policy().timeouts.detection() + window;
        Ok(secret.map(|secret| ResumeOptions { secret, token_until, orphan_window }))
    }
}
