//! The answer of a project's server.

use serde::Deserialize;

use super::ConnectRefusal;

/// Bytes of a reason that a client receives. The rest is cut off.
pub(super) const REASON_BYTES: usize = 200;

/// The decision of a server. Other members are ignored.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct ConnectAnswer {
    pub(super) allow: bool,
    /// For the client, if it is refused.
    reason: Option<String>,
}

impl ConnectAnswer {
    /// # Errors
    /// [`ConnectRefusal::Denied`], with the reason in its bounds.
    pub(super) fn into_result(self) -> Result<(), ConnectRefusal> {
        if self.allow {
            return Ok(());
        }
        let reason = self.reason.as_deref().map(bounded).filter(|reason| !reason.is_empty());
        Err(ConnectRefusal::Denied { reason })
    }
}

/// The beginning of a text, without control characters, which could forge lines of a log.
fn bounded(text: &str) -> String {
    let mut bounded = String::new();
    for character in text.chars().filter(|it| !it.is_control()) {
        if bounded.len() + character.len_utf8() > REASON_BYTES {
            break;
        }
        bounded.push(character);
    }
    bounded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(text: &str) -> Option<String> {
        let answer = ConnectAnswer { allow: false, reason: Some(text.to_owned()) };
        match answer.into_result() {
            Err(ConnectRefusal::Denied { reason }) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_reason_is_cut_between_characters_and_has_no_control_characters() {
        assert_eq!(reason("no\r\nmore\u{1b}[31m").as_deref(), Some("nomore[31m"));
        let long = "ü".repeat(REASON_BYTES);
        assert_eq!(reason(&long), Some("ü".repeat(REASON_BYTES / 2)));
        assert_eq!(reason(&format!("x{long}")).unwrap().len(), REASON_BYTES - 1);
        assert_eq!(reason("\n"), None);
    }

    #[test]
    fn allow_must_be_a_boolean_and_other_members_are_ignored() {
        let read = |text| serde_json::from_str::<ConnectAnswer>(text).ok();
        assert_eq!(
            read(r#"{"allow":true,"x":1}"#),
            Some(ConnectAnswer { allow: true, reason: None })
        );
        for wrong in ["", "{}", "true", "null", r#"{"allow":1}"#, r#"{"allow":"true"}"#] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
