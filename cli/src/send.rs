//! `signalbox send`: one signal, or one for each line of standard input.

use std::{process::ExitCode, time::Duration};

use anyhow::Context as _;
use signalbox_client::{
    Client, CloseReason, ConnectionId, Event, Events, SendError, SignalBuilder,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    sync::Semaphore,
    time::{Interval, MissedTickBehavior},
};

use crate::{join::LinkArgs, output};

/// Signals on their way to all that have not come back yet. What is sent to all comes back to its
/// sender, too, which makes a pace that the gateway keeps up with.
const WINDOW: u32 = 256;

/// Join, send, leave.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  signalbox send quic://localhost:4433 --ca CA --token TOKEN --type chat --data 'hello, all'
  signalbox send wss://localhost:4433 --ca CA --token TOKEN --to ID --data 'hello, you'
  git log --format=%s | signalbox send quic://localhost:4433 --ca CA --token TOKEN --stdin")]
pub(crate) struct Args {
    #[command(flatten)]
    link: LinkArgs,
    /// The signal's type.
    #[arg(long = "type", value_name = "TYPE")]
    signal_type: Option<String>,
    /// The signal's data.
    #[arg(long, conflicts_with = "stdin")]
    data: Option<String>,
    /// Only to this connection.
    #[arg(long, value_name = "ID")]
    to: Option<ConnectionId>,
    /// Send each line of standard input as the data of a signal.
    #[arg(long)]
    stdin: bool,
    /// Signals per second at most.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    output::log("warn", false)?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let result = runtime.block_on(send(args));
    // A read of standard input cannot be cancelled and would hold the process.
    runtime.shutdown_background();
    result
}

async fn send(args: Args) -> anyhow::Result<ExitCode> {
    // Joining anew would lose count of what has come back.
    let (client, events) = args.link.connect(false, false).await?;
    let window = Semaphore::new(WINDOW as usize);
    let sending = async {
        let result = send_all(&args, &client, &window).await;
        client.disconnect().await;
        result
    };
    let (sent, refused) = tokio::join!(sending, watch(events, client.connection().id, &window));
    // Why the session ended says more than that a signal could not be sent.
    let refused = refused?;
    Ok(output::code(sent? && refused == 0))
}

/// `false` if it is known already that one was refused.
async fn send_all(args: &Args, client: &Client, window: &Semaphore) -> anyhow::Result<bool> {
    let mut pace = pace(args.rate, client.limits().signals_per_second);
    if !args.stdin {
        return match signal(args, client, args.data.clone()).send().await {
            Err(SendError::Refused { code, message }) => {
                output::note(format_args!("signal refused ({code}): {message}"));
                Ok(false)
            }
            sent => Ok(sent.map(|_| true)?),
        };
    }
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut number = 0u64;
    loop {
        let line = tokio::select! {
            line = lines.next_line() => line.context("cannot read standard input")?,
            () = client.ended() => anyhow::bail!(SendError::Disconnected),
        };
        let Some(line) = line else { break };
        number += 1;
        if let Some(pace) = &mut pace {
            pace.tick().await;
        }
        // A signal to one does not come back, so it cannot make a pace.
        if args.to.is_none() {
            tokio::select! {
                permit = window.acquire() => permit?.forget(),
                () = client.ended() => anyhow::bail!(SendError::Disconnected),
            }
        }
        let signal = signal(args, client, Some(line));
        signal.enqueue().await.with_context(|| format!("line {number}"))?;
    }
    Ok(true)
}

fn signal<'a>(args: &Args, client: &'a Client, data: Option<String>) -> SignalBuilder<'a> {
    let mut signal = client.signal();
    if let Some(signal_type) = &args.signal_type {
        signal = signal.signal_type(signal_type);
    }
    if let Some(data) = data {
        signal = signal.data(data);
    }
    if let Some(to) = args.to {
        signal = signal.to(to);
    }
    signal
}

/// The slower of what the user and the gateway allow, if either does.
fn pace(rate: Option<u32>, limit: u32) -> Option<Interval> {
    let limit = (limit > 0).then_some(limit);
    let per_second = rate.into_iter().chain(limit).min()?;
    let mut pace = tokio::time::interval(Duration::from_secs(1) / per_second);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    Some(pace)
}

/// Opens the window for what has come back, and says what was refused. Returns how many were.
async fn watch(mut events: Events, me: ConnectionId, window: &Semaphore) -> anyhow::Result<u64> {
    let mut refused = 0;
    while let Some(event) = events.next().await {
        match event {
            Event::Signal { from, .. } if from == Some(me) => window.add_permits(1),
            Event::Refused { signal, code, message } => {
                window.add_permits(1);
                refused += 1;
                let which = signal.map(|number| format!(" {number}")).unwrap_or_default();
                output::note(format_args!("signal{which} refused ({code}): {message}"));
            }
            Event::SessionDisconnected { reason, message }
                if reason != CloseReason::ClientDisconnected =>
            {
                anyhow::bail!("the session ended ({reason}): {message}");
            }
            _ => {}
        }
    }
    Ok(refused)
}
