//! What a typed line does: it is a signal to everyone, or a command.

use signalbox_client::{Client, ConnectionId, ConnectionInfo};

use super::console::Console;

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
