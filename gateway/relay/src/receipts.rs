//! Receipts: what a client has received and been answered, kept by the gateway for clients that keep
//! nothing themselves.
//!
//! A client of Signalbox says how far it has received when it resumes. The vendor's browser SDK
//! confirms each message instead, and shows nothing but the name of its connection when it comes
//! back. It repeats each request to which it has read no answer, so the answers are kept, too.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use signalbox_opentok::Receipt;
use signalbox_protocol::{Sender, limits::CURSORS_IN_ALL};

/// Time for which an answer is kept. A client whose answer takes longer has given its link up.
const ANSWER_AGE: Duration = Duration::from_secs(12);

/// Answers kept for one client. Beyond it the oldest are forgotten, and a request that is repeated
/// after a lost link is fulfilled again.
pub(crate) const ANSWERS: usize = 4096;

/// The answer to a request of a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// It was fulfilled.
    Accepted,
    /// It was refused.
    Refused {
        /// The status, with the meaning that it has in HTTP.
        status: u16,
        /// Why.
        reason: Box<str>,
    },
}

/// The position of a client as the gateway knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownPosition {
    /// Presence events that the client has received since its ticket.
    pub events: u64,
    /// Signals of the client that have been processed.
    pub sent: u64,
    /// The last signal that the client has received from each sender.
    pub cursors: HashMap<Sender, u64>,
    /// Whether the client knows its own connection, and those that were there when it joined. A
    /// client from another gateway has to be told again: nobody knows which events it has received.
    pub greeted: bool,
    /// Whether it receives presence events.
    pub presence: bool,
    /// The transaction id of its request to join, if it may not have read the answer.
    pub unread_join: Option<Arc<str>>,
}

/// What a client has confirmed since the other gateways were last told of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Confirmed {
    /// The last signal of each sender.
    cursors: HashMap<Sender, u64>,
    greeted: bool,
}

impl Confirmed {
    pub(crate) fn add(&mut self, receipt: &Receipt) {
        match receipt {
            Receipt::Signal { from, seq } => {
                let last = self.cursors.entry(from.clone()).or_default();
                *last = (*last).max(*seq);
            }
            Receipt::Greeting => self.greeted = true,
            // Each gateway has an order of presence events of its own.
            Receipt::Created { .. } | Receipt::Destroyed { .. } => {}
        }
    }
}

/// Receipts of one client.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Receipts {
    /// The run of the gateway that has counted the presence events.
    epoch: u64,
    /// Number of the last confirmed presence event.
    events: u64,
    /// The last confirmed signal of each sender.
    cursors: HashMap<Sender, u64>,
    /// Whether the client has confirmed its greeting.
    greeted: bool,
    answers: Answers,
}

impl Receipts {
    /// Records that the client has received a message and everything before it.
    pub(crate) fn confirm(&mut self, receipt: &Receipt) {
        match receipt {
            Receipt::Signal { from, seq } => {
                self.advance(from, *seq);
            }
            Receipt::Greeting => self.greeted = true,
            Receipt::Created { epoch, number, .. } => self.confirm_event(*epoch, *number),
            Receipt::Destroyed { epoch, number, id } => {
                self.confirm_event(*epoch, *number);
                // The last signal came before it.
                self.cursors.remove(&Sender::Connection(*id));
            }
        }
    }

    fn advance(&mut self, from: &Sender, seq: u64) {
        if let Some(last) = self.cursors.get_mut(from) {
            *last = (*last).max(seq);
        } else if self.cursors.len() < CURSORS_IN_ALL {
            self.cursors.insert(from.clone(), seq);
        }
    }

    /// Records what the client has confirmed to another gateway.
    pub(crate) fn confirm_elsewhere(&mut self, confirmed: &Confirmed) {
        for (from, seq) in &confirmed.cursors {
            self.advance(from, *seq);
        }
        self.greeted |= confirmed.greeted;
    }

    /// Adds what another gateway knows of the client.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (from, seq) in &other.cursors {
            self.advance(from, *seq);
        }
        self.greeted |= other.greeted;
        for (at, transaction) in &other.answers.order {
            if let Some(answer) = other.answers.by_transaction.get(transaction) {
                self.answers.push(transaction.clone(), answer.clone(), *at);
            }
        }
    }

    /// The client has come from another gateway, and is greeted again.
    pub(crate) fn forget_greeting(&mut self) {
        self.greeted = false;
    }

    /// Forgets the cursors of all other senders. On the gateway of the client that is done when it
    /// confirms the end of a sender.
    pub(crate) fn retain_senders(&mut self, keep: impl Fn(&Sender) -> bool) {
        self.cursors.retain(|from, _| keep(from));
    }

    fn confirm_event(&mut self, epoch: u64, number: u64) {
        if epoch == self.epoch {
            self.events = self.events.max(number);
        } else {
            (self.epoch, self.events) = (epoch, number);
        }
    }

    /// Number of the last presence event that the client has confirmed, of those that were counted by
    /// this run of a gateway.
    pub(crate) fn events(&self, epoch: u64) -> u64 {
        if epoch == self.epoch { self.events } else { 0 }
    }

    pub(crate) fn greeted(&self) -> bool {
        self.greeted
    }

    pub(crate) fn cursors(&self) -> &HashMap<Sender, u64> {
        &self.cursors
    }

    /// The transaction id of the client's first request, the one to join, if the client may not have
    /// read its answer.
    pub(crate) fn unread_join(&self) -> Option<Arc<str>> {
        let (_, first) = self.answers.order.front().filter(|_| !self.greeted)?;
        let is_accepted = self.answers.by_transaction.get(first) == Some(&Answer::Accepted);
        is_accepted.then(|| first.clone())
    }

    /// The answer to a request that the client has sent before.
    pub(crate) fn answered(&self, transaction: &str) -> Option<&Answer> {
        self.answers.by_transaction.get(transaction)
    }

    /// Records the answer to a request.
    pub(crate) fn answer(&mut self, transaction: &str, answer: Answer, now: Duration) {
        self.answers.forget(now);
        self.answers.push(transaction.into(), answer, now);
    }

    /// The client is back: the answers that were kept while it was away count as given now.
    pub(crate) fn resumed(&mut self, now: Duration) {
        self.answers.order.iter_mut().for_each(|(at, _)| *at = now);
    }
}

/// Answers by transaction id, oldest first.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Vec<(Arc<str>, Answer)>", into = "Vec<(Arc<str>, Answer)>")]
struct Answers {
    by_transaction: HashMap<Arc<str>, Answer>,
    order: VecDeque<(Duration, Arc<str>)>,
}

impl Answers {
    fn push(&mut self, transaction: Arc<str>, answer: Answer, now: Duration) {
        if self.by_transaction.insert(transaction.clone(), answer).is_none() {
            self.order.push_back((now, transaction));
        }
    }

    /// Forgets answers that are too old, and the oldest if there are too many.
    fn forget(&mut self, now: Duration) {
        while let Some((at, transaction)) = self.order.front()
            && (self.order.len() >= ANSWERS || at.saturating_add(ANSWER_AGE) < now)
        {
            self.by_transaction.remove(transaction);
            self.order.pop_front();
        }
    }
}

impl From<Vec<(Arc<str>, Answer)>> for Answers {
    fn from(list: Vec<(Arc<str>, Answer)>) -> Self {
        let mut answers = Self::default();
        for (transaction, answer) in list {
            // Their ages are unknown; they count from the resume.
            answers.push(transaction, answer, Duration::ZERO);
        }
        answers
    }
}

impl From<Answers> for Vec<(Arc<str>, Answer)> {
    fn from(mut answers: Answers) -> Self {
        let order = std::mem::take(&mut answers.order).into_iter();
        order
            .filter_map(|(_, transaction)| {
                answers.by_transaction.remove(&transaction).map(|answer| (transaction, answer))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use signalbox_protocol::ConnectionId;

    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_last_confirmation_of_each_sender_counts() {
        let mut receipts = Receipts::default();
        let id = ConnectionId::from_bytes([1; 16]);
        let (alice, server) = (Sender::from(id), Sender::Server("gw".parse().unwrap()));
        for (from, seq) in [(&alice, 1), (&server, 7), (&alice, 3), (&alice, 2)] {
            receipts.confirm(&Receipt::Signal { from: from.clone(), seq });
        }
        receipts.confirm(&Receipt::Created { epoch: 5, number: 4, id });
        receipts.confirm(&Receipt::Created { epoch: 5, number: 3, id });
        assert_eq!(receipts.cursors(), &HashMap::from([(alice, 3), (server.clone(), 7)]));
        assert_eq!((receipts.events(5), receipts.events(6)), (4, 0));
        receipts.confirm(&Receipt::Destroyed { epoch: 6, number: 1, id });
        assert_eq!(receipts.cursors(), &HashMap::from([(server, 7)]));
        assert_eq!((receipts.events(5), receipts.events(6)), (0, 1));
    }

    #[test]
    fn confirmations_of_invented_senders_are_bounded() {
        let mut receipts = Receipts::default();
        for n in 0..=CURSORS_IN_ALL as u128 {
            let from = ConnectionId::from_bytes(n.to_be_bytes()).into();
            receipts.confirm(&Receipt::Signal { from, seq: 1 });
        }
        assert_eq!(receipts.cursors().len(), CURSORS_IN_ALL);
    }

    #[test]
    fn answers_are_kept_for_a_time_and_frozen_while_the_client_is_away() {
        let mut receipts = Receipts::default();
        receipts.answer("a", Answer::Accepted, at(0));
        let refused = Answer::Refused { status: 404, reason: "gone".into() };
        receipts.answer("b", refused.clone(), at(10));
        receipts.answer("c", Answer::Accepted, at(13));
        assert_eq!(receipts.answered("a"), None);
        receipts.resumed(at(100));
        receipts.answer("d", Answer::Accepted, at(101));
        assert_eq!(receipts.answered("b"), Some(&refused));
        receipts.answer("e", Answer::Accepted, at(113));
        assert_eq!(receipts.answered("b"), None);
        assert_eq!(receipts.answered("d"), Some(&Answer::Accepted));
    }

    #[test]
    fn the_answer_to_the_first_request_is_unread_until_the_greeting_is_confirmed() {
        let mut receipts = Receipts::default();
        assert_eq!(receipts.unread_join(), None);
        receipts.answer("join", Answer::Accepted, at(0));
        receipts.answer("signal", Answer::Accepted, at(1));
        assert_eq!(receipts.unread_join().as_deref(), Some("join"));
        receipts.confirm(&Receipt::Greeting);
        assert_eq!(receipts.unread_join(), None);
    }

    #[test]
    fn the_number_of_answers_is_bounded() {
        let mut receipts = Receipts::default();
        for n in 0..2 * ANSWERS {
            receipts.answer(&n.to_string(), Answer::Accepted, at(0));
        }
        assert_eq!(receipts.answers.by_transaction.len(), ANSWERS);
        assert_eq!(receipts.answered("0"), None);
        assert!(receipts.answered(&(2 * ANSWERS - 1).to_string()).is_some());
    }

    #[test]
    fn receipts_of_two_gateways_are_merged() {
        let [alice, bob] = [1, 2].map(|id| Sender::from(ConnectionId::from_bytes([id; 16])));
        let signal = |from: &Sender, seq| Receipt::Signal { from: from.clone(), seq };
        let (mut here, mut there) = (Receipts::default(), Receipts::default());
        here.confirm(&signal(&alice, 3));
        here.answer("a", Answer::Accepted, at(1));
        there.confirm(&signal(&alice, 2));
        there.answer("a", Answer::Accepted, at(1));
        there.answer("b", Answer::Accepted, at(2));
        let mut confirmed = Confirmed::default();
        for receipt in [signal(&bob, 8), signal(&bob, 7), Receipt::Greeting] {
            confirmed.add(&receipt);
        }
        there.confirm_elsewhere(&confirmed);
        here.merge(&there);
        assert_eq!(here.cursors(), &HashMap::from([(alice, 3), (bob.clone(), 8)]));
        assert!(here.greeted());
        assert!(here.answered("a").is_some() && here.answered("b").is_some());
        assert_eq!(here.answers.order.len(), 2);
        here.retain_senders(|from| *from == bob);
        assert_eq!(here.cursors(), &HashMap::from([(bob, 8)]));
    }

    #[test]
    fn receipts_survive_a_snapshot() {
        let mut receipts = Receipts::default();
        let id = ConnectionId::from_bytes([1; 16]);
        receipts.confirm(&Receipt::Signal { from: id.into(), seq: 1 });
        receipts.answer("a", Answer::Accepted, at(50));
        receipts.answer("b", Answer::Accepted, at(51));
        let bytes = postcard::to_stdvec(&receipts).unwrap();
        let mut restored: Receipts = postcard::from_bytes(&bytes).unwrap();
        restored.resumed(at(0));
        assert_eq!(restored.cursors(), receipts.cursors());
        restored.answer("c", Answer::Accepted, at(1));
        assert!(restored.answered("a").is_some() && restored.answered("b").is_some());
    }
}
