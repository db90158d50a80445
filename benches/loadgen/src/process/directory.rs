//! The working directory of another system's process, with a certificate and a host.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use anyhow::Context as _;
use rustls_pki_types::ServerName;
use signalbox_certs::DevAuthority;
use signalbox_netem::namespace::Host;
use tokio_rustls::rustls::ClientConfig;

use crate::{
    client::stream::StreamDialer,
    process::{Process, mortal},
};

/// A directory for one process.
pub struct ProcessDir<'a> {
    dir: PathBuf,
    authority: DevAuthority,
    host: Option<&'a Host>,
}

impl<'a> ProcessDir<'a> {
    /// Creates the directory `dir`, and the authority in `authority` unless it exists. Without a
    /// host, processes run on this machine's own loopback.
    pub fn new(dir: PathBuf, authority: &Path, host: Option<&'a Host>) -> anyhow::Result<Self> {
        std::fs::create_dir(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let authority = DevAuthority::open(authority, SystemTime::now())?;
        Ok(Self { dir, authority, host })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// The certificate and its key (PEM).
    pub fn certificate(&self) -> (&Path, &Path) {
        (self.authority.certificate_path(), self.authority.key_path())
    }

    /// The file of the authority that signed the certificate (PEM).
    pub fn ca(&self) -> &Path {
        self.authority.ca_pem_path()
    }

    /// Writes a file for the process.
    pub fn write(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.dir.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// A port that is free now, for programs that cannot report a port of their own choice.
    pub fn free_port(&self) -> anyhow::Result<u16> {
        let _inside = self.host.map(Host::enter).transpose()?;
        Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
    }

    /// A command that runs a program.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        if self.host.is_some() { mortal(program) } else { Command::new(program) }
    }

    /// Starts a command.
    pub fn spawn(&self, name: &'static str, command: &mut Command) -> anyhow::Result<Process> {
        let _inside = self.host.map(Host::enter).transpose()?;
        Process::spawn(name, command, self.dir.join("log"))
    }

    /// Trusts the certificate.
    pub fn tls(&self) -> anyhow::Result<ClientConfig> {
        let roots = signalbox_certs::roots_from_pem(self.authority.ca_pem().as_bytes())?;
        Ok(signalbox_certs::client(roots, &[]))
    }

    /// Connects minimal clients over TLS.
    pub fn dialer(&self, address: SocketAddr) -> anyhow::Result<StreamDialer> {
        let name = ServerName::from(address.ip());
        Ok(StreamDialer::new(address, name, Some(self.tls()?.into())))
    }
}
