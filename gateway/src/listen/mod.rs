//! Listeners: accepting, and everything that a transport needs before its hello can be read (TLS,
//! HTTP, the WebSocket upgrade).

mod drain_body;
mod host;
pub(crate) mod http;
mod malformed;
mod opentok_js;
pub(crate) mod ops;
mod origin;
mod outage;
pub(crate) mod page;
mod page_policy;
mod proxy_header;
pub(crate) mod quic;
pub(crate) mod tcp;
mod tcp_socket;
mod upgrade;
mod webtransport;
