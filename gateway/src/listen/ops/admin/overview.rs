//! `GET /admin/overview`: the gateway, its connections and links, the recent past, its certificate and
//! its cluster.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{extract::State, response::Response};
use serde::Serialize;
use signalbox_protocol::{GatewayId, Transport};

use super::json;
use crate::{
    clock::{millis, unix_time},
    cluster::ClusterNode,
    cluster_report::ClusterReport,
    link_registry::EndedLink,
    listen::ops::OpsState,
    metrics::{Coalesced, MetricSources, Totals, TrafficHistory, TrafficReport},
};

/// Ended links that are shown.
const ENDED_LINKS: usize = 50;

/// The latest overview, which requests that wait share.
#[derive(Default)]
pub(crate) struct Overviews(Coalesced<Option<Arc<Overview>>>);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Overview {
    gateway: GatewayOverview,
    /// Sessions that are open here.
    sessions: usize,
    connections: ConnectionCounts,
    by_transport: Vec<TransportCounts>,
    projects: Vec<ProjectCounts>,
    traffic: TrafficReport,
    /// Links of admitted connections that have ended, the latest first.
    ended_links: Vec<EndedLink>,
    certificate: CertificateOverview,
    /// None without a cluster, or before it was joined.
    cluster: Option<ClusterReport>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GatewayOverview {
    name: GatewayId,
    version: &'static str,
    /// Its run, in hexadecimal.
    epoch: String,
    /// Now, in milliseconds since 1970.
    time: u64,
    uptime_ms: u64,
    ready: bool,
    /// Why it is not ready.
    not_ready: Option<String>,
    draining: bool,
}

#[derive(Default, Clone, Copy, Serialize)]
struct ConnectionCounts {
    attached: u64,
    detached: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TransportCounts {
    transport: Transport,
    attached: u64,
    detached: u64,
    /// Messages that wait in outboxes.
    queued: u64,
    queued_bytes: u64,
    /// The fullest outbox; 1 is its bound.
    fullest: f64,
}

/// A configured project.
#[derive(Serialize)]
struct ProjectCounts {
    key: String,
    sessions: u64,
    connections: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CertificateOverview {
    file: String,
    /// SHA-256 of the certificate, in hexadecimal.
    sha256: Option<String>,
    /// In milliseconds since 1970; none if the certificate does not say it.
    not_before: Option<u64>,
    not_after: Option<u64>,
}

pub(in crate::listen::ops) async fn show(State(state): State<OpsState>) -> Response {
    let OpsState { sources, history, overviews, .. } = &state;
    let collect = async || Some(Arc::new(Overview::collect(sources, history).await));
    json(&overviews.0.collect(collect).await)
}

impl Overview {
    async fn collect(sources: &MetricSources, history: &TrafficHistory) -> Self {
        let services = &sources.gateway.services;
        let Totals { transports, projects: by_project } = sources.count_sessions().await;
        let mut connections = ConnectionCounts::default();
        let by_transport = Transport::ALL.map(|transport| {
            let count = transports.get(&transport).copied().unwrap_or_default();
            connections.attached += count.attached;
            connections.detached += count.detached;
            TransportCounts {
                transport,
                attached: count.attached,
                detached: count.detached,
                queued: count.frames,
                queued_bytes: count.bytes,
                fullest: count.fullest,
            }
        });
        let configured = services.projects();
        let mut projects: Vec<_> = configured
            .iter()
            .map(|project| {
                let key = project.key().as_str();
                let (sessions, connections) = by_project.get(key).copied().unwrap_or_default();
                ProjectCounts { key: key.to_owned(), sessions, connections }
            })
            .collect();
        projects.sort_by(|one, other| one.key.cmp(&other.key));
        Self {
            gateway: GatewayOverview::new(sources),
            sessions: services.relay().stats().sessions,
            connections,
            by_transport: by_transport.into(),
            projects,
            traffic: history.report(services),
            ended_links: services.links().latest_ended(ENDED_LINKS),
            certificate: CertificateOverview::new(sources),
            cluster: services.cluster().and_then(ClusterNode::report),
        }
    }
}

impl GatewayOverview {
    fn new(sources: &MetricSources) -> Self {
        let (gateway, services) = (&sources.gateway, &sources.gateway.services);
        let instance = services.instance();
        let not_ready = gateway.readiness().err();
        Self {
            name: instance.gateway.clone(),
            version: env!("CARGO_PKG_VERSION"),
            epoch: format!("{:016x}", instance.epoch),
            time: millis(unix_time()),
            uptime_ms: millis(services.uptime()),
            ready: not_ready.is_none(),
            not_ready,
            draining: gateway.lifecycle.is_draining(),
        }
    }
}

impl CertificateOverview {
    fn new(sources: &MetricSources) -> Self {
        let certificates = &sources.certificates;
        let validity = certificates.validity();
        let unix = |time: SystemTime| millis(time.duration_since(UNIX_EPOCH).unwrap_or_default());
        Self {
            file: certificates.path().display().to_string(),
            sha256: certificates.leaf_sha256().map(hex::encode),
            not_before: validity.map(|it| unix(it.not_before)),
            not_after: validity.map(|it| unix(it.not_after)),
        }
    }
}
