//! The events that a follower wants.

use form_urlencoded::parse;
use signalbox_protocol::{ConnectionId, ProjectKey, SessionId};

use super::event::TailLine;

/// The fault of a query that names nothing to follow.
const ONE: &str = "name one to follow: session=ID, connection=ID or project=KEY; contents=true shows the \
                   data of signals";

/// The events that a follower wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TailFilter {
    scope: Scope,
    /// Whether it wants the data of signals.
    pub(super) contents: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Scope {
    Session(SessionId),
    /// Its own events, and signals to it alone.
    Connection(ConnectionId),
    Project(ProjectKey),
}

impl TailFilter {
    /// Of the query of a request.
    ///
    /// # Errors
    /// The fault, for the caller.
    pub(crate) fn from_query(query: &str) -> Result<Self, String> {
        let (mut scope, mut contents) = (None, false);
        for (name, value) in parse(query.as_bytes()) {
            let wrong = |what: &str| format!("{name} is not {what}\n{ONE}");
            let found = match &*name {
                "session" => {
                    Scope::Session(value.parse().map_err(|_| wrong("the id of a session"))?)
                }
                "connection" => {
                    Scope::Connection(value.parse().map_err(|_| wrong("the id of a connection"))?)
                }
                "project" => {
                    Scope::Project(value.parse().map_err(|_| wrong("the key of a project"))?)
                }
                "contents" => {
                    contents = value.parse().map_err(|_| wrong("true or false"))?;
                    continue;
                }
                _ => return Err(ONE.to_owned()),
            };
            if scope.replace(found).is_some() {
                return Err(ONE.to_owned());
            }
        }
        Ok(Self { scope: scope.ok_or(ONE)?, contents })
    }

    pub(super) fn matches(&self, line: &TailLine<'_>) -> bool {
        match &self.scope {
            Scope::Session(session) => line.session == session,
            Scope::Connection(id) => {
                let to = line.signal().and_then(|signal| signal.to);
                line.connection == Some(*id) || to == Some(*id)
            }
            Scope::Project(project) => line.session.project() == project,
        }
    }
}
