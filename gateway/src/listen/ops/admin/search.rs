//! Search for sessions and connections.
//!
//! A search looks at everything, a part at a time: other tasks run after each part, and a request ends
//! after a bounded number of entries, with the place at which the next request goes on.

use signalbox_relay::{ListedConnection, ListedSession};
use tokio::task::yield_now;

/// Sessions and connections that one request looks at. The session in which it ends is searched to
/// its end.
pub(super) const EXAMINED: usize = 50_000;

/// Connections that are looked at in a row, under one lock of their session.
const IN_A_ROW: usize = 256;

/// A text that is searched for, in lower case.
pub(super) struct Needle<'a>(&'a str);

impl<'a> Needle<'a> {
    /// None if everything is wanted.
    pub(super) fn new(text: &'a str) -> Option<Self> {
        (!text.is_empty()).then_some(Self(text))
    }

    /// Whether the id of a session contains it, or it is the key of its project. Case does not matter,
    /// as people copy ids from anywhere.
    pub(super) fn names(&self, session: &ListedSession) -> bool {
        let id = session.id();
        id.as_str().to_ascii_lowercase().contains(self.0)
            || id.project().as_str().eq_ignore_ascii_case(self.0)
    }

    /// Whether the id of a connection begins with it, or its data contains it.
    pub(super) fn is_in(&self, connection: &ListedConnection) -> bool {
        let info = &connection.info;
        info.id.to_string().starts_with(self.0) || info.data.to_ascii_lowercase().contains(self.0)
    }
}

/// Connections that were found, and where to go on.
pub(super) struct FoundConnections {
    pub(super) connections: Vec<ListedConnection>,
    /// Position before which the next page begins; none if this is the last one.
    pub(super) next: Option<usize>,
    /// Connections that were looked at.
    pub(super) examined: usize,
}

/// Looks for at most `limit` connections of a session before a position; for all of them without a
/// needle. It pauses after each part.
pub(super) async fn find_connections(
    session: &ListedSession,
    needle: Option<&Needle<'_>>,
    before: Option<usize>,
    limit: usize,
) -> FoundConnections {
    let mut found = FoundConnections { connections: Vec::new(), next: before, examined: 0 };
    loop {
        let part = if needle.is_some() { IN_A_ROW } else { limit };
        let page = session.connections(found.next, part);
        let (start, count) = (page.next.unwrap_or(0), page.connections.len());
        for (index, connection) in page.connections.into_iter().enumerate() {
            found.examined += 1;
            if needle.is_none_or(|needle| needle.is_in(&connection)) {
                found.connections.push(connection);
            }
            if found.connections.len() >= limit {
                // Positions go down to the start of the page.
                let position = start + (count - 1 - index);
                found.next = (position > 0).then_some(position);
                return found;
            }
        }
        found.next = page.next;
        if found.next.is_none() || found.examined >= EXAMINED {
            return found;
        }
        yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, time::Duration};

    use signalbox_protocol::{ConnectionId, ConnectionInfo, MediaMode, Role, SessionId, Transport};
    use signalbox_relay::{Encoding, Join, Joined, Relay, TokenIdentity};

    use super::*;
    use crate::{Config, context::ServerContext};

    /// Joins with an id and data that have this number.
    fn join(relay: &Relay, session: &SessionId, number: u64) -> Joined {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&number.to_be_bytes());
        let parity = if number.is_multiple_of(2) { "even" } else { "odd" };
        let join = Join {
            session: session.clone(),
            info: ConnectionInfo {
                id: ConnectionId::from_bytes(id),
                created_at: number,
                data: format!("{parity} number {number}"),
            },
            role: Role::Publisher,
            token: TokenIdentity { id: None, issued_at: 0 },
            presence: false,
            encoding: Encoding::Json,
            transport: Transport::WebSocket,
            resume: None,
        };
        relay.join(join, Duration::ZERO).unwrap()
    }

    #[tokio::test]
    async fn a_page_goes_on_where_the_one_before_has_ended() {
        let services = ServerContext::of(&Config::default()).services;
        let relay = services.relay();
        let session = SessionId::mint(&"1".parse().unwrap(), MediaMode::Relayed, None, 0, [0; 24]);
        let _members: Vec<_> = (0..600).map(|number| join(relay, &session, number)).collect();
        let session = relay.listed_session(&session).unwrap();
        for (text, expected) in [("", 600), ("even", 300), ("odd number 59", 6), ("none", 0)] {
            let needle = Needle::new(text);
            let (mut found, mut examined, mut before) = (BTreeSet::new(), 0, None);
            loop {
                let page = find_connections(&session, needle.as_ref(), before, 7).await;
                assert!(page.connections.len() <= 7);
                for connection in page.connections {
                    assert!(found.insert(connection.info.created_at), "{text}: found twice");
                }
                examined += page.examined;
                before = page.next;
                if before.is_none() {
                    break;
                }
            }
            assert_eq!((found.len(), examined), (expected, 600), "{text}");
        }
    }

    #[tokio::test]
    async fn ids_are_found_by_their_beginning_and_data_by_any_part() {
        let services = ServerContext::of(&Config::default()).services;
        let session = SessionId::mint(&"42".parse().unwrap(), MediaMode::Relayed, None, 0, [0; 24]);
        let _member = join(services.relay(), &session, 0xabcd);
        let listed = services.relay().listed_session(&session).unwrap();
        let id = session.as_str().to_ascii_lowercase();
        for (text, names) in [(&id[8..20], true), ("42", true), ("no such", false)] {
            assert_eq!(Needle::new(text).unwrap().names(&listed), names, "{text}");
        }
        for (text, found) in
            [("00000000-0000-ac", 0), ("00000000-0000", 1), ("number 43981", 1), ("ab", 0)]
        {
            let page = find_connections(&listed, Needle::new(text).as_ref(), None, 10).await;
            assert_eq!(page.connections.len(), found, "{text}");
        }
    }
}
