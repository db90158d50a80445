//! The Signalbox gateway: it connects clients over QUIC and WebSocket in shared sessions.
//!
//! ```text
//! Gateway ─ bind → run(shutdown, at_once) → drain
//!   listen/                             accepts connections, TLS, HTTP
//!   link/                               the life of every link: admission, carrying, end
//!     link/quic.rs, link/websocket.rs   the two halves of a link, for each transport
//!   rest/                               the REST interface for servers
//!   webhook/                            notifications to servers
//!   project.rs                          tenants and their keys
//!   cluster.rs                          the gateway as a part of a cluster
//!   lifecycle.rs, drain.rs              phases of the gateway, graceful shutdown
//!   state_file/                         connections that survive a restart
//!   signalbox_token                     token verification (a crate of its own)
//!   signalbox_relay                     sessions and routing, without I/O (a crate of its own)
//!   signalbox_cluster, signalbox_nats   sessions that several gateways share, and their bus
//! ```
//!
//! Start reading at [`Gateway`], then `link/mod.rs`.

mod acme;
mod admission;
mod backoff;
mod clock;
mod cluster;
mod cluster_report;
mod config;
mod connect_webhook;
mod context;
mod drain;
mod error;
mod error_chain;
mod expiry;
mod failure;
mod file;
mod forwarded;
mod gateway;
mod handles;
mod headers;
mod http_connection;
mod https_client;
mod instance;
mod keys;
mod lifecycle;
mod link;
mod link_id;
mod link_registry;
mod link_rtt;
mod listen;
mod log_filter;
mod machine;
mod metrics;
mod ops_token;
mod overload;
mod page;
mod project;
mod reload;
mod reload_requests;
mod rest;
mod revocation;
mod secret;
mod services;
mod shared_state;
mod state_file;
pub mod supervise;
mod tail;
mod tls_identity;
mod trace;
mod turnstile;
mod webhook;

pub use cluster_report::{BusReport, ClusterReport, PeerReport, SessionsReport};
pub use config::{
    AcmeConfig, AddressLimitsConfig, AuthConfig, ClusterConfig, Config, ConnectWebhookConfig,
    DrainConfig, ForwardedHeader, LimitsConfig, ListenConfig, LogConfig, OpenTokJsConfig,
    OpsConfig, Problem, ProblemKind, ProcessConfig, ProjectConfig, ProjectLimitOverrides,
    ProxyConfig, RedactedConfig, ResumeConfig, SecretText, SettingChange, SettingEffect,
    TimeoutsConfig, TlsConfig, TracingConfig, WebhookConfig, accepted, default_file,
    effects_reference, is_secret,
};
pub use error::BindError;
pub use failure::RunError;
pub use gateway::{Addresses, Gateway};
pub use handles::StatsHandle;
pub use log_filter::LogFilter;
pub use machine::{UdpGrants, udp_grants};
pub use metrics::{metric_names, metrics_reference};
pub use page::{NetworkPage, PAGES, PageSession, PageTokens};
pub use project::{Project, Projects};
pub use reload::{ConfigurationReport, ReloadHandle, ReloadReport};
pub use reload_requests::{ReloadRequest, ReloadRequests};
pub use secret::SecretError;
pub use signalbox_cluster::ClusterStatus;
pub use signalbox_nats::NatsError;
