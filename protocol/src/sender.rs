//! The sender of a signal: a connection, or the servers behind one gateway.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap};

use crate::{ConnectionId, Text, id::InvalidConnectionId};

/// The source of a signal. Each sender counts its signals from 1, and receivers get them in that
/// order.
///
/// It is an enum in postcard, and a connection id or `{"server": "NAME"}` in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Sender {
    /// Tag 0. A connection of the session.
    Connection(ConnectionId),
    /// Tag 1. The project's servers, through this gateway. All servers that send through one
    /// gateway are one sender.
    Server(GatewayId),
}

impl Sender {
    /// The sending connection; `None` if a server sent it.
    pub fn connection(&self) -> Option<ConnectionId> {
        match self {
            Self::Connection(id) => Some(*id),
            Self::Server(_) => None,
        }
    }

    /// Whether a server sent it.
    pub fn is_server(&self) -> bool {
        matches!(self, Self::Server(_))
    }
}

impl From<ConnectionId> for Sender {
    fn from(id: ConnectionId) -> Self {
        Self::Connection(id)
    }
}

impl From<GatewayId> for Sender {
    fn from(gateway: GatewayId) -> Self {
        Self::Server(gateway)
    }
}

/// The member of the JSON form that names a server's gateway.
const SERVER: &str = "server";

/// The postcard form.
#[derive(Serialize, Deserialize)]
enum Binary<C, S> {
    Connection(C),
    Server(S),
}

impl Serialize for Sender {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            _ if !serializer.is_human_readable() => match self {
                Self::Connection(id) => Binary::Connection::<_, &GatewayId>(id),
                Self::Server(gateway) => Binary::Server(gateway),
            }
            .serialize(serializer),
            Self::Connection(id) => id.serialize(serializer),
            Self::Server(gateway) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry(SERVER, gateway)?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Sender {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_any(JsonVisitor)
        } else {
            Ok(match Binary::deserialize(deserializer)? {
                Binary::Connection(id) => Self::Connection(id),
                Binary::Server(gateway) => Self::Server(gateway),
            })
        }
    }
}

struct JsonVisitor;

impl<'de> de::Visitor<'de> for JsonVisitor {
    type Value = Sender;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a connection id or an object with the member `server`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Sender, E> {
        let id = text.parse().map_err(|error: InvalidConnectionId| E::custom(error))?;
        Ok(Sender::Connection(id))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Sender, A::Error> {
        let mut gateway = None;
        while let Some(name) = map.next_key::<Text<'de>>()? {
            if &*name == SERVER {
                gateway = Some(map.next_value()?);
            } else {
                map.next_value::<de::IgnoredAny>()?;
            }
        }
        gateway.map(Sender::Server).ok_or_else(|| de::Error::missing_field(SERVER))
    }
}

/// The name of a gateway, unique among the gateways that serve the same sessions.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "Text<'_>")]
pub struct GatewayId(Arc<str>);

impl GatewayId {
    /// Longest name, in bytes.
    pub const MAX_BYTES: usize = 64;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of a gateway whose settings contain none.
impl Default for GatewayId {
    fn default() -> Self {
        Self("gateway".into())
    }
}

impl fmt::Display for GatewayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for GatewayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text cannot be the name of a gateway.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a gateway name: 1 to 64 letters, digits, '.', '_' or '-'")]
pub struct InvalidGatewayId;

impl FromStr for GatewayId {
    type Err = InvalidGatewayId;

    fn from_str(text: &str) -> Result<Self, InvalidGatewayId> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if (1..=Self::MAX_BYTES).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidGatewayId)
        }
    }
}

impl TryFrom<Text<'_>> for GatewayId {
    type Error = InvalidGatewayId;

    fn try_from(text: Text<'_>) -> Result<Self, InvalidGatewayId> {
        text.parse()
    }
}

impl Serialize for GatewayId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_name_has_an_alphabet_and_a_length() {
        for good in ["a", "gw-1.eu_west", &"x".repeat(64)] {
            assert_eq!(good.parse::<GatewayId>().unwrap().as_str(), good);
        }
        for bad in ["", "a b", "é", "a/b", "a\n", &"x".repeat(65)] {
            assert_eq!(bad.parse::<GatewayId>(), Err(InvalidGatewayId));
        }
    }

    #[test]
    fn a_sender_has_one_form_in_each_encoding() {
        let id = ConnectionId::from_bytes([7; 16]);
        let server = Sender::Server("gw-1".parse().unwrap());
        for (sender, json, binary) in [
            (id.into(), json!(id.to_string()), [&[0][..], &[7; 16]].concat()),
            (server, json!({ "server": "gw-1" }), b"\x01\x04gw-1".to_vec()),
        ] {
            assert_eq!(serde_json::to_value(&sender).unwrap(), json);
            assert_eq!(serde_json::from_value::<Sender>(json).unwrap(), sender);
            assert_eq!(postcard::to_stdvec(&sender).unwrap(), binary);
            assert_eq!(postcard::from_bytes::<Sender>(&binary).unwrap(), sender);
        }
    }

    #[test]
    fn an_invalid_sender_is_rejected() {
        for bad in ["null", "{}", r#"{"server":null}"#, r#"{"server":"a b"}"#, "7", r#""me""#] {
            assert!(serde_json::from_str::<Sender>(bad).is_err(), "{bad}");
        }
        for bad in [&b"\x01\x00"[..], b"\x01\x01 ", b"\x02"] {
            assert!(postcard::from_bytes::<Sender>(bad).is_err(), "{bad:?}");
        }
        let more = r#"{"zone":"eu","server":"gw-1"}"#;
        assert!(serde_json::from_str::<Sender>(more).unwrap().is_server(), "unknown members");
    }
}
