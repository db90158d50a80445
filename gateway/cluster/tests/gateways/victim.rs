//! A gateway that receives arbitrary messages from the bus. The fuzz target uses it, too.

use signalbox_protocol::SessionId;
use signalbox_relay::Instance;

use crate::gateway::{Attached, Gateway, session, take};

const EPOCH: u64 = 7;

/// A gateway with a session of its own, whose members must not notice what comes from the bus.
pub(crate) struct Victim {
    pub(crate) gateway: Gateway,
    private: [Attached; 2],
    said: u64,
    /// The channel from the attacker.
    fragments: u64,
    attacker: Instance,
}

impl Victim {
    pub(crate) fn start() -> Self {
        let mut gateway = Gateway::start("victim", EPOCH);
        let session = session(200);
        let private = [gateway.join(&session), gateway.join(&session)];
        for client in &private {
            take(&client.outbox);
        }
        let attacker = Instance { gateway: "attacker".parse().unwrap(), epoch: 1 };
        let victim = Self { gateway, private, said: 0, fragments: 0, attacker };
        // It becomes a peer: version, heartbeat, instance, no links, no usage.
        let heartbeat = postcard::to_extend(&(0u32, &victim.attacker, 0u8, 0u8), vec![1]).unwrap();
        victim.gateway.receive(&heartbeat);
        victim
    }

    /// A message on the channel from a gateway that is a peer.
    pub(crate) fn receive_on_channel(&mut self, message: &[u8]) {
        self.fragments += 1;
        let fragments = [(true, message)];
        // Version, data, sender, epoch of the receiver, incarnation, first fragment.
        let data = (1u32, &self.attacker, EPOCH, 1u64, self.fragments, &fragments[..]);
        self.gateway.receive(&postcard::to_extend(&data, vec![1]).unwrap());
    }

    /// An update of a session.
    pub(crate) fn receive_update(&mut self, session: &SessionId, update: &[u8]) {
        // An update is the fourth kind of message on a channel.
        let header = postcard::to_stdvec(&(3u32, session)).unwrap();
        self.receive_on_channel(&[&header, update].concat());
    }

    /// A packet, a message on a channel, or an update of this session; then some time may pass.
    pub(crate) fn receive_invented(&mut self, session: &SessionId, kind: u8, bytes: &[u8]) {
        match kind % 4 {
            0 => self.gateway.receive(bytes),
            // The first byte is the kind of the message, of which there are few.
            1 => self.receive_on_channel(bytes),
            2 => self.receive_update(session, bytes),
            _ => drop(self.gateway.step()),
        }
    }

    /// The clients of the session that no other gateway has hear each other.
    pub(crate) fn serves_its_own(&mut self) {
        let [first, second] = &mut self.private;
        self.said += 1;
        let data = self.said.to_string();
        self.gateway.signal(first, &data);
        let expected = format!("\"data\":\"{data}\"");
        for client in [first, second] {
            let heard = take(&client.outbox);
            let signals = heard.iter().filter(|frame| frame.contains(&expected)).count();
            assert_eq!((signals, heard.len()), (1, 1), "{heard:?}");
        }
    }
}
