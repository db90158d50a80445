//! Several gateways as one system: real NATS, real ports, real TLS.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's panic is its answer"
)]

mod failures;
mod gateways;
mod requests;
mod sessions;
