//! Several gateways in memory: what they send each other, outages, and a bus with hostile messages.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod cost;
mod gateway;
mod hostile;
mod outages;
mod victim;
