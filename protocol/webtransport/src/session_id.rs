//! The id of a session, with which each of its streams begins.

use quinn::SendStream;
use web_transport_proto::{Frame, StreamUni, VarInt};

/// A session's id: the number of its CONNECT stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionId(VarInt);

impl SessionId {
    pub(crate) fn new(stream: VarInt) -> Self {
        Self(stream)
    }

    pub(crate) fn of(connect: &SendStream) -> Self {
        let stream = quinn::VarInt::from(connect.id()).into_inner();
        // Both types hold the same integers.
        Self(VarInt::from_u64(stream).unwrap_or(VarInt::MAX))
    }

    /// The first bytes of a unidirectional stream of the session.
    pub fn uni_prefix(self) -> Vec<u8> {
        let mut prefix = Vec::new();
        StreamUni::WEBTRANSPORT.encode(&mut prefix);
        self.0.encode(&mut prefix);
        prefix
    }

    /// The first bytes of a bidirectional stream of the session.
    pub fn bidi_prefix(self) -> Vec<u8> {
        let mut prefix = Vec::new();
        Frame::WEBTRANSPORT.encode(&mut prefix);
        self.0.encode(&mut prefix);
        prefix
    }
}
