//! Rejections that a client may not have read when its link was lost.
//!
//! A replay covers what is in the history. An error about a signal is addressed to its sender alone
//! and is not in the history. If it were not repeated, the sender would count the signal as
//! accepted.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use signalbox_protocol::ErrorCode;

/// Rejections kept for one connection. A client with more of them in flight when its link was lost
/// does not receive the oldest again.
const MAX_REJECTIONS: usize = 256;

/// A rejected signal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// Sequence number of the signal.
    pub signal: u64,
    /// Why it was rejected.
    pub code: ErrorCode,
    /// Description of the error.
    pub message: Box<str>,
}

/// The latest rejections of one connection, oldest first.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Rejections(VecDeque<Rejection>);

impl Rejections {
    pub(crate) fn push(&mut self, rejection: Rejection) {
        if self.0.len() == MAX_REJECTIONS {
            self.0.pop_front();
        }
        self.0.push_back(rejection);
    }

    pub(crate) fn clear(&mut self) {
        self.0 = VecDeque::new();
    }

    pub(crate) fn to_vec(&self) -> Vec<Rejection> {
        self.0.iter().cloned().collect()
    }
}
