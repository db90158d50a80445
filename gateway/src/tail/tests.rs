//! Followers: what they get, and what they lose.

use serde_json::Value;
use signalbox_protocol::{DisconnectReason, MediaMode, Signal};

use super::*;

fn session(project: &str) -> SessionId {
    SessionId::mint(&project.parse().unwrap(), MediaMode::Relayed, None, 0, [7; 24])
}

fn connection(number: u8) -> ConnectionId {
    ConnectionId::from_bytes([number; 16])
}

fn say(tail: &Tail, session: &SessionId, from: u8, to: Option<ConnectionId>) {
    let signal = Signal::new(Some("chat"), Some("HUSH"));
    if let Some(signal) = tail.signal(&signal, to) {
        tail.publish(
            session,
            Some(connection(from)),
            TailEvent::Signal { seq: Some(1), wait_ms: None, signal },
        );
    }
}

async fn next(lines: &mut TailLines) -> Vec<Value> {
    let lines = lines.next().await.unwrap();
    let text = String::from_utf8(lines.to_vec()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn filter(query: &str) -> TailFilter {
    TailFilter::from_query(query).unwrap()
}

#[tokio::test]
async fn a_follower_gets_the_events_of_its_scope() {
    let tail = Arc::new(Tail::default());
    let (here, elsewhere) = (session("1"), session("2"));
    let follow = |query: &str| tail.follow(filter(query)).unwrap();
    let mut by_session = follow(&format!("session={here}"));
    let mut by_project = follow("project=2");
    let mut by_connection = follow(&format!("connection={}", connection(3)));
    say(&tail, &here, 1, None);
    say(&tail, &elsewhere, 2, None);
    say(&tail, &here, 1, Some(connection(3)));
    let left = TailEvent::Left { reason: DisconnectReason::ClientDisconnected };
    tail.publish(&here, Some(connection(3)), left);
    let from = |events: Vec<Value>| {
        let from = |event: Value| event["connection"].as_str().unwrap().to_owned();
        events.into_iter().map(from).collect::<Vec<_>>()
    };
    let ids =
        |numbers: &[u8]| numbers.iter().map(|it| connection(*it).to_string()).collect::<Vec<_>>();
    assert_eq!(from(next(&mut by_session).await), ids(&[1, 1, 3]));
    assert_eq!(from(next(&mut by_project).await), ids(&[2]));
    let events = next(&mut by_connection).await;
    assert_eq!(events[0]["to"], connection(3).to_string());
    assert_eq!(
        (&events[1]["event"], &events[1]["reason"]),
        (&"left".into(), &"clientDisconnected".into())
    );
    assert_eq!((&events[0]["type"], &events[0]["bytes"]), (&"chat".into(), &8.into()));
    drop((by_session, by_project, by_connection));
    assert!(!tail.is_followed());
}

#[tokio::test]
async fn contents_need_a_setting_and_a_wish() {
    let tail = Arc::new(Tail::default());
    let here = session("1");
    let wish = filter("project=1&contents=true");
    assert_eq!(tail.follow(wish.clone()).err(), Some(FollowError::NoContents));
    tail.set_contents(true);
    let (mut with, mut without) =
        (tail.follow(wish).unwrap(), tail.follow(filter("project=1")).unwrap());
    say(&tail, &here, 1, None);
    assert_eq!(next(&mut with).await[0]["data"], "HUSH");
    assert_eq!(next(&mut without).await[0].get("data"), None);
    // The setting is changed while they follow.
    tail.set_contents(false);
    say(&tail, &here, 1, None);
    assert_eq!(next(&mut with).await[0].get("data"), None);
}

#[tokio::test]
async fn a_follower_that_does_not_read_is_told_what_it_lost_and_where() {
    let tail = Arc::new(Tail::default());
    let here = session("1");
    let mut lines = tail.follow(filter("project=1")).unwrap();
    let mut read = 0;
    let mut told = 0;
    for round in 1..=3_u64 {
        for _ in 0..1000 {
            say(&tail, &here, 1, None);
        }
        let events = next(&mut lines).await;
        let (last, rest) = events.split_last().unwrap();
        assert!(rest.iter().all(|event| event["event"] == "signal"));
        assert_eq!(last["event"], "lost");
        read += rest.len() as u64;
        told += last["events"].as_u64().unwrap();
        assert_eq!(read + told, 1000 * round);
        assert!(told > 0);
    }
}

#[tokio::test]
async fn followers_are_few_and_end_with_the_gateway() {
    let tail = Arc::new(Tail::default());
    let mut all: Vec<_> =
        (0..MAX_FOLLOWERS).map(|_| tail.follow(filter("project=1")).unwrap()).collect();
    assert_eq!(tail.follow(filter("project=1")).err(), Some(FollowError::TooMany));
    all.pop();
    all.push(tail.follow(filter("project=1")).unwrap());
    say(&tail, &session("1"), 1, None);
    tail.close();
    assert_eq!(next(&mut all[0]).await.len(), 1, "what waits is still sent");
    assert_eq!(all[0].next().await, None);
    assert_eq!(tail.follow(filter("project=1")).err(), Some(FollowError::Ending));
}

#[test]
fn a_query_names_one_scope() {
    for wrong in ["", "session=x", "project=1&project=2", "project=1&x=1", "project=1&contents=yes"]
    {
        assert!(TailFilter::from_query(wrong).is_err(), "{wrong}");
    }
}
