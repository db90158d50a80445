//! End to end: real ports, real TLS, one module per promise, one binary.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's panic is its answer"
)]

mod bad_input;
mod conformance;
mod crowd;
mod early;
mod http;
mod kept;
mod lifecycle;
mod pacing;
mod projects;
mod proxies;
mod quic;
mod rest;
mod restart;
mod resume;
mod slow_consumer;
mod streams;
mod tokens;
mod vectors;
mod webhooks;
