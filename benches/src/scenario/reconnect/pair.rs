//! A pair of clients that signal to each other all the time. Each must receive all signals of the
//! other, once and in order, while their links fail.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use signalbox_client::{Client, Event, Events};
use signalbox_loadgen::{
    clock::{nanos, now_ns, sleep_until},
    payload,
};
use signalbox_protocol::ConnectionId;

/// Between two signals. A recovered client may wait so long for the next.
pub(super) const INTERVAL: Duration = Duration::from_millis(10);

/// The times at which signals are due.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    pub(super) start_ns: u64,
    pub(super) signals: u64,
}

impl Schedule {
    pub(super) fn due_ns(self, number: u64) -> u64 {
        self.start_ns + number * nanos(INTERVAL)
    }
}

/// Sends all signals to the other, each when it is due.
pub(super) async fn send_all(
    plan: Schedule,
    client: &Client,
    to: ConnectionId,
) -> anyhow::Result<()> {
    for number in 0..plan.signals {
        let due_ns = plan.due_ns(number);
        sleep_until(due_ns).await;
        client.signal().to(to).data(payload::encode(due_ns)).enqueue().await?;
    }
    Ok(())
}

/// The signals that one of the two received.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// The arrival of each signal, in order.
    pub(super) at_ns: Vec<u64>,
    /// Time at which it detected the loss of its link, and number of signals received before.
    pub(super) lost: Option<(u64, usize)>,
}

/// Receives all signals, each once and in order, and no presence event.
pub(super) async fn receive_all(
    plan: Schedule,
    mut events: Events,
    resumes: bool,
) -> anyhow::Result<Heard> {
    let mut heard = Heard::default();
    let mut resumed = 0;
    while (heard.at_ns.len() as u64) < plan.signals {
        match events.next().await.context("a client ended without an event")? {
            Event::Signal { data, .. } => {
                let due_ns = data.as_deref().and_then(payload::decode);
                let number = heard.at_ns.len() as u64;
                let expected = Some(plan.due_ns(number));
                ensure!(due_ns == expected, "signal {number} is lost, or another arrived twice");
                heard.at_ns.push(now_ns());
            }
            // Before the first signal.
            Event::SessionConnected { .. } | Event::ConnectionCreated(_)
                if heard.at_ns.is_empty() => {}
            Event::SessionReconnecting { .. } if resumes && heard.lost.is_none() => {
                heard.lost = Some((now_ns(), heard.at_ns.len()));
            }
            Event::SessionReconnected { gap: None, .. } if heard.lost.is_some() => resumed += 1,
            other => bail!("a client received an unexpected event: {other:?}"),
        }
    }
    ensure!(resumed == usize::from(resumes), "a client resumed {resumed} times");
    Ok(heard)
}
