use std::time::Duration;

use proptest::prelude::*;
use signalbox_protocol::{MediaMode, SessionId};

use super::*;
use crate::revocation::{Matcher, token_identity};

const NOW: u64 = 1_795_500_000;
const LATER: u64 = NOW + 1000;

fn key(number: u8) -> ProjectKey {
    number.to_string().parse().unwrap()
}

fn session(project: u8, number: u8) -> SessionId {
    SessionId::mint(&key(project), MediaMode::Relayed, None, 0, [number; 24])
}

/// A selection by token id, connection data and session of project 1.
fn matcher(token_id: Option<&str>, data: Option<&str>, number: Option<u8>) -> Matcher {
    Matcher {
        token_id: token_id.map(str::to_owned),
        connection_data: data.map(str::to_owned),
        session: number.map(|number| session(1, number)),
    }
}

fn new(matcher: Matcher, issued_before: Option<u64>) -> NewRevocation {
    NewRevocation { project: key(1), matcher, issued_before, expires: LATER }
}

fn user(name: &str) -> NewRevocation {
    new(matcher(None, Some(name), None), Some(NOW))
}

/// Whether a token of project 1 is revoked.
fn is_revoked(
    list: &Revocations,
    (id, data, number): (Option<&str>, &str, u8),
    issued_at: u64,
) -> bool {
    let token = token_identity(id, Some(Duration::from_secs(issued_at)));
    list.is_revoked(&Presented { session: &session(1, number), data, token }, NOW)
}

#[test]
fn a_token_must_have_every_property_of_the_matcher() {
    let tokens = [Some("one"), Some("two"), None].into_iter().flat_map(|id| {
        ["alice", "bob", ""].into_iter().flat_map(move |data| [(id, data, 1), (id, data, 2)])
    });
    let tokens: Vec<_> = tokens.collect();
    for (matcher, matched) in [
        (matcher(Some("one"), None, None), 6),
        (matcher(None, Some("alice"), None), 6),
        (matcher(None, None, Some(1)), 9),
        (matcher(Some("one"), Some("alice"), None), 2),
        (matcher(Some("one"), None, Some(1)), 3),
        (matcher(None, Some("alice"), Some(1)), 3),
        (matcher(Some("one"), Some("alice"), Some(1)), 1),
        (matcher(Some("three"), Some("alice"), Some(1)), 0),
    ] {
        let mut list = Revocations::default();
        list.add(new(matcher.clone(), Some(NOW)), NOW).unwrap();
        let revoked: Vec<_> = tokens.iter().filter(|it| is_revoked(&list, **it, NOW)).collect();
        assert_eq!(revoked.len(), matched, "{matcher:?}");
        // Connections are found by the same rule.
        let is_selected = matcher.predicate();
        for &(id, data, number) in &tokens {
            let token = token_identity(id, None);
            let presented = Presented { session: &session(1, number), data, token };
            assert_eq!(is_selected(&presented), revoked.contains(&&(id, data, number)));
        }
    }
}

#[test]
fn a_token_that_was_issued_later_is_valid() {
    let mut list = Revocations::default();
    list.add(user("alice"), NOW).unwrap();
    let alice = (None, "alice", 1);
    assert!(is_revoked(&list, alice, 0));
    assert!(is_revoked(&list, alice, NOW));
    assert!(!is_revoked(&list, alice, NOW + 1));
    // A token that is selected by its id is revoked whenever it was issued.
    list.add(new(matcher(Some("one"), None, None), None), NOW).unwrap();
    assert!(is_revoked(&list, (Some("one"), "alice", 1), NOW + 1));
}

#[test]
fn other_projects_are_not_affected() {
    let mut list = Revocations::default();
    list.add(user("alice"), NOW).unwrap();
    let token = token_identity(None, None);
    let of_project = |number| {
        let session = session(number, 1);
        list.is_revoked(&Presented { session: &session, data: "alice", token }, NOW)
    };
    assert!(of_project(1) && !of_project(2));
    assert_eq!(list.of_project(&key(2), NOW), []);
    let id = list.of_project(&key(1), NOW)[0].id;
    assert_eq!(list.delete(&key(2), id, NOW), None, "of another project");
}

#[test]
fn expired_revocations_have_no_effect_and_are_forgotten() {
    let mut list = Revocations::default();
    let (alice, _) = list.add(user("alice"), NOW).unwrap();
    list.add(user("bob"), NOW).unwrap();
    list.delete(&key(1), alice.id, NOW).unwrap();
    let token = token_identity(None, None);
    let bob = |list: &Revocations, now| {
        list.is_revoked(&Presented { session: &session(1, 1), data: "bob", token }, now)
    };
    assert!(bob(&list, LATER - 1) && !bob(&list, LATER));
    assert_eq!(list.of_project(&key(1), LATER), []);
    assert_eq!(list.changes().len(), 2);
    assert_eq!(list.merge([RevocationChange::Added(alice)], LATER), [], "it has expired");
    assert_eq!(list.changes(), []);
    assert!(list.projects.is_empty());
}

#[test]
fn a_revocation_replaces_those_that_it_covers() {
    let mut list = Revocations::default();
    let (first, changes) = list.add(user("alice"), NOW).unwrap();
    assert_eq!(changes, [RevocationChange::Added(first.clone())]);
    let (same, changes) = list.add(user("alice"), NOW + 5).unwrap();
    assert_eq!((same, changes), (first.clone(), vec![]));
    let later = NewRevocation { issued_before: Some(NOW + 9), ..user("alice") };
    let (second, changes) = list.add(later, NOW + 9).unwrap();
    let expected = [first.deletion(), RevocationChange::Added(second.clone())];
    assert_eq!(changes, expected);
    // Neither covers the other: one is for more tokens, the other is kept for longer.
    let longer = NewRevocation { expires: LATER + 9, ..user("alice") };
    let (third, changes) = list.add(longer, NOW + 10).unwrap();
    assert_eq!(changes, [RevocationChange::Added(third.clone())]);
    assert_eq!(list.of_project(&key(1), NOW), [second.clone(), third]);
    assert!(is_revoked(&list, (None, "alice", 1), NOW + 9));
    list.delete(&key(1), second.id, NOW).unwrap();
    assert!(!is_revoked(&list, (None, "alice", 1), NOW + 9));
    assert!(is_revoked(&list, (None, "alice", 1), NOW));
}

#[test]
fn a_deleted_revocation_stays_deleted() {
    let mut list = Revocations::default();
    let (alice, changes) = list.add(user("alice"), NOW).unwrap();
    let deletion = list.delete(&key(1), alice.id, NOW).unwrap();
    assert!(!is_revoked(&list, (None, "alice", 1), NOW));
    assert_eq!(list.delete(&key(1), alice.id, NOW), None);
    assert_eq!(list.merge(changes, NOW), [], "another gateway does not know yet");
    assert_eq!(list.changes(), [deletion]);
    // The same can be revoked again.
    list.add(user("alice"), NOW).unwrap();
    assert!(is_revoked(&list, (None, "alice", 1), NOW));
}

#[test]
fn the_list_is_bounded_and_usable_when_full() {
    let mut list = Revocations::default();
    for number in 0..MAX_REVOCATIONS {
        list.add(user(&number.to_string()), NOW).unwrap();
    }
    assert_eq!(list.add(user("alice"), NOW).unwrap_err(), ListFull);
    assert!(list.add(user("7"), NOW).is_ok(), "it is there already");
    let replacement = NewRevocation { issued_before: Some(NOW + 1), ..user("7") };
    list.add(replacement, NOW + 1).unwrap();
    let elsewhere = NewRevocation { project: key(2), ..user("alice") };
    list.add(elsewhere, NOW).unwrap();
    // What another gateway has accepted is not refused.
    let mut other = Revocations::default();
    let (_, changes) = other.add(user("bob"), NOW).unwrap();
    assert_eq!(list.merge(changes, NOW).len(), 1);
    for revocation in list.of_project(&key(1), NOW) {
        list.delete(&key(1), revocation.id, NOW).unwrap();
    }
    list.add(user("alice"), NOW).unwrap();
    let list = &list.projects[&key(1)];
    assert_eq!((list.by_id.len(), list.by_key.len(), list.deleted.len()), (1, 1, MAX_DELETED));
}

#[test]
fn changes_survive_their_encoding() {
    let mut list = Revocations::default();
    list.add(new(matcher(Some("one"), Some("alice"), Some(1)), None), NOW).unwrap();
    let (bob, _) = list.add(user("bob"), NOW).unwrap();
    list.delete(&key(1), bob.id, NOW).unwrap();
    let bytes = postcard::to_stdvec(&list.changes()).unwrap();
    let changes: Vec<RevocationChange> = postcard::from_bytes(&bytes).unwrap();
    assert_eq!(changes, list.changes());
}

/// What two lists that have seen the same changes agree on.
fn contents(list: &Revocations) -> Vec<Vec<u8>> {
    let mut changes: Vec<_> =
        list.changes().iter().map(|change| postcard::to_stdvec(change).unwrap()).collect();
    changes.sort();
    changes
}

proptest! {
    /// Three gateways add and delete, and exchange changes in any order and more than once.
    #[test]
    fn gateways_that_have_seen_the_same_changes_have_the_same_list(
        steps in prop::collection::vec((0..3_usize, 0..3_u8, 0..4_u64, any::<prop::sample::Index>()), 0..40),
        orders in prop::collection::vec(any::<prop::sample::Index>(), 200),
    ) {
        let mut gateways: [Revocations; 3] = Default::default();
        let mut changes = Vec::new();
        for (at, action, number, which) in steps {
            match action {
                0 => {
                    let added = user(&number.to_string());
                    let added = NewRevocation { issued_before: Some(NOW + number % 2), ..added };
                    changes.extend(gateways[at].add(added, NOW).unwrap().1);
                }
                1 => {
                    let all = gateways[at].of_project(&key(1), NOW);
                    if !all.is_empty() {
                        let id = all[which.index(all.len())].id;
                        changes.extend(gateways[at].delete(&key(1), id, NOW));
                    }
                }
                _ if !changes.is_empty() => {
                    let change: RevocationChange = changes[which.index(changes.len())].clone();
                    gateways[at].merge([change], NOW);
                }
                _ => {}
            }
        }
        for (number, gateway) in gateways.iter_mut().enumerate() {
            let mut left = changes.clone();
            for order in orders.iter().skip(number * 60) {
                if !left.is_empty() {
                    gateway.merge([left.swap_remove(order.index(left.len()))], NOW);
                }
            }
            gateway.merge(left, NOW);
            gateway.merge(changes.clone(), NOW);
        }
        let [first, second, third] = &gateways;
        prop_assert_eq!(contents(first), contents(second));
        prop_assert_eq!(contents(second), contents(third));
        for number in 0..4_u64 {
            for issued_at in [NOW, NOW + 1] {
                let data = number.to_string();
                let revoked = gateways.each_ref().map(|it| is_revoked(it, (None, &data, 1), issued_at));
                prop_assert!(revoked.iter().all(|it| *it == revoked[0]));
            }
        }
    }
}
