//! Resuming: sends a number each second, and reports each loss of the link and what became of it.
//!
//! Pull the network cable or restart the gateway; or start it as `signalbox serve --dev --chaos`,
//! which cuts links on purpose.
//!
//! ```sh
//! cargo run -p signalbox-client --example resume -- quic://localhost:4433 TOKEN CA.pem
//! ```
#![allow(clippy::print_stdout, reason = "printing is its purpose")]

use std::time::Duration;

use anyhow::Context as _;
use signalbox_client::{Client, ConnectOptions, Connector, Event, Printable, SendError};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let usage = "usage: resume URL TOKEN [CA.pem]";
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().context(usage)?;
    let token = arguments.next().context(usage)?;
    let connector = match arguments.next() {
        Some(ca) => Connector::with_roots_pem(&std::fs::read(ca)?)?,
        None => Connector::new()?,
    };
    let (client, mut events) = connector.connect(&ConnectOptions::new(url, token)).await?;
    let sending = tokio::spawn(send_numbers(client));
    while let Some(event) = events.next().await {
        match event {
            Event::Signal { data: Some(data), .. } => println!("received {}", Printable(data)),
            Event::Gap { lost } => println!("lost between gateways: {lost:?}"),
            Event::SessionReconnecting { reason, .. } => println!("link lost: {reason}"),
            Event::SessionReconnected { missed, gap: None } => {
                println!("resumed; {missed} missed events follow, nothing is lost");
            }
            Event::SessionReconnected { gap: Some(gap), .. } => {
                for lost in gap.lost {
                    println!(
                        "resumed; lost {} to {} of {:?}",
                        lost.after + 1,
                        lost.until,
                        lost.from
                    );
                }
            }
            Event::SessionRejoined { connection } => {
                println!("joined again as {}; numbers may arrive twice", connection.id);
            }
            Event::SessionDisconnected { reason, message } => {
                println!("session ended ({reason}): {}", Printable(message));
            }
            _ => {}
        }
    }
    Ok(sending.await??)
}

/// `send` returns when the gateway has accepted the number, on whichever link that was.
async fn send_numbers(client: Client) -> Result<(), SendError> {
    let mut every = tokio::time::interval(Duration::from_secs(1));
    for number in 1.. {
        every.tick().await;
        match client.signal().data(number.to_string()).send().await {
            Ok(_) => println!("accepted {number}"),
            Err(SendError::Disconnected) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
