//! Configuration of the operations listener.

use std::net::SocketAddr;

use super::{
    Problem,
    setting::{ADDRESS, section},
};

section! {
    /// Operations: health checks and the state of the cluster, for programs on this machine.
    pub struct OpsConfig {
        /// TCP address of plain HTTP with /healthz, /readyz and /cluster; without it there is none. It
        /// must be a loopback address, because there are no credentials.
        listen: Option<SocketAddr> = None, ADDRESS, example "\"127.0.0.1:4435\"";
    }
}

impl OpsConfig {
    pub(super) fn check(&self) -> Option<Problem> {
        let address = self.listen.filter(|address| !address.ip().to_canonical().is_loopback())?;
        let reason = format!(
            "is {address}, but must be a loopback address, such as 127.0.0.1:{}: it has no \
             credentials",
            address.port()
        );
        Some(Problem::invalid("listen", reason))
    }
}
