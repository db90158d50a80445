//! `signalbox session new`: mints a session id.

use std::{net::Ipv4Addr, process::ExitCode};

use clap::{Subcommand, ValueEnum};
use signalbox_protocol::{MediaMode, ProjectKey, SessionId};

use crate::{clock::unix_ms, output, random::random};

/// Work with sessions.
#[derive(Debug, Subcommand)]
pub(crate) enum SessionCommand {
    New(Args),
}

/// Mint a session id. Nothing is stored: the id itself names its project.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  signalbox session new --key 12345678
      An id for `signalbox token --session`.
  signalbox session new --key 12345678 --json | jq -r .session
      The same for programs.")]
pub(crate) struct Args {
    /// The project's key.
    #[arg(long)]
    key: ProjectKey,
    /// Ignored: only a token needs it. Accepted so that `signalbox token` takes the same flags.
    #[arg(long, env = "SIGNALBOX_SECRET", hide_env_values = true)]
    secret: Option<String>,
    /// IPv4 address near the clients of the session: a hint that becomes part of the id.
    #[arg(long, value_name = "IP")]
    location: Option<Ipv4Addr>,
    /// Media mode at the vendor: a hint that becomes part of the id.
    #[arg(long, value_name = "MODE", default_value = "relayed")]
    media: Media,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Media {
    Relayed,
    Routed,
}

impl From<Media> for MediaMode {
    fn from(media: Media) -> Self {
        match media {
            Media::Relayed => Self::Relayed,
            Media::Routed => Self::Routed,
        }
    }
}

pub(crate) fn new(args: &Args) -> anyhow::Result<ExitCode> {
    let session =
        SessionId::mint(&args.key, args.media.into(), args.location, unix_ms(), random()?);
    if args.json {
        output::line(serde_json::json!({ "session": session }))?;
    } else {
        output::line(session)?;
    }
    Ok(ExitCode::SUCCESS)
}
