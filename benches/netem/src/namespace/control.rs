//! The link in motion: a thread for each way takes packets from one device and puts them into the
//! other when their time has come. It sleeps in between, to the microsecond.

use std::{
    io,
    num::NonZeroU64,
    os::fd::{AsFd as _, OwnedFd},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use anyhow::Context as _;
use parking_lot::Mutex;
use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll},
    thread::set_current_timer_slack,
};
use tun_rs::SyncDevice;

use super::now_ns;
use crate::{
    Direction, DroppedPacket, LinkCounts, LinkModel, SimulatedLink,
    link::{SECOND, nanos},
};

/// The longest packet of IP.
const PACKET: usize = 65_536;

/// Packets taken from a device before we look whether one is to be delivered.
const BATCH: usize = 64;

/// A handle on a running link: what it does, and what it is to do. Clones are the same link.
#[derive(Debug, Clone)]
pub struct LinkControl {
    client: Arc<Mutex<SimulatedLink>>,
    server: Arc<Mutex<SimulatedLink>>,
}

impl LinkControl {
    fn ways(&self, direction: Direction) -> impl Iterator<Item = &Mutex<SimulatedLink>> {
        let client = (direction != Direction::ToServer).then_some(&*self.client);
        let server = (direction != Direction::ToClient).then_some(&*self.server);
        client.into_iter().chain(server)
    }

    /// Changes how the link is for packets that come to it from now on.
    pub fn change(&self, direction: Direction, change: impl Fn(&mut LinkModel)) {
        self.ways(direction).for_each(|way| change(&mut way.lock().model));
    }

    /// Drops all that comes to the link for so long from now; an earlier cut is forgotten. What is
    /// under way still arrives.
    pub fn cut(&self, direction: Direction, time: Duration) {
        let until_ns = now_ns() + nanos(time);
        self.ways(direction).for_each(|way| way.lock().cut(until_ns));
    }

    /// What has become of all packets so far.
    pub fn counts(&self, direction: Direction) -> LinkCounts {
        self.ways(direction)
            .map(|way| way.lock().counts())
            .fold(LinkCounts::default(), |a, b| a + b)
    }

    /// The packets that did not arrive so far, in the order of time (of each way): the first
    /// million of each.
    pub fn drops(&self, direction: Direction) -> Vec<DroppedPacket> {
        self.ways(direction).flat_map(|way| way.lock().drops().to_vec()).collect()
    }
}

/// The threads that carry packets. Dropping it ends them.
#[derive(Debug)]
pub(super) struct Pumps {
    stop: Arc<OwnedFd>,
    threads: Vec<JoinHandle<()>>,
}

/// Joins the two devices.
pub(super) fn start(
    server: SyncDevice,
    client: SyncDevice,
    to_client: LinkModel,
    to_server: LinkModel,
    seed: u64,
) -> anyhow::Result<(LinkControl, Pumps)> {
    let way = |model, seed| Arc::new(Mutex::new(SimulatedLink::new(model, seed)));
    // Other packets are lost on the way back than on the way there.
    let link = LinkControl { client: way(to_client, seed), server: way(to_server, !seed) };
    let stop = eventfd(0, EventfdFlags::CLOEXEC).context("cannot make an event")?;
    let mut pumps = Pumps { stop: Arc::new(stop), threads: Vec::new() };
    let (server, client) = (Arc::new(server), Arc::new(client));
    let ways = [
        ("to-client", server.clone(), client.clone(), link.client.clone()),
        ("to-server", client, server, link.server.clone()),
    ];
    for (name, from, to, way) in ways {
        let stop = pumps.stop.clone();
        let run = move || {
            if let Err(error) = pump(&from, &to, &way, &stop) {
                eprintln!("error: the emulated link ({name}) has failed: {error}");
            }
        };
        let thread = std::thread::Builder::new().name(name.into()).spawn(run);
        pumps.threads.push(thread.context("cannot start a thread for the link")?);
    }
    Ok((link, pumps))
}

impl Drop for Pumps {
    fn drop(&mut self) {
        // Both threads see it: nobody reads the count back.
        let _ = rustix::io::write(&*self.stop, &1u64.to_ne_bytes());
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

fn pump(
    from: &SyncDevice,
    to: &SyncDevice,
    way: &Mutex<SimulatedLink>,
    stop: &OwnedFd,
) -> io::Result<()> {
    // The system may otherwise wake us 50 µs late, to save a wake-up.
    set_current_timer_slack(NonZeroU64::new(1))?;
    let mut buffer = vec![0; PACKET];
    loop {
        deliver(to, way)?;
        let wait = way.lock().next_ns().map(|at_ns| timespec(at_ns.saturating_sub(now_ns())));
        let mut files = [
            PollFd::from_borrowed_fd(from.as_fd(), PollFlags::IN),
            PollFd::new(stop, PollFlags::IN),
        ];
        match poll(&mut files, wait.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [device, stop] = files;
        if !stop.revents().is_empty() {
            return Ok(());
        }
        if !device.revents().is_empty() {
            take(from, way, &mut buffer)?;
        }
    }
}

fn deliver(to: &SyncDevice, way: &Mutex<SimulatedLink>) -> io::Result<()> {
    loop {
        let Some(packet) = way.lock().poll(now_ns()) else { return Ok(()) };
        to.send(&packet)?;
    }
}

fn take(from: &SyncDevice, way: &Mutex<SimulatedLink>, buffer: &mut [u8]) -> io::Result<()> {
    for _ in 0..BATCH {
        match from.recv(buffer) {
            Ok(length) => {
                let packet = buffer.get(..length).unwrap_or_default();
                way.lock().handle(now_ns(), packet);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn timespec(ns: u64) -> Timespec {
    // Neither is out of range: no wait is longer than some minutes.
    Timespec {
        tv_sec: i64::try_from(ns / SECOND).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(ns % SECOND).unwrap_or_default(),
    }
}
