//! The pings of a WebSocket (RFC 6455 §5.5.2) whose pongs measure its round-trip time.
//!
//! A ping carries a random mark, which its pong repeats. So a client cannot answer a ping before it has
//! received it, and it cannot answer one twice. It can delay its pongs, which makes its own link look
//! slow and has no effect on others.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::link_rtt::LatestRtt;

/// Pings whose pongs are expected: as many as a link may leave unanswered ([`super::messages`]). The
/// oldest is forgotten, and its pong ignored.
pub(super) const UNANSWERED_PINGS: usize = 3;

/// The unanswered pings of a link.
#[derive(Default)]
pub(super) struct Pings {
    /// The latest one first.
    unanswered: Mutex<[Option<SentPing>; UNANSWERED_PINGS]>,
    rtt: Arc<LatestRtt>,
}

#[derive(Clone, Copy)]
struct SentPing {
    mark: u64,
    at: Instant,
}

impl Pings {
    /// The round-trip time of the ping that was answered last.
    pub(super) fn rtt(&self) -> &Arc<LatestRtt> {
        &self.rtt
    }

    /// A ping is sent at this time. Returns its contents.
    pub(super) fn sent(&self, at: Instant) -> Bytes {
        // A system without random numbers accepts no links. Then a client could guess the mark.
        let mark = getrandom::u64().unwrap_or_default();
        let mut unanswered = self.unanswered.lock();
        unanswered.rotate_right(1);
        // In place of the oldest.
        let [first, ..] = &mut *unanswered;
        *first = Some(SentPing { mark, at });
        Bytes::copy_from_slice(&mark.to_be_bytes())
    }

    /// A pong with these contents was received at this time. It is ignored if it answers no ping.
    pub(super) fn answered(&self, contents: &[u8], at: Instant) {
        let Ok(mark) = contents.try_into().map(u64::from_be_bytes) else { return };
        let mut unanswered = self.unanswered.lock();
        let is_answer = |ping: &Option<SentPing>| ping.is_some_and(|ping| ping.mark == mark);
        let from_it = unanswered.iter_mut().skip_while(|ping| !is_answer(ping));
        let mut pings = from_it.filter_map(Option::take);
        if let Some(ping) = pings.next() {
            self.rtt.set(at.saturating_duration_since(ping.at));
        }
        // A client may answer only the latest of several pings (RFC 6455 §5.5.3).
        pings.for_each(drop);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Milliseconds after the beginning.
    fn after(begin: Instant, ms: u64) -> Instant {
        begin + Duration::from_millis(ms)
    }

    fn rtt_ms(pings: &Pings) -> Option<u128> {
        pings.rtt().get().map(|rtt| rtt.as_millis())
    }

    #[test]
    fn a_pong_measures_its_own_ping_once() {
        let (pings, begin) = (Pings::default(), Instant::now());
        assert_eq!(rtt_ms(&pings), None);
        let first = pings.sent(begin);
        let second = pings.sent(after(begin, 100));
        pings.answered(&first, after(begin, 150));
        assert_eq!(rtt_ms(&pings), Some(150), "a late pong is not one of the latest ping");
        pings.answered(&first, after(begin, 500));
        assert_eq!(rtt_ms(&pings), Some(150), "the same pong again");
        pings.answered(&second, after(begin, 110));
        assert_eq!(rtt_ms(&pings), Some(10));
        pings.answered(&second, after(begin, 500));
        assert_eq!(rtt_ms(&pings), Some(10));
    }

    #[test]
    fn pongs_that_answer_no_ping_are_ignored() {
        let (pings, begin) = (Pings::default(), Instant::now());
        let ping = pings.sent(begin);
        let other = u64::from_be_bytes(ping[..].try_into().unwrap()).wrapping_add(1).to_be_bytes();
        for contents in [&[][..], &[0; 8], &[0xff; 125], &ping[..7], &other] {
            pings.answered(contents, after(begin, 1));
            assert_eq!(rtt_ms(&pings), None, "{contents:?}");
        }
        pings.answered(&ping, after(begin, 20));
        assert_eq!(rtt_ms(&pings), Some(20));
    }

    #[test]
    fn a_pong_that_comes_after_one_of_a_later_ping_is_ignored() {
        let (pings, begin) = (Pings::default(), Instant::now());
        let sent: Vec<_> = (0..5).map(|number| pings.sent(after(begin, 100 * number))).collect();
        pings.answered(&sent[3], after(begin, 330));
        assert_eq!(rtt_ms(&pings), Some(30));
        for earlier in &sent[..3] {
            pings.answered(earlier, after(begin, 1000));
            assert_eq!(rtt_ms(&pings), Some(30));
        }
        pings.answered(&sent[4], after(begin, 440));
        assert_eq!(rtt_ms(&pings), Some(40));
    }

    #[test]
    fn the_oldest_unanswered_ping_is_forgotten() {
        let (pings, begin) = (Pings::default(), Instant::now());
        let sent: Vec<_> = (0..4).map(|number| pings.sent(after(begin, number))).collect();
        pings.answered(&sent[0], after(begin, 1000));
        assert_eq!(rtt_ms(&pings), None);
        pings.answered(&sent[1], after(begin, 11));
        assert_eq!(rtt_ms(&pings), Some(10));
    }
}
