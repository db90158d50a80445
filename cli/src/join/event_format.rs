//! Format of events: text for people, JSON for programs.

use serde_json::json;
use signalbox_client::{ConnectionId, ConnectionInfo, Event, Gap, Printable, Sender};

use crate::id_prefix::short;

/// The chosen format.
pub(super) struct EventFormat {
    pub(super) json: bool,
    /// The connection of this client.
    pub(super) me: ConnectionId,
}

impl EventFormat {
    /// An event as one line; none if it is of no interest to people.
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
        Event::Gap { lost } => match lost.len() {
            1 => "* signals of a sender were lost between gateways".to_owned(),
            senders => format!("* signals of {senders} senders were lost between gateways"),
        },
        Event::Rejected { code, message, .. } => format!("! rejected ({code}): {message}"),
        Event::SessionReconnecting { reason, message } => {
            format!("* connection lost ({reason}): {message}; reconnecting")
        }
        Event::SessionReconnected { missed: 0, gap: None } => {
            "* reconnected, nothing lost".to_owned()
        }
        Event::SessionReconnected { missed, gap: None } => {
            format!("* reconnected, nothing lost; {missed} missed events follow")
        }
        Event::SessionReconnected { gap: Some(gap), .. } => match gap.lost.len() {
            0 => "* reconnected, but some events were lost".to_owned(),
            senders => format!("* reconnected, but signals of {senders} senders were lost"),
        },
        Event::SessionRejoined { connection } => {
            format!("* rejoined as {}; events in between were lost", short(&connection.id))
        }
        Event::SessionDisconnected { reason, message } => {
            format!("* session ended ({reason}): {message}")
        }
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
        Event::Gap { lost } => json!({ "event": "gap", "lost": lost }),
        Event::Rejected { signal, code, message } => {
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

#[cfg(test)]
mod tests {
    use signalbox_client::Lost;

    use super::*;

    #[test]
    fn a_gap_on_an_open_link_is_printed_in_both_formats() {
        let me = ConnectionId::from_bytes([1; 16]);
        let line = |json, senders| {
            let lost = vec![Lost { from: me.into(), after: 1, until: 3 }; senders];
            EventFormat { json, me }.line(&Event::Gap { lost }).unwrap()
        };
        assert_eq!(line(false, 1), "* signals of a sender were lost between gateways");
        assert_eq!(line(false, 2), "* signals of 2 senders were lost between gateways");
        let parsed: serde_json::Value = serde_json::from_str(&line(true, 1)).unwrap();
        let lost = json!([{ "from": me, "after": 1, "until": 3 }]);
        assert_eq!(parsed, json!({ "event": "gap", "lost": lost }));
    }
}
