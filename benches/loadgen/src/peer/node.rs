//! Systems on node: modules from npm, and scripts of ours that serve them.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, ensure};

use super::run;
use crate::process::{Process, ProcessDir};

/// The directory of the scripts and modules.
const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../peers");

/// On its WebSocket transport.
pub(crate) const SOCKET_IO: NodeScript = NodeScript { name: "Socket.IO", file: "socket-io.js" };
/// One of several, which reach each other through Redis.
pub(crate) const SOCKET_IO_NODE: NodeScript =
    NodeScript { name: "Socket.IO", file: "socket-io-node.js" };
/// It publishes to topics.
pub(crate) const UWS: NodeScript = NodeScript { name: "uWebSockets.js", file: "uws.js" };
/// It writes to client by client.
pub(crate) const WS: NodeScript = NodeScript { name: "ws", file: "ws.js" };

/// The path of a script.
pub(crate) fn script(file: &str) -> PathBuf {
    Path::new(DIR).join(file)
}

/// A server in JavaScript.
pub(crate) struct NodeScript {
    /// The module that it serves.
    pub(crate) name: &'static str,
    file: &'static str,
}

impl NodeScript {
    fn path(&self) -> PathBuf {
        script(self.file)
    }

    /// The version of the module; an error if it cannot be used here.
    pub(crate) fn version(&self) -> anyhow::Result<String> {
        let name = self.name;
        let (_, output) = run("node", &["--version"]).with_context(|| {
            format!("to compare with {name}, install node: apt install nodejs npm")
        })?;
        let node = String::from_utf8_lossy(&output.stdout);
        let node = node.trim().trim_start_matches('v');
        let (_, output) = run("node", &[&self.path().to_string_lossy(), "--version"])?;
        ensure!(
            output.status.success(),
            "to compare with {name}, install it: npm ci --prefix {DIR}\nnode {node} prints: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(format!("{} on node {node}", String::from_utf8_lossy(&output.stdout).trim()))
    }

    /// Starts it. It prints its port first.
    pub(crate) async fn start(
        &self,
        directory: &ProcessDir<'_>,
    ) -> anyhow::Result<(Process, SocketAddr)> {
        self.start_with(directory, &[]).await
    }

    /// The same with these arguments.
    pub(crate) async fn start_with(
        &self,
        directory: &ProcessDir<'_>,
        arguments: &[&str],
    ) -> anyhow::Result<(Process, SocketAddr)> {
        let name = self.name;
        let (certificate, key) = directory.certificate();
        let mut command = directory.command("node");
        command.arg(self.path()).arg(certificate).arg(key).args(arguments).stdout(Stdio::piped());
        let mut process = directory.spawn(name, &mut command)?;
        let line = process.first_line().await?;
        let port = line.trim().parse::<u16>();
        let port = port.with_context(|| format!("{name} printed {line:?} instead of its port"))?;
        ensure!(port > 0, "{name} cannot listen:\n{}", process.last_words());
        Ok((process, SocketAddr::from((Ipv4Addr::LOCALHOST, port))))
    }
}
