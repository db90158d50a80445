//! What a QUIC connection needs beside reading and writing: keep-alives for a client that wants them
//! often, and a look at whether it still reads the control stream.

use std::{future::pending, time::Duration};

use quinn::VarInt;
use tokio::time::{MissedTickBehavior, interval};

use super::CONNECTION_WINDOW;
use crate::link::LinkError;

/// Yields when the client has stopped the control stream (STOP_SENDING). A write would notice that
/// too, but it may be long until the next one.
pub(super) async fn watch(
    connection: quinn::Connection,
    stopped: impl Future<Output = Result<Option<VarInt>, quinn::StoppedError>>,
    keep_alive: Option<Duration>,
) -> LinkError {
    let keep_alive = async {
        match keep_alive {
            // Boxed, as hardly any client needs it.
            Some(every) => Box::pin(keep_alive_every(every, &connection)).await,
            None => pending().await,
        }
    };
    let stopped = async {
        match stopped.await {
            Ok(Some(_)) => {}
            // The connection is lost, which the reading half notices, and tells apart.
            Ok(None) | Err(_) => pending().await,
        }
    };
    tokio::select! {
        () = stopped => LinkError::protocol("the client stopped the control stream"),
        () = keep_alive => pending().await,
    }
}

/// quinn sends pings at an interval that is the same for all connections. It has no call for a
/// single one, but a change of a window is told in a frame that the client acknowledges as well. The
/// byte that the window grows by is taken from what the client sends next.
async fn keep_alive_every(every: Duration, connection: &quinn::Connection) {
    let mut every = interval(every);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        connection.set_receive_window(VarInt::from_u32(CONNECTION_WINDOW - 1));
        connection.set_receive_window(VarInt::from_u32(CONNECTION_WINDOW));
    }
}
