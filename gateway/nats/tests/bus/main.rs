//! Gateways that are joined by a real nats-server.

mod crossing;
mod foreign;
mod gateway;
mod outages;
mod server;
mod startup;
mod tls;
