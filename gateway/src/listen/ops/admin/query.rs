//! The query of a list: what is searched for, and which part of the list is shown.

use std::str::FromStr;

use super::error::Error;

/// Bytes of a text that is searched for.
const MAX_SEARCH: usize = 256;

/// Entries of a page by default, and at most.
const USUAL_PAGE: usize = 50;
const MAX_PAGE: usize = 100;

/// The query of a list whose pages begin at a `T`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ListQuery<T> {
    /// The text that is searched for; empty for everything.
    pub(super) search: String,
    /// Where the page begins; none for the first one.
    pub(super) from: Option<T>,
    /// Entries of the page.
    pub(super) limit: usize,
}

impl<T: FromStr> ListQuery<T> {
    /// Reads a query. `start` is the parameter that says where the page begins.
    pub(super) fn read(query: Option<&str>, start: &'static str) -> Result<Self, Error> {
        let (mut search, mut from, mut limit) = (None, None, None);
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let first = match &*name {
                "search" => search.replace(checked_search(&value)?).is_none(),
                "limit" => limit.replace(checked_limit(&value)?).is_none(),
                name if name == start => {
                    let invalid =
                        || Error::invalid(format!("'{start}' is not from an earlier page"));
                    from.replace(value.parse().map_err(|_| invalid())?).is_none()
                }
                _ => {
                    let known = format!("the parameters are 'search', '{start}' and 'limit'");
                    return Err(Error::invalid(known));
                }
            };
            if !first {
                return Err(Error::invalid("a parameter is there twice"));
            }
        }
        let (search, limit) = (search.unwrap_or_default(), limit.unwrap_or(USUAL_PAGE));
        Ok(Self { search, from, limit })
    }
}

fn checked_search(text: &str) -> Result<String, Error> {
    let text = text.trim();
    if text.len() > MAX_SEARCH {
        return Err(Error::invalid(format!("'search' has more than {MAX_SEARCH} bytes")));
    }
    Ok(text.to_ascii_lowercase())
}

fn checked_limit(text: &str) -> Result<usize, Error> {
    let limit = text.parse().ok().filter(|limit| (1..=MAX_PAGE).contains(limit));
    limit.ok_or_else(|| Error::invalid(format!("'limit' must be from 1 to {MAX_PAGE}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Option<ListQuery<usize>> {
        ListQuery::read(Some(query), "before").ok()
    }

    #[test]
    fn every_parameter_is_checked() {
        let all = read("search=%20Alice%26&before=7&limit=100").unwrap();
        assert_eq!(all, ListQuery { search: "alice&".into(), from: Some(7), limit: 100 });
        let usual = read("").unwrap();
        assert_eq!(usual, ListQuery { search: String::new(), from: None, limit: 50 });
        for wrong in
            ["limit=0", "limit=101", "limit=x", "before=", "before=-1", "limit=1&limit=1", "x=1"]
        {
            assert!(read(wrong).is_none(), "{wrong}");
        }
        assert!(read(&format!("search={}", "a".repeat(256))).is_some());
        assert!(read(&format!("search={}", "a".repeat(257))).is_none());
    }
}
