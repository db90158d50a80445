//! The composition of one gateway, by what each part may be used for.

use std::sync::Arc;

use axum::extract::FromRef;
use signalbox_nats::NatsOptions;
use signalbox_relay::Observer;

use crate::{
    acme::Acme,
    admission::AdmissionControl,
    config::Config,
    lifecycle::Lifecycle,
    services::{Services, SharedProjects},
    shared_state::GatewayState,
    tail::{Tail, TailedObserver},
    trace::Tracer,
};

/// The state that the listeners share. Links get the services and the lifecycle, REST handlers the
/// services. A clone is another handle of the same gateway.
#[derive(Clone)]
pub(crate) struct ServerContext {
    pub(crate) services: Arc<Services>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    pub(crate) admission: Arc<AdmissionControl>,
    /// If the certificate comes from ACME.
    pub(crate) acme: Option<Acme>,
}

impl ServerContext {
    pub(crate) fn new(
        config: &Config,
        nats: Option<NatsOptions>,
        projects: SharedProjects,
        observer: Arc<dyn Observer>,
        tracer: Tracer,
    ) -> Self {
        let shared = Arc::new(GatewayState::default());
        let tail = Arc::new(Tail::default());
        tail.set_contents(config.ops.contents);
        let observer = Arc::new(TailedObserver { inner: observer, tail: tail.clone() });
        let services =
            Services::new(config, nats, projects, observer, shared.clone(), tracer, tail);
        let services = Arc::new(services);
        shared.attach(&services);
        Self {
            services,
            lifecycle: Arc::new(Lifecycle::new(&config.drain)),
            admission: Arc::new(AdmissionControl::new(config)),
            acme: None,
        }
    }

    /// Whether load balancers should send clients to this gateway; the error says why not.
    pub(crate) fn readiness(&self) -> Result<(), String> {
        if !self.lifecycle.is_ready() {
            return Err("going down".into());
        }
        self.acme.as_ref().map_or(Ok(()), Acme::readiness)?;
        match self.services.cluster() {
            Some(cluster) if !cluster.is_ready(self.services.relay()) => {
                Err("cut off from the other gateways".into())
            }
            _ => Ok(()),
        }
    }

    /// A gateway without listeners and webhooks, for tests.
    #[cfg(test)]
    pub(crate) fn of(config: &Config) -> Self {
        let projects =
            crate::Projects::from_config(config).expect("the projects of a test are valid");
        Self::new(
            config,
            None,
            Arc::new(Arc::new(projects).into()),
            Arc::new(()),
            Tracer::default(),
        )
    }
}

impl FromRef<ServerContext> for Arc<Services> {
    fn from_ref(context: &ServerContext) -> Self {
        context.services.clone()
    }
}

impl FromRef<ServerContext> for Arc<Lifecycle> {
    fn from_ref(context: &ServerContext) -> Self {
        context.lifecycle.clone()
    }
}
