//! Threads that forward packets between two TUN devices, one for each direction. They wait for
//! packets and arrivals with microsecond precision.

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
    io::Errno,
    thread::set_current_timer_slack,
};
use tun_rs::SyncDevice;

use super::now_ns;
use crate::{
    Direction, DroppedPacket, LinkCounts, LinkModel, SimulatedLink,
    link::{SECOND_NS, nanos},
};

/// The longest IP packet.
const PACKET: usize = 65_536;

/// Packets taken from a device before arrived ones are delivered.
const BATCH: usize = 64;

/// Controls and observes a running link. Clones control the same link.
#[derive(Debug, Clone)]
pub struct LinkControl {
    to_client: Arc<Mutex<SimulatedLink>>,
    to_server: Arc<Mutex<SimulatedLink>>,
}

impl LinkControl {
    fn links(&self, direction: Direction) -> impl Iterator<Item = &Mutex<SimulatedLink>> {
        let to_client = (direction != Direction::ToServer).then_some(&*self.to_client);
        let to_server = (direction != Direction::ToClient).then_some(&*self.to_server);
        to_client.into_iter().chain(to_server)
    }

    /// Changes the model for packets from now on.
    pub fn change(&self, direction: Direction, change: impl Fn(&mut LinkModel)) {
        self.links(direction).for_each(|link| change(&mut link.lock().model));
    }

    /// Drops all packets that are sent within this time from now. Packets in flight arrive. A later
    /// call replaces an earlier one.
    pub fn cut(&self, direction: Direction, duration: Duration) {
        let until_ns = now_ns() + nanos(duration);
        self.links(direction).for_each(|link| link.lock().cut(until_ns));
    }

    /// Counts of the packets so far.
    pub fn counts(&self, direction: Direction) -> LinkCounts {
        self.links(direction)
            .map(|link| link.lock().counts())
            .fold(LinkCounts::default(), |a, b| a + b)
    }

    /// The packets that did not arrive, oldest first in each direction: the first million of each.
    /// Times are those of the system's monotonic clock.
    pub fn drops(&self, direction: Direction) -> Vec<DroppedPacket> {
        self.links(direction).flat_map(|link| link.lock().drops().to_vec()).collect()
    }
}

/// The running threads. Dropping this stops them.
#[derive(Debug)]
pub(super) struct Threads {
    stop: Arc<OwnedFd>,
    threads: Vec<JoinHandle<()>>,
}

/// Connects two devices.
pub(super) fn start(
    server: SyncDevice,
    client: SyncDevice,
    to_client: LinkModel,
    to_server: LinkModel,
    seed: u64,
) -> anyhow::Result<(LinkControl, Threads)> {
    let link = |model, stream| Arc::new(Mutex::new(SimulatedLink::new(model, seed, stream)));
    let control = LinkControl { to_client: link(to_client, 0), to_server: link(to_server, 1) };
    let stop = eventfd(0, EventfdFlags::CLOEXEC).context("cannot create an eventfd")?;
    let mut threads = Threads { stop: Arc::new(stop), threads: Vec::new() };
    let (server, client) = (Arc::new(server), Arc::new(client));
    let directions = [
        ("to-client", server.clone(), client.clone(), control.to_client.clone()),
        ("to-server", client, server, control.to_server.clone()),
    ];
    for (name, from, to, link) in directions {
        let stop = threads.stop.clone();
        let run = move || {
            if let Err(error) = forward(&from, &to, &link, &stop) {
                eprintln!("error: emulated link failed ({name}): {error}");
            }
        };
        let thread = std::thread::Builder::new().name(name.into()).spawn(run);
        threads.threads.push(thread.context("cannot start a thread of the emulated link")?);
    }
    Ok((control, threads))
}

impl Drop for Threads {
    fn drop(&mut self) {
        // Both threads see it: neither resets the event by reading it.
        let _ = rustix::io::write(&*self.stop, &1u64.to_ne_bytes());
        for thread in self.threads.drain(..) {
            // A panic has already been reported by the thread.
            let _ = thread.join();
        }
    }
}

fn forward(
    from: &SyncDevice,
    to: &SyncDevice,
    link: &Mutex<SimulatedLink>,
    stop: &OwnedFd,
) -> io::Result<()> {
    // The default slack lets the system wake the thread 50 µs late.
    set_current_timer_slack(NonZeroU64::new(1))?;
    let mut buffer = vec![0; PACKET];
    loop {
        deliver(to, link)?;
        let next_ns = link.lock().poll_at_ns();
        let timeout = next_ns.map(|at_ns| timespec(at_ns.saturating_sub(now_ns())));
        let mut files = [
            PollFd::from_borrowed_fd(from.as_fd(), PollFlags::IN),
            PollFd::new(stop, PollFlags::IN),
        ];
        match poll(&mut files, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [device, stop] = files;
        if !stop.revents().is_empty() {
            return Ok(());
        }
        if !device.revents().is_empty() {
            receive(from, link, &mut buffer)?;
        }
    }
}

fn deliver(to: &SyncDevice, link: &Mutex<SimulatedLink>) -> io::Result<()> {
    loop {
        let Some(packet) = link.lock().poll(now_ns()) else { return Ok(()) };
        match to.send(&packet) {
            // The interface is down: the packet goes nowhere.
            Err(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => {}
            result => drop(result?),
        }
    }
}

fn receive(from: &SyncDevice, link: &Mutex<SimulatedLink>, buffer: &mut [u8]) -> io::Result<()> {
    for _ in 0..BATCH {
        match from.recv(buffer) {
            Ok(length) => {
                let packet = buffer.get(..length).unwrap_or_default();
                link.lock().handle(now_ns(), packet);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn timespec(ns: u64) -> Timespec {
    // Neither is out of range: no delay is longer than minutes.
    Timespec {
        tv_sec: i64::try_from(ns / SECOND_NS).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(ns % SECOND_NS).unwrap_or_default(),
    }
}
