//! Services of links and REST handlers: everything that answers a client, and nothing that can stop
//! the gateway ([`Lifecycle`](crate::lifecycle)) or change what it accepts ([`crate::admission`]).

use std::{sync::Arc, time::Duration};

use arc_swap::{ArcSwap, Guard};
use signalbox_cluster::SharedState;
use signalbox_nats::NatsOptions;
use signalbox_protocol::ProjectKey;
use signalbox_relay::{Instance, Observer, Relay};

use crate::{
    clock::Clock,
    cluster::ClusterNode,
    config::{AuthConfig, Config, DrainConfig, LimitsConfig, OpenTokJsConfig, TimeoutsConfig},
    connect_webhook::ConnectWebhooks,
    instance,
    link_registry::LinkRegistry,
    metrics::Metrics,
    overload::Overload,
    project::{Project, Projects},
    revocation::RevocationList,
    tail::Tail,
    trace::Tracer,
};

/// The projects, replaced as a whole on reload.
pub(crate) type SharedProjects = Arc<ArcSwap<Projects>>;

/// Settings that links and handlers apply, replaced as a whole on reload. A link reads most of them when it
/// begins.
pub(crate) struct Policy {
    pub(crate) auth: AuthConfig,
    pub(crate) limits: LimitsConfig,
    pub(crate) timeouts: TimeoutsConfig,
    pub(crate) drain: DrainConfig,
    pub(crate) opentok_js: OpenTokJsConfig,
    /// URLs of other gateways, for clients.
    pub(crate) gateways: Vec<String>,
}

impl Policy {
    fn of(config: &Config) -> Self {
        Self {
            auth: config.auth.clone(),
            limits: config.limits.clone(),
            timeouts: config.timeouts.clone(),
            drain: config.drain.clone(),
            opentok_js: config.opentok_js.clone(),
            gateways: config.resume.gateways.clone(),
        }
    }
}

/// The relay, its clock, the projects and the policy of one gateway.
pub(crate) struct Services {
    relay: Relay,
    clock: Clock,
    projects: SharedProjects,
    policy: ArcSwap<Policy>,
    instance: Instance,
    revocations: RevocationList,
    cluster: Option<ClusterNode>,
    metrics: Metrics,
    overload: Overload,
    links: LinkRegistry,
    tracer: Tracer,
    tail: Arc<Tail>,
    connect_webhooks: ConnectWebhooks,
}

impl Services {
    pub(crate) fn new(
        config: &Config,
        nats: Option<NatsOptions>,
        projects: SharedProjects,
        observer: Arc<dyn Observer>,
        shared: Arc<dyn SharedState>,
        tracer: Tracer,
        tail: Arc<Tail>,
    ) -> Self {
        let (instance, clock) = (instance::start(config.name.clone()), Clock::start());
        let settings = config.relay_settings();
        let (cluster, relay) = match nats {
            Some(nats) => {
                let ready_without_bus = config.cluster.ready_without_bus;
                let instance = instance.clone();
                let (cluster, relay) = ClusterNode::new(
                    nats,
                    ready_without_bus,
                    settings,
                    observer,
                    instance,
                    clock,
                    shared,
                );
                (Some(cluster), relay)
            }
            None => (None, Relay::new(settings, observer)),
        };
        relay.set_limits(projects.load().limits());
        let connect_webhooks = ConnectWebhooks::new(tracer.clone());
        let policy = ArcSwap::from_pointee(Policy::of(config));
        let revocations = RevocationList::default();
        let overload = Overload::new(&config.limits);
        let metrics = Metrics::new(clock, &tracer);
        let links = LinkRegistry::default();
        Self {
            relay,
            clock,
            projects,
            policy,
            instance,
            revocations,
            cluster,
            overload,
            metrics,
            links,
            tracer,
            tail,
            connect_webhooks,
        }
    }

    pub(crate) fn relay(&self) -> &Relay {
        &self.relay
    }

    /// Time since the gateway started: the relay's clock.
    pub(crate) fn uptime(&self) -> Duration {
        self.clock.uptime()
    }

    /// This run of this gateway.
    pub(crate) fn instance(&self) -> &Instance {
        &self.instance
    }

    /// Client tokens that projects' servers have revoked.
    pub(crate) fn revocations(&self) -> &RevocationList {
        &self.revocations
    }

    /// What the gateway counts.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The links of admitted connections.
    pub(crate) fn links(&self) -> &LinkRegistry {
        &self.links
    }

    /// Spans of what happens here.
    pub(crate) fn tracer(&self) -> &Tracer {
        &self.tracer
    }

    /// The cluster that this gateway is a part of, if there is one.
    pub(crate) fn cluster(&self) -> Option<&ClusterNode> {
        self.cluster.as_ref()
    }

    /// People that follow connections.
    pub(crate) fn tail(&self) -> &Arc<Tail> {
        &self.tail
    }

    /// Servers of projects that decide on connections.
    pub(crate) fn connect_webhooks(&self) -> &ConnectWebhooks {
        &self.connect_webhooks
    }

    /// Bounds of the whole gateway.
    pub(crate) fn overload(&self) -> &Overload {
        &self.overload
    }

    /// The current policy.
    pub(crate) fn policy(&self) -> Guard<Arc<Policy>> {
        self.policy.load()
    }

    /// Applies a changed configuration, with these projects of it.
    pub(crate) fn set(&self, config: &Config, projects: Projects) {
        self.policy.store(Arc::new(Policy::of(config)));
        self.overload.set(&config.limits);
        self.tail.set_contents(config.ops.contents);
        self.relay.set_settings(config.relay_settings());
        self.replace_projects(projects);
    }

    /// The current projects. Not to be held across an await, as a reload would not be seen.
    pub(crate) fn projects(&self) -> Guard<Arc<Projects>> {
        self.projects.load()
    }

    /// Replaces all projects, and their limits in the relay.
    pub(crate) fn replace_projects(&self, projects: Projects) {
        self.relay.set_limits(projects.limits());
        self.projects.store(Arc::new(projects));
    }

    /// Resume window of a project's connections. Zero if resumption is disabled for the project, or
    /// if the project has been removed.
    pub(crate) fn resume_window(&self, project: &ProjectKey) -> Duration {
        Duration::from_millis(self.resume_window_ms(project).into())
    }

    /// The same in milliseconds.
    pub(crate) fn resume_window_ms(&self, project: &ProjectKey) -> u32 {
        self.projects.load().get(project.as_str()).map_or(0, Project::resume_window_ms)
    }
}
