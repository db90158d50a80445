//! One measurement: clients of three gateways, one of which is killed while signals flow.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use signalbox_client::Client;
use signalbox_loadgen::{
    clock::{nanos, now_ns, sleep_until},
    output::note,
    payload,
    target::{cluster::GatewayCluster, gateway::Launcher},
    transport::TransportVariant,
    usage::Usage,
};
use signalbox_protocol::ConnectionId;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{
    FailoverLabel, FailoverMeasured,
    clients::{GATEWAYS, Watched, doomed_in, join, sessions},
};

/// Time of signals before the kill, and after the last client is back.
const BEFORE: Duration = Duration::from_secs(3);
const AFTER: Duration = Duration::from_secs(3);

/// Timeout of all clients for knowing each other.
const SETTLING: Duration = Duration::from_secs(60);

/// Timeout of all clients for being back, beyond the time in which they notice.
const BACK: Duration = Duration::from_secs(120);

/// Time for the last signals to arrive before they count as lost.
const STRAGGLERS: Duration = Duration::from_secs(10);

/// Interval of notes about the clients that are back.
const PROGRESS: Duration = Duration::from_secs(5);

/// Interval of looks at the clients.
const LOOK: Duration = Duration::from_millis(20);

/// Traffic and timeouts of a measurement.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// Signals per second, of all senders together.
    pub(super) rate: f64,
    pub(super) idle: Duration,
    /// Threads of the clients.
    pub(super) threads: usize,
}

/// Measures once.
pub(super) async fn measure(
    mut cluster: GatewayCluster,
    label: FailoverLabel,
    plan: Plan,
) -> anyhow::Result<FailoverMeasured> {
    let mut watching = JoinSet::new();
    let clients = join(&cluster, label, plan.idle, &mut watching).await?;
    let settled = until(&clients, SETTLING, |it| it.ledger.lock().knows_all()).await;
    ensure!(settled, "not all clients knew the others of their session after {SETTLING:?}");
    clients.iter().for_each(|it| it.ledger.lock().settle());

    let (over, done) = watch::channel(false);
    let mut sending = start_senders(&clients, label, plan.rate, &done);
    sleep(BEFORE).await;
    let kill_ns = now_ns();
    cluster.kill_first()?;
    let before = Usage::now(cluster.processes(), &[])?;
    let limit = plan.idle * 2 + BACK;
    let expected = |it: &Watched| match (label.is_resumable(), it.doomed) {
        (true, true) => it.ledger.lock().is_back(),
        (false, false) => {
            it.ledger.lock().destroyed.len() >= doomed_in(it.session, label.connections)
        }
        _ => true,
    };
    let back = until(&clients, limit, expected);
    let progress = async {
        loop {
            sleep(PROGRESS).await;
            let back = clients.iter().filter(|it| it.doomed && it.ledger.lock().is_back()).count();
            note(format_args!("{back} of {} clients are back", label.connections));
        }
    };
    tokio::select! {
        _ = back => {}
        () = progress => {}
    }
    let used = Usage::now(cluster.processes(), &[])?.since(&before);
    sleep(AFTER).await;
    over.send_replace(true);

    let mut sent = vec![Vec::new(); sessions(label.connections)];
    // They end at once, unless a client has too many signals that it cannot send.
    while let Some(one) =
        timeout(STRAGGLERS, sending.join_next()).await.context("a sender waits")?
    {
        let (index, count) = one?;
        let Some(sender) = clients.get(index) else { continue };
        if let Some(reason) = &sender.ledger.lock().ended {
            bail!("a sender has left its session: {reason}");
        }
        // The application of a client that is not back knows that its signals are not sent.
        let is_there = !sender.doomed || sender.ledger.lock().has_resumed();
        if let Some(session) = sent.get_mut(sender.session).filter(|_| is_there) {
            session.push((sender.id, count));
        }
    }
    let of = |it: &Watched| sent.get(it.session).map(Vec::as_slice).unwrap_or_default();
    let complete = |it: &Watched| {
        let ledger = it.ledger.lock();
        !it.receives(label) || of(it).iter().all(|(id, count)| ledger.has_last(*id, *count))
    };
    until(&clients, STRAGGLERS, complete).await;

    let measured = FailoverMeasured {
        threads: plan.threads,
        generator_cores: used.generator_cores(),
        system_cores: used.gateway_cores(),
        other_cores: used.other_cores,
        seconds: used.seconds,
        ..evaluate(&clients, label, &sent, kill_ns)
    };
    drop(clients);
    watching.shutdown().await;
    cluster.stop().await?;
    Ok(measured)
}

/// The figures of the clients. `sent` has the senders of each session with their numbers of signals.
fn evaluate(
    clients: &[Watched],
    label: FailoverLabel,
    sent: &[Vec<(ConnectionId, u64)>],
    kill_ns: u64,
) -> FailoverMeasured {
    let mut measured = FailoverMeasured::default();
    let after_ms = |at_ns: u64| at_ns.saturating_sub(kill_ns) as f64 / 1e6;
    let sessions = clients.chunk_by(|a, b| a.session == b.session);
    for (members, sent) in sessions.zip(sent) {
        for it in members.iter().filter(|it| it.receives(label)) {
            let ledger = it.ledger.lock();
            for (id, count) in sent {
                measured.add(ledger.faults(*id, *count));
                measured.signals += count;
            }
            if label.is_resumable() && it.doomed {
                match (ledger.noticed_ns, ledger.resumed_ns) {
                    (Some(noticed), Some(resumed)) if ledger.has_resumed() => {
                        measured.each_ms.push((after_ms(noticed), after_ms(resumed)));
                    }
                    _ => measured.not_resumed += 1,
                }
                measured.not_back += u64::from(!ledger.is_back());
            }
            measured.presence += ledger.presence;
            // The ends of these are to be announced, each once.
            for other in members.iter().filter(|it| it.doomed && !label.is_resumable()) {
                let told = ledger.destroyed.iter().filter(|it| it.0 == other.id);
                let told: Vec<_> = told.map(|it| after_ms(it.1)).collect();
                measured.not_once += u64::from(told.len() != 1);
                measured.presence -= told.len().min(1) as u64;
                measured.destroyed_ms.extend(told.first());
            }
        }
    }
    measured.sort();
    measured
}

/// Starts the cluster.
pub(super) async fn start(
    launcher: &Launcher,
    transport: TransportVariant,
    idle: Duration,
) -> anyhow::Result<GatewayCluster> {
    let idle_ms = idle.as_millis().to_string();
    let settings = [("SIGNALBOX_TIMEOUTS__IDLE_MS", &*idle_ms)];
    GatewayCluster::start(launcher, GATEWAYS, transport, &settings).await
}

/// Waits until all clients are as expected; whether they are.
async fn until(clients: &[Watched], limit: Duration, is: impl Fn(&Watched) -> bool) -> bool {
    let deadline = Instant::now() + limit;
    // Clients before this one are.
    let mut first = 0;
    loop {
        while clients.get(first).is_some_and(&is) {
            first += 1;
        }
        if first == clients.len() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        sleep(LOOK).await;
    }
}

/// The senders; each ends with its client's index and its number of signals.
type Sending = JoinSet<(usize, u64)>;

/// Starts the senders: one client of each session at each gateway, in turn.
fn start_senders(
    clients: &[Watched],
    label: FailoverLabel,
    rate: f64,
    done: &watch::Receiver<bool>,
) -> Sending {
    let mut senders = Vec::new();
    let all: Vec<_> = clients.iter().enumerate().collect();
    for members in all.chunk_by(|a, b| a.1.session == b.1.session) {
        senders.extend(members.iter().find(|it| it.1.doomed && label.is_resumable()));
        senders.extend(members.iter().filter(|it| !it.1.doomed));
    }
    let interval_ns = nanos(Duration::from_secs_f64(senders.len() as f64 / rate));
    let start_ns = now_ns();
    let mut sending = Sending::new();
    for (number, (index, it)) in (0u64..).zip(&senders) {
        let first_ns = start_ns + interval_ns * number / senders.len().max(1) as u64;
        let (index, client, done) = (*index, it.client.clone(), done.clone());
        sending.spawn(async move { (index, send(client, first_ns, interval_ns, done).await) });
    }
    sending
}

/// Sends a signal to all at each interval, and a last one in the end; none once the client has left
/// its session. Returns their number.
async fn send(
    client: Client,
    first_ns: u64,
    interval_ns: u64,
    mut done: watch::Receiver<bool>,
) -> u64 {
    let mut number = 0;
    let mut last = false;
    while !last {
        tokio::select! {
            () = sleep_until(first_ns + number * interval_ns) => {}
            _ = done.wait_for(|done| *done) => last = true,
        }
        if client.signal().data(payload::encode(number)).enqueue().await.is_err() {
            break;
        }
        number += 1;
    }
    number
}
