//! `signalbox token` and `signalbox session new`: what a project's server makes, by hand.

use std::{
    net::Ipv4Addr,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use clap::{Subcommand, ValueEnum};
use signalbox_protocol::{MediaMode, ProjectKey, Role, SessionId, limits::CONNECTION_DATA_BYTES};
use signalbox_token::{MAX_CREDENTIAL_LIFETIME, MAX_LIFETIME, NewServerToken, NewToken, Signer};

use crate::output;

/// Make a token with which a client can join a session, or a server's credential.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  signalbox token --key 12345678 --secret SECRET --session SESSION
      A token for a publisher, good for a day.
  signalbox token --key 12345678 --secret SECRET --session SESSION \\
      --role moderator --data name=alice --expires-in 1h
  signalbox token --key APPLICATION-ID --private-key private.pem --session SESSION
      The same for a project that is known by a public key.
  curl -H \"X-OPENTOK-AUTH: $(signalbox token --key 12345678 --secret SECRET --server)\" \\
      https://signal.example.com:4433/v2/project/12345678/session/SESSION/connection
      A server's credential for the REST API, good for five minutes.")]
pub(crate) struct TokenArgs {
    #[command(flatten)]
    project: Project,
    /// The session that the token opens.
    #[arg(long, value_name = "ID", required_unless_present = "server")]
    session: Option<SessionId>,
    /// Make a server's credential for the REST API instead. It opens no session.
    #[arg(long, conflicts_with_all = ["session", "role", "data"])]
    server: bool,
    /// What its bearer may do.
    #[arg(long, default_value = "publisher")]
    role: RoleName,
    /// What the others in the session see of its bearer; at most 4096 bytes.
    #[arg(long, default_value = "")]
    data: String,
    /// How long the token is good, as 90s, 1h or 7d; 30d at most, and 1d with --server [default: 1d,
    /// and 5m with --server].
    #[arg(long, value_name = "TIME")]
    expires_in: Option<humantime::Duration>,
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
    #[arg(
        long,
        env = "SIGNALBOX_SECRET",
        hide_env_values = true,
        required_unless_present = "private_key"
    )]
    secret: Option<String>,
    /// PEM file with an application's private key; counts more than a secret.
    #[arg(long, value_name = "FILE")]
    private_key: Option<PathBuf>,
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
    /// How the vendor would carry media; a hint that becomes part of the id.
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

/// How long tokens are good unless told otherwise: those of clients for a day, as with
/// the vendor, and those of servers for as long as an SDK makes them.
const CLIENT_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
const SERVER_LIFETIME: Duration = Duration::from_secs(5 * 60);
const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn run(args: &TokenArgs) -> anyhow::Result<ExitCode> {
    let TokenArgs { project, session, role, data, .. } = args;
    let Project { key, secret, private_key } = project;
    let private_key = private_key
        .as_ref()
        .map(|file| {
            std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
        })
        .transpose()?;
    let signer = match (&private_key, secret) {
        (Some(pem), _) => Signer::PrivateKey(pem),
        (None, Some(secret)) if !secret.is_empty() => Signer::Secret(secret),
        (None, _) => anyhow::bail!("the secret is empty"),
    };
    let now = unix_time();
    let usual = if args.server { SERVER_LIFETIME } else { CLIENT_LIFETIME };
    let lifetime = args.expires_in.map_or(usual, Into::into);
    anyhow::ensure!(
        lifetime >= SECOND,
        "--expires-in is less than a second, of which tokens count whole ones"
    );
    let expires_at = now.as_secs().saturating_add(lifetime.as_secs());
    let longest = if args.server { MAX_CREDENTIAL_LIFETIME } else { MAX_LIFETIME };
    anyhow::ensure!(
        lifetime <= longest,
        "--expires-in is longer than a gateway accepts, at most {}",
        humantime::format_duration(longest)
    );
    let token = if let Some(session) = session {
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
        let role = (*role).into();
        NewToken { key, signer, session, role, connection_data: data, now, lifetime }.mint()
    } else {
        NewServerToken { key, signer, now, lifetime }.mint()
    };
    let token = token.context("cannot sign the token; an application's key is RSA, as PEM")?;
    if args.json {
        output::line(serde_json::json!({ "token": token, "expiresAt": expires_at }))?;
    } else {
        output::line(token)?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn new_session(args: &SessionArgs) -> anyhow::Result<ExitCode> {
    let session =
        SessionId::mint(&args.key, args.media.into(), args.location, unix_ms(), random()?);
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
