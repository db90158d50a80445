//! Prefixes of connection ids, as typed by people: a whole id, or an unambiguous beginning.

use std::str::FromStr;

use signalbox_client::ConnectionId;

/// Characters of an id that are printed for people.
const SHORT: usize = 8;

/// Ids that an error lists at most.
const NAMED: usize = 5;

/// The first characters of an id, for people.
pub(crate) fn short(id: &ConnectionId) -> String {
    id.to_string().chars().take(SHORT).collect()
}

/// A whole id, or its first characters.
#[derive(Debug, Clone)]
pub(crate) struct IdPrefix(String);

impl FromStr for IdPrefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim().to_ascii_lowercase();
        let is_valid = |c: char| c.is_ascii_hexdigit() || c == '-';
        if text.is_empty() || text.len() > 36 || !text.chars().all(is_valid) {
            return Err(format!("{text:?} is neither a connection id nor the beginning of one"));
        }
        Ok(Self(text))
    }
}

impl IdPrefix {
    /// The id, if it is complete.
    pub(crate) fn whole(&self) -> Option<ConnectionId> {
        self.0.parse().ok()
    }

    /// The only one of these connections whose id has this prefix. A complete id is accepted as it is.
    pub(crate) fn resolve(
        &self,
        present: impl IntoIterator<Item = ConnectionId>,
    ) -> Result<ConnectionId, String> {
        if let Some(id) = self.whole() {
            return Ok(id);
        }
        let found: Vec<_> =
            present.into_iter().filter(|id| id.to_string().starts_with(&self.0)).collect();
        match found[..] {
            [id] => Ok(id),
            [] => {
                Err(format!("no connection in the session has an id that starts with {}", self.0))
            }
            _ => {
                let named: Vec<_> = found.iter().take(NAMED).map(ToString::to_string).collect();
                let more = if found.len() > NAMED { ", …" } else { "" };
                let (count, named) = (found.len(), named.join(", "));
                Err(format!(
                    "{count} connections have ids that start with {}: {named}{more}",
                    self.0
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_means_the_only_id_that_has_it() {
        let [a, b, c] = ["0b2f6a7e", "0b2f0000", "ffff0000"]
            .map(|start| format!("{start}-54c1-4d0a-9a39-1c4dca4d9f10"))
            .map(|id| id.parse::<ConnectionId>().unwrap());
        let find = |text: &str| text.parse::<IdPrefix>().unwrap().resolve([a, b, c]);
        assert_eq!(find("f"), Ok(c));
        assert_eq!(find("0B2F6"), Ok(a));
        assert_eq!(find(&short(&b)), Ok(b));
        let unknown: ConnectionId = "11111111-54c1-4d0a-9a39-1c4dca4d9f10".parse().unwrap();
        assert_eq!(find(&unknown.to_string()), Ok(unknown), "the gateway rejects an unknown id");
        let error = find("0b2f").unwrap_err();
        assert!(error.contains(&a.to_string()) && error.contains(&b.to_string()), "{error}");
        assert!(!error.contains(&c.to_string()), "{error}");
        assert!(find("2").unwrap_err().contains("starts with 2"));
        for text in ["", "bob", "0b2f6a7e-54c1-4d0a-9a39-1c4dca4d9f10-"] {
            assert!(text.parse::<IdPrefix>().unwrap_err().contains("connection id"), "{text}");
        }
    }
}
