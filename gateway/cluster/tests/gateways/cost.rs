//! What a signal costs on the bus.

use signalbox_cluster::Address;

use crate::{
    gateway::{Gateway, session},
    outages::exchange,
};

/// The receivers of the packets that are due, heartbeats aside.
fn receivers(gateway: &Gateway) -> Vec<String> {
    let packets = std::iter::from_fn(|| gateway.cluster.links().take());
    let named = packets.filter_map(|packet| match packet.to {
        Address::Gateway(name) => Some(name.to_string()),
        Address::All => None,
    });
    named.collect()
}

#[test]
fn a_signal_is_sent_once_to_each_other_gateway_of_its_session() {
    let names = ["a", "b", "c", "d"];
    let [mut a, mut b, mut c, mut d] = names.map(|name| Gateway::start(name, 1));
    let meet = |a: &mut _, b: &mut _, c: &mut _, d: &mut _| {
        for _ in 0..6 {
            exchange(&mut [&mut *a, &mut *b, &mut *c, &mut *d], &[]);
        }
    };
    meet(&mut a, &mut b, &mut c, &mut d);
    let session = session(1);
    // On one gateway alone: joins, signals of members and servers, and ends.
    let mut alice = a.join(&session);
    let other = a.join(&session);
    a.signal(&mut alice, "alone");
    a.server_signal(&session, "alone");
    drop(other);
    assert_eq!(receivers(&a), [""; 0]);

    // On three of four, with many receivers on one of them.
    let holds = [b.open(&session), c.open(&session)];
    meet(&mut a, &mut b, &mut c, &mut d);
    let _members: Vec<_> = (0..50).map(|_| b.join(&session)).collect();
    let _member = c.join(&session);
    meet(&mut a, &mut b, &mut c, &mut d);
    drop(holds);
    assert_eq!(receivers(&a), [""; 0]);
    for number in 0..10 {
        a.signal(&mut alice, &number.to_string());
        let mut receivers = receivers(&a);
        receivers.sort();
        assert_eq!(receivers, ["b", "c"]);
    }
}
