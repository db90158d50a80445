//! `signalbox send`: sends one signal, or one for each line of standard input.

use std::{process::ExitCode, time::Duration};

use anyhow::Context as _;
use signalbox_client::{
    Client, CloseReason, ConnectionId, Event, Events, SendError, SignalBuilder,
};
use signalbox_protocol::{Printable, signal::InvalidSignal};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};

use tracing::level_filters::LevelFilter;

use crate::{
    connect::ConnectArgs,
    id_prefix::IdPrefix,
    line_reader::{Line, LineReader},
    logging, output,
    stop_signals::StopSignals,
};

/// Signals to all that have not come back yet. A signal to all is delivered to its sender, too, so this
/// window keeps the client at the speed of the gateway.
const WINDOW: u32 = 256;

/// Upper bound of `--rate`: more than any gateway accepts from one connection.
const MAX_RATE: i64 = 1_000_000;

/// Timers have a resolution of a millisecond, so a fast rate needs several signals at once: at most those
/// of this time.
const CATCH_UP: Duration = Duration::from_millis(10);

/// Time for the gateway to list the connections in the session.
const PRESENCE_TIMEOUT: Duration = Duration::from_secs(10);

/// Join a session, send signals, leave.
///
/// With --stdin, a line that cannot be a signal is reported with its number and skipped. The exit
/// status is 0 if all signals were sent and none was rejected.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  signalbox send --dev --type chat --data 'hello, all'
  signalbox send wss://localhost:4433 --ca CA --token TOKEN --to ID --data 'hello, you'
  signalbox send quic://a.example.com quic://b.example.com --token TOKEN --data 'hello'
  git log --format=%s | signalbox send quic://localhost:4433 --ca CA --token TOKEN --stdin")]
pub(crate) struct Args {
    #[command(flatten)]
    link: ConnectArgs,
    /// The signal's type.
    #[arg(long = "type", value_name = "TYPE")]
    signal_type: Option<String>,
    /// The signal's data.
    #[arg(long, conflicts_with = "stdin")]
    data: Option<String>,
    /// Send to this connection only; the first letters of its id are enough.
    #[arg(long, value_name = "ID")]
    to: Option<IdPrefix>,
    /// Send each line of standard input as the data of a signal.
    #[arg(long)]
    stdin: bool,
    /// Signals per second at most.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=MAX_RATE))]
    rate: Option<u32>,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    logging::start(LevelFilter::WARN)?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let result = runtime.block_on(send(args));
    // A read of standard input cannot be cancelled and would hold the process.
    runtime.shutdown_background();
    result
}

async fn send(args: Args) -> anyhow::Result<ExitCode> {
    let mut stop = StopSignals::listen()?;
    // The prefix of an id is resolved among the connections that are present. Rejoining as another
    // connection would lose count of the signals that have come back.
    let presence = args.to.as_ref().is_some_and(|to| to.whole().is_none());
    let (client, mut events) = args.link.connect_or(&mut stop, presence, false).await?;
    let to = match &args.to {
        Some(to) => {
            let receiver = tokio::select! {
                receiver = receiver(to, &client, &mut events) => receiver,
                () = stop.requested() => Err(anyhow::anyhow!("stopped before anything was sent")),
            };
            if receiver.is_err() {
                client.disconnect().await;
            }
            Some(receiver?)
        }
        None => None,
    };
    let window = Semaphore::new(WINDOW as usize);
    let sending = async {
        let result = tokio::select! {
            result = send_all(&args, to, &client, &window) => result,
            () = stop.requested() => Err(anyhow::anyhow!("stopped before everything was sent")),
        };
        client.disconnect().await;
        result
    };
    let (sent, rejected) = tokio::join!(sending, watch(events, client.connection().id, &window));
    // The reason for the end of the session is the more useful error.
    let rejected = rejected?;
    Ok(output::code(sent? && rejected == 0))
}

/// Resolves `to` among the connections in the session.
async fn receiver(
    to: &IdPrefix,
    client: &Client,
    events: &mut Events,
) -> anyhow::Result<ConnectionId> {
    let mut present = vec![client.connection().id];
    let listed = async {
        while to.whole().is_none() && present.len() <= client.present_on_joining() as usize {
            match events.next().await {
                Some(Event::ConnectionCreated(other)) => present.push(other.id),
                Some(Event::SessionDisconnected { .. }) | None => break,
                Some(_) => {}
            }
        }
    };
    tokio::time::timeout(PRESENCE_TIMEOUT, listed).await.context(
        "the gateway did not list the connections in the session; pass the whole id with --to",
    )?;
    to.resolve(present).map_err(|problem| anyhow::anyhow!("--to: {problem}"))
}

/// False if a signal is known not to have been sent.
async fn send_all(
    args: &Args,
    to: Option<ConnectionId>,
    client: &Client,
    window: &Semaphore,
) -> anyhow::Result<bool> {
    if !args.stdin {
        return match signal(args, to, client, args.data.clone()).send().await {
            Err(SendError::Rejected { code, message }) => {
                output::note(format_args!("signal rejected ({code}): {message}"));
                Ok(false)
            }
            sent => Ok(sent.map(|_| true)?),
        };
    }
    let mut pace = SendPace::new(args.rate, client.limits().signals_per_second);
    let mut lines = LineReader::stdin();
    let mut all_sent = true;
    loop {
        let line = tokio::select! {
            line = lines.next() => line.context("cannot read standard input")?,
            () = client.ended() => anyhow::bail!(SendError::Disconnected),
        };
        let Some(Line { number, text }) = line else { return Ok(all_sent) };
        let mut skip = |why: &dyn std::fmt::Display| {
            output::note(format_args!("line {number}: {why}; skipped"));
            all_sent = false;
        };
        let text = match text {
            Ok(text) => text,
            Err(unusable) => {
                skip(&unusable);
                continue;
            }
        };
        if let Some(pace) = &mut pace {
            pace.wait().await;
        }
        // A signal to one connection does not come back, so the window does not apply.
        let permit = match to {
            Some(_) => None,
            None => tokio::select! {
                permit = window.acquire() => Some(permit?),
                () = client.ended() => anyhow::bail!(SendError::Disconnected),
            },
        };
        match signal(args, to, client, Some(text)).enqueue().await {
            Ok(_) => permit.into_iter().for_each(SemaphorePermit::forget),
            // Other lines may be shorter. An invalid type would be the same for all.
            Err(SendError::Invalid(why @ InvalidSignal::DataTooLong(_))) => skip(&why),
            Err(error) => return Err(error).with_context(|| format!("line {number}")),
        }
    }
}

fn signal<'a>(
    args: &Args,
    to: Option<ConnectionId>,
    client: &'a Client,
    data: Option<String>,
) -> SignalBuilder<'a> {
    let mut signal = client.signal();
    if let Some(signal_type) = &args.signal_type {
        signal = signal.signal_type(signal_type);
    }
    if let Some(data) = data {
        signal = signal.data(data);
    }
    if let Some(to) = to {
        signal = signal.to(to);
    }
    signal
}

/// A constant rate.
struct SendPace {
    period: Duration,
    next: Instant,
}

impl SendPace {
    /// The lower of the rates that the user and the gateway set, if any.
    fn new(rate: Option<u32>, limit: u32) -> Option<Self> {
        let limit = (limit > 0).then_some(limit);
        let per_second = rate.into_iter().chain(limit).min()?;
        Some(Self { period: Duration::from_secs(1) / per_second, next: Instant::now() })
    }

    async fn wait(&mut self) {
        let now = Instant::now();
        // A pause is not caught up on.
        self.next = self.next.max(now.checked_sub(CATCH_UP).unwrap_or(now));
        if self.next > now {
            tokio::time::sleep_until(self.next).await;
        }
        self.next += self.period;
    }
}

/// Opens the window for signals that have come back, and prints rejections. Returns their number.
async fn watch(mut events: Events, me: ConnectionId, window: &Semaphore) -> anyhow::Result<u64> {
    let mut rejected = 0;
    while let Some(event) = events.next().await {
        match event {
            Event::Signal { from, .. } if from == me.into() => window.add_permits(1),
            Event::Rejected { signal, code, message } => {
                window.add_permits(1);
                rejected += 1;
                let which = signal.map(|number| format!(" {number}")).unwrap_or_default();
                output::note(format_args!("signal{which} rejected ({code}): {message}"));
            }
            Event::SessionDisconnected { reason, message }
                if reason != CloseReason::ClientDisconnected =>
            {
                anyhow::bail!("the session ended ({reason}): {}", Printable(message));
            }
            _ => {}
        }
    }
    Ok(rejected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_kept_with_coarse_timers() {
        for rate in [50, 5000, u32::MAX] {
            let mut pace = SendPace::new(Some(rate), 0).unwrap();
            let begun = Instant::now();
            for _ in 0..2 * rate.min(5000) {
                pace.wait().await;
            }
            let took = begun.elapsed().as_secs_f64();
            let due = 2.0 * f64::from(rate.min(5000)) / f64::from(rate);
            assert!((due - 0.03..due + 0.03).contains(&took), "{rate}: {took} s, not {due} s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_not_caught_up_on() {
        let mut pace = SendPace::new(Some(100), 1000).unwrap();
        tokio::time::advance(Duration::from_secs(60)).await;
        let begun = Instant::now();
        for _ in 0..100 {
            pace.wait().await;
        }
        assert!(begun.elapsed() >= Duration::from_millis(970), "{:?}", begun.elapsed());
    }

    #[test]
    fn the_lower_of_two_rates_counts() {
        let period = |rate, limit| SendPace::new(rate, limit).map(|pace| pace.period.as_millis());
        assert_eq!(period(None, 0), None);
        assert_eq!(period(Some(100), 0), Some(10));
        assert_eq!(period(Some(100), 50), Some(20));
        assert_eq!(period(None, 50), Some(20));
    }
}
