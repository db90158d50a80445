//! Gateways that are cut off from each other, and two with one name.

use std::sync::Arc;

use parking_lot::Mutex;
use signalbox_cluster::{Address, LEASE, SharedState};
use signalbox_protocol::ConnectionInfo;
use signalbox_relay::ResumeError;

use crate::gateway::{Gateway, STEP, session, take};

/// Shared state that grows: messages.
#[derive(Default)]
struct Notes(Mutex<Vec<Vec<u8>>>);

impl SharedState for Notes {
    fn export(&self) -> Vec<Vec<u8>> {
        self.0.lock().clone()
    }

    fn apply(&self, message: &[u8]) -> bool {
        let mut notes = self.0.lock();
        if !notes.iter().any(|known| known == message) {
            notes.push(message.to_vec());
        }
        true
    }
}

/// Passes the packets of an interval on, except those from and to gateways that are cut off.
pub(crate) fn exchange(gateways: &mut [&mut Gateway], cut_off: &[usize]) {
    let packets: Vec<_> = gateways.iter_mut().map(|gateway| gateway.step()).collect();
    for (from, packets) in packets.into_iter().enumerate() {
        for packet in packets {
            for (to, gateway) in gateways.iter().enumerate() {
                let meant = match &packet.to {
                    Address::All => true,
                    Address::Gateway(name) => *name == gateway.instance.gateway,
                };
                if meant && !cut_off.contains(&from) && !cut_off.contains(&to) {
                    gateway.receive(&packet.payload);
                }
            }
        }
    }
}

#[test]
fn a_gateway_that_was_cut_off_is_told_what_it_missed() {
    let notes = [Arc::new(Notes::default()), Arc::new(Notes::default())];
    let mut a = Gateway::start_with("a", 1, notes[0].clone());
    let mut b = Gateway::start_with("b", 1, notes[1].clone());
    for _ in 0..6 {
        exchange(&mut [&mut a, &mut b], &[]);
    }
    let session = session(1);
    let mut alice = a.join(&session);
    let bobs_hold = b.open(&session);
    exchange(&mut [&mut a, &mut b], &[]);
    let mut bob = b.join(&session);
    drop(bobs_hold);
    let evicted = a.join(&session);
    exchange(&mut [&mut a, &mut b], &[]);
    a.signal(&mut alice, "before");
    exchange(&mut [&mut a, &mut b], &[]);
    for client in [&alice, &bob] {
        assert!(take(&client.outbox).iter().any(|frame| frame.contains("before")));
    }

    // For longer than a lease, and shorter than the windows of the connections.
    a.signal(&mut alice, "meanwhile at a");
    b.signal(&mut bob, "meanwhile at b");
    a.cluster.announce(b"note of a");
    notes[0].apply(b"note of a");
    let id = evicted.connection.id();
    // The second client of its gateway.
    let secret = Gateway::secret(2);
    a.disconnect(&session, id);
    for _ in 0..10 {
        exchange(&mut [&mut a, &mut b], &[1]);
    }
    assert!(a.cluster.status(a.now).peers.is_empty(), "b is lost");
    assert_eq!(b.cluster.status(b.now).peers.len(), 1, "b is the one that is cut off");
    assert!(!b.cluster.is_settled(b.now));
    let check = |b: &Gateway| b.relay.check_ticket(&session, id, &secret, 1);
    assert_eq!(check(&b), Ok(()), "it does not know yet");

    for _ in 0..8 {
        exchange(&mut [&mut a, &mut b], &[]);
    }
    assert!(b.cluster.is_settled(b.now));
    assert!(b.cluster.status(b.now).restarts > 0, "its channel has started over");
    assert_eq!(*notes[1].0.lock(), [b"note of a"]);
    assert_eq!(check(&b), Err(ResumeError::Evicted));
    for (client, lost) in [(&bob, "meanwhile at a"), (&alice, "meanwhile at b")] {
        let heard = take(&client.outbox);
        let is_told = heard.iter().any(|frame| frame.contains(lost) || frame.contains("gap"));
        assert!(is_told, "{heard:?}");
    }
    a.signal(&mut alice, "after at a");
    b.signal(&mut bob, "after at b");
    exchange(&mut [&mut a, &mut b], &[]);
    for client in [&alice, &bob] {
        let heard = take(&client.outbox);
        for data in ["after at a", "after at b"] {
            assert_eq!(heard.iter().filter(|frame| frame.contains(data)).count(), 1, "{heard:?}");
        }
    }
}

/// A request for all connections of a user reaches every gateway, and each disconnects its own.
#[test]
fn connections_of_a_lost_gateway_are_disconnected_by_one_of_the_others() {
    let mut lost = Gateway::start("a", 1);
    let (mut b, mut c) = (Gateway::start("b", 1), Gateway::start("c", 1));
    for _ in 0..6 {
        exchange(&mut [&mut lost, &mut b, &mut c], &[]);
    }
    let session = session(1);
    let alice = lost.join(&session);
    let holds = [b.open(&session), c.open(&session)];
    for _ in 0..3 {
        exchange(&mut [&mut lost, &mut b, &mut c], &[]);
    }
    let bob = b.join(&session);
    for _ in 0..10 {
        exchange(&mut [&mut lost, &mut b, &mut c], &[0]);
    }
    let id = alice.connection.id();
    let disconnect = |gateway: &Gateway| {
        let matches = |_: &_, info: &ConnectionInfo, _: &_| info.id == id;
        gateway.relay.disconnect_matching(session.project(), None, matches, gateway.now)
    };
    take(&bob.outbox);
    assert_eq!(disconnect(&b) + disconnect(&c), 1, "one of them reports it");
    exchange(&mut [&mut b, &mut c], &[]);
    let heard = take(&bob.outbox);
    let is_end = |frame: &&String| frame.contains("forceDisconnected");
    assert_eq!(heard.iter().filter(is_end).count(), 1, "{heard:?}");
    for gateway in [&b, &c] {
        let checked = gateway.relay.check_ticket(&session, id, &Gateway::secret(1), 1);
        assert_eq!(checked, Err(ResumeError::Evicted));
    }
    drop(holds);
}

#[test]
fn two_gateways_with_one_name_are_told_apart() {
    let (mut first, mut second) = (Gateway::start("a", 1), Gateway::start("a", 2));
    exchange(&mut [&mut first, &mut second], &[]);
    let other = |gateway: &Gateway| gateway.cluster.status(gateway.now).duplicate;
    assert_eq!(other(&first).as_ref(), Some(&second.instance));
    assert_eq!(other(&second).as_ref(), Some(&first.instance));
    assert!(first.cluster.status(first.now).peers.is_empty());
    // Until one of them is gone.
    let intervals = LEASE.as_millis() / STEP.as_millis() + 1;
    for _ in 0..intervals {
        exchange(&mut [&mut first], &[]);
    }
    assert_eq!(other(&first), None);
}
