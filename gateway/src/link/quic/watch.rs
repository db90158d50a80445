//! Work on a QUIC connection beside reading and writing: frequent keep-alives for a client that
//! needs them, and detection of a client that stops reading the control stream.

use std::{future::pending, time::Duration};

use quinn::VarInt;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::{CLOSE_REASON, CONNECTION_WINDOW};
use crate::link::transport::LinkError;

/// Yields when the client has stopped the control stream (STOP_SENDING). A write would detect that
/// too, but the next one may be far away. For a session it yields later: if the client is closing it,
/// the reading half yields the reason before.
pub(super) async fn watch(
    connection: quinn::Connection,
    stopped: impl Future<Output = Result<Option<VarInt>, quinn::StoppedError>>,
    keep_alive: Option<Duration>,
    is_session: bool,
) -> LinkError {
    let keep_alive = async {
        match keep_alive {
            // Boxed, as few clients need it.
            Some(every) => Box::pin(keep_alive_every(every, &connection)).await,
            None => pending().await,
        }
    };
    let stopped = async {
        match stopped.await {
            Ok(Some(_)) if is_session => Box::pin(sleep(CLOSE_REASON)).await,
            Ok(Some(_)) => {}
            // The connection is lost. The reading half detects that, with the reason.
            Ok(None) | Err(_) => pending().await,
        }
    };
    tokio::select! {
        () = stopped => LinkError::protocol("the client stopped the control stream"),
        () = keep_alive => pending().await,
    }
}

/// Sends keep-alives at an interval of this connection's own. quinn has one interval for all
/// connections and no call for a single ping, but a window update is a frame that the client
/// acknowledges too. The byte by which the window grows is taken back by the next bytes of the client.
async fn keep_alive_every(every: Duration, connection: &quinn::Connection) {
    let mut every = interval(every);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        connection.set_receive_window(VarInt::from_u32(CONNECTION_WINDOW - 1));
        connection.set_receive_window(VarInt::from_u32(CONNECTION_WINDOW));
    }
}
