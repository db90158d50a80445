//! Moderation: disconnects every connection that sends a signal of type `spam`.
//!
//! Needs the token of a moderator.
//!
//! ```sh
//! cargo run -p signalbox-client --example moderator -- quic://localhost:4433 TOKEN CA.pem
//! ```
#![allow(clippy::print_stdout, reason = "printing is its purpose")]

use anyhow::Context as _;
use signalbox_client::{ConnectOptions, Connector, Event, Printable, Role, Sender};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let usage = "usage: moderator URL TOKEN [CA.pem]";
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().context(usage)?;
    let token = arguments.next().context(usage)?;
    let connector = match arguments.next() {
        Some(ca) => Connector::with_roots_pem(&std::fs::read(ca)?)?,
        None => Connector::new()?,
    };
    let (client, mut events) = connector.connect(&ConnectOptions::new(url, token)).await?;
    anyhow::ensure!(client.role() == Role::Moderator, "the token is not a moderator's");
    println!("moderating {}", client.session());
    while let Some(event) = events.next().await {
        match event {
            Event::Signal { from: Sender::Connection(from), signal_type: Some(kind), .. }
                if kind == "spam" && from != client.connection().id =>
            {
                println!("disconnecting {from}");
                client.force_disconnect(from).await?;
            }
            Event::ConnectionDestroyed { id, reason } => println!("{id} left: {reason}"),
            // The connection may have left by itself in the meantime.
            Event::Rejected { code, message, .. } => {
                println!("rejected ({code}): {}", Printable(message));
            }
            Event::SessionDisconnected { reason, message } => {
                anyhow::bail!("{reason}: {}", Printable(message));
            }
            _ => {}
        }
    }
    Ok(())
}
