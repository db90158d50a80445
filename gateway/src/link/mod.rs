//! The life of every link, from its hello to its end, for all transports.
//!
//! A transport implements [`Reader`] and [`Writer`] for whole messages and nothing else. All steps
//! are in [`serve`], so that no transport can skip one:
//!
//! ```text
//! hello (in time) → token → join → welcome ┬─ read messages        (never waits for writing)
//!   admit.rs, resume.rs, welcome.rs        ├─ pump the outbox      (never waits for reading)
//!                                 carry.rs ├─ the outbox is closed (kick, takeover, overflow)
//!                                          ├─ the token expires
//!                                          ├─ the transport fails while nothing is written
//!                                          └─ the gateway drains, and asks the client to leave
//!                   detach or leave → queued frames, bye, close (all of it in at most a second)
//! ```

mod admit;
mod admitted;
mod carry;
mod control_rate;
mod end;
pub(crate) mod opentok;
mod pace;
pub(crate) mod quic;
mod read;
mod resume;
mod resume_claim;
pub(crate) mod socket_url;
mod ticket;
mod transport;
pub(crate) mod websocket;
mod welcome;

use std::{future::Future, net::SocketAddr, sync::Arc};

use signalbox_protocol::{Codec, Streams, Transport};
use signalbox_relay::Encoding;
use tokio::time::{Instant, timeout_at};
use tracing::{Span, debug, error_span, field};

use self::{
    admit::{Stranger, admit},
    carry::carry,
    transport::{Reader, Writer},
};
use crate::{
    admission::AdmissionPermit, lifecycle::Lifecycle, link_id::LinkId, link_registry::LinkSource,
    services::Services,
};

#[cfg(test)]
mod tests;

/// A link before its hello.
pub(crate) struct LinkInfo {
    /// The number of its connection.
    pub(crate) id: LinkId,
    /// Its transport and protocol, which do not change.
    pub(crate) form: LinkForm,
    /// The client's address.
    pub(crate) remote: SocketAddr,
    /// The deadline of the hello.
    pub(crate) hello_by: Instant,
    /// Held until the client has been welcomed.
    pub(crate) permit: AdmissionPermit,
}

impl LinkInfo {
    /// The span of the link's task. Its level is that of an error, so that every line of the link has
    /// it at every level, also at one that is set while the link is open.
    pub(crate) fn span(&self) -> Span {
        error_span!(
            parent: None,
            "link",
            id = self.id.number(),
            transport = self.form.transport.as_str(),
            codec = self.form.protocol.as_str(),
            remote = %self.remote,
            session = field::Empty,
            connection = field::Empty,
        )
    }
}

/// The transport and protocol of a link.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LinkForm {
    pub(crate) transport: Transport,
    pub(crate) protocol: LinkProtocol,
}

/// The protocol of a link.
#[derive(Debug, Clone, Copy)]
pub(crate) enum LinkProtocol {
    /// Signalbox's own, in this codec.
    Signalbox(Codec),
    /// That of the vendor's browser SDK.
    OpenTok,
}

impl LinkProtocol {
    /// The name in logs.
    fn as_str(self) -> &'static str {
        match self {
            Self::Signalbox(codec) => codec.as_str(),
            Self::OpenTok => "opentok",
        }
    }
}

impl LinkForm {
    /// The encoding of frames for a client that asked for these streams.
    fn encoding(self, streams: Streams) -> Encoding {
        match (self.transport, self.protocol, streams) {
            (_, LinkProtocol::OpenTok, _) => Encoding::OpenTok,
            (_, LinkProtocol::Signalbox(Codec::Json), _) => Encoding::Json,
            (
                Transport::Quic | Transport::WebTransport,
                LinkProtocol::Signalbox(Codec::Postcard),
                Streams::PerSender,
            ) => Encoding::PerSender,
            (_, LinkProtocol::Signalbox(Codec::Postcard), _) => Encoding::Shared,
        }
    }
}

/// Serves a link from its hello to its end, in the span of its task ([`LinkInfo::span`]).
///
/// The size of the future is the memory of an idle link. A future has room for everything that it
/// holds at any time, and an `async fn` for its arguments twice. So this is not an `async fn`, and
/// large parts that run rarely are boxed.
pub(crate) fn serve(
    services: Arc<Services>,
    lifecycle: Arc<Lifecycle>,
    info: LinkInfo,
    mut reader: impl Reader,
    mut writer: impl Writer,
) -> impl Future<Output = ()> + Send {
    let LinkInfo { form, hello_by, permit, id, remote, .. } = info;
    let source = LinkSource { id, remote };
    let open = services.metrics().transport(form.transport).open();
    async move {
        let (reader, writer) = (&mut reader, &mut writer);
        let stranger = Stranger { form, address: remote.ip(), permit: &permit, hello_by };
        let admission = Box::pin(admit(&services, &lifecycle, stranger, reader, writer));
        let end = match admission.await {
            Ok(admitted) => {
                permit.client().admitted();
                drop(permit);
                let transport = open.transport();
                carry(&services, &lifecycle, transport, source, admitted, reader, writer).await
            }
            Err(end) => end,
        };
        debug!(reason = %end.reason, detail = end.detail, "link ended");
        if end.alive {
            let farewell = Box::pin(async {
                // A failure here needs no handling, as the transport ends next. If the client has
                // closed it, its closing handshake must still be answered.
                let _ = writer.finish(end.reason, &end.detail, end.farewell_by).await;
                reader.closed().await;
            });
            let _ = timeout_at(end.farewell_by, farewell).await;
        }
        writer.abort(end.reason);
        open.end(end.reason);
    }
}
