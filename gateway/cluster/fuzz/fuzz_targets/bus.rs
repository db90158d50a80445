//! Messages of the bus, messages on a channel from another gateway, and updates of a shared session:
//! never a panic, and a session that no other gateway has goes on.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../../tests/gateways/gateway.rs"]
mod gateway;
#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../../tests/gateways/victim.rs"]
mod victim;

use gateway::session;
use victim::Victim;

fuzz_target!(|messages: Vec<(u8, &[u8])>| {
    let mut victim = Victim::start();
    let shared = session(1);
    let _hold = victim.gateway.open(&shared);
    let _client = victim.gateway.join(&shared);
    for (kind, bytes) in messages {
        victim.receive_invented(&shared, kind, bytes);
    }
    victim.serves_its_own();
});
