//! The header of the PROXY protocol (version 2), with which a proxy names the client of a TCP
//! connection.

use std::{io, net::SocketAddr};

use proxy_header::{ParseConfig, ProxyHeader};
use tokio::{io::AsyncReadExt as _, net::TcpStream};

/// Bytes before the addresses: signature, version, family and length.
const FIXED: usize = 16;

/// Longest rest of a header, in bytes: addresses, and details such as those of TLS.
const MAX_REST: usize = 2048;

/// A header that cannot be used: the proxy's fault.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProxyHeaderError {
    #[error("the proxy sent no complete header")]
    Read(#[from] io::Error),
    #[error("the header of the proxy is longer than {} bytes", FIXED + MAX_REST)]
    TooLong,
    #[error("the proxy does not send the PROXY protocol, version 2 (setting proxy.protocol)")]
    Malformed,
}

/// Reads the header, and not a byte beyond it. `None` if the connection is the proxy's own, such as a
/// health check.
pub(super) async fn read(stream: &mut TcpStream) -> Result<Option<SocketAddr>, ProxyHeaderError> {
    let mut header = vec![0; FIXED];
    stream.read_exact(&mut header).await?;
    // Checked first: the length of something else means nothing.
    let Some(b"\r\n\r\n\0\r\nQUIT\n") = header.first_chunk::<12>() else {
        return Err(ProxyHeaderError::Malformed);
    };
    let Some(length) = header.last_chunk().map(|it| usize::from(u16::from_be_bytes(*it))) else {
        return Err(ProxyHeaderError::Malformed);
    };
    if length > MAX_REST {
        return Err(ProxyHeaderError::TooLong);
    }
    header.resize(FIXED + length, 0);
    stream.read_exact(header.get_mut(FIXED..).unwrap_or_default()).await?;
    let config = ParseConfig { include_tlvs: false, allow_v1: false, allow_v2: true };
    let (header, _) =
        ProxyHeader::parse(&header, config).map_err(|_| ProxyHeaderError::Malformed)?;
    Ok(header.proxied_address().map(|it| it.source))
}
