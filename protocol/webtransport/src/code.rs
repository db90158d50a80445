//! Error codes: a WebTransport application has 32 bits, in a range of HTTP/3's codes
//! (draft-ietf-webtrans-http3-02 §4.3).

use quinn::VarInt;

/// RFC 9114 §8.1: the connection ends without an error.
pub const H3_NO_ERROR: VarInt = VarInt::from_u32(0x100);
/// RFC 9114 §8.1: the peer violates HTTP/3 in a way that has no code of its own.
pub(crate) const H3_GENERAL_PROTOCOL_ERROR: VarInt = VarInt::from_u32(0x101);
/// RFC 9114 §8.1: a stream of a type that is not accepted.
pub(crate) const H3_STREAM_CREATION_ERROR: VarInt = VarInt::from_u32(0x103);
/// RFC 9114 §8.1: a request that was not processed.
pub(crate) const H3_REQUEST_REJECTED: VarInt = VarInt::from_u32(0x10b);
/// draft-ietf-webtrans-http3 §4.6: a stream of a session that has ended is reset with this code.
pub const SESSION_GONE: VarInt = VarInt::from_u32(0x170d_7b68);
/// draft-ietf-webtrans-http3-02 §4.2: a stream of a session that does not exist.
pub(crate) const BUFFERED_STREAM_REJECTED: VarInt = VarInt::from_u32(0x3994_bd84);

/// The QUIC code of an application's code, for closing the connection or resetting a stream.
pub fn to_http3(code: u32) -> VarInt {
    // The range ends far below 2^62.
    VarInt::from_u64(web_transport_proto::error_to_http3(code)).unwrap_or(H3_NO_ERROR)
}

/// The application's code of a QUIC code; `None` for HTTP/3's own.
pub fn from_http3(code: VarInt) -> Option<u32> {
    web_transport_proto::error_from_http3(code.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_survive_the_way_to_http3_and_back() {
        for code in [0, 1, 0x1d, 0x1e, 0x1f, 4000, u32::MAX] {
            assert_eq!(from_http3(to_http3(code)), Some(code));
        }
        assert_eq!(to_http3(0).into_inner(), 0x52e4_a40f_a8db);
        assert_eq!(to_http3(u32::MAX).into_inner(), 0x52e5_ac98_3162);
        assert_eq!(from_http3(H3_NO_ERROR), None);
    }
}
