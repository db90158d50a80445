//! The JSON form of a [`Matcher`].

use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::error::Category;
use signalbox_protocol::{ProjectKey, SessionId, json, limits::CONNECTION_DATA_BYTES};

use super::{body, error::Error};
use crate::revocation::Matcher;

/// Maximum length of `tokenId`, in bytes. A token with a longer id can be selected by its other
/// properties.
const MAX_TOKEN_ID: usize = 256;

/// Reads a body. Unknown and null members are errors: with a misspelt or unset member, a matcher
/// would select more than the caller intends.
pub(super) fn read<T: DeserializeOwned>(text: &str, is_json: bool) -> Result<T, Error> {
    if !is_json {
        return Err(body::not_json());
    }
    json::from_str(text).map_err(|error| match error.classify() {
        Category::Data => Error::invalid(
            "The body must be a JSON object with one or more of the strings 'tokenId', \
             'connectionData' and 'sessionId'. A revocation may also have 'issuedBefore' and \
             'expires', in whole seconds since 1970. No other member is allowed, and none may be \
             null or repeated",
        ),
        Category::Syntax | Category::Eof | Category::Io => body::malformed(&error),
    })
}

/// Reads a member that may be missing, but not null.
pub(super) fn not_null<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A matcher for tokens of a project.
pub(super) fn matcher(
    project: &ProjectKey,
    token_id: Option<String>,
    connection_data: Option<String>,
    session_id: Option<&str>,
) -> Result<Matcher, Error> {
    check_length("tokenId", token_id.as_deref(), MAX_TOKEN_ID)?;
    check_length("connectionData", connection_data.as_deref(), CONNECTION_DATA_BYTES)?;
    let session = session_id.map(str::parse::<SessionId>).transpose();
    let session = session.map_err(|_| Error::invalid("'sessionId' is not a session ID"))?;
    if session.as_ref().is_some_and(|session| session.project() != project) {
        return Err(Error::invalid("'sessionId' is a session of another project"));
    }
    if token_id.is_none() && connection_data.is_none() && session.is_none() {
        return Err(Error::invalid(
            "Give one or more of 'tokenId', 'connectionData' and 'sessionId'",
        ));
    }
    Ok(Matcher { token_id, connection_data, session })
}

/// An empty text is more likely a variable without a value than a selection of all tokens without
/// connection data.
fn check_length(name: &str, text: Option<&str>, max: usize) -> Result<(), Error> {
    match text.map(str::len) {
        Some(0) => Err(Error::invalid(format!("'{name}' is empty"))),
        Some(length) if length > max => {
            Err(Error::invalid(format!("'{name}' has more than {max} bytes")))
        }
        _ => Ok(()),
    }
}
