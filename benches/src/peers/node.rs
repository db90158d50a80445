//! What runs on node: modules that npm installs, and scripts of ours that make rooms of them.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, ensure};

use super::run;
use crate::{place::Place, process::Process};

/// Where the scripts and modules are.
const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers");

/// On its WebSocket transport.
pub(super) const SOCKET_IO: Script = Script { name: "Socket.IO", file: "socket-io.js" };
/// It publishes to topics.
pub(super) const UWS: Script = Script { name: "uWebSockets.js", file: "uws.js" };
/// It writes to client by client.
pub(super) const WS: Script = Script { name: "ws", file: "ws.js" };

/// A room in JavaScript.
pub(super) struct Script {
    /// Of the module that it is made of.
    pub(super) name: &'static str,
    file: &'static str,
}

impl Script {
    fn path(&self) -> PathBuf {
        Path::new(DIR).join(self.file)
    }

    /// Which version of the module it would use; an error if the module cannot be used here.
    pub(super) fn version(&self) -> anyhow::Result<String> {
        let name = self.name;
        let (_, output) = run("node", &["--version"]).with_context(|| {
            format!("to set {name} beside Signalbox, install node: apt install nodejs npm")
        })?;
        let node = String::from_utf8_lossy(&output.stdout);
        let node = node.trim().trim_start_matches('v');
        let (_, output) = run("node", &[&self.path().to_string_lossy(), "--version"])?;
        ensure!(
            output.status.success(),
            "to set {name} beside Signalbox, install it: npm ci --prefix {DIR}\nnode {node} says: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(format!("{} on node {node}", String::from_utf8_lossy(&output.stdout).trim()))
    }

    /// Starts it. Its first line is the port on which it listens.
    pub(super) async fn start(&self, place: &Place<'_>) -> anyhow::Result<(Process, SocketAddr)> {
        let name = self.name;
        let (certificate, key) = place.certificate();
        let mut command = place.command("node");
        command.arg(self.path()).arg(certificate).arg(key).stdout(Stdio::piped());
        let mut process = place.spawn(name, &mut command)?;
        let line = process.first_line().await?;
        let port = line.trim().parse::<u16>();
        let port = port.with_context(|| format!("{name} said {line:?} instead of its port"))?;
        ensure!(port > 0, "{name} cannot listen:\n{}", process.last_words());
        Ok((process, SocketAddr::from((Ipv4Addr::LOCALHOST, port))))
    }
}
