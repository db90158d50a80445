//! The end of a link, as the SDK understands it.
//!
//! | close code | the client |
//! |---|---|
//! | 1000 | has said goodbye |
//! | 1003 | does not resume: its session is over, or was never joined |
//! | 1012 | resumes at once |

use signalbox_opentok::message;
use signalbox_protocol::{CloseReason, ConnectionId, SessionId};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// The SDK's name for the refusal of a connection because of a limit.
const LIMIT: &str = "connectionLimitExceeded";

/// The progress of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stage<'a> {
    /// The client has sent no request.
    Silent,
    /// The client waits for the answer to its request to join, with this transaction id.
    Joining(&'a str),
    /// The client resumes, and waits for its connection.
    Resuming,
    /// The client has its connection.
    Joined,
}

/// What is sent at the end of a link.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Farewell {
    /// A frame before the close.
    pub(super) frame: Option<Vec<u8>>,
    /// Whether the client would resume without a pause, and has to wait for [`super::RETRY_PAUSE`].
    pub(super) pause: bool,
    pub(super) code: CloseCode,
}

impl Farewell {
    /// `own` is the client's connection, if it is known. `text` is for people.
    pub(super) fn new(
        stage: &Stage<'_>,
        reason: CloseReason,
        text: &str,
        own: Option<(&SessionId, ConnectionId)>,
    ) -> Self {
        let end = |frame| Self { frame, pause: false, code: CloseCode::Unsupported };
        let deleted = || {
            let (session, id) = own?;
            Some(message::deleted(session, None, id, reason.disconnect_reason()))
        };
        match (stage, reason) {
            (Stage::Joining(transaction), CloseReason::ConnectionLimit) => {
                end(Some(message::refused(transaction, 403, LIMIT)))
            }
            (Stage::Joining(transaction), _) => {
                end(Some(message::refused(transaction, refusal_status(reason), text)))
            }
            (Stage::Resuming, CloseReason::ShuttingDown | CloseReason::NetworkDisconnected) => {
                Self { frame: None, pause: true, code: CloseCode::Restart }
            }
            (Stage::Resuming, CloseReason::ForceDisconnected) => end(deleted()),
            (Stage::Silent | Stage::Resuming, _) | (Stage::Joined, CloseReason::Superseded) => {
                end(None)
            }
            (Stage::Joined, CloseReason::ClientDisconnected) => {
                Self { frame: None, pause: false, code: CloseCode::Normal }
            }
            (Stage::Joined, CloseReason::ShuttingDown) => {
                Self { frame: None, pause: false, code: CloseCode::Restart }
            }
            (Stage::Joined, _) => end(deleted()),
        }
    }
}

/// The status of a refused join. The SDK knows three that mean that the client is at fault.
fn refusal_status(reason: CloseReason) -> u16 {
    match reason {
        CloseReason::InvalidToken | CloseReason::TokenExpired | CloseReason::WrongProject => 403,
        other => other.http_status(),
    }
}

#[cfg(test)]
mod tests {
    use signalbox_opentok::frame::{Frame, FrameKind};

    use super::*;

    fn farewell(
        stage: &Stage<'_>,
        reason: CloseReason,
    ) -> (u16, bool, Option<(FrameKind, String)>) {
        let session: SessionId =
            "1_MX4xMjM0NTY3OH5-MTc5NTUwMzI4OTU3MH5BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUF-fg"
                .parse()
                .unwrap();
        let own = Some((&session, ConnectionId::from_bytes([1; 16])));
        let Farewell { frame, pause, code } = Farewell::new(stage, reason, "why", own);
        let frame = frame.map(|frame| {
            let frame = Frame::decode(&frame).unwrap();
            let status = frame.header("STATUS").unwrap().unwrap_or_default();
            let body: serde_json::Value = serde_json::from_str(frame.body).unwrap();
            (frame.kind, format!("{status}{}", body["reason"].as_str().unwrap()))
        });
        (code.into(), pause, frame)
    }

    #[test]
    fn clients_resume_after_a_restart_only() {
        let joining = Stage::Joining("t");
        let status = |text: &str| Some((FrameKind::Status, text.to_owned()));
        let deleted = |text: &str| Some((FrameKind::Message, text.to_owned()));
        for (stage, reason, expected) in [
            (Stage::Silent, CloseReason::HelloTimeout, (1003, false, None)),
            (joining.clone(), CloseReason::InvalidToken, (1003, false, status("403why"))),
            (joining.clone(), CloseReason::TokenExpired, (1003, false, status("403why"))),
            (joining.clone(), CloseReason::ProtocolError, (1003, false, status("400why"))),
            // The connection id is in use.
            (joining.clone(), CloseReason::Superseded, (1003, false, status("409why"))),
            (
                joining.clone(),
                CloseReason::ConnectionLimit,
                (1003, false, status("403connectionLimitExceeded")),
            ),
            (joining, CloseReason::ShuttingDown, (1003, false, status("503why"))),
            (Stage::Resuming, CloseReason::InvalidTicket, (1003, false, None)),
            (Stage::Resuming, CloseReason::ShuttingDown, (1012, true, None)),
            (
                Stage::Resuming,
                CloseReason::ForceDisconnected,
                (1003, false, deleted("forceDisconnected")),
            ),
            (Stage::Joined, CloseReason::ClientDisconnected, (1000, false, None)),
            (Stage::Joined, CloseReason::Superseded, (1003, false, None)),
            (Stage::Joined, CloseReason::ShuttingDown, (1012, false, None)),
            (
                Stage::Joined,
                CloseReason::ForceDisconnected,
                (1003, false, deleted("forceDisconnected")),
            ),
            (
                Stage::Joined,
                CloseReason::SlowConsumer,
                (1003, false, deleted("networkDisconnected")),
            ),
            (
                Stage::Joined,
                CloseReason::ProtocolError,
                (1003, false, deleted("networkDisconnected")),
            ),
        ] {
            assert_eq!(farewell(&stage, reason), expected, "{stage:?} {reason}");
        }
    }
}
