//! Typed lines: a line is a signal to all, or a command.

use signalbox_client::{Client, ConnectionId, ConnectionInfo};

use super::console::Console;
use crate::id_prefix::IdPrefix;

/// The reason for which a line was not executed.
pub(super) enum CommandError {
    /// The user wants to leave.
    Quit,
    /// The line is invalid.
    Invalid(String),
}

impl<E: std::fmt::Display> From<E> for CommandError {
    fn from(error: E) -> Self {
        Self::Invalid(error.to_string())
    }
}

/// The list of commands, for `--help` and `/help`.
macro_rules! help {
    () => {
        "\
A line is sent as data to all in the session. Lines that start with / are commands:
  /to ID TEXT      send TEXT to one connection (the first letters of its id are enough)
  /type TYPE TEXT  send TEXT with a type
  /ping            send a signal with neither type nor data
  /who             list the connections in the session
  /kick ID         disconnect a connection (moderators)
  /help            list these commands
  /quit            leave
  //TEXT           send /TEXT"
    };
}
pub(super) use help;

/// Executes a line.
pub(super) async fn run(
    client: &Client,
    console: &Console,
    line: &str,
) -> Result<(), CommandError> {
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
        "/quit" => return Err(CommandError::Quit),
        command if command.starts_with('/') && !command.starts_with("//") => {
            let problem = format!(
                "unknown command {command}: /help lists the commands, // sends a leading slash"
            );
            return Err(CommandError::Invalid(problem));
        }
        _ => {
            let data = if line.starts_with("//") { line.get(1..).unwrap_or(line) } else { line };
            signal.data(data).enqueue().await?;
        }
    }
    Ok(())
}

/// The connection with this id, or whose id begins with it.
fn find(client: &Client, id: &str) -> Result<ConnectionId, String> {
    let id: IdPrefix = id.parse()?;
    let me = client.connection().id;
    let present = client.presence().into_iter().map(|info| info.id).chain([me]);
    id.resolve(present).map_err(|problem| format!("{problem} (/who lists them)"))
}
