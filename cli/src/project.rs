//! `signalbox project new`: generates a project for the configuration.

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

use crate::{output, random::random};

/// Work with projects.
#[derive(Debug, Subcommand)]
pub(crate) enum ProjectCommand {
    New(Args),
}

/// Generate a project and print it as a table for the configuration file.
///
/// A running gateway reloads its file within seconds.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  signalbox project new >> gateway.toml
      A key and a secret, as OpenTok projects have them.
  signalbox project new --application --keys-dir keys >> gateway.toml
      An application id and a key pair, as Vonage applications have them. The private key is for
      your server; the gateway needs only the public one.
  signalbox project new --webhook https://app.example.com/hooks/signalbox >> gateway.toml
      With a webhook for connection events, and the secret that signs them.")]
pub(crate) struct Args {
    /// Generate an application, which has a public key, and write its key pair to two files.
    #[arg(long)]
    application: bool,
    /// Directory for the keys of --application.
    #[arg(long, value_name = "DIR", default_value = ".", requires = "application")]
    keys_dir: PathBuf,
    /// URL that receives connection events.
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
        connect_webhook: None,
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
            "note: wrote the private key, for your server, to {}",
            private.display()
        ));
    } else {
        project.secrets.push(new_secret()?);
    }
    // Faults that a gateway would report are reported now.
    let config = Config { projects: vec![project], ..Config::default() };
    let mut problems = Gateway::check(&config);
    problems.retain(|it| it.setting.starts_with("projects"));
    let texts: Vec<_> = problems.iter().map(ToString::to_string).collect();
    anyhow::ensure!(problems.is_empty(), "{}", texts.join("; "));
    for project in &config.projects {
        if args.json {
            output::line(serde_json::to_string(project)?)?;
        } else {
            output::line(toml(project))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A table of the configuration file. Only a path or a URL can contain characters to escape, and TOML
/// has the escapes of JSON.
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
    let pair = ApplicationKey::generate().context("cannot generate a key pair")?;
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
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

/// A project key like the vendor's: eight digits, which every SDK accepts.
pub(crate) fn new_key() -> anyhow::Result<ProjectKey> {
    let number = u32::from_le_bytes(random()?) % 90_000_000 + 10_000_000;
    Ok(number.to_string().parse()?)
}

/// A secret like the vendor's: forty hexadecimal digits. (One SDK would take a secret with a dot for a
/// file name.)
pub(crate) fn new_secret() -> anyhow::Result<String> {
    Ok(hex(&random::<20>()?))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
