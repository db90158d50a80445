//! The gateways of a test.

use std::time::Duration;

use signalbox_client::{ConnectOptions, Role};
use signalbox_gateway::Config;
use signalbox_test_nats::NatsServer;
use signalbox_tests::{Member, TransportMode, World, within_timeout};
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinHandle,
};

/// Gateways of one cluster, with one session for the test.
pub(crate) struct Gateways {
    pub(crate) nats: NatsServer,
    worlds: Vec<Option<World>>,
    /// The runtime of each, so that it can be killed.
    runtimes: Vec<Option<Runtime>>,
}

impl Gateways {
    pub(crate) async fn start(count: usize) -> Self {
        Self::start_with(count, |_| {}).await
    }

    /// Starts them with settings changed by `change`.
    pub(crate) async fn start_with(
        count: usize,
        change: impl Fn(&mut Config) + Clone + Send + 'static,
    ) -> Self {
        let nats = NatsServer::start("").await;
        let mut gateways = Self { nats, worlds: Vec::new(), runtimes: Vec::new() };
        let starting: Vec<_> =
            (0..count).map(|number| start(gateways.nats.url(), number, change.clone())).collect();
        for starting in starting {
            let (runtime, world) = starting.await.unwrap();
            gateways.runtimes.push(Some(runtime));
            gateways.worlds.push(Some(world));
        }
        let (first, others) = gateways.worlds.split_first_mut().unwrap();
        for other in others.iter_mut().flatten() {
            other.share_session(first.as_ref().unwrap());
        }
        gateways.are_connected().await;
        gateways
    }

    /// Starts a stopped gateway again.
    pub(crate) async fn run(&mut self, number: usize) {
        let (runtime, mut world) = start(self.nats.url(), number, |_| {}).await.unwrap();
        if let Some(other) = self.worlds.iter().flatten().next() {
            world.share_session(other);
        }
        self.worlds[number] = Some(world);
        self.runtimes[number] = Some(runtime);
    }

    /// Waits until all gateways have heard each other, and know it.
    pub(crate) async fn are_connected(&self) {
        let running = self.worlds.iter().flatten().count();
        for world in self.worlds.iter().flatten() {
            let connected = async {
                loop {
                    let status = world.stats().cluster().unwrap();
                    if status.settled && status.peers.len() == running - 1 {
                        return;
                    }
                    tokio::task::yield_now().await;
                }
            };
            within_timeout("the gateways are connected", connected).await;
        }
    }

    pub(crate) fn at(&self, number: usize) -> &World {
        self.worlds[number].as_ref().expect("the gateway runs")
    }

    /// Joins the test's session at a gateway, and reads the list of the others.
    pub(crate) async fn join(&self, number: usize) -> Member {
        let mut member = self.at(number).join(TransportMode::Quic, Role::Publisher).await;
        member.sees_present().await;
        member
    }

    /// Options with the URLs of these gateways, in this order, with short timeouts.
    pub(crate) fn options(&self, order: &[usize], transport: TransportMode) -> ConnectOptions {
        let urls: Vec<_> = order.iter().map(|number| self.at(*number).url(transport)).collect();
        let options = ConnectOptions::new(urls, self.at(order[0]).token(Role::Publisher));
        let options = options.rejoin(false).keep_alive(Duration::from_millis(300));
        transport.options(options)
    }

    /// Ends a gateway at once, without a goodbye.
    pub(crate) fn kill(&mut self, number: usize) {
        if let Some(runtime) = self.runtimes[number].take() {
            runtime.shutdown_background();
        }
        self.worlds[number] = None;
    }

    /// Stops a gateway, as for an upgrade.
    pub(crate) async fn stop(&mut self, number: usize) {
        let mut world = self.worlds[number].take().expect("the gateway runs");
        world.stop().await;
        if let Some(runtime) = self.runtimes[number].take() {
            runtime.shutdown_background();
        }
    }
}

/// Starts the gateway of this number, in a runtime of its own.
fn start(
    nats: String,
    number: usize,
    change: impl FnOnce(&mut Config) + Send + 'static,
) -> JoinHandle<(Runtime, World)> {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let world = runtime.spawn(World::with(move |config| {
        config.name = format!("gw-{number}").parse().unwrap();
        config.cluster.servers = vec![nats];
        change(config);
    }));
    tokio::spawn(async { (runtime, world.await.unwrap()) })
}

impl Drop for Gateways {
    fn drop(&mut self) {
        // A runtime must not be dropped, and wait, in another one.
        for runtime in self.runtimes.iter_mut().filter_map(Option::take) {
            runtime.shutdown_background();
        }
    }
}

/// A member that can be resumed from now on: it has received its ticket.
pub(crate) async fn join_resumable(world: &World, options: &ConnectOptions) -> Member {
    let mut member = world.try_join(options).await.unwrap();
    member.sees_present().await;
    member.client.signal().to(member.id()).data("resumable").send().await.unwrap();
    assert_eq!(member.hear_data().await, "resumable");
    member
}
