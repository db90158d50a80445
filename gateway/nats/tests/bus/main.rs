//! Gateways that are joined by a real nats-server.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test's panic is its answer"
)]

mod credentials;
mod crossing;
mod foreign;
mod gateway;
mod outages;
mod startup;
mod tls;
