//! WebTransport over HTTP/3 on a [`quinn::Connection`]: one session per connection, streams only.
//!
//! After the setup a WebTransport stream is a plain QUIC stream behind a prefix of a few bytes, which
//! names the session. So this crate hands out quinn's own streams instead of wrapping them, and a
//! program that speaks raw QUIC as well can use the same code for both:
//!
//! | step | server | client |
//! |---|---|---|
//! | SETTINGS, extended CONNECT | [`Request::accept`], [`Request::establish`] | [`connect`] |
//! | streams of the peer, end of the session | [`Incoming::poll_next`] | the same |
//! | own streams | write [`SessionId::uni_prefix`] or [`SessionId::bidi_prefix`] first | the same |
//! | close with a code and a reason | [`Closer::close`] | the same |
//!
//! The frames of HTTP/3 are encoded and decoded by `web-transport-proto`, which speaks the dialects
//! of all current browsers (draft-ietf-webtrans-http3-02 and -07). Nothing here runs in a task of its
//! own, so a session costs no more than its futures and needs no runtime.
//!
//! Datagrams and several sessions on one connection are not supported: a further request is rejected,
//! and streams of another session are reset.

mod code;
mod incoming;
mod peer;
mod session;
mod session_id;
mod setup;
#[cfg(test)]
mod tests;

pub use http::{HeaderMap, StatusCode};

pub use self::{
    code::{H3_NO_ERROR, SESSION_GONE, from_http3, to_http3},
    incoming::{Incoming, PeerStream, SessionEnd},
    session::{Closer, Session},
    session_id::SessionId,
    setup::{Request, SetupError, connect},
};

/// The ALPN protocol name of HTTP/3 (RFC 9114 §3.1).
pub const ALPN: &[u8] = b"h3";
