//! The pace at which a client is read, so that it takes no more time than others can spare.

use std::time::Duration;

use signalbox_protocol::ErrorCode;
use signalbox_relay::{Connection, RejectionReason, SignalCost};
use tokio::time::sleep;

/// Messages in a row after which other tasks run, so that a sender that never pauses cannot starve
/// the receivers.
const COOP_MESSAGES: u32 = 32;

/// Deliveries of these messages, after which other tasks run as well: about a tenth of a millisecond.
const COOP_DELIVERIES: usize = 1024;

/// Time for which a client that exceeds a rate limit is not read, so that reading and rejecting its
/// signals takes no time from others. Flow control then slows it down. In this time a tenth of a
/// second's permits become available, so few of its signals are rejected.
const RATE_LIMITED_PAUSE: Duration = Duration::from_millis(100);

/// A budget of messages and deliveries that a task handles before it yields to others.
#[derive(Default)]
pub(super) struct CoopBudget {
    messages: u32,
    deliveries: usize,
}

impl CoopBudget {
    /// Counts one message. Yields when the budget is used up, so that other tasks run and timers
    /// fire, until the links of the session are not too far behind its senders.
    pub(super) async fn tick(&mut self, connection: &Connection) {
        self.messages += 1;
        if self.messages < COOP_MESSAGES && self.deliveries < COOP_DELIVERIES {
            return;
        }
        *self = Self::default();
        loop {
            tokio::task::yield_now().await;
            if !connection.is_ahead() {
                break;
            }
        }
    }

    /// Counts the deliveries of a signal, and waits as long as the client must not be read.
    pub(super) async fn spend(&mut self, cost: SignalCost) {
        self.deliveries += cost.deliveries;
        if !cost.wait.is_zero() {
            // Boxed, as it is rare and an idle link should be small.
            Box::pin(sleep(cost.wait)).await;
        }
    }
}

/// The cost of a signal that the relay has rejected.
pub(super) fn cost_of_rejection(reason: &RejectionReason) -> SignalCost {
    cost_of_message(reason.code() != ErrorCode::RateLimited)
}

/// The cost of a message without deliveries that is within its rate, or not.
pub(super) fn cost_of_message(is_within_rate: bool) -> SignalCost {
    let wait = if is_within_rate { Duration::ZERO } else { RATE_LIMITED_PAUSE };
    SignalCost { deliveries: 0, wait }
}
