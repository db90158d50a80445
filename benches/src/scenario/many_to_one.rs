//! Signals of many senders to one receiver with clients of the SDK: when each was due, and when it
//! arrived. The load is open: latency counts from when a signal was due.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use parking_lot::Mutex;
use signalbox_client::{Client, Event, Events};
use signalbox_loadgen::{
    clock::{Metronome, now_ns},
    latencies::Latencies,
    payload,
};
use signalbox_protocol::ConnectionId;

/// Nothing arrives for so long only if something is broken: it is longer than TCP waits before its
/// fifth transmission.
pub(super) const SILENCE: Duration = Duration::from_secs(15);

/// Pause between the last connect and the first signal.
pub(super) const PAUSE: Duration = Duration::from_millis(500);

/// A signal that has arrived.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    pub(super) from: ConnectionId,
    /// Its due time.
    pub(super) due_ns: u64,
    pub(super) at_ns: u64,
}

impl Arrival {
    pub(super) fn latency_ns(&self) -> u64 {
        self.at_ns.saturating_sub(self.due_ns)
    }

    /// It took longer than one and a half times the delay of its way.
    pub(super) fn is_late(&self, delay_ns: u64) -> bool {
        self.latency_ns() > delay_ns + delay_ns / 2
    }
}

/// Sends signals at the ticks of a metronome.
pub(super) async fn send(
    client: Client,
    to: ConnectionId,
    mut metronome: Metronome,
    signals: u64,
    lag: Arc<Mutex<Latencies>>,
) -> anyhow::Result<()> {
    for _ in 0..signals {
        let due_ns = metronome.tick().await?;
        lag.lock().record(now_ns().saturating_sub(due_ns));
        let signal = client.signal().data(payload::encode(due_ns)).to(to);
        signal.enqueue().await.context("a sender cannot send")?;
    }
    Ok(())
}

/// All signals, none of them missing.
pub(super) async fn receive(mut events: Events, signals: u64) -> anyhow::Result<Vec<Arrival>> {
    let mut arrivals = Vec::new();
    while (arrivals.len() as u64) < signals {
        let event = tokio::time::timeout(SILENCE, events.next()).await.with_context(|| {
            let received = arrivals.len();
            format!("nothing arrived for {SILENCE:?}, after {received} of {signals} signals")
        })?;
        match event.context("the receiver's connection ended")? {
            Event::Signal { from: signalbox_client::Sender::Connection(from), data, .. } => {
                let due_ns = data.as_deref().and_then(payload::decode);
                let due_ns = due_ns.context("a signal arrived that the benchmark did not send")?;
                arrivals.push(Arrival { from, due_ns, at_ns: now_ns() });
            }
            Event::SessionReconnecting { reason, message }
            | Event::SessionDisconnected { reason, message } => {
                anyhow::bail!("the receiver lost its connection ({reason}): {message}");
            }
            _ => {}
        }
    }
    Ok(arrivals)
}
