//! Graceful shutdown: clients are asked to leave at spread times, so that the next gateway is not
//! hit by all of them at once, and every step has a time limit.
//!
//! ```text
//! shutdown ─ readiness delay ─ no new clients, go away ─ … links end one by one … ─ bye to the rest ─ webhooks
//!            /readyz fails     signals flow as before
//! ```

use std::time::Duration;

use signalbox_protocol::limits::FAREWELL;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{lifecycle::Lifecycle, services::Services, state_file::StateFile, webhook::Webhooks};

/// Time for other gateways to open the sessions of this one.
const HANDOVER: Duration = Duration::from_secs(5);

/// Drains the gateway. In a cluster, resumable connections are left to the other gateways. With a
/// state file, those that are not are saved for the next process; all others end. When `hurry` is cancelled, all links end at once.
pub(crate) async fn drain(
    services: &Services,
    lifecycle: &Lifecycle,
    webhooks: &Webhooks,
    state_file: Option<&StateFile>,
    hurry: &CancellationToken,
) {
    let (relay, drain) = (services.relay(), services.policy().drain.clone());
    // Load balancers stop sending clients before clients are refused.
    lifecycle.mark_unready();
    hurry.run_until_cancelled(sleep(drain.readiness_delay())).await;

    info!(connections = relay.stats().connections, "drain started");
    let done_by = Instant::now() + drain.timeout();
    lifecycle.begin_drain();
    let handed_over = async {
        if let Some(cluster) = services.cluster() {
            cluster.hand_over(HANDOVER.min(drain.timeout())).await;
        }
    };
    let all_gone = timeout(lifecycle.schedule().spread(), lifecycle.clients_done());
    let _ = hurry.run_until_cancelled(async { tokio::join!(handed_over, all_gone) }).await;
    match state_file {
        Some(file) => file.save(services, done_by).await,
        None => relay.shut_down(),
    }
    lifecycle.end();
    let rest = async {
        lifecycle.clients_done().await;
        lifecycle.detached_done().await;
        webhooks.drained().await;
    };
    let in_time = tokio::select! {
        rest = timeout_at(done_by, rest) => rest.is_ok(),
        () = async { hurry.cancelled().await; sleep(FAREWELL).await } => false,
    };
    if !in_time {
        let (clients, events) = (lifecycle.clients(), webhooks.queued());
        warn!(clients, webhook_events = events, "drain timed out; the rest was dropped");
    }
}
