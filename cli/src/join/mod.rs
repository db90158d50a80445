//! `signalbox join`: takes part in a session from a terminal or a pipe.
//!
//! Events are printed, lines are sent and stop signals are awaited concurrently. The client always
//! leaves its session at the end, so that no unused connection stays behind.

mod commands;
mod console;
mod event_format;
mod line_editor;

use std::{
    io::{self, IsTerminal as _},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use signalbox_client::{Client, CloseReason, Event, Events};
use tracing::level_filters::LevelFilter;

use self::{
    commands::CommandError,
    console::{Console, LAST_LINES},
    event_format::EventFormat,
    line_editor::LineEditor,
};
use crate::{
    connect::ConnectArgs,
    line_reader::{Line, LineReader},
    logging, output,
    stop_signals::StopSignals,
};

/// Time for leaving in all: the goodbye of the client, and printing the last lines.
const FAREWELL: Duration = Duration::from_secs(4);

/// Join a session: print events, send typed lines.
#[derive(Debug, clap::Args)]
#[command(after_help = concat!(commands::help!(), "

It leaves the session on /quit, ctrl-d at a terminal, ctrl-c, SIGTERM or SIGHUP, or when its output
is closed (`| head -1`). At the end of input from a pipe or a file it stays and only sends nothing
more: `join </dev/null` listens. A line that is not UTF-8, or is too long for a signal, is reported
with its number and skipped.

Examples:
  signalbox join --dev
  signalbox join wss --dev=moderator
  signalbox join quic://localhost:4433 --ca .signalbox/dev/ca.pem --token TOKEN
  signalbox join quic://signal.example.com wss://signal.example.com --token TOKEN
  signalbox join quic://a.example.com quic://b.example.com --token TOKEN
  SIGNALBOX_TOKEN=TOKEN signalbox join wss://signal.example.com --json | jq .data"))]
pub(crate) struct Args {
    #[command(flatten)]
    link: ConnectArgs,
    /// Do not receive events about other connections.
    #[arg(long)]
    no_presence: bool,
    /// Print each event as one line of JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    logging::start(LevelFilter::WARN)?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let result = runtime.block_on(join(args));
    // A read of standard input cannot be cancelled and would hold the process.
    runtime.shutdown_background();
    result
}

/// The reason for leaving the session.
enum LeaveReason {
    /// The session was ended by the gateway or the network.
    Ended(CloseReason),
    /// The user asked for it.
    Requested,
    /// Input or output failed.
    Failed(anyhow::Error),
}

async fn join(args: Args) -> anyhow::Result<ExitCode> {
    let mut stop = StopSignals::listen()?;
    let (client, mut events) = args.link.connect_or(&mut stop, !args.no_presence, true).await?;
    let (mut input, above) = match line_editor::open() {
        Some((editor, above)) => (Input::Typed(editor), Some(above)),
        None => (Input::LineReader(LineReader::stdin()), None),
    };
    let (console, mut writing) = console::open(above);
    if !args.json && io::stdin().is_terminal() && io::stderr().is_terminal() {
        console.note("A line you type is sent to all; /help lists commands, ctrl-d leaves.").await;
    }
    let mut format = EventFormat { json: args.json, me: client.connection().id };
    let reason_to_leave = tokio::select! {
        reason = print(&mut events, &mut format, &console, None) => LeaveReason::Ended(reason),
        reason = send(&client, &console, &mut input) => reason,
        error = writing.ended() => LeaveReason::Failed(error.into()),
        () = stop.requested() => LeaveReason::Requested,
    };
    if !matches!(reason_to_leave, LeaveReason::Ended(_)) {
        // Events are read all the while: a client whose events are not read cannot finish leaving.
        let last_events = print(&mut events, &mut format, &console, Some(LAST_LINES));
        let farewell = async { tokio::join!(client.disconnect(), last_events) };
        tokio::select! {
            _ = tokio::time::timeout(FAREWELL, farewell) => {}
            // A second signal cuts it short.
            () = stop.requested() => {}
        }
    }
    drop(console);
    writing.finish().await;
    // Restores the terminal before an error is printed.
    drop(input);
    match reason_to_leave {
        LeaveReason::Ended(reason) => Ok(output::code(reason == CloseReason::ClientDisconnected)),
        LeaveReason::Requested => Ok(ExitCode::SUCCESS),
        LeaveReason::Failed(error) => Err(error),
    }
}

/// Prints events until the last one, and returns the reason for the end of the session. With a
/// `timeout` it stops printing, but keeps reading, after a line that was not printed in time.
async fn print(
    events: &mut Events,
    format: &mut EventFormat,
    console: &Console,
    timeout: Option<Duration>,
) -> CloseReason {
    let mut printing = true;
    while let Some(event) = events.next().await {
        if let Event::SessionRejoined { connection } = &event {
            format.me = connection.id;
        }
        if printing && let Some(line) = format.line(&event) {
            let written = console.line(line);
            match timeout {
                Some(timeout) => {
                    printing = tokio::time::timeout(timeout, written).await.is_ok();
                }
                None => written.await,
            }
        }
        if let Event::SessionDisconnected { reason, .. } = event {
            return reason;
        }
    }
    CloseReason::NetworkDisconnected
}

/// The source of lines.
enum Input {
    /// A terminal with a line editor.
    Typed(LineEditor),
    /// A pipe, a file, or a terminal without a line editor.
    LineReader(LineReader),
}

impl Input {
    async fn next(&mut self) -> io::Result<Option<Line>> {
        match self {
            Self::Typed(editor) => {
                let line = editor.next().await?;
                Ok(line.map(|text| Line { number: 0, text: Ok(text) }))
            }
            Self::LineReader(lines) => lines.next().await,
        }
    }
}

/// Executes the lines of the input until its end.
async fn send(client: &Client, console: &Console, input: &mut Input) -> LeaveReason {
    let terminal = io::stdin().is_terminal();
    loop {
        let Line { number, text } = match input.next().await.context("cannot read standard input") {
            Ok(Some(line)) => line,
            // ctrl-d, or ctrl-c in the editor.
            Ok(None) if terminal => return LeaveReason::Requested,
            // Nothing more is sent, and events are still printed.
            Ok(None) => return std::future::pending().await,
            Err(error) => return LeaveReason::Failed(error),
        };
        let problem = match text {
            Ok(text) => match commands::run(client, console, &text).await {
                Ok(()) => continue,
                Err(CommandError::Quit) => return LeaveReason::Requested,
                Err(CommandError::Invalid(problem)) => problem,
            },
            Err(unusable) => format!("{unusable}; skipped"),
        };
        if terminal {
            console.note(problem).await;
        } else {
            console.note(format_args!("line {number}: {problem}")).await;
        }
    }
}
