//! Clients between accept and welcome: which of them hold a permit, and which wait for one. A data
//! structure without I/O and without a clock.
//!
//! **Addresses share the permits.** The next permit goes to the address that holds the fewest. If all
//! are in use, it is taken from the address that holds the most, from its oldest client, provided
//! that it holds more than [`UNEQUAL`] times as many as the other. So a client whose address has no
//! other client is never kept waiting by a flood from fewer addresses than half of the permits, and
//! never evicted by it. Smaller differences remain: when thousands of clients return at the same
//! time, each eviction is a handshake that was made in vain.
//!
//! **Known addresses have a reserve.** A quarter of the permits is for addresses from which a client
//! has been admitted before, so that clients return during a flood from any number of addresses.
//!
//! **Within one address the oldest gives way.** Clients of an address that has its full share wait.
//! When one more arrives, the oldest is evicted if it has had its permit for longer than a client
//! needs.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use super::prefix::AddressPrefix;

/// An address that holds more than this many times as many permits as another one may lose one to it.
const UNEQUAL: usize = 2;

/// A client by the order of arrival.
pub(super) type ClientNumber = u64;

/// The bounds of a listener.
#[derive(Debug, Clone, Copy)]
pub(super) struct PendingBounds {
    /// Clients with a permit.
    pub(super) permits: usize,
    /// Permits of them that only known addresses get.
    pub(super) reserved: usize,
    /// Permits of one address.
    pub(super) per_address: usize,
    /// Clients that wait for a permit.
    pub(super) waiting: usize,
    /// Time after which a permit may go to a waiting client of the same address.
    pub(super) patience: Duration,
}

/// The kind of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Stranger,
    /// A client with this address has been admitted before.
    Known,
    /// A proxy, which carries clients of many addresses: it has no share.
    Proxy,
}

/// The consequence of an arrival or a departure for one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// It has a permit from now on.
    Admit(ClientNumber),
    /// It has lost its permit, and ends.
    Evict(ClientNumber),
    /// It waits no longer, as too many do, and ends.
    Refuse(ClientNumber),
}

/// The clients of one listener between accept and welcome.
#[derive(Debug)]
pub(super) struct PendingClients {
    bounds: PendingBounds,
    addresses: HashMap<AddressPrefix, Place>,
    strangers: Shares,
    /// Proxies included.
    known: Shares,
    /// Addresses by the number of their waiting clients.
    crowds: BTreeSet<(usize, AddressPrefix)>,
    waiting: usize,
    next: ClientNumber,
}

/// The clients of one address.
#[derive(Debug)]
struct Place {
    standing: Standing,
    /// Those with a permit, and since when.
    held: BTreeMap<ClientNumber, Duration>,
    waiting: BTreeSet<ClientNumber>,
}

/// The addresses of one standing, in the order in which they get and lose permits.
#[derive(Debug, Default)]
struct Shares {
    /// By the number of permits.
    holders: BTreeSet<(usize, AddressPrefix)>,
    /// Those that may get another permit: by the number of permits, then by arrival.
    queue: BTreeSet<(usize, ClientNumber, AddressPrefix)>,
    /// Permits of all of them.
    held: usize,
}

impl PendingClients {
    pub(super) fn new(bounds: PendingBounds) -> Self {
        Self {
            bounds,
            addresses: HashMap::new(),
            strangers: Shares::default(),
            known: Shares::default(),
            crowds: BTreeSet::new(),
            waiting: 0,
            next: 0,
        }
    }

    /// Replaces the bounds. Clients that have a permit keep it.
    pub(super) fn set_bounds(&mut self, bounds: PendingBounds, now: Duration) -> Vec<Decision> {
        // The orders depend on the bounds.
        let addresses = std::mem::take(&mut self.addresses);
        addresses.iter().for_each(|(address, place)| self.order(*address, place, false));
        self.bounds = bounds;
        addresses.iter().for_each(|(address, place)| self.order(*address, place, true));
        self.addresses = addresses;
        let mut decisions = Vec::new();
        self.settle(now, &mut decisions);
        decisions
    }

    /// Adds a client of this address. It holds a permit if the decisions say so; otherwise it waits.
    pub(super) fn arrive(
        &mut self,
        address: AddressPrefix,
        standing: Standing,
        now: Duration,
    ) -> (ClientNumber, Vec<Decision>) {
        let (client, mut decisions) = (self.next, Vec::new());
        self.next += 1;
        self.change(address, |place| {
            place.standing = standing;
            place.waiting.insert(client);
        });
        self.settle(now, &mut decisions);
        self.relieve(address, now, &mut decisions);
        // The newest client of the largest crowd goes.
        if self.waiting > self.bounds.waiting
            && let Some((_, address)) = self.crowds.last().copied()
        {
            let newest = self.change(address, |place| place.waiting.pop_last());
            decisions.extend(newest.map(Decision::Refuse));
        }
        (client, decisions)
    }

    /// Removes a client, with or without a permit. One that is not here any more is ignored.
    pub(super) fn leave(
        &mut self,
        client: ClientNumber,
        address: AddressPrefix,
        now: Duration,
    ) -> Vec<Decision> {
        let mut decisions = Vec::new();
        if self.addresses.contains_key(&address) {
            self.change(address, |place| {
                place.held.remove(&client);
                place.waiting.remove(&client);
            });
            self.settle(now, &mut decisions);
        }
        decisions
    }

    /// Clients with a permit.
    pub(super) fn held(&self) -> usize {
        self.strangers.held + self.known.held
    }

    /// Clients that wait for one.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Gives permits to waiting clients until none is free and none may be taken.
    fn settle(&mut self, now: Duration, decisions: &mut Vec<Decision>) {
        for is_known in [true, false] {
            let shares = if is_known { &self.known } else { &self.strangers };
            let mut first = shares.queue.first().copied();
            while let Some((held, client, address)) = first {
                if !self.make_room(is_known, held, decisions) {
                    break;
                }
                self.change(address, |place| {
                    place.waiting.remove(&client);
                    place.held.insert(client, now);
                });
                decisions.push(Decision::Admit(client));
                let shares = if is_known { &self.known } else { &self.strangers };
                first = shares.queue.first().copied();
            }
        }
    }

    /// Whether there is a permit for an address that holds this many. It may be another's.
    fn make_room(&mut self, is_known: bool, held: usize, decisions: &mut Vec<Decision>) -> bool {
        let PendingBounds { permits, reserved, .. } = self.bounds;
        let in_reserve = !is_known && self.strangers.held >= permits - reserved;
        if !in_reserve && self.held() < permits {
            return true;
        }
        let largest = self.strangers.holders.last().copied();
        let largest =
            if in_reserve { largest } else { largest.max(self.known.holders.last().copied()) };
        let Some((most, address)) = largest else { return false };
        // With one permit more than the other, the two would take it from each other for ever.
        if most <= (held + 1).max(UNEQUAL * held) {
            return false;
        }
        self.evict_oldest(address, decisions);
        true
    }

    /// Makes room for a waiting client of an address that has its full share by the oldest of the same
    /// address, if that one has had its time. Without a full share, the gateway is the slow one.
    fn relieve(&mut self, address: AddressPrefix, now: Duration, decisions: &mut Vec<Decision>) {
        let Some(place) = self.addresses.get(&address) else { return };
        let is_full = place.held.len() >= self.bounds.per_address;
        let oldest = place.held.first_key_value();
        let is_due = oldest.is_some_and(|(_, since)| *since + self.bounds.patience <= now);
        if is_full && is_due && !place.waiting.is_empty() {
            self.evict_oldest(address, decisions);
            self.settle(now, decisions);
        }
    }

    fn evict_oldest(&mut self, address: AddressPrefix, decisions: &mut Vec<Decision>) {
        let oldest = self.change(address, |place| place.held.pop_first());
        decisions.extend(oldest.map(|(client, _)| Decision::Evict(client)));
    }

    /// Changes the clients of an address, and its position in all orders with them.
    fn change<T>(&mut self, address: AddressPrefix, change: impl FnOnce(&mut Place) -> T) -> T {
        let mut place = self.addresses.remove(&address).unwrap_or_else(|| Place {
            standing: Standing::Stranger,
            held: BTreeMap::new(),
            waiting: BTreeSet::new(),
        });
        self.order(address, &place, false);
        let result = change(&mut place);
        if !place.held.is_empty() || !place.waiting.is_empty() {
            self.order(address, &place, true);
            self.addresses.insert(address, place);
        }
        result
    }

    /// Enters an address into all orders, or removes it.
    fn order(&mut self, address: AddressPrefix, place: &Place, enters: bool) {
        let (held, waiting) = (place.held.len(), place.waiting.len());
        let is_proxy = place.standing == Standing::Proxy;
        let has_share = is_proxy || held < self.bounds.per_address;
        let shares = match place.standing {
            Standing::Stranger => &mut self.strangers,
            Standing::Known | Standing::Proxy => &mut self.known,
        };
        if held > 0 && !is_proxy {
            set(&mut shares.holders, (held, address), enters);
        }
        if has_share && let Some(first) = place.waiting.first() {
            // A proxy's clients take turns with those of other addresses.
            let held = if is_proxy { 0 } else { held };
            set(&mut shares.queue, (held, *first, address), enters);
        }
        if waiting > 0 {
            set(&mut self.crowds, (waiting, address), enters);
        }
        if enters {
            shares.held += held;
            self.waiting += waiting;
        } else {
            shares.held -= held;
            self.waiting -= waiting;
        }
    }
}

fn set<T: Ord>(set: &mut BTreeSet<T>, item: T, is_in: bool) {
    if is_in {
        set.insert(item);
    } else {
        set.remove(&item);
    }
}

#[cfg(test)]
mod tests;
