//! `signalbox join`: be in a session from a terminal or a pipe.
//!
//! Three things go on at once: events are printed, lines are sent, and something may ask the
//! client to stop. Whatever ends it, the client then says goodbye, so that it never stays in the
//! session as a connection that nobody uses.

mod commands;
mod console;
mod editor;
mod show;

use std::{
    io::{self, IsTerminal as _},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use signalbox_client::{Client, CloseReason, Event, Events};
use tracing::level_filters::LevelFilter;

use self::{
    commands::Problem,
    console::{Console, LAST_LINES},
    editor::Typing,
    show::Show,
};
use crate::{
    lines::{Line, Lines},
    link::LinkArgs,
    logging, output,
    stop::Stop,
};

/// How long leaving may take in all: what the client tries by itself, and the last lines.
const FAREWELL: Duration = Duration::from_secs(4);

/// Join a session: events are printed, typed lines are sent.
#[derive(Debug, clap::Args)]
#[command(after_help = concat!(commands::help!(), "

It stays in the session until it is told to leave: by /quit, ctrl-d at a terminal, ctrl-c, SIGTERM
or SIGHUP, or because nobody reads its output any more (`| head -1`). The end of input that comes
from a pipe or a file only means that nothing more is sent: `join </dev/null` listens. A line that
is not UTF-8, or too long for a signal, is reported with its number and skipped.

Examples:
  signalbox join --dev
  signalbox join wss --dev=moderator
  signalbox join quic://localhost:4433 --ca .signalbox/dev/ca.pem --token TOKEN
  signalbox join quic://signal.example.com --fallback wss://signal.example.com --token TOKEN
  SIGNALBOX_TOKEN=TOKEN signalbox join wss://signal.example.com --json | jq .data"))]
pub(crate) struct Args {
    #[command(flatten)]
    link: LinkArgs,
    /// Do not be told of others coming and going.
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

/// Why the client does not stay in the session.
enum Ending {
    /// The session is over for it, and it has been told why.
    Over(CloseReason),
    /// Its user wants to leave.
    Asked,
    /// It cannot go on.
    Failed(anyhow::Error),
}

async fn join(args: Args) -> anyhow::Result<ExitCode> {
    let mut stop = Stop::listen()?;
    let (client, mut events) = args.link.connect_or(&mut stop, !args.no_presence, true).await?;
    let (mut input, above) = match editor::open() {
        Some((typing, above)) => (Input::Typed(typing), Some(above)),
        None => (Input::Lines(Lines::of_stdin()), None),
    };
    let (console, mut writing) = console::open(above);
    if !args.json && io::stdin().is_terminal() && io::stderr().is_terminal() {
        console
            .note("A line you type is sent to everyone; /help lists commands, ctrl-d leaves.")
            .await;
    }
    let mut show = Show { json: args.json, me: client.connection().id };
    let ending = tokio::select! {
        reason = print(&mut events, &mut show, &console, None) => Ending::Over(reason),
        ending = send(&client, &console, &mut input) => ending,
        error = writing.ended() => Ending::Failed(error.into()),
        () = stop.requested() => Ending::Asked,
    };
    if !matches!(ending, Ending::Over(_)) {
        // Events are read on: a client whose events are not read does not get as far as goodbye.
        let last_events = print(&mut events, &mut show, &console, Some(LAST_LINES));
        let farewell = async { tokio::join!(client.disconnect(), last_events) };
        tokio::select! {
            _ = tokio::time::timeout(FAREWELL, farewell) => {}
            // Its user is in a hurry.
            () = stop.requested() => {}
        }
    }
    drop(console);
    writing.finish().await;
    // Puts the terminal back in order before an error is printed.
    drop(input);
    match ending {
        Ending::Over(reason) => Ok(output::code(reason == CloseReason::ClientDisconnected)),
        Ending::Asked => Ok(ExitCode::SUCCESS),
        Ending::Failed(error) => Err(error),
    }
}

/// Prints events until the last one, and returns why the session is over. With `patience` it stops
/// printing, but goes on reading, when a line cannot be printed within that time.
async fn print(
    events: &mut Events,
    show: &mut Show,
    console: &Console,
    patience: Option<Duration>,
) -> CloseReason {
    let mut printing = true;
    while let Some(event) = events.next().await {
        if let Event::SessionRejoined { connection } = &event {
            show.me = connection.id;
        }
        if printing && let Some(line) = show.line(&event) {
            let written = console.line(line);
            match patience {
                Some(patience) => {
                    printing = tokio::time::timeout(patience, written).await.is_ok();
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

/// Where lines come from.
enum Input {
    /// A person with a line editor.
    Typed(Typing),
    /// A pipe, a file, or a terminal that is too simple.
    Lines(Lines),
}

impl Input {
    async fn next(&mut self) -> io::Result<Option<Line>> {
        match self {
            Self::Typed(typing) => {
                let line = typing.next().await?;
                Ok(line.map(|text| Line { number: 0, text: Ok(text) }))
            }
            Self::Lines(lines) => lines.next().await,
        }
    }
}

/// Does what the lines of the input say, as long as there are any.
async fn send(client: &Client, console: &Console, input: &mut Input) -> Ending {
    let terminal = io::stdin().is_terminal();
    loop {
        let Line { number, text } = match input.next().await.context("cannot read standard input") {
            Ok(Some(line)) => line,
            // ctrl-d, or ctrl-c in the editor.
            Ok(None) if terminal => return Ending::Asked,
            // Nothing more is sent, which is no reason not to listen.
            Ok(None) => return std::future::pending().await,
            Err(error) => return Ending::Failed(error),
        };
        let problem = match text {
            Ok(text) => match commands::run(client, console, &text).await {
                Ok(()) => continue,
                Err(Problem::Quit) => return Ending::Asked,
                Err(Problem::Input(problem)) => problem,
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
