//! What a typed line does: it is a signal to everyone, or a command.

use signalbox_client::{Client, ConnectionId, ConnectionInfo};

use super::console::Console;
use crate::ids::IdPrefix;

/// Why a line did not become a signal.
pub(super) enum Problem {
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

/// The commands, for `--help` and `/help`.
macro_rules! help {
    () => {
        "\
A line is sent as data to everyone in the session. Lines that start with / are commands:
  /to ID TEXT      send TEXT to one connection (the first letters of its id are enough)
  /type TYPE TEXT  send TEXT with a type
  /ping            send a signal with neither type nor data
  /who             list who is in the session
  /kick ID         disconnect a connection (moderators)
  /help            list these commands
  /quit            leave
  //TEXT           send /TEXT"
    };
}
pub(super) use help;

/// Does what a line says.
pub(super) async fn run(client: &Client, console: &Console, line: &str) -> Result<(), Problem> {
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
            console.note(format_args!("{} (you) {}", me.id, me.data)).await;
            for ConnectionInfo { id, data, .. } in client.presence() {
                console.note(format_args!("{id} {data}")).await;
            }
        }
        "/kick" => client.force_disconnect(find(client, rest)?).await?,
        "/help" => {
            for line in help!().lines() {
                console.note(line).await;
            }
        }
        "/quit" => return Err(Problem::Quit),
        command if command.starts_with('/') && !command.starts_with("//") => {
            let problem =
                format!("no command {command}: /help lists them, // sends a leading slash");
            return Err(Problem::Input(problem));
        }
        _ => {
            let data = if line.starts_with("//") { line.get(1..).unwrap_or(line) } else { line };
            signal.data(data).enqueue().await?;
        }
    }
    Ok(())
}

/// The connection that an id, or the beginning of one, means.
fn find(client: &Client, id: &str) -> Result<ConnectionId, String> {
    let id: IdPrefix = id.parse()?;
    let me = client.connection().id;
    let present = client.presence().into_iter().map(|info| info.id).chain([me]);
    id.among(present).map_err(|problem| format!("{problem} (/who lists them)"))
}
