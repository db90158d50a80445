//! The other gateways of a session, and the state that is kept because of them.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use signalbox_protocol::{ConnectionId, ConnectionInfo, GatewayId};

use super::tombstones::Tombstones;
use crate::{instance::Instance, receipts::Confirmed, update::Other};

/// The state that a session has once it has been shared with another gateway.
#[derive(Default)]
pub(crate) struct Shared {
    /// The other gateways of the session, which receive the updates of this one.
    pub(super) peers: Vec<Instance>,
    /// The peers whose histories reach back to the beginning of the session.
    pub(super) complete: Vec<Instance>,
    /// Whether the history here does not reach back to the beginning of the session.
    pub(super) incomplete: bool,
    /// The last signal of the servers of each other gateway.
    pub(super) servers: HashMap<GatewayId, u64>,
    pub(super) destroyed: Tombstones,
    /// Peers that have not sent their parts since this gateway was cut off. They may have taken or
    /// destroyed connections meanwhile.
    pub(super) unsure: Vec<Instance>,
    /// While the session is being opened here: connections of live gateways that have not answered,
    /// known from other gateways.
    pub(super) hearsay: HashMap<ConnectionId, Other>,
    /// Reports of ends that have been left to other gateways a short time ago.
    pub(super) left: VecDeque<LeftReport>,
    /// What clients have confirmed since the other gateways were told of it.
    pub(super) confirmed: HashMap<ConnectionId, Confirmed>,
    /// This gateway shuts down, and has left its connections to the others.
    pub(super) departing: bool,
}

/// The end of a connection of a lost gateway, which another gateway reports to its observer, unless
/// it is lost as well.
pub(crate) struct LeftReport {
    pub(super) reporter: Instance,
    pub(super) info: Arc<ConnectionInfo>,
    pub(super) at: Duration,
}

impl Shared {
    pub(crate) fn bury(&mut self, id: ConnectionId) {
        self.destroyed.insert(id);
    }
}
