//! An admitted connection on its link: reading, writing, and everything that may end it.

use std::{
    future::{Future, pending},
    pin::pin,
};

use signalbox_protocol::CloseReason;
use signalbox_quic::when_woken;
use tokio::time::{sleep, timeout_at};

use super::{
    admitted::{Admitted, detach_or_leave},
    end::LinkEnd,
    read::read,
    transport::{Reader, Writer},
};
use crate::{
    lifecycle::Lifecycle, link_registry::LinkSource, metrics::TransportMetrics, services::Services,
};

/// Carries a connection until something ends it.
pub(super) fn carry(
    services: &Services,
    lifecycle: &Lifecycle,
    transport: &TransportMetrics,
    source: LinkSource,
    admitted: Admitted,
    reader: &mut impl Reader,
    writer: &mut impl Writer,
) -> impl Future<Output = LinkEnd> + Send {
    let Admitted { mut connection, outbox, expires_in } = admitted;
    async move {
        let expired = async {
            if services.policy().auth.end_on_token_expiry {
                Box::pin(sleep(expires_in)).await;
            } else {
                pending::<()>().await;
            }
        };
        let draining = async {
            lifecycle.drain_begun().await;
            let within = lifecycle.schedule().next();
            // Without a spread all links end at once, and the client cannot leave before.
            if !within.is_zero() {
                outbox.go_away(u32::try_from(within.as_millis()).unwrap_or(u32::MAX));
            }
            sleep(within).await;
        };
        writer.take_turns(connection.turns());
        let watch = writer.watch();
        let entry =
            services.links().enter(connection.id(), source, transport.transport, writer.rtt());
        let end = async {
            let reading = pin!(read(services, transport, &mut connection, &outbox, reader));
            let pumping = pin!(writer.pump(&outbox));
            let ending = pin!(async {
                tokio::select! {
                    end = LinkEnd::of_closed(&outbox) => end,
                    () = expired => LinkEnd::by(CloseReason::TokenExpired),
                    () = draining => LinkEnd::by(CloseReason::ShuttingDown),
                    error = watch => error.into(),
                }
            });
            tokio::select! {
                end = when_woken(reading) => end,
                result = when_woken(pumping) => match result {
                    Ok(reason) => LinkEnd::by(reason),
                    Err(error) => error.into(),
                },
                end = when_woken(ending) => end,
            }
        };
        let end = end.await;
        entry.end(connection.session_id().clone(), end.reason);
        detach_or_leave(services, lifecycle, connection, end.reason);
        if end.alive && end.reason != CloseReason::SlowConsumer {
            // The outbox is closed now. The client still gets what is queued in it.
            let by = writer.messages_by(end.farewell_by);
            let _ = timeout_at(by, writer.pump(&outbox)).await;
        }
        end
    }
}
