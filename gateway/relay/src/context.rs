//! State shared by all sessions of a relay.

use std::sync::Arc;

use crate::{evicted::EvictedTickets, observer::Observer, settings::Settings};

/// Settings, observer and evicted tickets of one relay.
pub(crate) struct RelayContext {
    pub(crate) settings: Settings,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) evicted: EvictedTickets,
}
