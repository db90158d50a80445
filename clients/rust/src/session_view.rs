//! The session as the application has been told of it. [`Client`](crate::Client) reads it, and the
//! event dispatcher updates it with each event that it delivers.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use signalbox_protocol::{
    ConnectionId, ConnectionInfo, Role, SessionId,
    message::{Limits, Welcome},
};

use crate::event::Event;

/// The session, as far as the application has been told of it.
#[derive(Debug)]
pub(crate) struct SessionView {
    session: SessionId,
    role: Role,
    present_on_joining: u32,
    current: Mutex<CurrentView>,
}

/// The part that changes.
#[derive(Debug)]
struct CurrentView {
    connection: Arc<ConnectionInfo>,
    limits: Limits,
    gateways: Vec<String>,
    others: HashMap<ConnectionId, ConnectionInfo>,
}

impl SessionView {
    pub(crate) fn new(welcome: &Welcome) -> Self {
        let current = CurrentView {
            connection: Arc::new(welcome.connection.clone()),
            limits: welcome.limits.clone(),
            gateways: welcome.gateways.clone(),
            others: HashMap::new(),
        };
        let Welcome { ref session, role, present: present_on_joining, .. } = *welcome;
        Self { session: session.clone(), role, present_on_joining, current: Mutex::new(current) }
    }

    pub(crate) fn connection(&self) -> Arc<ConnectionInfo> {
        self.current.lock().connection.clone()
    }

    pub(crate) fn session(&self) -> &SessionId {
        &self.session
    }

    pub(crate) fn role(&self) -> Role {
        self.role
    }

    pub(crate) fn present_on_joining(&self) -> u32 {
        self.present_on_joining
    }

    /// The other connections, oldest first.
    pub(crate) fn presence(&self) -> Vec<ConnectionInfo> {
        let mut presence: Vec<_> = self.current.lock().others.values().cloned().collect();
        presence.sort_by_key(|info| (info.created_at, info.id));
        presence
    }

    pub(crate) fn limits(&self) -> Limits {
        self.current.lock().limits.clone()
    }

    /// URLs of other gateways.
    pub(crate) fn gateways(&self) -> Vec<String> {
        self.current.lock().gateways.clone()
    }

    /// Limits and gateways may change with each welcome: the gateway may have been reconfigured.
    pub(crate) fn welcomed_again(&self, welcome: &Welcome) {
        let mut current = self.current.lock();
        current.limits = welcome.limits.clone();
        current.gateways = welcome.gateways.clone();
    }

    /// Applies an event that is about to be delivered.
    pub(crate) fn apply(&self, event: &Event) {
        match event {
            Event::ConnectionCreated(info) => {
                self.current.lock().others.insert(info.id, info.clone());
            }
            Event::ConnectionDestroyed { id, .. } => {
                self.current.lock().others.remove(id);
            }
            Event::SessionRejoined { connection } => {
                let mut current = self.current.lock();
                current.connection = Arc::new(connection.clone());
                current.others.clear();
            }
            _ => {}
        }
    }
}
