//! Syntax of the origins in `auth.allowed_origins`.

/// The accepted form, for errors and the default file.
pub(super) const ORIGIN: &str = "an origin as browsers send it, in quotes: scheme, host and no path, such as \
     \"https://app.example.com\" or \"http://localhost:3000\"";

/// The reason why no browser sends this text as an origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum OriginError {
    #[error("contains a *, which is only accepted alone, for all origins")]
    Wildcard,
    #[error("contains a character that no origin has (browsers send other letters as xn--…)")]
    Character,
    #[error("has no scheme, such as https://")]
    Scheme,
    #[error("ends with a slash, which no origin does: write \"{0}\"")]
    TrailingSlash(String),
    #[error("has a path, which no origin has")]
    Path,
    #[error("has a user name, which no origin has")]
    UserName,
    #[error("has no host")]
    Host,
    #[error("has a port that is not a number from 0 to 65535")]
    Port,
    #[error("names the default port, which browsers leave out: write \"{0}\"")]
    DefaultPort(String),
}

/// Checks that a browser may send this as the origin of a page: "scheme://host", with the port if
/// it is not the default of the scheme (RFC 6454 §6.2), or `null`. A `*` alone stands for all.
pub(super) fn check_origin(origin: &str) -> Result<(), OriginError> {
    if matches!(origin, "*" | "null") {
        return Ok(());
    }
    if origin.contains('*') {
        return Err(OriginError::Wildcard);
    }
    let is_separator = |it: char| it.is_ascii_whitespace() || it.is_ascii_control();
    if !origin.is_ascii() || origin.contains(is_separator) {
        return Err(OriginError::Character);
    }
    let (scheme, host) = origin.split_once("://").ok_or(OriginError::Scheme)?;
    let in_scheme = |it: char| it.is_ascii_alphanumeric() || "+-.".contains(it);
    if scheme.is_empty() || !scheme.chars().all(in_scheme) {
        return Err(OriginError::Scheme);
    }
    if let Some(name) = host.strip_suffix('/').filter(|it| !it.is_empty() && !it.contains('/')) {
        return Err(OriginError::TrailingSlash(format!("{scheme}://{name}")));
    }
    if host.contains(['/', '?', '#']) {
        return Err(OriginError::Path);
    }
    if host.contains('@') {
        return Err(OriginError::UserName);
    }
    // The colons of an IPv6 address are in brackets.
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    if name.is_empty() {
        return Err(OriginError::Host);
    }
    let Some(port) = port else { return Ok(()) };
    if port.parse::<u16>().is_err() {
        return Err(OriginError::Port);
    }
    let is_default = |of: &str, default: &str| scheme.eq_ignore_ascii_case(of) && port == default;
    if is_default("https", "443") || is_default("http", "80") {
        return Err(OriginError::DefaultPort(format!("{scheme}://{name}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check_origin;

    #[test]
    fn origins_that_no_browser_sends_are_rejected() {
        for origin in [
            "*",
            "null",
            "https://app.example.com",
            "HTTPS://App.Example.Com",
            "http://localhost:3000",
            "https://[::1]:8443",
            "https://[::1]",
            "capacitor://localhost",
            "chrome-extension://abcdefghijklmnop",
        ] {
            assert_eq!(check_origin(origin), Ok(()), "{origin}");
        }
        for (origin, part) in [
            ("", "no scheme"),
            ("app.example.com", "no scheme"),
            ("//app.example.com", "no scheme"),
            ("://app.example.com", "no scheme"),
            ("https://app.example.com/", "write \"https://app.example.com\""),
            ("https://app.example.com/app", "has a path"),
            ("https://app.example.com/app/", "has a path"),
            ("https://app.example.com?x", "has a path"),
            ("https://*.example.com", "contains a *"),
            ("https://*", "contains a *"),
            ("https://", "no host"),
            ("https:///", "has a path"),
            ("https://me@example.com", "user name"),
            ("https://app.example.com:443", "write \"https://app.example.com\""),
            ("http://localhost:80", "write \"http://localhost\""),
            ("https://app.example.com:port", "port"),
            ("https://app.example.com:99999", "port"),
            ("https://app.example.com ", "character"),
            ("https://b\u{fc}cher.example", "xn--"),
        ] {
            let error = check_origin(origin).unwrap_err().to_string();
            assert!(error.contains(part), "{origin:?}: {error}");
        }
    }
}
