//! Transport settings for small messages to many clients.

use std::{sync::Arc, time::Duration};

use quinn::{AckFrequencyConfig, TransportConfig};

use crate::FloorCubicConfig;

/// First estimate of the round-trip time. quinn's 333 ms delay the first probe to about a second.
const INITIAL_RTT: Duration = Duration::from_millis(100);

/// Packets that a client may receive without acknowledging them, for at most 25 ms. QUIC's default
/// is one. Receiving an acknowledgement costs as much as sending a signal.
const ACK_ELICITING_THRESHOLD: u32 = 10;

/// quinn's transport settings, with those that the parts of this crate rely on. Windows, stream
/// limits and timeouts are left to the caller.
pub fn transport_config() -> TransportConfig {
    let mut acknowledgements = AckFrequencyConfig::default();
    acknowledgements.ack_eliciting_threshold(ACK_ELICITING_THRESHOLD.into());

    let mut transport = TransportConfig::default();
    transport
        .datagram_receive_buffer_size(None)
        // Streams are served in the order in which they were written, instead of one packet each
        // in turn.
        .send_fairness(false)
        // quinn's own offload keeps a buffer of ten datagrams per connection, and even an idle
        // connection touches 3 KiB of it. `gso_socket.rs` has one buffer for all.
        .enable_segmentation_offload(false)
        .initial_rtt(INITIAL_RTT)
        // draft-ietf-quic-ack-frequency. Packets out of order are still acknowledged at once.
        .ack_frequency_config(Some(acknowledgements))
        .congestion_controller_factory(Arc::new(FloorCubicConfig::default()));
    transport
}
