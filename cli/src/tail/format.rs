//! Events of `signalbox tail` as text for people.

use serde_json::{Map, Value};

/// Members that every line begins with.
const FIRST: [&str; 4] = ["time", "event", "session", "connection"];

/// One line: the time (UTC), the event, the connection, and the rest as `name=value`.
pub(super) fn text(event: &Map<String, Value>) -> String {
    let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default();
    let mut line = format!("{} {:9}", time(event.get("time")), text("event"));
    match text("connection") {
        "" if event.contains_key("session") => line.push_str(" server"),
        connection => {
            line.push(' ');
            line.push_str(connection);
        }
    }
    for (name, value) in event.iter().filter(|(name, _)| !FIRST.contains(&name.as_str())) {
        if !value.is_null() {
            line.push_str(&format!(" {name}={value}"));
        }
    }
    if !text("session").is_empty() {
        line.push_str(&format!(" session={}", text("session")));
    }
    line
}

/// The time of day of milliseconds since 1970.
fn time(ms: Option<&Value>) -> String {
    let ms = ms.and_then(Value::as_u64).unwrap_or_default();
    let (seconds, minutes, hours) = (ms / 1000 % 60, ms / 60_000 % 60, ms / 3_600_000 % 24);
    format!("{hours:02}:{minutes:02}:{seconds:02}.{:03}", ms % 1000)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    #[test]
    fn an_event_is_one_line() {
        for (event, expected) in [
            (
                r#"{"time":3723004,"event":"signal","session":"1_x","connection":"9bf3","seq":7,"type":"chat","bytes":12}"#,
                "01:02:03.004 signal    9bf3 bytes=12 seq=7 type=\"chat\" session=1_x",
            ),
            (
                r#"{"time":0,"event":"signal","session":"1_x","bytes":1}"#,
                "00:00:00.000 signal    server bytes=1 session=1_x",
            ),
            (r#"{"time":0,"event":"lost","events":7}"#, "00:00:00.000 lost       events=7"),
        ] {
            assert_eq!(super::text(&serde_json::from_str(event).unwrap()), expected);
        }
    }
}
