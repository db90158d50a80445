//! End to end: real ports, real TLS, one module per promise, one binary.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's panic is its answer"
)]

mod admin;
mod bad_input;
mod certificates;
mod client_lifetime;
mod concurrent_senders;
mod conformance;
mod connect_webhooks;
mod crash;
mod full_gateway;
mod gateway_list;
mod http;
mod metrics;
mod opentok_bad_input;
mod opentok_http;
mod opentok_mixed;
mod opentok_resume;
mod ops;
mod page;
mod projects;
mod proxied_addresses;
mod quic;
mod rate_limit;
mod reload;
mod rest;
mod rest_bodies;
mod restart;
mod resume_messages;
mod resume_rejections;
mod reverse_proxies;
mod revocations;
mod sdk_rejoin;
mod sdk_resume;
mod shutdown;
mod slow_consumer;
mod strangers;
mod streams;
mod tail;
mod tokens;
mod tracing;
mod vectors;
mod webhooks;
mod webtransport;
mod zero_rtt;
