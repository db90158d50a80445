//! Revocation of client tokens by a project's server.
//!
//! ```text
//! REST ── revoke ─▶ RevocationList ──── checked at every join and resume, under its lock
//!           │            └─ Revocations, without I/O: entries and tombstones, merged in any order
//!           └─────▶ disconnect: the connections of revoked tokens that are here already
//! ```
//!
//! A [`RevocationChange`] is all that another gateway needs to know. Those that are made here are
//! announced to the other gateways of a cluster; [`apply`] applies theirs. [`export`] is the whole
//! list, for a gateway that may not know it.

mod change;
mod disconnect;
mod identity;
mod list;
mod matcher;
mod shared;
mod update;

pub(crate) use self::{
    change::{NewRevocation, Revocation, RevocationChange, RevocationId},
    disconnect::{Revoked, apply, delete, disconnect, export, merge, revoke},
    identity::{Presented, token_identity},
    list::{ListFull, Revocations},
    matcher::Matcher,
    shared::RevocationList,
};
