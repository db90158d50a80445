//! The links of large sessions are woken a few at a time.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod world;

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker},
};

use signalbox_protocol::{Role, SessionId};
use signalbox_relay::{Encoding, Settings};
use world::{Client, World, session};

/// Members of a large session.
const MANY: usize = 400;

/// A waker that counts.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// A session whose links wait for frames, and how often one of them was woken.
struct Links {
    clients: Vec<Client>,
    woken: Arc<Count>,
}

impl Links {
    fn join(world: &mut World, session: &SessionId, members: usize) -> Self {
        let mut join =
            || world.try_join(session, Role::Publisher, false, Encoding::Shared).unwrap();
        let clients = (0..members).map(|_| join()).collect();
        let links = Self { clients, woken: Arc::default() };
        links.wait();
        links
    }

    /// Every link takes what there is and waits for more. Returns the number of frames.
    fn wait(&self) -> usize {
        let waker = Waker::from(self.woken.clone());
        let mut frames = 0;
        for client in &self.clients {
            let mut taken = VecDeque::new();
            while let Poll::Ready(Ok(())) =
                client.outbox.poll_take(&mut Context::from_waker(&waker), &mut taken)
            {
                let bytes = taken.iter().map(signalbox_relay::Outgoing::cost).sum();
                client.outbox.written(taken.len(), bytes);
                frames += taken.len();
                taken.clear();
            }
        }
        frames
    }

    /// Links woken since the last call.
    fn woken(&self) -> usize {
        self.woken.0.swap(0, Relaxed)
    }

    fn send(&mut self, data: &str) {
        self.clients[0].send(data).unwrap();
    }
}

/// Gives one turn; `false` if no link waits for one.
fn turn(world: &World) -> bool {
    world.relay.poll_turn(&mut Context::from_waker(Waker::noop())).is_ready()
}

#[test]
fn a_large_session_is_woken_in_turns_and_a_small_one_at_once() {
    let mut world = World::new(Settings::default());
    let mut large = Links::join(&mut world, &session(1, 1), MANY);
    let mut small = Links::join(&mut world, &session(1, 2), 100);
    large.send("hello");
    assert_eq!(large.woken(), 0);
    small.send("hello");
    assert_eq!(small.woken(), 100);
    let mut woken = 0;
    while turn(&world) {
        let now = large.woken();
        assert!(now <= 32, "{now} at once");
        woken += now;
    }
    assert_eq!(woken, MANY);
    assert_eq!(large.wait(), MANY);
}

#[test]
fn sessions_take_turns() {
    let mut world = World::new(Settings::default());
    let mut hot = Links::join(&mut world, &session(1, 1), MANY);
    let mut other = Links::join(&mut world, &session(2, 1), 101);
    for _ in 0..10 {
        hot.send("again");
    }
    other.send("hello");
    let mut turns = 0;
    let mut woken = 0;
    while woken < 101 {
        assert!(turn(&world));
        turns += 1;
        woken += other.woken();
    }
    assert!(turns <= 8, "{turns} turns");
    assert!(hot.woken() < MANY);
}

#[test]
fn a_link_waits_for_one_turn_however_often_it_is_pushed_to() {
    let mut world = World::new(Settings::default());
    let mut links = Links::join(&mut world, &session(1, 1), MANY);
    links.send("one");
    // They run for another reason, and wait again.
    assert_eq!(links.wait(), MANY);
    links.send("two");
    links.send("three");
    while turn(&world) {}
    assert_eq!(links.woken(), MANY);
    assert_eq!(links.wait(), 2 * MANY);
    links.send("four");
    while turn(&world) {}
    assert_eq!(links.woken(), MANY);
}

#[test]
fn a_turn_wakes_fewer_links_if_they_have_much_to_write() {
    let mut world = World::new(Settings::default());
    let mut links = Links::join(&mut world, &session(1, 1), MANY);
    for _ in 0..8 {
        links.send(&"d".repeat(8000));
    }
    assert!(turn(&world));
    let woken = links.woken();
    assert!((1..=2).contains(&woken), "{woken} at once");
}

#[test]
fn a_sender_is_ahead_until_all_links_have_had_their_turn() {
    let mut world = World::new(Settings::default());
    let mut links = Links::join(&mut world, &session(1, 1), MANY);
    let mut sent = 0;
    while !links.clients[0].connection.is_ahead() {
        links.send(&"d".repeat(1000));
        sent += 1;
    }
    assert!((30..=33).contains(&sent), "{sent} kilobytes");
    while turn(&world) {
        assert!(links.woken() > 0 || !links.clients[0].connection.is_ahead());
    }
    assert!(!links.clients[0].connection.is_ahead());
    assert_eq!(links.wait(), sent * MANY);
}

#[test]
fn links_that_are_gone_are_left_out() {
    let mut world = World::new(Settings::default());
    let mut links = Links::join(&mut world, &session(1, 1), MANY);
    links.send("hello");
    links.clients.truncate(1);
    while turn(&world) {}
    assert!(links.woken() > 0);
    assert!(!turn(&world));
}

#[test]
fn links_wait_for_turns_with_other_work_too_if_their_session_is_large() {
    let mut world = World::new(Settings::default());
    let large = Links::join(&mut world, &session(1, 1), MANY);
    let mut other = Links::join(&mut world, &session(2, 1), 110);
    let small = Links::join(&mut world, &session(1, 2), 100);
    while turn(&world) {}
    large.wait();
    large.woken();
    let needed = |links: &Links| links.clients[0].connection.turns().are_needed();
    assert_eq!((needed(&large), needed(&other), needed(&small)), (true, true, false));
    for client in &large.clients {
        client.connection.turns().wake(large.woken.clone().into());
    }
    other.send("hello");
    let (mut turns, mut received) = (0, 0);
    while turn(&world) {
        let now = large.woken();
        assert!(now <= 32, "{now} at once");
        turns += 1;
        received += other.woken();
        assert!(received == 110 || turns < 10, "the other session has its turns in between");
    }
    assert!(turns >= MANY / 32, "{turns} turns");
    // A session that has become small needs none.
    other.clients.truncate(50);
    other.send("bye");
    assert!(!needed(&other));
}

#[test]
fn a_sender_does_not_wait_for_other_work_of_the_links() {
    let mut world = World::new(Settings::default());
    let mut links = Links::join(&mut world, &session(1, 1), MANY);
    let waker = || Waker::from(Arc::new(Count::default()));
    while !links.clients[0].connection.is_ahead() {
        links.send(&"d".repeat(1000));
    }
    let mut turns = 0;
    while links.clients[0].connection.is_ahead() {
        // The links acknowledge all the time.
        for client in &links.clients {
            client.connection.turns().wake(waker());
        }
        assert!(turn(&world));
        turns += 1;
        assert!(turns < 1000, "the sender is kept waiting");
    }
}
