//! Listeners: they accept, do what their transport needs before a hello can be read, and hand
//! the link over. Only they know TLS, HTTP and addresses.

pub(crate) mod http;
mod malformed;
mod outage;
pub(crate) mod quic;
pub(crate) mod tcp;
mod tcp_socket;
mod unread;
mod upgrade;
