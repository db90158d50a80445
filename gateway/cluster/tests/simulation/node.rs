//! A gateway in the simulation.

use std::{sync::Arc, time::Duration};

use signalbox_cluster::{Cluster, Links};
use signalbox_protocol::{ConnectionInfo, Role, SessionId, Signal, Transport};
use signalbox_relay::{
    Detached, Encoding, Hold, Instance, Join, JoinError, Recipients, Relay, Settings, TokenIdentity,
};

use super::{id, session};

pub(crate) struct Node {
    pub(crate) instance: Instance,
    pub(crate) epoch: u64,
    pub(crate) relay: Relay,
    pub(crate) links: Arc<Links>,
    pub(crate) cluster: Cluster,
    /// Cut off from the bus.
    pub(crate) cut: bool,
    pub(crate) dead: bool,
    pub(crate) stopped_until: Option<Duration>,
    /// Detached connections, with the end of their windows.
    pub(crate) detached: Vec<(Duration, Detached)>,
    /// Requests of servers: the session is held until its parts are there, and a while longer.
    serving: Vec<(Duration, Hold, SessionId, bool)>,
    served: u64,
}

impl Node {
    pub(crate) fn start(number: usize, epoch: u64) -> Self {
        let gateway = format!("gw-{number}").parse().unwrap();
        let instance = Instance { gateway, epoch };
        let links = Arc::new(Links::new(instance.clone(), || {}));
        let settings = Settings::default();
        let relay = Relay::clustered(settings, Arc::new(()), instance.clone(), links.clone());
        let cluster = Cluster::new(relay.clone(), links.clone());
        Self {
            instance,
            epoch,
            relay,
            links,
            cluster,
            cut: false,
            dead: false,
            stopped_until: None,
            detached: Vec::new(),
            serving: Vec::new(),
            served: 0,
        }
    }

    /// A client of a user joins a session of its own and leaves, under a limit of the user's
    /// connections.
    pub(crate) fn join_with_limit(
        &self,
        user: &str,
        limit: usize,
        now: Duration,
    ) -> Result<(), JoinError> {
        let mut settings = Settings::default();
        settings.project.connections_per_user = limit;
        self.relay.set_settings(settings);
        let join = Join {
            session: session(u8::MAX),
            info: ConnectionInfo { id: id(u64::MAX), created_at: 0, data: user.into() },
            role: Role::Publisher,
            token: TokenIdentity::default(),
            presence: true,
            encoding: Encoding::Shared,
            transport: Transport::Quic,
            resume: None,
        };
        self.relay.join(join, now).map(drop)
    }

    pub(crate) fn stopped(&self, now: Duration) -> bool {
        self.stopped_until.is_some_and(|until| until > now)
    }

    pub(crate) fn is_running(&self, now: Duration) -> bool {
        !self.dead && !self.stopped(now)
    }

    pub(crate) fn serve(&mut self, session: SessionId, now: Duration) {
        let hold = self.cluster.open(&session, now).unwrap();
        self.serving.push((now + Duration::from_secs(1), hold, session, false));
    }

    pub(crate) fn tick(&mut self, now: Duration) {
        self.cluster.tick(now);
        let due = |(at, _): &mut (Duration, Detached)| *at <= now;
        for (_, detached) in self.detached.extract_if(.., due) {
            detached.expire(now);
        }
        for (_, _, session, done) in &mut self.serving {
            let waker = std::task::Waker::noop();
            let cx = std::task::Context::from_waker(waker);
            if !*done && self.cluster.poll_opened(session, &cx).is_ready() {
                *done = true;
                self.served += 1;
                let data = self.served.to_string();
                let signal = Signal::new(None::<&str>, Some(data.as_str()));
                let _ = self.relay.signal_from_server(session, Recipients::All, signal, now);
            }
        }
        self.serving.retain(|(until, ..)| *until > now);
    }
}
