//! Ids of connections and projects. (For session ids see [`crate::session_id`].)

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

/// One client's membership in a session. A UUID, chosen by the gateway at random (RFC 9562,
/// version 4): 16 raw bytes in postcard, the hyphenated form in JSON.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId([u8; 16]);

impl ConnectionId {
    /// The id with these 16 bytes, in the order in which they are written.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes, in the order in which they are written.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid::from_bytes(self.0).hyphenated().fmt(f)
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a connection id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a connection id (a UUID such as 0b2f6a7e-54c1-4d0a-9a39-1c4dca4d9f10)")]
pub struct InvalidConnectionId;

impl FromStr for ConnectionId {
    type Err = InvalidConnectionId;

    fn from_str(text: &str) -> Result<Self, InvalidConnectionId> {
        // The uuid crate also takes braces, URNs and bare hex; an id has one spelling here.
        if text.len() != 36 {
            return Err(InvalidConnectionId);
        }
        match Uuid::try_parse(text) {
            Ok(uuid) => Ok(Self(*uuid.as_bytes())),
            Err(_) => Err(InvalidConnectionId),
        }
    }
}

impl Serialize for ConnectionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            // An array has no length on the postcard wire: exactly 16 bytes.
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for ConnectionId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = crate::Text::deserialize(deserializer)?;
            text.parse().map_err(de::Error::custom)
        } else {
            <[u8; 16]>::deserialize(deserializer).map(Self)
        }
    }
}

/// The public name of a project: a numeric API key or an application id (a UUID). Every session id
/// of the project contains it, so that the project's credentials can be found.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct ProjectKey(String);

impl ProjectKey {
    /// Longest project key, in bytes. A UUID has 36; the rest is reserve.
    pub const MAX_BYTES: usize = 64;

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ProjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text cannot be a project key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a project key: 1 to 64 letters, digits or hyphens")]
pub struct InvalidProjectKey;

impl FromStr for ProjectKey {
    type Err = InvalidProjectKey;

    fn from_str(text: &str) -> Result<Self, InvalidProjectKey> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for ProjectKey {
    type Error = InvalidProjectKey;

    fn try_from(text: String) -> Result<Self, InvalidProjectKey> {
        let fits = !text.is_empty() && text.len() <= Self::MAX_BYTES;
        // `~` separates the fields of a session id, so no key may contain it.
        if fits && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            Ok(Self(text))
        } else {
            Err(InvalidProjectKey)
        }
    }
}
