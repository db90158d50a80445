//! A gateway that receives arbitrary messages from the bus: changed, cut, repeated and invented ones,
//! outside and inside channels. It does not panic, and sessions that no other gateway has go on.

use proptest::{collection::vec, prelude::*, sample::Index};
use signalbox_cluster::Address;

use crate::{
    gateway::{Attached, Gateway, session},
    victim::Victim,
};

/// The packets of a heartbeat interval, and what is done to them.
#[derive(Debug, Clone)]
struct Step {
    action: u8,
    changes: Vec<Change>,
}

/// What happens to a packet.
#[derive(Debug, Clone)]
enum Change {
    None,
    Lost,
    Repeated,
    /// Bytes are replaced from a position on.
    Replaced(Index, Vec<u8>),
    /// Bytes are inserted at a position.
    Inserted(Index, Vec<u8>),
    Cut(Index),
    /// Another packet, with the version that is read.
    Invented(Vec<u8>),
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![any::<u8>(), Just(0), Just(1), Just(0x7f), Just(0xff)];
    vec(byte, 1..12)
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => Just(Change::None),
        1 => Just(Change::Lost),
        1 => Just(Change::Repeated),
        8 => (any::<Index>(), bytes()).prop_map(|(at, bytes)| Change::Replaced(at, bytes)),
        2 => (any::<Index>(), bytes()).prop_map(|(at, bytes)| Change::Inserted(at, bytes)),
        1 => any::<Index>().prop_map(Change::Cut),
        1 => vec(any::<u8>(), 0..200).prop_map(Change::Invented),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    (any::<u8>(), vec(change(), 1..4)).prop_map(|(action, changes)| Step { action, changes })
}

impl Change {
    /// The packets that arrive for this one.
    fn apply(&self, mut packet: Vec<u8>) -> Vec<Vec<u8>> {
        match self {
            Self::None => vec![packet],
            Self::Lost => Vec::new(),
            Self::Repeated => vec![packet.clone(), packet],
            Self::Replaced(at, bytes) => {
                let at = at.index(packet.len());
                let end = packet.len().min(at + bytes.len());
                packet.splice(at..end, bytes.iter().copied());
                vec![packet]
            }
            Self::Inserted(at, bytes) => {
                let at = at.index(packet.len() + 1);
                packet.splice(at..at, bytes.iter().copied());
                vec![packet]
            }
            Self::Cut(at) => {
                packet.truncate(at.index(packet.len()));
                vec![packet]
            }
            Self::Invented(bytes) => vec![[&[1], &bytes[..]].concat(), packet],
        }
    }
}

/// A gateway whose packets are changed on their way, with its clients in shared sessions.
struct Partner {
    gateway: Gateway,
    clients: Vec<Attached>,
}

impl Partner {
    fn act(&mut self, action: u8, victim: &mut Victim, at_victim: &mut Vec<Attached>) {
        let shared = session(action % 2);
        match action / 2 % 8 {
            0 => self.clients.push(self.gateway.join(&shared)),
            1 => {
                let _hold = victim.gateway.open(&shared);
                at_victim.extend(victim.gateway.try_join(&shared));
            }
            2 => drop(self.clients.pop()),
            3 => {
                if let Some(client) = at_victim.pop() {
                    self.gateway.disconnect(&shared, client.connection.id());
                }
            }
            4 => self.gateway.server_signal(&shared, "from a server"),
            5 => self.gateway.cluster.hand_over(),
            _ => {
                for client in &mut self.clients {
                    self.gateway.signal(client, "to all");
                }
            }
        }
    }
}

/// Passes the packets of both gateways on.
fn exchange(victim: &mut Victim, partner: &mut Partner, changes: &[Change]) {
    for packet in victim.gateway.step() {
        if packet.to == Address::All {
            victim.gateway.receive(&packet.payload);
        }
        partner.gateway.receive(&packet.payload);
    }
    let changes = changes.iter().cycle();
    for (packet, change) in partner.gateway.step().into_iter().zip(changes) {
        if packet.to == Address::All {
            partner.gateway.receive(&packet.payload);
        }
        for packet in change.apply(packet.payload) {
            victim.gateway.receive(&packet);
        }
    }
}

proptest! {
    #[test]
    fn packets_that_change_on_their_way(steps in vec(step(), 1..60)) {
        let mut victim = Victim::start();
        let mut partner = Partner { gateway: Gateway::start("partner", 1), clients: Vec::new() };
        let mut at_victim = Vec::new();
        for _ in 0..6 {
            exchange(&mut victim, &mut partner, &[Change::None]);
        }
        for Step { action, changes } in steps {
            partner.act(action, &mut victim, &mut at_victim);
            exchange(&mut victim, &mut partner, &changes);
            victim.serves_its_own();
        }
    }

    #[test]
    fn messages_and_updates_that_are_invented(messages in vec((any::<u8>(), vec(any::<u8>(), 0..64)), 1..200)) {
        let mut victim = Victim::start();
        let shared = session(1);
        let _hold = victim.gateway.open(&shared);
        let _client = victim.gateway.join(&shared);
        for (kind, bytes) in messages {
            victim.receive_invented(&shared, kind, &bytes);
        }
        victim.serves_its_own();
    }
}
