//! Configuration of a gateway.
//!
//! The types here are the TOML file, field by field. Every setting has a default, and an unknown
//! name is an error. Merging of file, environment and flags is done by the command line.

mod acme;
mod check;
mod cluster;
mod default_file;
mod described;
mod effect;
mod gateway_url;
mod opentok_js;
mod ops;
mod origin;
mod problem;
mod project;
mod proxy;
mod redacted;
mod setting;
mod tracing;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use signalbox_protocol::{DEFAULT_PORT, GatewayId};

pub use self::{
    acme::AcmeConfig,
    check::accepted,
    cluster::{ClusterConfig, SecretText},
    default_file::default_file,
    effect::{SettingEffect, effects_reference},
    opentok_js::OpenTokJsConfig,
    ops::OpsConfig,
    problem::{Problem, ProblemKind},
    project::{ConnectWebhookConfig, ProjectConfig, ProjectLimitOverrides, WebhookConfig},
    proxy::{ForwardedHeader, ProxyConfig},
    redacted::{RedactedConfig, SettingChange, is_secret},
    tracing::TracingConfig,
};
pub(crate) use self::{described::DescribedSetting, proxy::parse_prefix};
use self::{
    gateway_url::GATEWAY_URL,
    origin::ORIGIN,
    setting::{ADDRESS, FILE, Form, UNBOUNDED, number, number_or_zero, section},
};

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// Far beyond what one process can serve, and far below what its counters can hold.
const MILLION: u64 = 1_000_000;
/// Beyond the resolution of the rates, which is a nanosecond.
const RATE_MAX: u64 = MILLION;
const SIGNALS_MAX: u64 = u32::MAX as u64;
const RESUME_WINDOW_MAX_MS: u64 = 7 * DAY;
/// The longest JSON form of a signal must fit, or no client could receive it.
const OUTBOX_MIN_BYTES: u64 = 64 * 1024;
const ANY_ADDRESS: [u8; 4] = [0, 0, 0, 0];

section! {
    /// The whole configuration of a gateway.
    pub struct Config {
        /// Name of the gateway, unique among gateways that serve the same sessions: 1 to 64 letters,
        /// digits, '.', '_' or '-'. Clients see it as the sender of the servers' signals.
        name: GatewayId = GatewayId::default(),
            Form::Text("1 to 64 letters, digits, '.', '_' or '-', in quotes");
        /// Addresses.
        listen: ListenConfig = ListenConfig::default(), Form::Table(&ListenConfig::TABLE);
        /// Proxies.
        proxy: ProxyConfig = ProxyConfig::default(), Form::Table(&ProxyConfig::TABLE);
        /// The certificate.
        tls: TlsConfig = TlsConfig::default(), Form::Table(&TlsConfig::TABLE);
        /// Rules for joining and sending.
        auth: AuthConfig = AuthConfig::default(), Form::Table(&AuthConfig::TABLE);
        /// Limits on what clients and projects may use.
        limits: LimitsConfig = LimitsConfig::default(), Form::Table(&LimitsConfig::TABLE);
        /// Time limits of links and HTTP connections.
        timeouts: TimeoutsConfig = TimeoutsConfig::default(), Form::Table(&TimeoutsConfig::TABLE);
        /// Resumption of connections.
        resume: ResumeConfig = ResumeConfig::default(), Form::Table(&ResumeConfig::TABLE);
        /// The cluster of gateways.
        cluster: ClusterConfig = ClusterConfig::default(), Form::Table(&ClusterConfig::TABLE);
        /// The vendor's browser SDK.
        opentok_js: OpenTokJsConfig = OpenTokJsConfig::default(),
            Form::Table(&OpenTokJsConfig::TABLE);
        /// The log.
        log: LogConfig = LogConfig::default(), Form::Table(&LogConfig::TABLE);
        /// Operations.
        ops: OpsConfig = OpsConfig::default(), Form::Table(&OpsConfig::TABLE);
        /// Traces.
        tracing: TracingConfig = TracingConfig::default(), Form::Table(&TracingConfig::TABLE);
        /// Graceful shutdown.
        drain: DrainConfig = DrainConfig::default(), Form::Table(&DrainConfig::TABLE);
        /// The process itself.
        process: ProcessConfig = ProcessConfig::default(), Form::Table(&ProcessConfig::TABLE);
        /// The projects. Without one, no client can join.
        projects: Vec<ProjectConfig> = Vec::new(), Form::Tables(&ProjectConfig::TABLE);
    }
}

section! {
    /// Addresses on which the gateway listens. Port 0 lets the system choose.
    pub struct ListenConfig {
        /// UDP address for QUIC.
        quic: SocketAddr = (ANY_ADDRESS, DEFAULT_PORT).into(), ADDRESS;
        /// TCP address for WebSocket and HTTP.
        tcp: SocketAddr = (ANY_ADDRESS, DEFAULT_PORT).into(), ADDRESS;
        /// TCP address of a page that shows a session in a browser, and of its WebSocket, without TLS;
        /// without it there is none. Choose an address of this machine alone: on a network everyone
        /// could read tokens and signals.
        page: Option<SocketAddr> = None, ADDRESS, example "\"127.0.0.1:4434\"";
    }
}

section! {
    /// The certificate for QUIC and TCP. Changed files are reloaded while the gateway runs.
    pub struct TlsConfig {
        /// PEM file with the certificate chain, leaf first. Required without [tls.acme].
        certificate: Option<PathBuf> = None, FILE, example "\"/etc/signalbox/tls.crt\"";
        /// PEM file with the private key. Required without [tls.acme].
        key: Option<PathBuf> = None, FILE, example "\"/etc/signalbox/tls.key\"";
        /// Speak plaintext on the TCP port, behind a proxy that terminates TLS. QUIC always has TLS.
        plaintext_tcp: bool = false, Form::Boolean;
        /// A certificate by ACME.
        acme: AcmeConfig = AcmeConfig::default(), Form::Table(&AcmeConfig::TABLE);
    }
}

section! {
    /// Rules for joining a session and sending signals.
    pub struct AuthConfig {
        /// Origins (RFC 6454) of web pages that may connect; "*" allows all of them.
        /// Clients other than browsers send no origin and are always allowed.
        allowed_origins: Vec<String> = vec!["*".into()], Form::List {
            list: "a list of origins in quotes, such as [\"https://app.example.com\"], or [\"*\"] for all",
            item: ORIGIN,
        };
        /// Accept the vendor's older tokens, which begin with T1==.
        legacy_t1_tokens: bool = true, Form::Boolean;
        /// Let clients with the role subscriber send signals.
        subscribers_may_send: bool = false, Form::Boolean;
        /// End a connection when its token expires. If false, the token is checked only when the
        /// client joins, as with the vendor.
        end_on_token_expiry: bool = false, Form::Boolean;
    }
}

section! {
    /// Limits on what clients and projects may use.
    pub struct LimitsConfig {
        /// Connections of the gateway, detached ones included. Beyond it new clients are refused, and
        /// those that resume are not.
        connections: usize = 250_000, number("", 1, UNBOUNDED);
        /// Resident memory of the gateway. Beyond it new clients are refused, and those that resume
        /// are not. Only on Linux.
        memory_bytes: u64 = 0, number_or_zero("bytes", 0, UNBOUNDED, "no limit");
        /// Connections of one session.
        connections_per_session: usize =
            signalbox_relay::Settings::default().connections_per_session, number("", 1, UNBOUNDED);
        /// Connections of one project.
        connections_per_project: usize =
            signalbox_relay::ProjectLimits::default().connections, number("", 1, UNBOUNDED);
        /// Connections of one user on this gateway: those of a project whose tokens have the same
        /// connection data. Tokens without connection data are not limited.
        connections_per_user: usize =
            signalbox_relay::ProjectLimits::default().connections_per_user,
            number_or_zero("connections", 0, UNBOUNDED, "no limit");
        /// Sessions of one project that have a connection.
        sessions_per_project: usize =
            signalbox_relay::ProjectLimits::default().sessions, number("", 1, UNBOUNDED);
        /// Signals per second of one connection. A connection that paused may send two
        /// seconds' worth at once.
        signals_per_second_per_connection: u32 =
            signalbox_relay::Settings::default().signals_per_second,
            number_or_zero("signals", 0, SIGNALS_MAX, "no limit");
        /// Bytes of type and data per second that one connection may send in signals. A connection
        /// that paused may send one second's worth at once; beyond that it is read more slowly.
        bytes_per_second_per_connection: u32 =
            signalbox_relay::Settings::default().bytes_per_second,
            number_or_zero("bytes", 0, SIGNALS_MAX, "no limit");
        /// Deliveries per second that the members of one session cause: a signal to all causes one
        /// for each member, at least 64, and as many again for each full KiB of it. Beyond that, connections that
        /// cause more than an eighth of it are read more slowly.
        deliveries_per_second_per_session: u32 =
            signalbox_relay::Settings::default().deliveries_per_second,
            number_or_zero("deliveries", 0, SIGNALS_MAX, "no limit");
        /// Signals per second of all clients and servers of one project together.
        signals_per_second_per_project: u32 =
            signalbox_relay::ProjectLimits::default().signals_per_second,
            number_or_zero("signals", 0, SIGNALS_MAX, "no limit");
        /// Frames queued for one connection. Beyond it the connection ends as a slow consumer.
        outbox_frames: usize =
            signalbox_relay::Settings::default().outbox_frames, number("frames", 1, UNBOUNDED);
        /// Bytes queued for one connection. Beyond it the connection ends as a slow consumer.
        outbox_bytes: usize =
            signalbox_relay::Settings::default().outbox_bytes,
            number("bytes", OUTBOX_MIN_BYTES, UNBOUNDED);
        /// Streams towards one QUIC client, one per sender. Beyond it the least recently active
        /// sender loses its stream until its next signal.
        streams_per_client: usize = 256, number("streams", 1, UNBOUNDED);
        /// Clients between accept and welcome, for QUIC and TCP each, and HTTP connections without a
        /// credential.
        pending_handshakes: usize = 1024, number("clients", 1, MILLION);
        /// HTTP connections of servers that are kept open between requests.
        http_keep_alive_connections: usize = 256, number("connections", 0, MILLION);
        /// Bytes of events queued for the webhook of one project, some fifteen thousand events by
        /// default. Beyond it the oldest are dropped.
        webhook_queue_bytes: usize = 4 * 1024 * 1024, number("bytes", 0, UNBOUNDED);
        /// Limits of one client address.
        address: AddressLimitsConfig = AddressLimitsConfig::default(),
            Form::Table(&AddressLimitsConfig::TABLE);
    }
}

section! {
    /// Limits of one client address: an IPv4 address, or the first 64 bits of an IPv6 address. An
    /// address that paused may use ten seconds' worth of a rate at once. Requests with a valid server
    /// credential do not count. With tls.plaintext_tcp and without proxy.trusted the limits apply to
    /// QUIC alone.
    pub struct AddressLimitsConfig {
        /// New links and HTTP connections per second. More are refused.
        links_per_second: u32 = 200, number_or_zero("links", 0, RATE_MAX, "no limit");
        /// Clients between accept and welcome, for QUIC and TCP each. More wait.
        pending_links: usize = 256, number_or_zero("links", 0, MILLION, "no limit");
        /// HTTP requests per second without a valid server credential. More are refused.
        requests_per_second: u32 = 50, number_or_zero("requests", 0, RATE_MAX, "no limit");
        /// Invalid tokens and server credentials per second. Beyond it the address is refused without
        /// a look at its token; clients that resume are not.
        invalid_tokens_per_second: u32 = 10, number_or_zero("tokens", 0, RATE_MAX, "no limit");
    }
}

impl AddressLimitsConfig {
    /// No limits.
    pub(crate) const NONE: Self = Self {
        links_per_second: 0,
        pending_links: 0,
        requests_per_second: 0,
        invalid_tokens_per_second: 0,
    };
}

section! {
    /// Time limits of links and HTTP connections.
    pub struct TimeoutsConfig {
        /// Time from accept, or from the WebSocket upgrade, to the client's hello; and for the client
        /// to take each part of its welcome.
        hello_ms: u64 = 5000, number("milliseconds", 1, HOUR);
        /// Silence after which a link is lost. The gateway pings every third of it.
        // Below a second the pings would be the load.
        idle_ms: u32 = 30_000, number("milliseconds", 1000, DAY);
        /// Idle time of a server's HTTP connection between requests. Load balancers must close
        /// theirs earlier; nginx and most others do so after 60 seconds.
        http_keep_alive_ms: u64 = 75_000, number("milliseconds", 1000, DAY);
    }
}

section! {
    /// Resumption: connections that outlive their links.
    pub struct ResumeConfig {
        /// Time for a client to resume its connection after its link was lost.
        window_ms: u32 = 30_000,
            number_or_zero("milliseconds", 0, RESUME_WINDOW_MAX_MS, "not at all");
        /// URLs of other gateways with which clients may resume or join, in order of preference; at
        /// most 16. Clients receive them when they join. List a gateway once for each transport:
        /// native clients use quic, web pages https and wss.
        gateways: Vec<String> = Vec::new(), Form::List {
            list: "a list of URLs in quotes, such as [\"quic://gateway-2.example.com\"]",
            item: GATEWAY_URL,
        };
        /// Bytes of signals and events that one session keeps for detached connections. Beyond it
        /// the oldest are dropped, and the client is told of a gap.
        history_bytes: usize = signalbox_relay::Settings::default().history_bytes,
            number("bytes", 0, UNBOUNDED);
        /// File that carries resumable connections over a clean restart; without it they end with the
        /// process. It and the key file beside it (the same name with .key appended) must be readable
        /// by the gateway alone. The directory must exist.
        state_file: Option<PathBuf> = None, FILE, example "\"/var/lib/signalbox/state\"";
        /// Size of that file. Sessions that do not fit end.
        state_file_max_bytes: usize = 64 * 1024 * 1024, number("bytes", 0, UNBOUNDED);
    }
}

section! {
    /// The log, on standard error.
    pub struct LogConfig {
        /// Level, or levels by module. SIGNALBOX_LOG overrides it, and PUT /log of the operations listener
        /// until the next start.
        filter: String = "info".into(),
            Form::Text("off, error, warn, info, debug or trace, or a list of them by module, in quotes, such as \"info,signalbox_gateway=debug\"");
    }
}

section! {
    /// Graceful shutdown, after SIGTERM, SIGINT or signalbox drain.
    pub struct DrainConfig {
        /// Time to keep serving as before while /readyz returns 503, so that load balancers stop
        /// routing to this gateway.
        readiness_delay_ms: u64 = 0, number("milliseconds", 0, DAY);
        /// Time over which clients are then disconnected, evenly spread. It ends a second before
        /// timeout_ms at the latest.
        spread_ms: u64 = 3000, number_or_zero("milliseconds", 0, DAY, "all links end at once");
        /// Time to wait for clients and webhooks, after which the process ends.
        timeout_ms: u64 = 10_000, number("milliseconds", 0, DAY);
    }
}

section! {
    /// The process itself.
    pub struct ProcessConfig {
        /// File with the process id while the gateway runs, for signalbox drain.
        pid_file: Option<PathBuf> = None, FILE, example "\"/run/signalbox.pid\"";
        /// Threads that carry links. Waking another thread costs more than the rest of a signal's
        /// work, so one thread is best until it is busy all the time.
        threads: usize = 1, number("threads", 1, 1024);
    }
}

impl Config {
    /// Time for which a session keeps its history with this resume window: a link may have been dead
    /// for the idle timeout before that was noticed, and then the connection may be detached for the
    /// whole window.
    pub(crate) fn history_age(&self, window_ms: u32) -> Duration {
        if window_ms == 0 {
            return Duration::ZERO;
        }
        Duration::from_millis(window_ms.into()) + self.timeouts.detection()
    }

    pub(crate) fn relay_settings(&self) -> signalbox_relay::Settings {
        signalbox_relay::Settings {
            gateway: self.name.clone(),
            connections_per_session: self.limits.connections_per_session,
            project: signalbox_relay::ProjectLimits {
                connections: self.limits.connections_per_project,
                sessions: self.limits.sessions_per_project,
                connections_per_user: self.limits.connections_per_user,
                signals_per_second: self.limits.signals_per_second_per_project,
                history_age: self.history_age(self.resume.window_ms),
            },
            outbox_frames: self.limits.outbox_frames,
            outbox_bytes: self.limits.outbox_bytes,
            signals_per_second: self.limits.signals_per_second_per_connection,
            bytes_per_second: self.limits.bytes_per_second_per_connection,
            deliveries_per_second: self.limits.deliveries_per_second_per_session,
            subscribers_may_send: self.auth.subscribers_may_send,
            history_bytes: self.resume.history_bytes,
        }
    }
}

impl TimeoutsConfig {
    pub(crate) fn hello(&self) -> Duration {
        Duration::from_millis(self.hello_ms)
    }

    pub(crate) fn idle(&self) -> Duration {
        Duration::from_millis(self.idle_ms.into())
    }

    /// Time within which either side of a link notices that the other is gone. A silent WebSocket
    /// is noticed up to a third later than the idle timeout.
    pub(crate) fn detection(&self) -> Duration {
        self.idle() * 4 / 3
    }

    pub(crate) fn http_keep_alive(&self) -> Duration {
        Duration::from_millis(self.http_keep_alive_ms)
    }
}

impl DrainConfig {
    pub(crate) fn readiness_delay(&self) -> Duration {
        Duration::from_millis(self.readiness_delay_ms)
    }

    pub(crate) fn spread(&self) -> Duration {
        Duration::from_millis(self.spread_ms)
    }

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}
