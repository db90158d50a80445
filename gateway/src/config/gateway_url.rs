//! Syntax of the URLs in `resume.gateways`.

use signalbox_protocol::limits::GATEWAY_URL_BYTES;

/// The accepted form, for errors and the default file.
pub(super) const GATEWAY_URL: &str = "the URL of a gateway in quotes: quic, https, wss or ws, a host \
     and perhaps a port, such as \"quic://gateway-2.example.com:4433\"";

/// The schemes of the SDKs: QUIC, WebTransport, WebSocket, and WebSocket without TLS.
const SCHEMES: [&str; 4] = ["quic", "https", "wss", "ws"];

/// The reason why no client can use a text as the URL of a gateway.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum GatewayUrlError {
    #[error("has {0} bytes, more than {GATEWAY_URL_BYTES}")]
    Length(usize),
    #[error("contains a character that no URL has")]
    Character,
    #[error("has none of the schemes quic://, https://, wss:// and ws://")]
    Scheme,
    #[error("has a path, or ends with a slash; clients add the path")]
    Path,
    #[error("has a user name")]
    UserName,
    #[error("has no host")]
    Host,
    #[error("has a port that is not a number from 1 to 65535")]
    Port,
}

/// Checks that the SDKs accept this as the URL of a gateway.
pub(super) fn check_gateway_url(url: &str) -> Result<(), GatewayUrlError> {
    if url.len() > GATEWAY_URL_BYTES {
        return Err(GatewayUrlError::Length(url.len()));
    }
    if !url.bytes().all(|it| it.is_ascii_graphic()) {
        return Err(GatewayUrlError::Character);
    }
    let (scheme, address) = url.split_once("://").ok_or(GatewayUrlError::Scheme)?;
    if !SCHEMES.contains(&scheme) {
        return Err(GatewayUrlError::Scheme);
    }
    if address.contains(['/', '?', '#']) {
        return Err(GatewayUrlError::Path);
    }
    if address.contains('@') {
        return Err(GatewayUrlError::UserName);
    }
    // The colons of an IPv6 address are in brackets.
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (address, None),
    };
    let is_v6 = host.starts_with('[') && host.ends_with(']');
    if host.is_empty() || (host.contains(':') && !is_v6) {
        return Err(GatewayUrlError::Host);
    }
    match port.map(str::parse::<u16>) {
        None | Some(Ok(1..)) => Ok(()),
        Some(_) => Err(GatewayUrlError::Port),
    }
}

#[cfg(test)]
mod tests {
    use super::check_gateway_url;

    #[test]
    fn urls_that_no_client_accepts_are_rejected() {
        for url in [
            "quic://gateway-2.example.com",
            "https://gateway-2.example.com:443",
            "wss://203.0.113.7:4433",
            "ws://[::1]:9",
            "quic://[2001:db8::1]",
        ] {
            assert_eq!(check_gateway_url(url), Ok(()), "{url}");
        }
        let long = format!("quic://{}", "a".repeat(250));
        for (url, part) in [
            ("", "none of the schemes"),
            ("gateway-2.example.com", "none of the schemes"),
            ("http://a.example", "none of the schemes"),
            ("QUIC://a.example", "none of the schemes"),
            ("quic://", "no host"),
            ("quic://:4433", "no host"),
            ("quic://2001:db8::1", "no host"),
            ("wss://a.example/", "ends with a slash"),
            ("wss://a.example/v1/connect", "has a path"),
            ("wss://a.example?token=x", "has a path"),
            ("wss://me@a.example", "user name"),
            ("quic://a.example:0", "from 1 to 65535"),
            ("quic://a.example:99999", "from 1 to 65535"),
            ("quic://a.example:port", "from 1 to 65535"),
            ("quic://a.example ", "character"),
            ("quic://b\u{fc}cher.example", "character"),
            (&long, "257 bytes, more than 256"),
        ] {
            let error = check_gateway_url(url).unwrap_err().to_string();
            assert!(error.contains(part), "{url:?}: {error}");
        }
    }
}
