//! quinn, adapted to a server with many mostly idle connections that carry small messages.
//!
//! Each module replaces one part of quinn's default behaviour:
//!
//! | module | replaces | why |
//! |---|---|---|
//! | `driver` | the task that quinn spawns per connection | one task drives a connection and its application |
//! | `runtime` | quinn's use of tokio | hands drivers over, and keeps receiving ahead of sending |
//! | `gso_socket` | one system call per packet | consecutive packets to one client leave in one call |
//! | `tls_session` | quinn's rustls session | the TLS state is dropped after the handshake |
//! | `congestion` | CUBIC | a minimum window for sparse traffic |
//! | `transport` | quinn's transport defaults | the settings that the modules above rely on |
//! | `wake` | `select!` polling every branch | only the branch that was woken is polled |
//!
//! The modules rely on details of quinn that its public API does not promise, so this crate pins
//! its version exactly. The tests with a real endpoint
//! (`tests.rs`) fail if an update silently loses one of them.

mod congestion;
mod driver;
mod gso_socket;
mod runtime;
mod supervise;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod tls_session;
mod transport;
mod wake;

pub use quinn_proto::HashedConnectionIdGenerator;

pub use self::{
    congestion::FloorCubicConfig,
    driver::{Driven, Driver, DriverTurns, WakeInTurn},
    gso_socket::max_gso_segments,
    runtime::EndpointRuntime,
    supervise::{Supervise, Task},
    tls_session::{HandshakeData, QuicTlsConfig},
    transport::transport_config,
    wake::{Gated, poll_when_woken, when_woken},
};
