//! The NATS client: its settings, its files, and the errors of its first connection.

use std::{error::Error as _, fs, io, path::Path, time::Duration};

use async_nats::{Client, ConnectError, ConnectErrorKind, ConnectOptions, rustls};
use signalbox_protocol::GatewayId;
use tokio::{task::spawn_blocking, time::timeout};

use crate::{
    error::NatsError,
    monitor::BusMonitor,
    options::{NatsCredentials, NatsOptions},
};

/// Minimum `max_payload` of the server, in bytes. Packets have at most about 512 KiB.
pub(crate) const MIN_PAYLOAD: usize = 768 * 1024;

/// Time for the first connection, all servers together.
const FIRST_CONNECTION: Duration = Duration::from_secs(5);

/// Time for one attempt at one address of one server.
const ATTEMPT: Duration = Duration::from_secs(2);

/// Interval of pings on a connection without other messages. After two without answer the client
/// connects again.
const PING_INTERVAL: Duration = Duration::from_secs(1);

/// Commands that wait for the client's task. Beyond it, publishing waits.
const COMMANDS: usize = 8;

/// Received messages of one subscription that wait. Beyond it, new ones are lost, and channels
/// repeat them.
const MESSAGES: usize = 4096;

/// The first and the longest delay between two attempts to connect again.
const FIRST_DELAY: Duration = Duration::from_millis(50);
const LONGEST_DELAY: Duration = Duration::from_secs(2);

/// Connects to one of the servers.
pub(crate) async fn connect(
    options: &NatsOptions,
    gateway: &GatewayId,
    monitor: &BusMonitor,
) -> Result<Client, NatsError> {
    let checked = options.clone();
    // The only failure is a panic of the check.
    spawn_blocking(move || check_files(&checked)).await.map_err(|_| NatsError::Ended)??;
    let settings = settings(options, gateway, monitor).await?;
    let servers = options.servers.as_slice();
    match timeout(FIRST_CONNECTION, settings.connect(servers)).await {
        Ok(connected) => connected.map_err(|error| explained(error, options)),
        Err(_) => {
            Err(NatsError::TimedOut { servers: options.server_list(), limit: FIRST_CONNECTION })
        }
    }
}

async fn settings(
    options: &NatsOptions,
    gateway: &GatewayId,
    monitor: &BusMonitor,
) -> Result<ConnectOptions, NatsError> {
    let (events, attempts, servers) = (monitor.clone(), monitor.clone(), options.servers.len());
    let mut settings = ConnectOptions::new()
        .name(format!("signalbox {gateway}"))
        .client_capacity(COMMANDS)
        .subscription_capacity(MESSAGES)
        .ping_interval(PING_INTERVAL)
        .connection_timeout(ATTEMPT)
        .max_reconnects(None)
        // The operator names the servers, perhaps by addresses that the servers do not know.
        .ignore_discovered_servers()
        .require_tls(options.requires_tls())
        .reconnect_delay_callback(move |attempt| delay(attempt, servers))
        // It selects no server: the client tells the last errors to nothing else.
        .reconnect_to_server_callback(move |servers, _| {
            let error = servers.into_iter().find_map(|server| server.last_error);
            error.into_iter().for_each(|error| attempts.failed(error));
            std::future::ready(None)
        })
        .event_callback(move |event| {
            events.event(&event);
            std::future::ready(())
        });
    if let Some(ca) = &options.tls.ca {
        settings = settings.add_root_certificates(ca.clone());
    }
    if let Some((certificate, key)) = &options.tls.client {
        settings = settings.add_client_certificate(certificate.clone(), key.clone());
    }
    Ok(match &options.credentials {
        NatsCredentials::None => settings,
        NatsCredentials::Password { user, password } => {
            settings.user_and_password(user.clone(), password.clone())
        }
        NatsCredentials::Token(token) => settings.token(token.clone()),
        NatsCredentials::File(path) => settings
            .credentials_file(path)
            .await
            .map_err(|source| unreadable("credentials file", path, source))?,
    })
}

/// Delay before an attempt to connect again. Each server is tried once without a delay, then at
/// growing intervals. Jitter keeps the gateways apart.
fn delay(attempt: usize, servers: usize) -> Duration {
    let round = attempt.saturating_sub(1) / servers.max(1);
    let Some(doublings) = round.checked_sub(1) else { return Duration::ZERO };
    let factor = u32::try_from(doublings).ok().and_then(|it| 2_u32.checked_pow(it));
    let longest = FIRST_DELAY.saturating_mul(factor.unwrap_or(u32::MAX)).min(LONGEST_DELAY);
    longest.mul_f64(fastrand::f64().mul_add(0.5, 0.5))
}

/// Checks the files for TLS. The client reads them again for each connection, so that renewed
/// certificates come into effect.
fn check_files(options: &NatsOptions) -> Result<(), NatsError> {
    if let Some(ca) = &options.tls.ca {
        let pem = fs::read(ca).map_err(|source| unreadable("CA file", ca, source))?;
        signalbox_certs::roots_from_pem(&pem)
            .map_err(|source| NatsError::Authorities { path: ca.clone(), source })?;
    }
    if let Some((certificate, key)) = &options.tls.client {
        signalbox_certs::load(certificate, key).map_err(NatsError::ClientCertificate)?;
    }
    Ok(())
}

fn unreadable(what: &'static str, path: &Path, source: io::Error) -> NatsError {
    NatsError::File { what, path: path.to_owned(), source }
}

fn explained(source: ConnectError, options: &NatsOptions) -> NatsError {
    let servers = options.server_list();
    let io = source.source().and_then(|source| source.downcast_ref::<io::Error>());
    let of_tls = io.and_then(|io| io.get_ref()?.downcast_ref::<rustls::Error>());
    // An error of the system: the server was not reached, or its host is down.
    let is_of_system = io.is_some_and(|io| io.raw_os_error().is_some());
    match source.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            NatsError::Unauthorized { servers, source }
        }
        ConnectErrorKind::TimedOut => NatsError::TimedOut { servers, limit: ATTEMPT },
        ConnectErrorKind::Tls => NatsError::Tls { servers, source },
        ConnectErrorKind::Io if of_tls.is_some() => NatsError::Tls { servers, source },
        ConnectErrorKind::Dns => NatsError::Unreachable { servers, source },
        ConnectErrorKind::Io if is_of_system => NatsError::Unreachable { servers, source },
        ConnectErrorKind::ServerParse | ConnectErrorKind::MaxReconnects | ConnectErrorKind::Io => {
            NatsError::Refused { servers, source }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_slow_down_once_each_server_was_tried() {
        for attempt in 0..=3 {
            assert_eq!(delay(attempt, 3), Duration::ZERO);
        }
        let mut longest = FIRST_DELAY;
        for round in 1..20 {
            for server in 1..=3 {
                let delay = delay(round * 3 + server, 3);
                assert!(delay <= longest && delay >= longest / 2, "{round} {delay:?}");
            }
            longest = (longest * 2).min(LONGEST_DELAY);
        }
        assert!(delay(usize::MAX, 1) <= LONGEST_DELAY);
    }
}
