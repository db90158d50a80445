//! Revocation of client tokens by a project's server.
//!
//! ```text
//! REST ── revoke ─▶ RevocationList ──── checked at every join and resume, under its lock
//!           │            └─ Revocations, without I/O: entries and tombstones, merged in any order
//!           └─────▶ disconnect: the connections of revoked tokens that are here already
//! ```
//!
//! A [`RevocationChange`] is all that another gateway needs to know. [`merge`] applies one that was
//! made elsewhere; [`RevocationList::revoke`] and [`RevocationList::delete`] return those that were
//! made here.

mod change;
mod disconnect;
mod identity;
mod list;
mod matcher;
mod shared;

pub(crate) use self::{
    change::{NewRevocation, Revocation, RevocationChange, RevocationId},
    disconnect::{Revoked, delete, disconnect, disconnect_here, merge, revoke},
    identity::{Presented, token_identity},
    list::{ListFull, Revocations},
    matcher::Matcher,
    shared::RevocationList,
};
