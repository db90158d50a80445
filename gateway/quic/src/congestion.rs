//! CUBIC with a minimum window, for small messages of a few kilobytes a second.
//!
//! QUIC's usual controllers shrink the window at every loss and let it grow only while it is fully
//! used, which small messages rarely do. On a lossy path the window ends at two packets, and
//! messages wait for the acknowledgement of others: a lost packet delays many, which one stream per
//! sender should prevent. Nothing is gained by that, because a path that is used so little is
//! hardly congested by us.
//!
//! So the window has a floor: the initial window of a new connection, ten packets (RFC 9002,
//! section 7.2). Above it, this is plain CUBIC. It is nothing but CUBIC for connections that may
//! congest the path: while the window has been fully used for a second or more, and while nothing
//! arrives at all.

use std::{
    any::Any,
    sync::Arc,
    time::{Duration, Instant},
};

use quinn::congestion::{Controller, ControllerFactory, ControllerMetrics, CubicConfig};
use quinn_proto::RttEstimator;

/// Time of full use after which the floor does not apply. A burst is over sooner: the floor alone
/// lets a hundred kilobytes pass on a path of 100 ms.
const USED_UP: Duration = Duration::from_secs(1);

/// Factory of the controllers of an endpoint.
#[derive(Debug, Default)]
pub struct FloorCubicConfig {
    cubic: Arc<CubicConfig>,
}

impl ControllerFactory for FloorCubicConfig {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        let cubic = self.cubic.clone().build(now, current_mtu);
        Box::new(FloorCubic { cubic, floor: Floor::default() })
    }
}

/// CUBIC with a floor.
pub(crate) struct FloorCubic {
    cubic: Box<dyn Controller>,
    floor: Floor,
}

/// The condition under which the floor applies.
#[derive(Debug, Default, Clone, Copy)]
struct Floor {
    /// Time at which nothing had arrived for several round trips; cleared by the next arrival.
    silent: Option<Instant>,
    /// Since when the window has been fully used.
    used_up: Option<Instant>,
    /// Whether that is [`USED_UP`] ago or more.
    used_up_for_long: bool,
}

impl Floor {
    fn applies(&self) -> bool {
        self.silent.is_none() && !self.used_up_for_long
    }

    /// Notes the arrival of a packet that was sent at `sent`. `app_limited`: everything that the
    /// application had written was in flight.
    fn arrived(&mut self, now: Instant, sent: Instant, app_limited: bool) {
        self.silent = self.silent.filter(|since| sent <= *since);
        let since = self.used_up.filter(|_| !app_limited).unwrap_or(now);
        self.used_up = (!app_limited).then_some(since);
        self.used_up_for_long = now.saturating_duration_since(since) >= USED_UP;
    }
}

impl Controller for FloorCubic {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.cubic.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        app_limited: bool,
        rtt: &RttEstimator,
    ) {
        self.floor.arrived(now, sent, app_limited);
        self.cubic.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(
        &mut self,
        now: Instant,
        in_flight: u64,
        app_limited: bool,
        largest_packet_num_acked: Option<u64>,
    ) {
        self.cubic.on_end_acks(now, in_flight, app_limited, largest_packet_num_acked);
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        if is_persistent_congestion {
            self.floor.silent = Some(now);
        }
        self.cubic.on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.cubic.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        let window = self.cubic.window();
        if self.floor.applies() { window.max(self.initial_window()) } else { window }
    }

    fn metrics(&self) -> ControllerMetrics {
        let mut metrics = self.cubic.metrics();
        metrics.congestion_window = self.window();
        metrics
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self { cubic: self.cubic.clone_box(), floor: self.floor })
    }

    fn initial_window(&self) -> u64 {
        self.cubic.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOR: u64 = 12_000;

    fn window(now: Instant) -> FloorCubic {
        let cubic = Arc::new(CubicConfig::default()).build(now, 1200);
        FloorCubic { cubic, floor: Floor::default() }
    }

    /// A controller that has lost a packet every tenth of a second until `now`.
    fn starved(now: Instant) -> FloorCubic {
        let start = now.checked_sub(Duration::from_secs(5)).unwrap();
        let mut window = window(start);
        for ms in (100..5000).step_by(100).map(Duration::from_millis) {
            window.on_congestion_event(start + ms, start + ms / 2, false, 1200);
            assert_eq!(window.window(), FLOOR);
        }
        window
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn losses_leave_the_floor() {
        let window = starved(Instant::now() + ms(10_000));
        assert!(window.cubic.window() < FLOOR / 2, "it would have starved");
        assert_eq!(window.metrics().congestion_window, FLOOR);
        assert_eq!(window.clone_box().window(), FLOOR);
    }

    #[test]
    fn the_floor_does_not_apply_while_nothing_arrives() {
        let now = Instant::now();
        let mut window = window(now);
        let silent = now + ms(1000);
        window.on_congestion_event(silent, now, true, 12_000);
        assert_eq!(window.window(), 2400);
        // A packet that was sent earlier says nothing about the path now.
        window.floor.arrived(silent + ms(1), now, true);
        assert_eq!(window.window(), 2400);
        assert_eq!(window.clone_box().window(), 2400);
        window.floor.arrived(silent + ms(2), silent + ms(1), true);
        assert_eq!(window.window(), FLOOR);
    }

    #[test]
    fn the_floor_does_not_apply_to_a_window_in_full_use() {
        let now = Instant::now() + ms(10_000);
        let mut window = starved(now);
        let mut arrived = |at, app_limited| {
            window.floor.arrived(now + ms(at), now + ms(at), app_limited);
            window.window()
        };
        assert_eq!(arrived(0, false), FLOOR);
        assert_eq!(arrived(999, false), FLOOR, "a burst");
        assert_eq!(arrived(1000, true), FLOOR, "it is over");
        assert_eq!(arrived(1001, false), FLOOR, "another one");
        assert_eq!(arrived(2000, false), FLOOR);
        assert!(arrived(2001, false) < FLOOR / 2, "more than a burst");
        assert!(arrived(5000, false) < FLOOR / 2);
        assert_eq!(arrived(5001, true), FLOOR);
    }
}
