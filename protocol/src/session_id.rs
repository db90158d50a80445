//! Session ids. An id contains its project, so a gateway does not store ids.
//!
//! The format is the vendor's: `1_` (relayed) or `2_` (routed), then URL-safe base64 without
//! padding of `1~{project key}~{location}~{creation time}~{random}~~`. The id names the
//! project it belongs to. The token proves that a client may join the session.

use std::{fmt, str::FromStr};

use base64::{
    Engine as _,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::{Deserialize, Serialize};

use crate::ProjectKey;

// Ids minted elsewhere need not have zero trailing bits; ours have.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

const ALPHANUMERIC: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// The vendor's routing of a session's media. It has no effect on signals. The id contains it for
/// servers that read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaMode {
    /// Directly between clients that can reach each other.
    Relayed,
    /// Through the vendor's media router.
    Routed,
}

impl MediaMode {
    /// Every mode.
    pub const ALL: [Self; 2] = [Self::Relayed, Self::Routed];

    /// The name, as SDKs write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Relayed => "relayed",
            Self::Routed => "routed",
        }
    }

    /// Prefix of the ids of such sessions.
    fn prefix(self) -> &'static str {
        match self {
            Self::Relayed => "1_",
            Self::Routed => "2_",
        }
    }
}

/// The id of a session: at most 255 URL-safe characters that name its project.
///
/// Two ids denote the same session if and only if their texts are identical.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SessionId {
    text: String,
    project: ProjectKey,
}

impl SessionId {
    /// Longest session id, in characters (the vendor's bound).
    pub const MAX_BYTES: usize = 255;

    /// Mints an id for `project`.
    ///
    /// `media` is stored in the id and not used; `location` is an IPv4 address, a hint to the
    /// location of the session's clients; `created_ms` is Unix time in milliseconds; `random` makes
    /// the id unique and hard to guess (about 142 bits).
    pub fn mint(
        project: &ProjectKey,
        media: MediaMode,
        location: Option<std::net::Ipv4Addr>,
        created_ms: u64,
        random: [u8; 24],
    ) -> Self {
        let location = location.map(|ip| ip.to_string()).unwrap_or_default();
        let random: String = random
            .iter()
            .filter_map(|byte| ALPHANUMERIC.get(usize::from(*byte) % ALPHANUMERIC.len()))
            .map(|byte| char::from(*byte))
            .collect();
        let plain = format!("1~{project}~{location}~{created_ms}~{random}~~");
        let text = format!("{}{}", media.prefix(), BASE64.encode(plain));
        Self { text, project: project.clone() }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The media mode.
    pub fn media(&self) -> MediaMode {
        if self.text.starts_with(MediaMode::Routed.prefix()) {
            MediaMode::Routed
        } else {
            MediaMode::Relayed
        }
    }

    /// The project whose credentials open the session.
    pub fn project(&self) -> &ProjectKey {
        &self.project
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<SessionId> for String {
    fn from(id: SessionId) -> Self {
        id.text
    }
}

/// The text is not a session id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSessionId {
    /// It is longer than [`SessionId::MAX_BYTES`].
    #[error("session id has {0} characters, at most {max} are allowed", max = SessionId::MAX_BYTES)]
    TooLong(usize),
    /// It does not start with `1_` or `2_`, or the rest is not base64 of `~`-separated fields.
    #[error("not a session id (make one with `signalbox session new`)")]
    Malformed,
    /// It decodes, but its second field is not a project key.
    #[error("session id names no project")]
    NoProject,
}

impl FromStr for SessionId {
    type Err = InvalidSessionId;

    fn from_str(text: &str) -> Result<Self, InvalidSessionId> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for SessionId {
    type Error = InvalidSessionId;

    fn try_from(text: String) -> Result<Self, InvalidSessionId> {
        if text.len() > Self::MAX_BYTES {
            return Err(InvalidSessionId::TooLong(text.len()));
        }
        let encoded = MediaMode::ALL
            .iter()
            .find_map(|media| text.strip_prefix(media.prefix()))
            .ok_or(InvalidSessionId::Malformed)?;
        let plain = BASE64
            .decode(encoded)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or(InvalidSessionId::Malformed)?;
        let mut fields = plain.split('~');
        let (Some(_version), Some(project)) = (fields.next(), fields.next()) else {
            return Err(InvalidSessionId::Malformed);
        };
        let project = project.parse().map_err(|_| InvalidSessionId::NoProject)?;
        Ok(Self { text, project })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(plain: &str) -> String {
        format!("2_{}", BASE64.encode(plain))
    }

    #[test]
    fn minted_ids_name_their_project() {
        let project: ProjectKey = "47396501".parse().unwrap();
        for media in MediaMode::ALL {
            let location = Some([10, 1, 2, 3].into());
            let id = SessionId::mint(&project, media, location, 1_643_281_761_322, [7; 24]);
            let parsed: SessionId = id.as_str().parse().unwrap();
            assert_eq!(parsed, id);
            assert_eq!(parsed.project(), &project);
            assert_eq!(parsed.media(), media);
            assert_eq!(id.as_str().matches('_').count(), 1, "one vendor SDK counts underscores");
        }
    }

    #[test]
    fn ids_of_every_vendor_generation_parse() {
        for (plain, project) in [
            ("1~123456~~Sat Mar 15 14:42:23 PDT 2014~0.49013025~", "123456"),
            ("1~47396501~~1643281761322~LzSRM1CAHzBz+dVSGXb+qIi8~~", "47396501"),
            (
                "1~29f760f8-7ce1-46c9-ade3-f2dedee4ed5f~~1726462588647~11xLa1bbhzPeGQGmXsmgxI0k~~~",
                "29f760f8-7ce1-46c9-ade3-f2dedee4ed5f",
            ),
        ] {
            let id: SessionId = encode(plain).parse().unwrap();
            assert_eq!(id.project().as_str(), project);
        }
    }

    #[test]
    fn an_invalid_id_is_rejected() {
        let parse = |text: &str| text.parse::<SessionId>();
        assert_eq!(parse("").unwrap_err(), InvalidSessionId::Malformed);
        assert_eq!(parse("3_MX4xMjN-").unwrap_err(), InvalidSessionId::Malformed);
        assert_eq!(parse("1_%%%").unwrap_err(), InvalidSessionId::Malformed);
        assert_eq!(parse(&encode("1")).unwrap_err(), InvalidSessionId::Malformed);
        assert_eq!(parse(&encode("1~~~")).unwrap_err(), InvalidSessionId::NoProject);
        assert_eq!(parse(&encode("1~a/b~")).unwrap_err(), InvalidSessionId::NoProject);
        assert_eq!(parse(&"1_".repeat(128)).unwrap_err(), InvalidSessionId::TooLong(256));
    }

    proptest::proptest! {
        #[test]
        fn parsing_never_panics(text in "\\PC{0,300}") {
            let _ = text.parse::<SessionId>();
        }
    }
}
