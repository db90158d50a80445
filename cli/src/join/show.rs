//! Events as text for people, and as JSON for programs.

use serde_json::json;
use signalbox_client::{ConnectionId, ConnectionInfo, Event, Gap, Printable, Sender};

use crate::ids::short;

/// How events are shown.
pub(super) struct Show {
    pub(super) json: bool,
    /// The client's own connection.
    pub(super) me: ConnectionId,
}

impl Show {
    /// An event as one line; none if people need not know of it.
    pub(super) fn line(&self, event: &Event) -> Option<String> {
        if self.json {
            Some(for_programs(event).to_string())
        } else {
            for_people(event, self.me).map(|text| Printable(text).to_string())
        }
    }
}

fn for_people(event: &Event, me: ConnectionId) -> Option<String> {
    Some(match event {
        Event::SessionConnected { connection, session } => {
            format!("* you are {} in session {session}", short(&connection.id))
        }
        Event::ConnectionCreated(ConnectionInfo { id, data, .. }) => {
            format!("* {} is here {data}", short(id))
        }
        Event::ConnectionDestroyed { id, reason } => format!("* {} left: {reason}", short(id)),
        Event::Signal { from, signal_type, data, .. } => {
            let who = match from {
                Sender::Connection(id) if *id == me => "you".to_owned(),
                Sender::Connection(id) => short(id),
                Sender::Server(_) => "server".to_owned(),
            };
            match (signal_type.as_deref().unwrap_or_default(), data.as_deref()) {
                ("", None) => format!("{who} (ping)"),
                ("", Some(data)) => format!("{who}: {data}"),
                (signal_type, data) => {
                    format!("{who} [{signal_type}]: {}", data.unwrap_or_default())
                }
            }
        }
        Event::Refused { code, message, .. } => format!("! refused ({code}): {message}"),
        Event::SessionReconnecting { reason, message } => {
            format!("* away ({reason}): {message}; trying to come back")
        }
        Event::SessionReconnected { missed: 0, gap: None } => {
            "* back, and nothing is lost".to_owned()
        }
        Event::SessionReconnected { missed, gap: None } => {
            format!("* back, and nothing is lost: {missed} to catch up on")
        }
        Event::SessionReconnected { gap: Some(gap), .. } => match gap.lost.len() {
            0 => "* back, but some of what happened meanwhile is lost".to_owned(),
            senders => format!("* back, but signals of {senders} senders are lost"),
        },
        Event::SessionRejoined { connection } => {
            format!("* back, but as {}; what was sent meanwhile is lost", short(&connection.id))
        }
        Event::SessionDisconnected { reason, message } => format!("* over ({reason}): {message}"),
        _ => return None,
    })
}

fn for_programs(event: &Event) -> serde_json::Value {
    let connection = |info: &ConnectionInfo| json!({ "id": info.id, "createdAt": info.created_at, "data": info.data });
    match event {
        Event::SessionConnected { connection: me, session } => {
            json!({ "event": "sessionConnected", "connection": connection(me), "session": session })
        }
        Event::ConnectionCreated(other) => {
            json!({ "event": "connectionCreated", "connection": connection(other) })
        }
        Event::ConnectionDestroyed { id, reason } => {
            json!({ "event": "connectionDestroyed", "id": id, "reason": reason })
        }
        Event::Signal { from, seq, signal_type, data } => {
            json!({ "event": "signal", "from": from, "seq": seq, "type": signal_type, "data": data })
        }
        Event::Refused { signal, code, message } => {
            json!({ "event": "refused", "signal": signal, "code": code, "message": message })
        }
        Event::SessionReconnecting { reason, message } => {
            json!({ "event": "sessionReconnecting", "reason": reason, "message": message })
        }
        Event::SessionReconnected { missed, gap } => {
            let gap = gap
                .as_ref()
                .map(|Gap { lost, presence, .. }| json!({ "lost": lost, "presence": presence }));
            json!({ "event": "sessionReconnected", "missed": missed, "gap": gap })
        }
        Event::SessionRejoined { connection: me } => {
            json!({ "event": "sessionRejoined", "connection": connection(me) })
        }
        Event::SessionDisconnected { reason, message } => {
            json!({ "event": "sessionDisconnected", "reason": reason, "message": message })
        }
        _ => json!({ "event": "unknown" }),
    }
}
