//! `signalbox token` and `signalbox session new`: what a project's server makes, by hand.

use std::{
    net::Ipv4Addr,
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use clap::{Subcommand, ValueEnum};
use signalbox_gateway::token::NewToken;
use signalbox_protocol::{ProjectKey, Role, SessionId, limits::CONNECTION_DATA_BYTES};

use crate::output;

/// Make a token with which a client can join a session.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  signalbox token --key 12345678 --secret SECRET --session SESSION
      A token for a publisher, good for a day.
  signalbox token --key 12345678 --secret SECRET --session SESSION \\
      --role moderator --data name=alice --expires-in 3600")]
pub(crate) struct TokenArgs {
    #[command(flatten)]
    project: Project,
    /// The session that the token opens.
    #[arg(long, value_name = "ID")]
    session: SessionId,
    /// What its bearer may do.
    #[arg(long, default_value = "publisher")]
    role: RoleName,
    /// What the others in the session see of its bearer; at most 4096 bytes.
    #[arg(long, default_value = "")]
    data: String,
    /// For how many seconds the token is good.
    #[arg(long, value_name = "SECONDS", default_value_t = 86400)]
    expires_in: u64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// A project's credentials.
#[derive(Debug, clap::Args)]
struct Project {
    /// The project's key.
    #[arg(long)]
    key: ProjectKey,
    /// One of the project's secrets.
    #[arg(long, env = "SIGNALBOX_SECRET", hide_env_values = true)]
    secret: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum RoleName {
    Subscriber,
    Publisher,
    Moderator,
    #[value(name = "publisheronly")]
    PublisherOnly,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Subscriber => Self::Subscriber,
            RoleName::Publisher => Self::Publisher,
            RoleName::Moderator => Self::Moderator,
            RoleName::PublisherOnly => Self::PublisherOnly,
        }
    }
}

/// Work with sessions.
#[derive(Debug, Subcommand)]
pub(crate) enum SessionCommand {
    New(SessionArgs),
}

/// Make a session id. Nothing is stored anywhere: the id itself names its project.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  signalbox session new --key 12345678")]
pub(crate) struct SessionArgs {
    /// The project's key.
    #[arg(long)]
    key: ProjectKey,
    /// Not needed to make an id, as only a token opens a session; taken so that the same flags
    /// serve `signalbox token`.
    #[arg(long, env = "SIGNALBOX_SECRET", hide_env_values = true)]
    secret: Option<String>,
    /// IPv4 address near which the session's clients are; a hint that becomes part of the id.
    #[arg(long, value_name = "IP")]
    location: Option<Ipv4Addr>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &TokenArgs) -> anyhow::Result<ExitCode> {
    let TokenArgs { project: Project { key, secret }, session, role, data, .. } = args;
    anyhow::ensure!(!secret.is_empty(), "the secret is empty");
    anyhow::ensure!(
        session.project() == key,
        "the session belongs to project {}, not {key}",
        session.project()
    );
    anyhow::ensure!(
        data.len() <= CONNECTION_DATA_BYTES,
        "--data has {} bytes, at most {CONNECTION_DATA_BYTES} are allowed",
        data.len()
    );
    let now = unix_time();
    let new = NewToken {
        key,
        secret,
        session,
        role: (*role).into(),
        connection_data: data,
        now,
        lifetime: Duration::from_secs(args.expires_in),
    };
    let token = new.mint().context("cannot sign the token")?;
    if args.json {
        let expires_at = now.as_secs().saturating_add(args.expires_in);
        output::line(serde_json::json!({ "token": token, "expiresAt": expires_at }))?;
    } else {
        output::line(token)?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn new_session(args: &SessionArgs) -> anyhow::Result<ExitCode> {
    let session = SessionId::mint(&args.key, args.location, unix_ms(), random()?);
    if args.json {
        output::line(serde_json::json!({ "session": session }))?;
    } else {
        output::line(session)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Time since 1970.
pub(crate) fn unix_time() -> Duration {
    // A clock before 1970 makes tokens that have expired, as it should.
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Milliseconds since 1970.
pub(crate) fn unix_ms() -> u64 {
    u64::try_from(unix_time().as_millis()).unwrap_or(u64::MAX)
}

/// Random bytes from the system.
pub(crate) fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).context("the system has no random numbers")?;
    Ok(bytes)
}
