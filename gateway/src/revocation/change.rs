//! Revocations, and the changes of the list that gateways exchange.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use signalbox_protocol::ProjectKey;
use uuid::Uuid;

use super::{identity::Presented, matcher::Matcher};

/// A random id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct RevocationId([u8; 16]);

/// The end of some client tokens before their expiry. All times are seconds since 1970. It never
/// changes, so that it can be merged in any order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Revocation {
    pub(crate) id: RevocationId,
    pub(crate) project: ProjectKey,
    pub(crate) matcher: Matcher,
    /// Tokens that were issued later are valid. None if they are selected by their id.
    pub(crate) issued_before: Option<u64>,
    pub(crate) created: u64,
    /// When it is forgotten, as its tokens have expired.
    pub(crate) expires: u64,
}

/// A revocation to be added.
#[derive(Debug, Clone)]
pub(crate) struct NewRevocation {
    pub(crate) project: ProjectKey,
    pub(crate) matcher: Matcher,
    pub(crate) issued_before: Option<u64>,
    pub(crate) expires: u64,
}

/// A change of the list. Applying one twice, or several in any order, has the same result. New
/// variants are appended, as gateways are upgraded one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RevocationChange {
    Added(Arc<Revocation>),
    /// It is kept until the revocation would have expired, so that another gateway does not bring
    /// the revocation back.
    Deleted {
        id: RevocationId,
        project: ProjectKey,
        expires: u64,
    },
}

impl RevocationId {
    pub(super) fn random() -> Self {
        Self(Uuid::new_v4().into_bytes())
    }
}

impl fmt::Display for RevocationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid::from_bytes(self.0).hyphenated().fmt(f)
    }
}

impl FromStr for RevocationId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        Uuid::try_parse(text).map(|id| Self(id.into_bytes()))
    }
}

impl Revocation {
    pub(super) fn new(new: NewRevocation, now: u64) -> Self {
        let NewRevocation { project, matcher, issued_before, expires } = new;
        let id = RevocationId::random();
        Self { id, project, matcher, issued_before, created: now, expires }
    }

    /// Whether it applies to tokens that were issued then.
    pub(super) fn is_for(&self, issued_at: u64) -> bool {
        self.issued_before.is_none_or(|issued_before| issued_at <= issued_before)
    }

    /// Whether a revocation with the same matcher adds nothing to this one.
    pub(super) fn covers(&self, issued_before: Option<u64>, expires: u64) -> bool {
        let latest = |time: Option<u64>| time.unwrap_or(u64::MAX);
        latest(self.issued_before) >= latest(issued_before) && self.expires >= expires
    }

    pub(super) fn deletion(&self) -> RevocationChange {
        let Self { id, ref project, expires, .. } = *self;
        RevocationChange::Deleted { id, project: project.clone(), expires }
    }

    /// A test for many tokens.
    pub(super) fn predicate(&self) -> impl Fn(&Presented<'_>) -> bool {
        let is_selected = self.matcher.predicate();
        move |presented| is_selected(presented) && self.is_for(presented.token.issued_at)
    }
}
