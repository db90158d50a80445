//! The session of a request, which other gateways may have open.

use signalbox_protocol::SessionId;
use signalbox_relay::{Hold, RejectionReason};

use super::error::Error;
use crate::services::Services;

/// A session that stays open on this gateway for a request.
pub(super) struct OpenSession<'a> {
    services: &'a Services,
    _hold: Option<Hold>,
}

impl<'a> OpenSession<'a> {
    /// Asks the other gateways of a cluster for their members of the session.
    pub(super) async fn new(services: &'a Services, session: &SessionId) -> Result<Self, Error> {
        let hold = match services.cluster() {
            Some(cluster) => {
                let opened = cluster.open_for_request(session).await;
                Some(opened.map_err(|error| Error::Unavailable(error.to_string()))?)
            }
            None => None,
        };
        Ok(Self { services, _hold: hold })
    }

    /// The error for a session or connection that was not found. A gateway that is cut off from the
    /// others cannot know.
    pub(super) fn not_found(&self, error: Error) -> Error {
        match self.services.cluster() {
            Some(cluster) if !cluster.is_settled() => {
                Error::Unavailable("this gateway is not connected with them".to_owned())
            }
            _ => error,
        }
    }

    /// The error for a request that the relay has rejected.
    pub(super) fn rejected(&self, reason: RejectionReason) -> Error {
        use RejectionReason::{EmptySession, NoneReached, NotFound};
        match reason {
            EmptySession | NoneReached | NotFound(_) => self.not_found(reason.into()),
            reason => reason.into(),
        }
    }
}
