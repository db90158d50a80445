//! Random packet loss: independent, or in bursts.

/// The selection of the packets that a link loses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LossModel {
    /// Every packet is lost with this probability, independently of all others.
    Uniform(f64),
    /// Losses come in bursts.
    GilbertElliott(GilbertElliott),
}

impl LossModel {
    /// No loss.
    pub const NONE: Self = Self::Uniform(0.0);

    /// Loss in bursts, from the two figures that measurements of networks report: the share of
    /// packets that are lost, from 0 to 1, and the mean number of packets lost in a row.
    ///
    /// The shortest mean burst is `loss_rate / (1 - loss_rate)`; a smaller `mean_burst_length`
    /// keeps the loss rate and gets that burst length.
    pub fn bursts(loss_rate: f64, mean_burst_length: f64) -> Self {
        Self::GilbertElliott(GilbertElliott::with_bursts(loss_rate, mean_burst_length))
    }

    /// The expected share of packets that are lost.
    pub fn loss_rate(&self) -> f64 {
        match self {
            Self::Uniform(loss) => *loss,
            Self::GilbertElliott(model) => model.loss_rate(),
        }
    }

    /// The expected number of packets that are lost in a row.
    pub fn mean_burst_length(&self) -> f64 {
        match self {
            Self::Uniform(loss) => 1.0 / (1.0 - loss),
            Self::GilbertElliott(model) => model.mean_burst_length(),
        }
    }
}

/// The Gilbert–Elliott model: a link is in a good or a bad state, and each state has its own loss
/// probability. After every packet the state may change.
///
/// | field | Haßlinger and Hohlfeld | `tc-netem(8)`, `loss gemodel` |
/// |---|---|---|
/// | `to_bad` | p | `p` |
/// | `to_good` | r | `r` |
/// | `bad_loss` | 1 − h | `1-h` |
/// | `good_loss` | 1 − k | `1-k` |
///
/// Sources: E. N. Gilbert, *Capacity of a Burst-Noise Channel*, Bell System Technical Journal 39
/// (1960), 1253–1265, with a good state that loses nothing; E. O. Elliott, *Estimates of Error
/// Rates for Codes on Burst-Noise Channels*, Bell System Technical Journal 42 (1963), 1977–1997,
/// with loss in both states; the parameters and the loss rate as in G. Haßlinger and O. Hohlfeld,
/// *The Gilbert-Elliott Model for Packet Loss in Real Time Services on the Internet*, MMB 2008.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GilbertElliott {
    /// Probability of a change from the good to the bad state, after each packet.
    pub to_bad: f64,
    /// Probability of a change from the bad to the good state, after each packet.
    pub to_good: f64,
    /// Probability of loss in the good state.
    pub good_loss: f64,
    /// Probability of loss in the bad state.
    pub bad_loss: f64,
}

impl GilbertElliott {
    /// Gilbert's special case: the good state loses nothing and the bad state everything, so that
    /// a stay in the bad state is a burst. See [`LossModel::bursts`].
    pub fn with_bursts(loss_rate: f64, mean_burst_length: f64) -> Self {
        let loss_rate = loss_rate.clamp(0.0, 1.0);
        if loss_rate >= 1.0 {
            return Self { to_bad: 1.0, to_good: 0.0, good_loss: 1.0, bad_loss: 1.0 };
        }
        // A stay in the bad state has 1 / to_good packets on average. The share of time there,
        // to_bad / (to_bad + to_good), is the loss rate.
        let odds = loss_rate / (1.0 - loss_rate);
        let to_good = 1.0 / mean_burst_length.max(odds).max(1.0);
        Self { to_bad: to_good * odds, to_good, good_loss: 0.0, bad_loss: 1.0 }
    }

    /// The expected share of packets that are lost.
    pub fn loss_rate(&self) -> f64 {
        let bad = self.bad_share();
        (1.0 - bad) * self.good_loss + bad * self.bad_loss
    }

    /// The expected number of packets that are lost in a row: losses per start of a burst, which is
    /// a lost packet after one that was not lost.
    pub fn mean_burst_length(&self) -> f64 {
        let Self { to_bad, to_good, good_loss, bad_loss } = *self;
        let bad = self.bad_share();
        let after_good = (1.0 - to_bad) * good_loss + to_bad * bad_loss;
        let after_bad = to_good * good_loss + (1.0 - to_good) * bad_loss;
        let starts =
            (1.0 - bad) * (1.0 - good_loss) * after_good + bad * (1.0 - bad_loss) * after_bad;
        self.loss_rate() / starts
    }

    /// The share of packets that come in the bad state.
    fn bad_share(&self) -> f64 {
        let changes = self.to_bad + self.to_good;
        if changes > 0.0 { self.to_bad / changes } else { 0.0 }
    }
}

/// The state of a link's loss model.
#[derive(Debug, Default)]
pub(crate) struct LossState {
    is_bad: bool,
}

impl LossState {
    /// Whether the next packet is lost, decided by two uniformly distributed numbers from 0 to
    /// below 1. Links start in the good state.
    pub(crate) fn is_lost(&mut self, model: &LossModel, [loss, change]: [f64; 2]) -> bool {
        match model {
            LossModel::Uniform(share) => loss < *share,
            LossModel::GilbertElliott(model) if self.is_bad => {
                self.is_bad = change >= model.to_good;
                loss < model.bad_loss
            }
            LossModel::GilbertElliott(model) => {
                self.is_bad = change < model.to_bad;
                loss < model.good_loss
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeededRandom;

    const PACKETS: usize = 1_000_000;

    /// The measured loss rate and mean burst length.
    fn measure(model: &LossModel, seed: u64) -> (f64, f64) {
        let (mut state, mut random) = (LossState::default(), SeededRandom::new(seed, 0));
        let (mut lost, mut bursts, mut in_burst) = (0, 0, false);
        for _ in 0..PACKETS {
            let is_lost = state.is_lost(model, [random.share(), random.share()]);
            lost += usize::from(is_lost);
            bursts += usize::from(is_lost && !in_burst);
            in_burst = is_lost;
        }
        (lost as f64 / PACKETS as f64, lost as f64 / bursts as f64)
    }

    #[track_caller]
    fn assert_close(measured: f64, expected: f64) {
        assert!((measured / expected - 1.0).abs() < 0.03, "{measured} is not {expected}");
    }

    #[test]
    fn measured_loss_rate_and_burst_length_match_the_analytic_ones() {
        let full = GilbertElliott { to_bad: 0.02, to_good: 0.2, good_loss: 0.005, bad_loss: 0.6 };
        let models = [
            LossModel::Uniform(0.02),
            LossModel::bursts(0.02, 5.0),
            LossModel::bursts(0.1, 2.0),
            LossModel::GilbertElliott(full),
        ];
        for model in models {
            let (loss_rate, burst_length) = measure(&model, 7);
            assert_close(loss_rate, model.loss_rate());
            assert_close(burst_length, model.mean_burst_length());
        }
    }

    #[test]
    fn bursts_have_the_requested_loss_rate_and_length() {
        for (rate, length) in [(0.01, 1.0), (0.02, 5.0), (0.5, 8.0)] {
            let model = LossModel::bursts(rate, length);
            assert_close(model.loss_rate(), rate);
            assert_close(model.mean_burst_length(), length.max(1.0));
        }
        // Nine of ten packets cannot be lost two in a row.
        let model = LossModel::bursts(0.9, 2.0);
        assert_close(model.loss_rate(), 0.9);
        assert_close(model.mean_burst_length(), 9.0);
    }

    #[test]
    fn extremes_lose_nothing_or_everything() {
        for (rate, lost) in [(0.0, 0.0), (1.0, 1.0)] {
            let mut state = LossState::default();
            let model = LossModel::bursts(rate, 3.0);
            assert_eq!(model.loss_rate(), lost);
            assert_eq!(state.is_lost(&model, [0.99, 0.99]), lost == 1.0);
            assert_eq!(state.is_lost(&model, [0.0, 0.0]), lost == 1.0);
        }
    }
}
