//! An established session.

use quinn::{Connection, SendStream, WriteError};
use tokio::io::AsyncWriteExt;
use web_transport_proto::{Capsule, Frame, VarInt};

use crate::{incoming::Incoming, session_id::SessionId};

/// Bytes of a reason that browsers accept when a session is closed (W3C WebTransport, `close()`).
const REASON_BYTES: usize = 1024;

/// An established session: one on its connection.
pub struct Session {
    /// Names the session in the prefixes of its streams.
    pub id: SessionId,
    /// The streams that the peer opens, and the end of the session.
    pub incoming: Incoming,
    /// Closes the session. Dropping it finishes the CONNECT stream, which ends the session with
    /// code 0.
    pub closer: Closer,
}

/// Closes a session in an orderly way.
pub struct Closer {
    connect: SendStream,
    /// The own control stream, which must stay open.
    _control: SendStream,
}

impl Closer {
    pub(crate) fn new(connect: SendStream, control: SendStream) -> Self {
        Self { connect, _control: control }
    }

    /// Sends the code and the reason, of which at most 1024 bytes are sent, and waits until the peer
    /// has acknowledged them. Data of streams that the peer's application has not read may be lost.
    ///
    /// # Errors
    ///
    /// The connection is lost, or the session is already closed.
    pub async fn close(&mut self, code: u32, reason: &str) -> Result<(), WriteError> {
        let reason = reason[..reason.floor_char_boundary(REASON_BYTES)].to_owned();
        let mut capsule = Vec::new();
        Capsule::CloseWebTransportSession { code, reason }.encode(&mut capsule);
        let mut frame = Vec::new();
        Frame::DATA.encode(&mut frame);
        VarInt::from_u32(u32::try_from(capsule.len()).unwrap_or(u32::MAX)).encode(&mut frame);
        frame.extend_from_slice(&capsule);
        self.connect.write_all(&frame).await?;
        self.connect.finish().map_err(|_| WriteError::ClosedStream)?;
        // An error here means that the connection is gone, and the session with it.
        let _ = self.connect.stopped().await;
        Ok(())
    }
}

/// Opens the own control stream with the settings of a peer that supports one session.
pub(crate) async fn send_settings(connection: &Connection) -> Result<SendStream, std::io::Error> {
    let mut control = connection.open_uni().await?;
    let mut settings = web_transport_proto::Settings::default();
    settings.enable_webtransport(1);
    let mut bytes = Vec::new();
    settings.encode(&mut bytes);
    AsyncWriteExt::write_all(&mut control, &bytes).await?;
    Ok(control)
}
