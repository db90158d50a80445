//! Channels: messages from one gateway to another, in order, each once.
//!
//! The bus may lose, repeat or delay its messages. The sender numbers the fragments of a channel and
//! keeps them until the receiver has confirmed them; the receiver reports missing ones. If fragments
//! that are no longer kept are missing, the channel starts over with a new incarnation, and the
//! gateways exchange the state of their sessions.

use std::collections::{HashSet, VecDeque};

use bytes::Bytes;

use crate::message::Fragment;

/// Maximum length of a fragment, in bytes.
const MAX_FRAGMENT: usize = 256 * 1024;

/// Maximum length of a message, in bytes. A longer one ends the incarnation.
const MAX_MESSAGE: usize = 64 * 1024 * 1024;

/// Unconfirmed bytes that a channel keeps. Beyond it, the channel starts over.
pub(crate) const MAX_UNCONFIRMED_BYTES: usize = 64 * 1024 * 1024;

/// Unconfirmed fragments that a channel keeps. Beyond it, the channel starts over.
pub(crate) const MAX_UNCONFIRMED: usize = 262_144;

/// The sending end of a channel.
#[derive(Debug)]
pub(crate) struct Outbound {
    incarnation: u64,
    /// Number of the first kept fragment. Fragments are counted from 1.
    first: u64,
    kept: VecDeque<(bool, Bytes)>,
    bytes: usize,
    /// Number of the next fragment for the bus.
    next: u64,
    /// Fragments were dropped: the channel must start over.
    broken: bool,
    /// After a new start: hashes of the sessions whose parts have been sent. None once all have.
    restarted: Option<HashSet<u64>>,
}

impl Outbound {
    pub(crate) fn new(incarnation: u64) -> Self {
        Self {
            incarnation,
            first: 1,
            kept: VecDeque::new(),
            bytes: 0,
            next: 1,
            broken: false,
            restarted: None,
        }
    }

    /// Starts over. Until [`Outbound::finish_restart`], updates of a session are dropped unless its
    /// part has been sent.
    pub(crate) fn restart(&mut self, incarnation: u64) {
        *self = Self { restarted: Some(HashSet::new()), ..Self::new(incarnation) };
    }

    pub(crate) fn finish_restart(&mut self) {
        self.restarted = None;
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Incarnation, and number of the next fragment.
    pub(crate) fn end(&self) -> (u64, u64) {
        (self.incarnation, self.first + self.kept.len() as u64)
    }

    /// Numbers of the last fragment that was sent, and of the last one that is confirmed.
    pub(crate) fn progress(&self) -> (u64, u64) {
        (self.next - 1, self.first - 1)
    }

    /// Number of unconfirmed fragments.
    pub(crate) fn unconfirmed(&self) -> usize {
        self.kept.len()
    }

    /// Queues an update of a session with this hash.
    pub(crate) fn push_update(&mut self, session: u64, is_part: bool, message: &Bytes) {
        match &mut self.restarted {
            Some(sent) if is_part => {
                sent.insert(session);
            }
            Some(sent) if !sent.contains(&session) => return,
            _ => {}
        }
        self.push(message);
    }

    /// Queues a message.
    pub(crate) fn push(&mut self, message: &Bytes) {
        if self.broken {
            return;
        }
        let mut rest = message.clone();
        loop {
            let fragment = rest.split_to(rest.len().min(MAX_FRAGMENT));
            self.bytes += fragment.len();
            self.kept.push_back((rest.is_empty(), fragment));
            if rest.is_empty() {
                break;
            }
        }
        if self.bytes > MAX_UNCONFIRMED_BYTES || self.kept.len() > MAX_UNCONFIRMED {
            self.abandon();
        }
    }

    /// Drops everything. The channel must start over.
    pub(crate) fn abandon(&mut self) {
        self.broken = true;
        self.kept = VecDeque::new();
        self.bytes = 0;
    }

    /// Whether there are fragments for the bus.
    pub(crate) fn has_next(&self) -> bool {
        self.next < self.first + self.kept.len() as u64
    }

    /// The next fragments for the bus, of at least one and about `max_bytes` bytes; the number of
    /// the first. None if there are none.
    pub(crate) fn take(&mut self, max_bytes: usize) -> Option<(u64, Vec<(bool, Bytes)>)> {
        let first = self.next;
        let skip = usize::try_from(first.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let mut bytes = 0;
        let mut taken = Vec::new();
        for (last, fragment) in self.kept.iter().skip(skip) {
            if !taken.is_empty() && bytes + fragment.len() > max_bytes {
                break;
            }
            bytes += fragment.len();
            taken.push((*last, fragment.clone()));
        }
        self.next += taken.len() as u64;
        (!taken.is_empty()).then_some((first, taken))
    }

    /// The receiver has all fragments before this number.
    pub(crate) fn confirm(&mut self, incarnation: u64, expected: u64) {
        if incarnation != self.incarnation {
            return;
        }
        while self.first < expected
            && let Some((_, fragment)) = self.kept.pop_front()
        {
            self.bytes -= fragment.len();
            self.first += 1;
        }
        self.next = self.next.max(self.first);
    }

    /// The receiver lacks fragments from this number on, which are sent again. If they are no longer
    /// kept, or belong to an earlier incarnation, the channel is broken. Returns the number of
    /// fragments that are sent again.
    pub(crate) fn resend(&mut self, incarnation: u64, expected: u64) -> u64 {
        if incarnation > self.incarnation {
            return 0;
        }
        let before = self.next;
        if incarnation < self.incarnation {
            // The receiver has not seen this incarnation yet.
            self.next = self.first;
            self.broken |= self.first > 1;
        } else if expected < self.first {
            self.broken = true;
        } else {
            self.next = self.next.min(expected);
        }
        before - self.next
    }
}

/// The receiving end of a channel.
#[derive(Debug, Default)]
pub(crate) struct Inbound {
    incarnation: u64,
    expected: u64,
    /// The beginning of a message whose last fragment has not arrived.
    partial: Vec<u8>,
}

impl Inbound {
    /// Incarnation, and number of the expected fragment.
    pub(crate) fn position(&self) -> (u64, u64) {
        (self.incarnation, self.expected)
    }

    /// Accepts fragments, and returns the messages that they complete. `Err` if fragments before
    /// them are missing.
    pub(crate) fn accept(
        &mut self,
        incarnation: u64,
        first: u64,
        fragments: &[Fragment<'_>],
    ) -> Result<Vec<Vec<u8>>, Missing> {
        if incarnation < self.incarnation {
            return Ok(Vec::new());
        }
        if incarnation > self.incarnation {
            *self = Self { incarnation, expected: 1, partial: Vec::new() };
        }
        if first > self.expected {
            return Err(Missing);
        }
        let mut messages = Vec::new();
        let known = usize::try_from(self.expected - first).unwrap_or(usize::MAX);
        for Fragment { last, bytes } in fragments.iter().skip(known) {
            self.expected += 1;
            if self.partial.len() + bytes.len() <= MAX_MESSAGE {
                self.partial.extend_from_slice(bytes);
            }
            if *last {
                messages.push(std::mem::take(&mut self.partial));
            }
        }
        Ok(messages)
    }
}

/// Earlier fragments have not arrived.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Missing;

#[cfg(test)]
mod tests {
    use super::*;

    fn deliver(out: &mut Outbound, inbound: &mut Inbound) -> Result<Vec<Vec<u8>>, Missing> {
        let mut messages = Vec::new();
        while let Some((first, taken)) = out.take(1000) {
            let fragments: Vec<_> =
                taken.iter().map(|(last, bytes)| Fragment { last: *last, bytes }).collect();
            messages.extend(inbound.accept(out.incarnation, first, &fragments)?);
        }
        Ok(messages)
    }

    #[test]
    fn messages_arrive_whole_and_once_though_the_bus_loses_and_repeats() {
        let (mut out, mut inbound) = (Outbound::new(1), Inbound::default());
        let long = Bytes::from(vec![7; 3 * MAX_FRAGMENT + 1]);
        out.push(&Bytes::from_static(b"a"));
        out.push(&long);
        out.push(&Bytes::new());
        let lost = out.take(1).unwrap();
        assert_eq!(lost.0, 1);
        assert_eq!(deliver(&mut out, &mut inbound), Err(Missing));
        let (incarnation, expected) = inbound.position();
        assert_eq!((incarnation, expected), (1, 1));
        assert_eq!(out.progress(), (2, 0));
        assert_eq!(out.resend(incarnation, expected), 2);
        let messages = deliver(&mut out, &mut inbound).unwrap();
        assert_eq!(messages, [b"a".to_vec(), long.to_vec(), vec![]]);
        out.resend(1, 1);
        assert_eq!(deliver(&mut out, &mut inbound).unwrap(), [[0; 0]; 0], "repeated");
        out.confirm(1, inbound.position().1);
        assert_eq!((out.unconfirmed(), out.bytes), (0, 0));
        assert_eq!(out.progress(), (6, 6));
        assert!(!out.is_broken());
        out.resend(1, 1);
        assert!(out.is_broken(), "no longer kept");
    }

    #[test]
    fn a_full_channel_starts_over() {
        let (mut out, mut inbound) = (Outbound::new(1), Inbound::default());
        let message = Bytes::from(vec![1; MAX_FRAGMENT]);
        for _ in 0..=MAX_UNCONFIRMED_BYTES / MAX_FRAGMENT {
            out.push(&message);
        }
        assert!(out.is_broken());
        out.push(&message);
        assert_eq!(out.unconfirmed(), 0);
        out.restart(2);
        out.push_update(5, false, &Bytes::from_static(b"of a session without a part"));
        out.push_update(5, true, &Bytes::from_static(b"part"));
        out.push_update(5, false, &Bytes::from_static(b"update"));
        out.finish_restart();
        out.push_update(6, false, &Bytes::from_static(b"another"));
        let messages = deliver(&mut out, &mut inbound).unwrap();
        assert_eq!(messages, [&b"part"[..], b"update", b"another"]);
    }
}
