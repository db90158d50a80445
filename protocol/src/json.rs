//! Messages as JSON (RFC 8259): an object with one member, whose name is the kind of message.
//! This form can be typed by a person and read by a browser.

mod strict;

use std::collections::BTreeMap;

use serde::de::IgnoredAny;

pub use self::strict::from_str;
use crate::{Text, message::Message};

/// A message as JSON.
pub fn encode<'a>(message: &impl Message<'a>) -> String {
    // No map with other than string keys and no failing serializer is in a wire message, so it
    // always has a JSON form.
    serde_json::to_string(message).unwrap_or_default()
}

/// The text is not a message. This is a fault of its sender.
///
/// The error contains the position and the kind of the fault. It never quotes the text, which may
/// contain data or a token, because errors are logged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// It is not JSON, or is incomplete.
    #[error("malformed message: not JSON at column {column}")]
    Syntax {
        /// Position of the fault, in bytes from 1. JSON over the wire is one line.
        column: usize,
    },
    /// It is JSON, but a member is missing, has the wrong type, or occurs twice.
    #[error("malformed message: a member is missing, wrong or there twice, before column {column}")]
    Data {
        /// Position of the fault, in bytes from 1.
        column: usize,
    },
}

impl From<serde_json::Error> for JsonError {
    fn from(error: serde_json::Error) -> Self {
        let column = error.column();
        if error.is_data() { Self::Data { column } } else { Self::Syntax { column } }
    }
}

/// Reads one message. `None` is a kind that this version does not know; the caller skips it.
/// Unknown members of a known kind are ignored.
///
/// # Errors
/// [`JsonError`] if the text is not JSON, not an object with one member, has a member of the
/// wrong type, or has any member twice, ignored ones included.
pub fn decode<'a, M: Message<'a>>(text: &'a str) -> Result<Option<M>, JsonError> {
    match from_str::<M>(text) {
        Ok(message) => Ok(Some(message)),
        // serde does not say whether the name was unknown or the contents were bad.
        Err(error) => match from_str::<BTreeMap<Text<'_>, IgnoredAny>>(text) {
            Ok(object)
                if object.len() == 1
                    && object.keys().all(|name| !M::NAMES.contains(&name.as_ref())) =>
            {
                Ok(None)
            }
            _ => Err(error.into()),
        },
    }
}
