//! Refusals that a client may not have read when its link was lost.
//!
//! What was missed is found in the backlog, but an error about a signal is for its sender alone and
//! not there. Without it the sender would take the signal for accepted.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use signalbox_protocol::ErrorCode;

/// Refusals that are remembered for one connection. A client that had more than this on the way
/// when its link was lost is not told of the oldest again.
const REMEMBERED: usize = 256;

/// A signal that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Its sequence number.
    pub signal: u64,
    /// Why.
    pub code: ErrorCode,
    /// The same for people.
    pub message: Box<str>,
}

/// The latest refusals of one connection, in order.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Refusals(VecDeque<Refusal>);

impl Refusals {
    pub(crate) fn push(&mut self, refusal: Refusal) {
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(refusal);
    }

    /// The client has read them.
    pub(crate) fn clear(&mut self) {
        self.0 = VecDeque::new();
    }

    pub(crate) fn to_vec(&self) -> Vec<Refusal> {
        self.0.iter().cloned().collect()
    }
}
