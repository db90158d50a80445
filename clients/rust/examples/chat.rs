//! A chat in a terminal: sends each line to everyone, and prints the lines of others.
//!
//! ```sh
//! cargo run -p signalbox-client --example chat -- wss://localhost:4433 TOKEN CA.pem
//! ```
#![allow(clippy::print_stdout, reason = "printing is its purpose")]

use anyhow::Context as _;
use signalbox_client::{ConnectOptions, Connector, Event, Printable, Sender};
use tokio::io::{AsyncBufReadExt as _, BufReader};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().context("usage: chat URL TOKEN [CA.pem]")?;
    let token = arguments.next().context("usage: chat URL TOKEN [CA.pem]")?;
    let connector = match arguments.next() {
        Some(ca) => Connector::with_roots_pem(&std::fs::read(ca)?)?,
        None => Connector::new()?,
    };
    let (client, mut events) = connector.connect(&ConnectOptions::new(url, token)).await?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    loop {
        tokio::select! {
            line = lines.next_line() => match line? {
                Some(line) => {
                    client.signal().signal_type("chat").data(line).enqueue().await?;
                }
                None => {
                    client.disconnect().await;
                    return Ok(());
                }
            },
            event = events.next() => match event {
                Some(Event::ConnectionCreated(other)) => println!("* {} joined", other.id),
                Some(Event::ConnectionDestroyed { id, reason }) => println!("* {id} left: {reason}"),
                Some(Event::Signal { from: Sender::Connection(from), data: Some(data), .. }) => {
                    if from != client.connection().id {
                        // Text of others must not act on the terminal.
                        println!("{from}: {}", Printable(data));
                    }
                }
                Some(Event::SessionReconnecting { reason, .. }) => println!("* connection lost: {reason}"),
                Some(Event::SessionReconnected { .. } | Event::SessionRejoined { .. }) => {
                    println!("* reconnected");
                }
                Some(Event::SessionDisconnected { reason, message }) => {
                    anyhow::bail!("{reason}: {}", Printable(message));
                }
                Some(_) => {}
                None => return Ok(()),
            },
        }
    }
}
