//! Maximum lengths and counts. The first three are the vendor's documented limits, which the
//! vendor's servers and clients rely on. The others bound the memory that one peer can make the
//! other use.

use std::time::Duration;

/// Longest signal `type`, in bytes.
pub const TYPE_BYTES: usize = 128;

/// Longest signal `data`, in bytes of UTF-8.
pub const DATA_BYTES: usize = 8192;

/// Longest connection data (a token's text about its bearer), in bytes of UTF-8. The vendor allows
/// 1000 characters, which are at most 4000 bytes; one of its SDKs accepts 1024.
pub const CONNECTION_DATA_BYTES: usize = 4096;

/// Longest token, in bytes. A token holds at most the connection data (base64, percent-encoded
/// where the token is of the older kind, which makes 16 KiB of 4) and about 600 bytes of claims and
/// signature.
pub const TOKEN_BYTES: usize = 18 * 1024;

/// Longest name of a client (`agent`), in bytes.
pub const AGENT_BYTES: usize = 64;

/// Maximum number of features in a `hello` or `welcome`.
pub const FEATURES: usize = 32;

/// Longest name of a feature, in bytes.
pub const FEATURE_BYTES: usize = 32;

/// Maximum number of other gateways in a `welcome`.
pub const GATEWAYS: usize = 16;

/// Longest URL of a gateway in a `welcome`, in bytes.
pub const GATEWAY_URL_BYTES: usize = 256;

/// Longest postcard message that a client may send, in bytes, without its length prefix. It is
/// well above the longest valid signal, so that a signal that is slightly too long gets an
/// error and the link continues. Beyond this limit the link ends.
pub const CLIENT_FRAME_BYTES: usize = 20 * 1024;

/// Longest JSON message that a client may send, in bytes. JSON may write one byte of data as
/// six (`\u0000`), so the valid maximum is about 50 KiB.
pub const CLIENT_JSON_BYTES: usize = 64 * 1024;

/// Longest postcard message that a gateway sends, in bytes, without its length prefix.
pub const GATEWAY_FRAME_BYTES: usize = 64 * 1024;

/// Longest JSON message that a gateway sends, in bytes.
pub const GATEWAY_JSON_BYTES: usize = 256 * 1024;

/// Maximum bytes of connection descriptions in one `present` message
/// (one description always fits, regardless of its length).
pub const PRESENT_BYTES: usize = 16 * 1024;

/// Maximum number of cursors in one message.
pub const CURSORS: usize = 500;

/// Maximum number of cursors of one resume. A client with more senders omits those that
/// have left, and joins again if there are still too many.
pub const CURSORS_IN_ALL: usize = 20_000;

/// Longest ticket, in bytes. It holds a connection id, a secret, the issuing gateway's name and
/// epoch, and a session id, in base64: 502 bytes at most.
pub const TICKET_BYTES: usize = 512;

/// Maximum number of senders in one `gap` message.
pub const LOST: usize = 500;

/// Time for which each side of a link waits for the other after the end of the link was announced:
/// a client for the remaining data, a gateway for the client to close.
pub const FAREWELL: Duration = Duration::from_secs(1);
