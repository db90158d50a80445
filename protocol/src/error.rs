//! Errors that do not end a link, and the definition shared by all codes on the wire.

/// Defines an enum of numbered, named codes that accepts unknown numbers.
///
/// With a derived enum, a frame with a newer code could not be decoded. A bare number would be
/// unreadable in JSON. A code is therefore its number in postcard, its name in JSON, and `Unknown`
/// if this version does not know it.
macro_rules! codes {
    ($(#[$doc:meta])* $enum:ident {
        $($(#[$variant_doc:meta])* $variant:ident = $code:literal, $name:literal,)+
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $enum {
            $($(#[$variant_doc])* $variant,)+
            /// A code that this version of the crate does not know. (JSON has no number, so an
            /// unknown name is `Unknown(u16::MAX)`.)
            Unknown(u16),
        }

        impl $enum {
            /// Every known code, in order of number.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The number, as in postcard.
            pub fn code(self) -> u16 {
                match self {
                    $(Self::$variant => $code,)+
                    Self::Unknown(code) => code,
                }
            }

            /// The name, as in JSON, logs and errors.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                    Self::Unknown(_) => "unknown",
                }
            }

            /// The code with this number.
            pub fn from_code(code: u16) -> Self {
                match code {
                    $($code => Self::$variant,)+
                    code => Self::Unknown(code),
                }
            }

            /// The code with this name, if it is known.
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }

        impl std::fmt::Display for $enum {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self {
                    Self::Unknown(code) => write!(f, "unknown({code})"),
                    known => f.write_str(known.name()),
                }
            }
        }

        impl serde::Serialize for $enum {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.serialize_str(self.name())
                } else {
                    serializer.serialize_u16(self.code())
                }
            }
        }

        impl<'de> serde::Deserialize<'de> for $enum {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    let name = crate::Text::deserialize(deserializer)?;
                    Ok(Self::from_name(&name).unwrap_or(Self::Unknown(u16::MAX)))
                } else {
                    u16::deserialize(deserializer).map(Self::from_code)
                }
            }
        }
    };
}
pub(crate) use codes;

codes! {
    /// The reason for rejecting one message of a client. The link and the connection continue.
    ErrorCode {
        /// The signal's type has a character that is not allowed.
        InvalidType = 1, "invalidType",
        /// The signal's type is longer than 128 bytes.
        TypeTooLong = 2, "typeTooLong",
        /// The signal's data is longer than 8192 bytes.
        DataTooLong = 3, "dataTooLong",
        /// The addressed connection is not in the session.
        NotFound = 4, "notFound",
        /// The role of the connection does not allow it.
        Forbidden = 5, "forbidden",
        /// The connection sends more signals per second than allowed.
        RateLimited = 6, "rateLimited",
        /// The gateway does not know this kind of message.
        Unsupported = 7, "unsupported",
    }
}

impl ErrorCode {
    /// HTTP status for the same fault; the vendor's client SDKs report these numbers too.
    pub fn http_status(self) -> u16 {
        match self {
            Self::InvalidType | Self::Unsupported => 400,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::TypeTooLong | Self::DataTooLong => 413,
            Self::RateLimited => 429,
            Self::Unknown(_) => 500,
        }
    }
}
