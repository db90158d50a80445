//! The tokens that a revocation is about.

use serde::{Deserialize, Serialize};
use signalbox_protocol::SessionId;
use signalbox_relay::TokenIdDigest;

use super::identity::{Presented, short_digest};

/// A selection of tokens. A token must have every property that is given; at least one is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Matcher {
    pub(crate) token_id: Option<String>,
    pub(crate) connection_data: Option<String>,
    pub(crate) session: Option<SessionId>,
}

/// Digests of the properties of a matcher or a token. A matcher selects a token whose key, reduced
/// to the matcher's properties, is equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct MatchKey {
    token_id: Option<TokenIdDigest>,
    connection_data: Option<TokenIdDigest>,
    session: Option<TokenIdDigest>,
}

impl Matcher {
    pub(super) fn key(&self) -> MatchKey {
        let digest = |text: Option<&str>| text.map(|text| short_digest(text.as_bytes()));
        MatchKey {
            token_id: digest(self.token_id.as_deref()),
            connection_data: digest(self.connection_data.as_deref()),
            session: digest(self.session.as_ref().map(SessionId::as_str)),
        }
    }

    /// A test for many tokens.
    pub(crate) fn predicate(&self) -> impl Fn(&Presented<'_>) -> bool {
        let id = self.token_id.as_deref().map(|id| short_digest(id.as_bytes()));
        move |presented| {
            self.session.as_ref().is_none_or(|session| session == presented.session)
                && self.connection_data.as_deref().is_none_or(|data| data == presented.data)
                && id.is_none_or(|id| presented.token.id == Some(id))
        }
    }
}

impl MatchKey {
    /// The keys of all matchers that select a token.
    pub(super) fn all_of(presented: &Presented<'_>) -> impl Iterator<Item = Self> + use<> {
        let Presented { session, data, token } = *presented;
        let (data, session) =
            (short_digest(data.as_bytes()), short_digest(session.as_str().as_bytes()));
        (1..8_u8).filter_map(move |properties| {
            let has = |bit: u8| properties & bit != 0;
            Some(Self {
                token_id: if has(1) { Some(token.id?) } else { None },
                connection_data: has(2).then_some(data),
                session: has(4).then_some(session),
            })
        })
    }
}
