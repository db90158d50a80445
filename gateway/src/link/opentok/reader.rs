//! The receiving half.

use signalbox_opentok::{Action, ClientFrame, Receipt, Refusal, Request};
use signalbox_protocol::ClientMessage;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::tungstenite::Message;

use super::PendingJoin;
use crate::link::{
    socket_url::{SocketClaim, SocketUrl},
    transport::{Incoming, LinkError, LinkRequest, Reader},
    websocket::{MessageReader, Received},
};

/// The receiving half of a link of the vendor's SDK.
pub(super) struct OpenTokReader<S> {
    messages: MessageReader<S>,
    url: SocketUrl,
    /// The connection of the link, as text. Empty if the URL names none.
    own: String,
    /// The claim of a client that resumes, until it has been yielded.
    resume: Option<Option<SocketClaim>>,
    /// Filled with the first request.
    pending: Option<PendingJoin>,
}

impl<S> OpenTokReader<S> {
    pub(super) fn new(messages: MessageReader<S>, url: SocketUrl, pending: PendingJoin) -> Self {
        Self {
            messages,
            own: url.connection().map(|id| id.to_string()).unwrap_or_default(),
            resume: url.resumes().then(|| url.claim()),
            // A client that resumes has joined before.
            pending: (!url.resumes()).then_some(pending),
            url,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Reader for OpenTokReader<S> {
    const OVERTAKES: bool = false;

    async fn next(&mut self) -> Result<Incoming<'_>, LinkError> {
        if let Some(claim) = self.resume.take() {
            return Ok(Incoming::Resume(claim));
        }
        let bytes = match self.messages.receive().await? {
            Received::Message(Message::Binary(bytes)) => bytes,
            Received::Control => return Ok(Incoming::Control),
            Received::Message(_) => {
                return Err(LinkError::protocol(
                    "text message: this protocol has binary ones only",
                ));
            }
            // A client that leaves says goodbye before it closes the WebSocket. All others resume,
            // after any close code.
            Received::Closed(code) => {
                let code = code.map(u16::from).unwrap_or_default();
                return Err(LinkError::Lost(format!("closed without a goodbye, code {code}")));
            }
        };
        let frame =
            ClientFrame::decode(bytes).map_err(|fault| LinkError::protocol(fault.to_string()))?;
        Ok(match frame {
            ClientFrame::Ping => Incoming::Message(ClientMessage::Heartbeat {}),
            ClientFrame::Confirmation { transaction, address } => {
                match Receipt::parse(transaction, address) {
                    Some(receipt) => Incoming::Receipt(receipt),
                    None => Incoming::Nothing,
                }
            }
            ClientFrame::Request(request) => {
                if let Some(pending) = self.pending.take() {
                    *pending.lock() = Some(request.transaction.to_owned());
                }
                Incoming::Request(link_request(request, &self.own, &self.url))
            }
            ClientFrame::Disconnect { resumes: false } => {
                Incoming::Message(ClientMessage::Goodbye { signals: 0 })
            }
            ClientFrame::Disconnect { resumes: true } => {
                return Err(LinkError::Lost("the client moves to another WebSocket".into()));
            }
            // The request that follows names the connection, too.
            ClientFrame::Connect { .. } | ClientFrame::Ignored => Incoming::Nothing,
        })
    }

    async fn closed(&mut self) {
        self.messages.closed().await;
    }
}

fn link_request<'a>(request: Request<'a>, own: &str, url: &SocketUrl) -> LinkRequest<'a> {
    let Request { transaction, from, token, .. } = request;
    let action = if from == own {
        request.action().and_then(|action| match action {
            // To resume, the client shows nothing but the URL.
            Action::Create(create) if !url.names(&create.session, create.connection) => {
                Err(Refusal::new(403, "the request to join names another connection than the URL"))
            }
            action => Ok(action),
        })
    } else {
        Err(Refusal::new(403, "the request names another connection than the URL"))
    };
    LinkRequest { transaction, token, action, secret: url.secret() }
}
