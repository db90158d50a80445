//! Behaviour vectors: `order.json`, `resume.json` and `send_queue.json` in `protocol/vectors/`, whose
//! README describes them. They are exported from this client, so that clients in other languages
//! can prove that they behave the same.
//!
//! The tests compare the files byte for byte. After a deliberate change, write them again with
//! `UPDATE_VECTORS=1 cargo test -p signalbox-client --lib vectors` and read the diff.

mod order;
mod resume;
mod send_queue;

use std::{fmt::Write as _, fs, path::PathBuf};

use serde_json::{Map, Value, json};
use signalbox_protocol::message::Lost;

use crate::event::Event;

/// One case of a file: members that describe it, and its steps.
struct Case {
    head: Value,
    steps: Vec<Value>,
}

/// Compares a file with its cases, or writes it.
fn check(file: &str, about: &str, cases: &[Case]) {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../protocol/vectors"));
    let path = path.join(file);
    let mut text = format!("{{\n\"about\": {},\n\"cases\": [", json!(about));
    for (index, Case { head, steps }) in cases.iter().enumerate() {
        text += if index == 0 { "\n" } else { ",\n" };
        let head = sorted(head).to_string();
        let _ = write!(text, "{},\n\"steps\": [", head.trim_end_matches('}'));
        for (index, step) in steps.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let _ = write!(text, "{comma}\n {}", sorted(step));
        }
        text += "\n]}";
    }
    text += "\n]\n}\n";
    serde_json::from_str::<Value>(&text).unwrap();
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        return fs::write(path, text).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    let difference = committed.lines().zip(text.lines()).find(|(old, new)| old != new);
    assert_eq!(difference, None, "{} (committed, now)", path.display());
    assert_eq!(committed, text, "{}", path.display());
}

/// The value with all members in alphabetical order: serde_json's own order depends on a feature
/// that another crate may enable.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut names: Vec<_> = members.keys().collect();
            names.sort();
            let members = names.iter().map(|name| ((*name).clone(), sorted(&members[*name])));
            Value::Object(members.collect::<Map<_, _>>())
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

/// SplitMix64: the same programs from the same seed, in every version of every crate.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % limit as u64).unwrap()
    }
}

/// An event as vectors and transcripts write it.
pub(crate) fn event_json(event: Event) -> Value {
    match event {
        Event::SessionConnected { connection, .. } | Event::SessionRejoined { connection } => {
            json!({"connected": {"id": connection.id.to_string()}})
        }
        Event::ConnectionCreated(info) => json!({"created": {"id": info.id.to_string()}}),
        Event::ConnectionDestroyed { id, reason } => {
            json!({"destroyed": {"id": id.to_string(), "reason": reason.name()}})
        }
        Event::Signal { from, seq, signal_type, data } => {
            json!({"signal": {"from": from, "seq": seq, "type": signal_type, "data": data}})
        }
        Event::Rejected { signal, code, .. } => {
            json!({"refused": {"signal": signal, "code": code.name()}})
        }
        Event::SessionReconnected { missed, gap } => {
            let gap = gap.unwrap_or_default();
            let lost = lost_json(&gap.lost);
            json!({"resumed": {"missed": missed, "lost": lost, "presence": gap.presence}})
        }
        Event::Gap { lost } => json!({"gap": {"lost": lost_json(&lost)}}),
        Event::SessionReconnecting { .. } | Event::SessionDisconnected { .. } => {
            panic!("the reconnect loop emits this: {event:?}")
        }
    }
}

fn lost_json(lost: &[Lost]) -> Value {
    let lost = lost
        .iter()
        .map(|Lost { from, after, until }| json!({"from": from, "after": after, "until": until}));
    lost.collect()
}
