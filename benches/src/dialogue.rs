//! Two clients that signal to each other all the time, and each must hear all that the other says,
//! once and in order, whatever becomes of their links.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use signalbox_client::{Client, Event, Events};
use signalbox_protocol::ConnectionId;

use crate::{
    clock::{nanos, now_ns, sleep_until},
    payload,
};

/// Between two signals. A client that is back may have to wait so long for the next.
pub(crate) const INTERVAL: Duration = Duration::from_millis(10);

/// When signals are due.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) start_ns: u64,
    pub(crate) signals: u64,
}

impl Plan {
    pub(crate) fn due_ns(self, number: u64) -> u64 {
        self.start_ns + number * nanos(INTERVAL)
    }
}

/// Says all signals to another, each when it is due.
pub(crate) async fn talk(plan: Plan, client: &Client, to: ConnectionId) -> anyhow::Result<()> {
    for number in 0..plan.signals {
        let due_ns = plan.due_ns(number);
        sleep_until(due_ns).await;
        client.signal().to(to).data(payload::encode(due_ns)).enqueue().await?;
    }
    Ok(())
}

/// What one of the two heard.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// When each signal came, in order.
    pub(crate) at_ns: Vec<u64>,
    /// When it knew that its link was lost, and how many signals it had heard before.
    pub(crate) lost: Option<(u64, usize)>,
}

/// Hears all signals, each once and in order, and nothing of anybody's coming or going.
pub(crate) async fn listen(
    plan: Plan,
    mut events: Events,
    comes_back: bool,
) -> anyhow::Result<Heard> {
    let mut heard = Heard::default();
    let mut back = 0;
    while (heard.at_ns.len() as u64) < plan.signals {
        match events.next().await.context("a client ended without a word")? {
            Event::Signal { data, .. } => {
                let due_ns = data.as_deref().and_then(payload::decode);
                let number = heard.at_ns.len() as u64;
                let expected = Some(plan.due_ns(number));
                ensure!(due_ns == expected, "signal {number} is lost, or another came twice");
                heard.at_ns.push(now_ns());
            }
            // Before they talk.
            Event::SessionConnected { .. } | Event::ConnectionCreated(_)
                if heard.at_ns.is_empty() => {}
            Event::SessionReconnecting { .. } if comes_back && heard.lost.is_none() => {
                heard.lost = Some((now_ns(), heard.at_ns.len()));
            }
            Event::SessionReconnected { gap: None, .. } if heard.lost.is_some() => back += 1,
            other => bail!("a client was told what it should not be: {other:?}"),
        }
    }
    ensure!(back == usize::from(comes_back), "a client came back {back} times");
    Ok(heard)
}
