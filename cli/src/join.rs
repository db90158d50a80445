//! `signalbox join`: be in a session from a terminal or a pipe.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use serde_json::json;
use signalbox_client::{
    Client, CloseReason, ConnectOptions, ConnectionId, ConnectionInfo, Connector, Event, Events,
    Gap, Streams,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines, Stdin},
    signal::unix::{SignalKind, signal},
};

use crate::output;

/// Join a session: events are printed, typed lines are sent.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
While joined, a line is sent as data to everyone. Lines that start with / are commands:
  /to ID TEXT     send TEXT to one connection (the first letters of its id are enough)
  /type TYPE TEXT send TEXT with a type
  /ping           send a signal with neither type nor data
  /who            list who is in the session
  /kick ID        disconnect somebody (moderators)
  /quit           leave

Examples:
  signalbox join quic://localhost:4433 --ca .signalbox/dev/ca.pem --token TOKEN
  signalbox join quic://signal.example.com --fallback wss://signal.example.com --token TOKEN
  SIGNALBOX_TOKEN=TOKEN signalbox join wss://signal.example.com --json | jq .data")]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) link: LinkArgs,
    /// Do not be told of others coming and going.
    #[arg(long)]
    no_presence: bool,
    /// Print each event as one line of JSON.
    #[arg(long)]
    json: bool,
}

/// How to reach the gateway; the same for every command that does.
#[derive(Debug, clap::Args)]
pub(crate) struct LinkArgs {
    /// The gateway: quic://HOST:PORT, wss://HOST:PORT, or ws://HOST:PORT without TLS. The port is
    /// 4433 unless named.
    url: String,
    /// Another way to the same gateway, if the first does not work, such as wss:// where quic:// is
    /// blocked.
    #[arg(long, value_name = "URL")]
    fallback: Option<String>,
    /// The token, from the project's server or `signalbox token`.
    #[arg(long, env = "SIGNALBOX_TOKEN", hide_env_values = true)]
    token: String,
    /// PEM file with the certificate authority to trust, instead of the system's.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// On QUIC, take all senders on one stream.
    #[arg(long)]
    single_stream: bool,
    /// On WebSocket, speak JSON instead of postcard.
    #[arg(long)]
    websocket_json: bool,
}

impl LinkArgs {
    pub(crate) async fn connect(
        &self,
        presence: bool,
        rejoin: bool,
    ) -> anyhow::Result<(Client, Events)> {
        let connector = match &self.ca {
            None => Connector::new()?,
            Some(file) => {
                let pem = std::fs::read(file)
                    .with_context(|| format!("cannot read --ca {}", file.display()))?;
                Connector::trusting(&pem).with_context(|| format!("--ca {}", file.display()))?
            }
        };
        let mut options = ConnectOptions::new(&self.url, &self.token)
            .presence(presence)
            .rejoin(rejoin)
            .agent(concat!("signalbox-cli/", env!("CARGO_PKG_VERSION")));
        if let Some(fallback) = &self.fallback {
            options = options.fallback(fallback);
        }
        if self.single_stream {
            options = options.streams(Streams::Single);
        }
        if self.websocket_json {
            options = options.json();
        }
        Ok(connector.connect(&options).await?)
    }
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    output::log("warn", false)?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let result = runtime.block_on(join(args));
    // A read of standard input cannot be cancelled and would hold the process.
    runtime.shutdown_background();
    result
}

async fn join(args: Args) -> anyhow::Result<ExitCode> {
    let (client, mut events) = args.link.connect(!args.no_presence, true).await?;
    let mut printer = Printer { json: args.json, me: client.connection().id };
    let mut input = Some(BufReader::new(tokio::io::stdin()).lines());
    let mut terminate = signal(SignalKind::terminate())?;
    let mut leaving = false;
    loop {
        tokio::select! {
            event = events.next() => {
                let Some(event) = event else { break };
                if let Event::SessionRejoined { connection } = &event {
                    printer.me = connection.id;
                }
                printer.print(&event)?;
                if let Event::SessionDisconnected { reason, .. } = event {
                    return Ok(output::code(leaving || reason == CloseReason::ClientDisconnected));
                }
            }
            line = next_line(&mut input) => match line? {
                Some(line) => {
                    if let Err(problem) = act(&client, &line).await {
                        match problem {
                            Problem::Quit => {
                                leaving = true;
                                client.disconnect().await;
                            }
                            Problem::Input(problem) => output::note(problem),
                        }
                    }
                }
                // Whoever pipes nothing in may still want to listen.
                None => input = None,
            },
            _ = tokio::signal::ctrl_c() => {
                leaving = true;
                client.disconnect().await;
            }
            _ = terminate.recv() => {
                leaving = true;
                client.disconnect().await;
            }
        }
    }
    Ok(output::code(leaving))
}

async fn next_line(input: &mut Option<Lines<BufReader<Stdin>>>) -> std::io::Result<Option<String>> {
    match input {
        Some(lines) => lines.next_line().await,
        None => std::future::pending().await,
    }
}

/// Why a line did not become a signal.
enum Problem {
    /// The user wants to leave.
    Quit,
    /// It cannot be sent; why.
    Input(String),
}

impl<E: std::fmt::Display> From<E> for Problem {
    fn from(error: E) -> Self {
        Self::Input(error.to_string())
    }
}

async fn act(client: &Client, line: &str) -> Result<(), Problem> {
    let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
    let signal = client.signal();
    match command {
        "/to" => {
            let (id, text) = rest.split_once(' ').ok_or("usage: /to ID TEXT")?;
            signal.to(find(client, id)?).data(text).enqueue().await?;
        }
        "/type" => {
            let (signal_type, text) = rest.split_once(' ').unwrap_or((rest, ""));
            signal.signal_type(signal_type).data(text).enqueue().await?;
        }
        "/ping" => {
            signal.enqueue().await?;
        }
        "/who" => {
            let me = client.connection();
            output::note(format_args!("{} (you) {}", me.id, me.data));
            for ConnectionInfo { id, data, .. } in client.presence() {
                output::note(format_args!("{id} {data}"));
            }
        }
        "/kick" => client.force_disconnect(find(client, rest)?).await?,
        "/quit" => return Err(Problem::Quit),
        command if command.starts_with('/') => {
            return Err(Problem::Input(format!(
                "no command {command}: see `signalbox join --help`"
            )));
        }
        _ => {
            signal.data(line).enqueue().await?;
        }
    }
    Ok(())
}

/// The connection that an id, or the beginning of one, means.
fn find(client: &Client, id: &str) -> Result<ConnectionId, String> {
    if let Ok(id) = id.parse() {
        return Ok(id);
    }
    let me = client.connection().id;
    let everyone = client.presence().into_iter().map(|info| info.id).chain([me]);
    let found: Vec<_> = everyone.filter(|it| it.to_string().starts_with(id)).collect();
    match found[..] {
        [found] if !id.is_empty() => Ok(found),
        [] => Err(format!("nobody here has an id that starts with {id:?}: see /who")),
        _ => Err(format!("{} connections have ids that start with {id:?}", found.len())),
    }
}

/// Prints events, for people or for programs.
struct Printer {
    json: bool,
    me: ConnectionId,
}

impl Printer {
    fn print(&self, event: &Event) -> std::io::Result<()> {
        match (self.json, for_people(event, self.me)) {
            (true, _) => output::line(for_programs(event)),
            (false, Some(text)) => output::line(text),
            (false, None) => Ok(()),
        }
    }
}

fn for_people(event: &Event, me: ConnectionId) -> Option<String> {
    let short = |id: &ConnectionId| id.to_string().chars().take(8).collect::<String>();
    Some(match event {
        Event::SessionConnected { connection, session } => {
            format!("* you are {} in session {session}", short(&connection.id))
        }
        Event::ConnectionCreated(ConnectionInfo { id, data, .. }) => {
            format!("* {} is here {data}", short(id))
        }
        Event::ConnectionDestroyed { id, reason } => format!("* {} left: {reason}", short(id)),
        Event::Signal { from, signal_type, data, .. } => {
            let who = match from {
                Some(id) if *id == me => "you".to_owned(),
                Some(id) => short(id),
                None => "server".to_owned(),
            };
            match (signal_type.as_deref().unwrap_or_default(), data.as_deref()) {
                ("", None) => format!("{who} (ping)"),
                ("", Some(data)) => format!("{who}: {data}"),
                (signal_type, data) => {
                    format!("{who} [{signal_type}]: {}", data.unwrap_or_default())
                }
            }
        }
        Event::Refused { code, message, .. } => format!("! refused ({code}): {message}"),
        Event::SessionReconnecting { reason, message } => {
            format!("* away ({reason}): {message}; trying to come back")
        }
        Event::SessionReconnected { missed: 0, gap: None } => {
            "* back, and nothing is lost".to_owned()
        }
        Event::SessionReconnected { missed, gap: None } => {
            format!("* back, and nothing is lost: {missed} to catch up on")
        }
        Event::SessionReconnected { gap: Some(gap), .. } => match gap.lost.len() {
            0 => "* back, but some of what happened meanwhile is lost".to_owned(),
            senders => format!("* back, but signals of {senders} senders are lost"),
        },
        Event::SessionRejoined { connection } => {
            format!("* back, but as {}; what was sent meanwhile is lost", short(&connection.id))
        }
        Event::SessionDisconnected { reason, message } => format!("* over ({reason}): {message}"),
        _ => return None,
    })
}

fn for_programs(event: &Event) -> serde_json::Value {
    let connection = |info: &ConnectionInfo| json!({ "id": info.id, "createdAt": info.created_at, "data": info.data });
    match event {
        Event::SessionConnected { connection: me, session } => {
            json!({ "event": "sessionConnected", "connection": connection(me), "session": session })
        }
        Event::ConnectionCreated(other) => {
            json!({ "event": "connectionCreated", "connection": connection(other) })
        }
        Event::ConnectionDestroyed { id, reason } => {
            json!({ "event": "connectionDestroyed", "id": id, "reason": reason })
        }
        Event::Signal { from, seq, signal_type, data } => {
            json!({ "event": "signal", "from": from, "seq": seq, "type": signal_type, "data": data })
        }
        Event::Refused { signal, code, message } => {
            json!({ "event": "refused", "signal": signal, "code": code, "message": message })
        }
        Event::SessionReconnecting { reason, message } => {
            json!({ "event": "sessionReconnecting", "reason": reason, "message": message })
        }
        Event::SessionReconnected { missed, gap } => {
            let gap = gap
                .as_ref()
                .map(|Gap { lost, presence, .. }| json!({ "lost": lost, "presence": presence }));
            json!({ "event": "sessionReconnected", "missed": missed, "gap": gap })
        }
        Event::SessionRejoined { connection: me } => {
            json!({ "event": "sessionRejoined", "connection": connection(me) })
        }
        Event::SessionDisconnected { reason, message } => {
            json!({ "event": "sessionDisconnected", "reason": reason, "message": message })
        }
        _ => json!({ "event": "unknown" }),
    }
}
