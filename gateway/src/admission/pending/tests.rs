use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::{Decision::*, *};

const PATIENCE: Duration = Duration::from_secs(2);

fn bounds(permits: usize) -> PendingBounds {
    PendingBounds {
        permits,
        reserved: permits / 4,
        per_address: permits,
        waiting: 100,
        patience: PATIENCE,
    }
}

fn address(number: u32) -> AddressPrefix {
    AddressPrefix::V4(Ipv4Addr::from_bits(number))
}

/// The clients of one listener, and what has become of each.
struct Listener {
    clients: PendingClients,
    /// Clients with a permit, and their addresses.
    held: BTreeMap<ClientNumber, u32>,
    waiting: BTreeMap<ClientNumber, u32>,
    evicted: Vec<ClientNumber>,
    refused: Vec<ClientNumber>,
    now: Duration,
}

impl Listener {
    fn new(bounds: PendingBounds) -> Self {
        Self {
            clients: PendingClients::new(bounds),
            held: BTreeMap::new(),
            waiting: BTreeMap::new(),
            evicted: Vec::new(),
            refused: Vec::new(),
            now: Duration::ZERO,
        }
    }

    fn arrive_as(&mut self, number: u32, standing: Standing) -> ClientNumber {
        let (client, decisions) = self.clients.arrive(address(number), standing, self.now);
        self.waiting.insert(client, number);
        self.apply(decisions);
        client
    }

    fn arrive(&mut self, number: u32) -> ClientNumber {
        self.arrive_as(number, Standing::Stranger)
    }

    fn leave(&mut self, client: ClientNumber) {
        let held = self.held.remove(&client);
        let number = held.or_else(|| self.waiting.remove(&client)).expect("it is here");
        let decisions = self.clients.leave(client, address(number), self.now);
        self.apply(decisions);
    }

    fn apply(&mut self, decisions: Vec<Decision>) {
        for decision in decisions {
            match decision {
                Admit(client) => {
                    let number = self.waiting.remove(&client).expect("it was waiting");
                    self.held.insert(client, number);
                }
                Evict(client) => {
                    self.held.remove(&client).expect("it had a permit");
                    self.evicted.push(client);
                }
                Refuse(client) => {
                    self.waiting.remove(&client).expect("it was waiting");
                    self.refused.push(client);
                }
            }
        }
        assert_eq!(self.clients.held(), self.held.len());
        assert_eq!(self.clients.waiting(), self.waiting.len());
    }

    fn held_by(&self, number: u32) -> usize {
        self.held.values().filter(|it| **it == number).count()
    }
}

#[test]
fn a_client_of_another_address_takes_a_permit_from_a_flood() {
    let mut listener = Listener::new(bounds(8));
    let flood: Vec<_> = (0..20).map(|_| listener.arrive(1)).collect();
    assert_eq!((listener.held_by(1), listener.waiting.len()), (6, 14));
    let other = listener.arrive(2);
    assert!(listener.held.contains_key(&other));
    assert_eq!(listener.evicted, flood[..1], "the oldest of the flood");
    // However long the flood goes on.
    for _ in 0..50 {
        listener.arrive(1);
    }
    assert!(listener.held.contains_key(&other));
}

#[test]
fn no_address_gets_more_than_twice_the_share_of_another() {
    let mut listener = Listener::new(bounds(8));
    for _ in 0..20 {
        listener.arrive(1);
    }
    for _ in 0..20 {
        listener.arrive(2);
    }
    assert_eq!((listener.held_by(1), listener.held_by(2)), (4, 2));
    listener.arrive(3);
    listener.arrive(3);
    assert_eq!([1, 2, 3].map(|it| listener.held_by(it)), [2, 2, 2]);
    let evicted = listener.evicted.len();
    for number in [1, 2, 3] {
        listener.arrive(number);
    }
    assert_eq!(listener.evicted.len(), evicted, "each eviction is a handshake in vain");
}

#[test]
fn clients_of_one_address_wait_in_order() {
    let mut listener = Listener::new(bounds(4));
    let clients: Vec<_> = (0..6).map(|_| listener.arrive(1)).collect();
    assert_eq!(listener.held.keys().copied().collect::<Vec<_>>(), clients[..3]);
    listener.leave(clients[1]);
    assert!(listener.held.contains_key(&clients[3]));
    listener.leave(clients[4]);
    listener.leave(clients[0]);
    assert!(listener.held.contains_key(&clients[5]));
    assert_eq!(listener.evicted, [0; 0]);
}

#[test]
fn the_oldest_client_of_an_address_gives_way_after_its_time() {
    let mut listener = Listener::new(PendingBounds { per_address: 3, ..bounds(9) });
    let clients: Vec<_> = (0..3).map(|_| listener.arrive(1)).collect();
    listener.now = PATIENCE - Duration::from_millis(1);
    let fourth = listener.arrive(1);
    assert_eq!(listener.evicted, [0; 0]);
    listener.now = PATIENCE;
    listener.arrive(1);
    assert_eq!(listener.evicted, clients[..1]);
    assert!(listener.held.contains_key(&fourth), "and the one that has waited longest is next");
}

#[test]
fn no_client_gives_way_where_the_gateway_is_slow() {
    let mut listener = Listener::new(PendingBounds { per_address: 3, ..bounds(8) });
    for number in 1..=6 {
        listener.arrive(number);
    }
    listener.now = 2 * PATIENCE;
    listener.arrive(1);
    assert_eq!((listener.held.len(), listener.waiting.len()), (6, 1));
    assert_eq!(listener.evicted, [0; 0]);
}

#[test]
fn an_address_has_no_more_than_its_bound() {
    let mut listener = Listener::new(PendingBounds { per_address: 2, ..bounds(8) });
    for _ in 0..4 {
        listener.arrive(1);
        listener.arrive_as(9, Standing::Proxy);
    }
    assert_eq!((listener.held_by(1), listener.held_by(9)), (2, 4), "a proxy has no share");
}

#[test]
fn known_addresses_have_a_reserve() {
    let mut listener = Listener::new(bounds(8));
    for number in 100..200 {
        listener.arrive(number);
    }
    assert_eq!(listener.held.len(), 6);
    let known = [1, 2].map(|number| listener.arrive_as(number, Standing::Known));
    assert!(known.iter().all(|it| listener.held.contains_key(it)));
    assert_eq!(listener.evicted, [0; 0]);
    // A further one competes with the strangers, whose shares are equal.
    let third = listener.arrive_as(3, Standing::Known);
    assert!(!listener.held.contains_key(&third));
    let stranger = *listener.held.keys().next().unwrap();
    listener.leave(stranger);
    assert!(listener.held.contains_key(&third), "but comes before them");
}

#[test]
fn of_too_many_waiting_clients_the_newest_of_the_largest_crowd_is_refused() {
    let mut listener = Listener::new(PendingBounds { waiting: 3, ..bounds(1) });
    let flood: Vec<_> = (0..4).map(|_| listener.arrive(1)).collect();
    assert_eq!(listener.refused, [0; 0]);
    let other = listener.arrive(2);
    assert_eq!(listener.refused, flood[3..]);
    let one_more = listener.arrive(1);
    assert_eq!(listener.refused[1..], [one_more]);
    assert!(listener.waiting.contains_key(&other));
}

#[derive(Debug, Clone)]
enum Step {
    Arrive(u32, bool),
    Leave(prop::sample::Index),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..12_u32, any::<bool>()).prop_map(|(number, known)| Step::Arrive(number, known)),
        2 => any::<prop::sample::Index>().prop_map(Step::Leave),
        1 => (0..3_u64).prop_map(Step::Wait),
    ]
}

proptest! {
    #[test]
    fn bounds_hold_and_nobody_waits_beside_a_free_permit(
        steps in prop::collection::vec(step(), 0..200),
        permits in 1..9_usize,
        per_address in 1..9_usize,
    ) {
        let bounds = PendingBounds { per_address, waiting: 10, ..bounds(permits) };
        let mut listener = Listener::new(bounds);
        for step in steps {
            match step {
                Step::Arrive(number, is_known) => {
                    let standing = if is_known { Standing::Known } else { Standing::Stranger };
                    listener.arrive_as(number, standing);
                }
                Step::Leave(at) => {
                    let all: Vec<_> =
                        listener.held.keys().chain(listener.waiting.keys()).copied().collect();
                    if !all.is_empty() {
                        listener.leave(*at.get(&all));
                    }
                }
                Step::Wait(seconds) => listener.now += Duration::from_secs(seconds),
            }
            prop_assert!(listener.held.len() <= permits);
            prop_assert!(listener.waiting.len() <= 10);
            for number in 0..12 {
                prop_assert!(listener.held_by(number) <= per_address);
            }
            // Known addresses may use all permits; strangers all but the reserve.
            let may_have_more = listener
                .waiting
                .values()
                .any(|number| listener.held_by(*number) < per_address);
            if may_have_more {
                prop_assert!(listener.held.len() >= permits - permits / 4);
            }
        }
    }
}

#[test]
fn changed_bounds_let_waiting_clients_in_and_end_nobody() {
    let mut listener = Listener::new(PendingBounds { reserved: 0, ..bounds(2) });
    for number in 0..4 {
        listener.arrive(number);
    }
    assert_eq!((listener.held.len(), listener.waiting.len()), (2, 2));
    let set = |listener: &mut Listener, bounds| {
        let decisions = listener.clients.set_bounds(bounds, listener.now);
        listener.apply(decisions);
    };
    set(&mut listener, PendingBounds { reserved: 0, ..bounds(3) });
    assert_eq!((listener.held.len(), listener.waiting.len()), (3, 1));
    // One address has three of these places, and loses none of them when its share is less.
    let mut listener = Listener::new(PendingBounds { reserved: 0, ..bounds(4) });
    let clients: Vec<_> = (0..4).map(|_| listener.arrive(7)).collect();
    set(&mut listener, PendingBounds { reserved: 0, per_address: 1, ..bounds(4) });
    assert_eq!(listener.held.len(), 4);
    let fifth = listener.arrive(7);
    for client in clients {
        assert!(listener.waiting.contains_key(&fifth), "its address has its share");
        listener.leave(client);
    }
    assert!(listener.held.contains_key(&fifth));
    assert!(listener.evicted.is_empty() && listener.refused.is_empty());
}
