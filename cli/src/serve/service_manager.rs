//! Messages to the service manager, in the protocol of systemd (`sd_notify`): ready, reloading,
//! stopping, a line of status, and signs of life for its watchdog.
//!
//! They go to the socket that the environment names; without one there are none. A service manager
//! that does not read its socket costs its messages only.

use std::{
    ffi::OsString,
    fmt::Write as _,
    io,
    os::unix::net::UnixDatagram as StdUnixDatagram,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use sd_notify::NotifyState;
use signalbox_gateway::StatsHandle;
use tokio::{
    net::UnixDatagram,
    time::{MissedTickBehavior, interval, timeout},
};
use tracing::{info, warn};

/// Time for a message to be accepted.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Interval of the status without a watchdog.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);

/// The part of the watchdog's time after which the next sign of life is sent.
const SIGNS_PER_WATCHDOG: u32 = 3;

/// The service manager that started this process, if there is one.
pub(super) struct ServiceManager {
    /// Path of its socket.
    socket: Option<OsString>,
    stats: StatsHandle,
    draining: AtomicBool,
    /// Whether the last message was lost. A series of losses is logged once.
    failing: AtomicBool,
}

impl ServiceManager {
    /// Of the environment of this process.
    pub(super) fn of_environment(stats: StatsHandle) -> Self {
        Self::at(std::env::var_os("NOTIFY_SOCKET"), stats)
    }

    fn at(socket: Option<OsString>, stats: StatsHandle) -> Self {
        let (draining, failing) = Default::default();
        Self { socket, stats, draining, failing }
    }

    /// The gateway serves: it has started, or a reload has ended.
    pub(super) async fn ready(&self) {
        self.notify(&[NotifyState::Ready, NotifyState::Status(&self.status())]).await;
    }

    /// A reload has begun. [`ServiceManager::ready`] ends it.
    pub(super) async fn reloading(&self) {
        // By this time the service manager knows that the message is an answer to its request.
        let Ok(now) = NotifyState::monotonic_usec_now() else { return };
        let status = NotifyState::Status("Reloading the configuration");
        self.notify(&[NotifyState::Reloading, now, status]).await;
    }

    /// The gateway drains, and ends within this time.
    pub(super) async fn stopping(&self, within: Duration) {
        self.draining.store(true, Relaxed);
        let micros = u32::try_from(within.as_micros()).unwrap_or(u32::MAX);
        let (status, time) = (self.status(), NotifyState::ExtendTimeoutUsec(micros));
        self.notify(&[NotifyState::Stopping, time, NotifyState::Status(&status)]).await;
    }

    /// Sends the status, and signs of life if there is a watchdog, until the process ends.
    ///
    /// Run it on the gateway's own runtime: a sign of life then shows that its thread runs tasks and
    /// timers, and that the relay answers. A thread of its own would prove nothing.
    pub(super) async fn keep_alive(&self) {
        if self.socket.is_some() {
            self.keep_alive_within(sd_notify::watchdog_enabled()).await;
        }
    }

    async fn keep_alive_within(&self, watchdog: Option<Duration>) {
        if let Some(time) = watchdog {
            info!(?time, "watchdog enabled");
        }
        let period = watchdog.map_or(STATUS_INTERVAL, |time| time / SIGNS_PER_WATCHDOG);
        let mut ticks = interval(period.max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let status = self.status();
            let state = [NotifyState::Status(&status), NotifyState::Watchdog];
            // Only a service with a watchdog may send the last one.
            self.notify(if watchdog.is_some() { &state } else { &state[..1] }).await;
        }
    }

    fn status(&self) -> String {
        let stats = self.stats.current();
        let activity = if self.draining.load(Relaxed) { "Draining" } else { "Serving" };
        format!("{activity}: connections={} sessions={}", stats.connections, stats.sessions)
    }

    /// Sends one message. The failure of one is logged.
    async fn notify(&self, state: &[NotifyState<'_>]) {
        let Some(socket) = &self.socket else { return };
        let mut message = String::new();
        for state in state {
            // Writing to a String cannot fail.
            let _ = writeln!(message, "{state}");
        }
        let send = async {
            // Connected, so that it waits for room in the socket's queue; and each time, as the socket
            // may have been replaced.
            let connected = StdUnixDatagram::unbound()?;
            connected.connect(socket)?;
            connected.set_nonblocking(true)?;
            UnixDatagram::from_std(connected)?.send(message.as_bytes()).await
        };
        let sent = match timeout(TIMEOUT, send).await {
            Ok(sent) => sent.map(|_| ()),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "it does not read its socket")),
        };
        if let Err(error) = &sent
            && !self.failing.load(Relaxed)
        {
            let socket = socket.display();
            warn!(%socket, %error, "service manager not notified (NOTIFY_SOCKET)");
        }
        self.failing.store(sent.is_err(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::mpsc;

    use signalbox_gateway::Gateway;

    use super::*;
    use crate::dev::DevEnvironment;

    /// A thread of its own would feed the watchdog of a gateway that hangs.
    #[test]
    fn a_gateway_whose_thread_hangs_sends_no_sign_of_life() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = StdUnixDatagram::bind(&path).unwrap();
        let receive = move |time: Duration| {
            let mut message = [0; 200];
            socket.set_read_timeout(Some(time)).unwrap();
            let length = socket.recv(&mut message).ok()?;
            Some(String::from_utf8_lossy(&message[..length]).into_owned())
        };
        let watchdog = Duration::from_millis(300);
        let (hang, hangs) = mpsc::sync_channel(0);
        let (go_on, going_on) = mpsc::sync_channel::<()>(0);
        let service_manager = std::thread::spawn(move || {
            let alive = |message: Option<String>| message.unwrap().contains("WATCHDOG=1\n");
            assert!(alive(receive(TIMEOUT)) && alive(receive(TIMEOUT)));
            hang.send(()).unwrap();
            // What was sent before it hung.
            while receive(watchdog / SIGNS_PER_WATCHDOG / 2).is_some() {}
            assert_eq!(receive(3 * watchdog), None);
            go_on.send(()).unwrap();
            assert!(alive(receive(TIMEOUT)));
        });

        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _runtime = runtime.enter();
        signalbox_certs::install_provider();
        let mut config = DevEnvironment::open(dir.path()).unwrap().defaults();
        (config.listen.quic, config.listen.tcp) =
            (([127, 0, 0, 1], 0).into(), ([127, 0, 0, 1], 0).into());
        let gateway = Gateway::bind(config).unwrap();
        let manager = ServiceManager::at(Some(path.into()), gateway.stats());
        runtime.spawn(async move { manager.keep_alive_within(Some(watchdog)).await });
        runtime.block_on(async {
            // A client's task that hangs, once the service manager asks for it.
            while hangs.try_recv().is_err() {
                tokio::task::yield_now().await;
            }
            going_on.recv().unwrap();
            tokio::task::spawn_blocking(|| service_manager.join().unwrap()).await.unwrap();
        });
    }
}
