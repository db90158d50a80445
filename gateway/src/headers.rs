//! Header values that are lists or have parameters.
//!
//! These are not the typed headers of the `headers` crate, because requests are judged more strictly
//! in one place and more leniently in another: two credentials that differ are rejected, and an
//! `Upgrade` list may name other protocols beside `websocket`, in any case.

use axum::http::{HeaderMap, HeaderName, header};

/// Whether a header's list of tokens contains `token`, in any case.
pub(crate) fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    items(headers, name).any(|item| item.eq_ignore_ascii_case(token))
}

/// Whether a header's list contains the media type, in any case and with any parameters.
pub(crate) fn has_media_type(headers: &HeaderMap, name: HeaderName, media_type: &str) -> bool {
    items(headers, name).any(|item| {
        item.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(media_type)
    })
}

/// Trimmed items of a comma-separated list, over all headers of that name.
pub(crate) fn items(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// Bearer tokens (RFC 6750 §2.1). Other schemes are for proxies.
pub(crate) fn bearer_tokens(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers.get_all(header::AUTHORIZATION).into_iter().filter_map(|value| {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(list: &[(HeaderName, &'static str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn lists_are_read_over_several_headers_and_in_any_case() {
        let connection =
            headers(&[(header::CONNECTION, "keep-alive"), (header::CONNECTION, "x , UpGrade")]);
        assert!(has_token(&connection, header::CONNECTION, "upgrade"));
        assert!(!has_token(&connection, header::CONNECTION, "up"));
    }

    #[test]
    fn parameters_of_media_types_are_ignored() {
        let accept = headers(&[(header::ACCEPT, "text/html, Application/JSON ;q=0.5")]);
        assert!(has_media_type(&accept, header::ACCEPT, "application/json"));
        assert!(!has_media_type(&accept, header::ACCEPT, "application/jsonp"));
        assert!(!has_media_type(&HeaderMap::new(), header::ACCEPT, "application/json"));
    }

    #[test]
    fn bearer_tokens_are_found_among_other_schemes() {
        let headers = headers(&[
            (header::AUTHORIZATION, "Basic YTpi"),
            (header::AUTHORIZATION, "bEARER  abc"),
        ]);
        assert_eq!(bearer_tokens(&headers).collect::<Vec<_>>(), ["abc"]);
    }
}
