//! The parameters of one direction of a link.

use std::time::Duration;

use crate::LossModel;

/// One direction of a link. The default is a perfect one.
///
/// Packets pass these stages in this order: the queue, the rate, loss, delay and jitter,
/// reordering.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LinkModel {
    /// One-way delay of every packet.
    pub delay: Duration,
    /// Largest additional delay, uniformly distributed. Jitter does not reorder packets.
    pub jitter: Duration,
    /// Random loss.
    pub loss: LossModel,
    /// Share of packets that later packets overtake, from 0 to 1.
    pub reorder: f64,
    /// Bits per second, IP headers included; `None` is unlimited.
    pub rate: Option<u64>,
    /// Bytes that may wait for a limited rate. A packet that does not fit is dropped.
    pub queue: u64,
}

impl Default for LinkModel {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            loss: LossModel::NONE,
            reorder: 0.0,
            rate: None,
            queue: 256_000,
        }
    }
}

/// A direction of a link, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "flags", derive(clap::ValueEnum, serde::Serialize))]
pub enum Direction {
    /// From the server to the client.
    #[cfg_attr(feature = "flags", value(name = "client"), serde(rename = "client"))]
    ToClient,
    /// From the client to the server.
    #[cfg_attr(feature = "flags", value(name = "server"), serde(rename = "server"))]
    ToServer,
    /// Both directions.
    #[cfg_attr(feature = "flags", value(name = "both"), serde(rename = "both"))]
    Both,
}
