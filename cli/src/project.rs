//! `signalbox project new`: a tenant for the configuration, with all that it needs made up.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use clap::Subcommand;
use signalbox_certs::ApplicationKey;
use signalbox_gateway::{Config, Gateway, ProjectConfig, ProjectLimitOverrides, WebhookConfig};
use signalbox_protocol::ProjectKey;

use crate::{output, token::random};

/// Work with projects.
#[derive(Debug, Subcommand)]
pub(crate) enum ProjectCommand {
    New(Args),
}

/// Make a project and print it as a piece of the configuration file.
///
/// A running gateway takes it up from its file within seconds.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  signalbox project new >> gateway.toml
      A key and a secret, as OpenTok projects have them.
  signalbox project new --application --keys-dir keys >> gateway.toml
      An application id and a key pair, as Vonage applications have them. The private key is for
      your server; the gateway needs the public one only.
  signalbox project new --webhook https://app.example.com/hooks/signalbox >> gateway.toml
      With a webhook that hears of connections, and the secret that signs what it is sent.")]
pub(crate) struct Args {
    /// Make an application, which is known by a public key, and write its keys to two files.
    #[arg(long)]
    application: bool,
    /// Where --application writes the keys.
    #[arg(long, value_name = "DIR", default_value = ".", requires = "application")]
    keys_dir: PathBuf,
    /// URL that is to hear of connections coming and going.
    #[arg(long, value_name = "URL")]
    webhook: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn new(args: &Args) -> anyhow::Result<ExitCode> {
    let mut project = ProjectConfig {
        key: new_key()?,
        secrets: Vec::new(),
        public_keys: Vec::new(),
        limits: ProjectLimitOverrides::default(),
        webhook: None,
    };
    if let Some(url) = &args.webhook {
        let secret = format!("whsec_{}", BASE64.encode(random::<32>()?));
        project.webhook = Some(WebhookConfig { url: url.clone(), secret });
    }
    if args.application {
        project.key = uuid::Uuid::new_v4().hyphenated().to_string().parse()?;
        let (private, public) = write_keys(&args.keys_dir, &project.key)?;
        project.public_keys.push(public.display().to_string());
        output::note(format_args!(
            "note: the private key, for your server, is in {}",
            private.display()
        ));
    } else {
        project.secrets.push(new_secret()?);
    }
    // What a gateway would say of it later is better said now.
    let config = Config { projects: vec![project], ..Config::default() };
    let mut wrong = Gateway::check(&config);
    wrong.retain(|it| it.setting.starts_with("projects"));
    let said: Vec<_> = wrong.iter().map(ToString::to_string).collect();
    anyhow::ensure!(wrong.is_empty(), "{}", said.join("; "));
    for project in &config.projects {
        if args.json {
            output::line(serde_json::to_string(project)?)?;
        } else {
            output::line(toml(project))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A table of the configuration file. No value in it has a character that TOML would escape, but
/// for a path or URL that somebody chose; JSON's escapes are TOML's.
fn toml(project: &ProjectConfig) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let list =
        |items: &[String]| items.iter().map(|item| quoted(item)).collect::<Vec<_>>().join(", ");
    let mut text = format!("\n[[projects]]\nkey = {}", quoted(project.key.as_str()));
    if !project.secrets.is_empty() {
        text += &format!("\nsecrets = [{}]", list(&project.secrets));
    }
    if !project.public_keys.is_empty() {
        text += &format!("\npublic_keys = [{}]", list(&project.public_keys));
    }
    if let Some(webhook) = &project.webhook {
        let (url, secret) = (quoted(&webhook.url), quoted(&webhook.secret));
        text += &format!("\nwebhook = {{ url = {url}, secret = {secret} }}");
    }
    text
}

fn write_keys(dir: &Path, key: &ProjectKey) -> anyhow::Result<(PathBuf, PathBuf)> {
    let pair = ApplicationKey::generate().context("cannot make a key pair")?;
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let write = |name: &str, mode: u32, pem: &str| -> anyhow::Result<PathBuf> {
        let file = dir.join(format!("{key}.{name}.pem"));
        let mut options = OpenOptions::new();
        let out = options.write(true).create_new(true).mode(mode).open(&file);
        out.and_then(|mut out| out.write_all(pem.as_bytes()))
            .with_context(|| format!("cannot write {}", file.display()))?;
        Ok(file)
    };
    let private = write("private", 0o600, &pair.private_pem)?;
    let public = write("public", 0o644, &pair.public_pem)?;
    Ok((private, public))
}

/// A project key as the vendor's: eight digits, which every SDK takes.
pub(crate) fn new_key() -> anyhow::Result<ProjectKey> {
    let number = u32::from_le_bytes(random()?) % 90_000_000 + 10_000_000;
    Ok(number.to_string().parse()?)
}

/// A secret as the vendor's: forty hexadecimal digits. (One SDK takes a secret with a dot for the
/// name of a file.)
pub(crate) fn new_secret() -> anyhow::Result<String> {
    Ok(hex(&random::<20>()?))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
