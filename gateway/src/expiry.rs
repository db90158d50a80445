//! Warnings of a certificate that clients refuse, or soon will: expired, about to, not valid yet.

use std::time::{Duration, SystemTime};

use signalbox_certs::{Certificates, Validity};
use time::OffsetDateTime;
use tracing::warn;

const DAY: Duration = Duration::from_hours(24);

/// Days before its end from which a certificate is said to expire soon: the usual renewal is 30 days
/// before the end, so that something has failed for two weeks.
const SOON: Duration = Duration::from_hours(14 * 24);

/// Of a certificate that lives for days only, this part of its life is soon.
const SOON_PART: u32 = 5;

/// How often the same is said again.
const AGAIN: Duration = DAY;

/// What is wrong with a certificate's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    NotYet,
    Soon,
    Expired,
}

impl Trouble {
    fn of(validity: Validity, now: SystemTime) -> Option<Self> {
        let Validity { not_before, not_after } = validity;
        let life = not_after.duration_since(not_before).unwrap_or_default();
        let left = not_after.duration_since(now);
        match left {
            _ if now < not_before => Some(Self::NotYet),
            Err(_) => Some(Self::Expired),
            Ok(left) if left < SOON.min(life / SOON_PART) => Some(Self::Soon),
            Ok(_) => None,
        }
    }
}

/// Looks at a certificate again and again, and says what is new, and once a day what is not.
#[derive(Default)]
pub(crate) struct Watch {
    said: Option<(Validity, Trouble, SystemTime)>,
}

impl Watch {
    /// Warns if there is something to say now.
    pub(crate) fn look(&mut self, certificates: &Certificates, now: SystemTime) {
        let Some(validity) = certificates.validity() else { return };
        let Some(trouble) = self.news(validity, now) else { return };
        let path = certificates.path().display();
        let (from, until) = (date(validity.not_before), date(validity.not_after));
        match trouble {
            Trouble::NotYet => {
                warn!(%path, valid_from = from, "certificate is not valid yet: clients refuse it; check the clock");
            }
            Trouble::Soon => {
                warn!(%path, expires = until, "certificate expires soon: renew it");
            }
            Trouble::Expired => {
                warn!(%path, expired = until, "certificate has expired: clients refuse it; renew it");
            }
        }
    }

    fn news(&mut self, validity: Validity, now: SystemTime) -> Option<Trouble> {
        let trouble = Trouble::of(validity, now);
        if let Some((known, said, at)) = self.said
            && (known, Some(said)) == (validity, trouble)
            // A clock that was set back makes no news.
            && now.duration_since(at).unwrap_or_default() < AGAIN
        {
            return None;
        }
        self.said = trouble.map(|trouble| (validity, trouble, now));
        trouble
    }
}

/// Like 2026-11-28 22:00 UTC.
fn date(time: SystemTime) -> String {
    let time = OffsetDateTime::from(time);
    let (year, month, day) = time.to_calendar_date();
    let month = u8::from(month);
    format!("{year}-{month:02}-{day:02} {:02}:{:02} UTC", time.hour(), time.minute())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(day: u32) -> SystemTime {
        SystemTime::UNIX_EPOCH + DAY * day
    }

    fn valid(from: u32, until: u32) -> Validity {
        Validity { not_before: day(from), not_after: day(until) }
    }

    #[test]
    fn a_certificate_is_in_trouble_at_both_ends() {
        let long = valid(100, 190);
        for (now, trouble) in [
            (99, Some(Trouble::NotYet)),
            (100, None),
            (176, None),
            (177, Some(Trouble::Soon)),
            (190, Some(Trouble::Soon)),
            (191, Some(Trouble::Expired)),
        ] {
            assert_eq!(Trouble::of(long, day(now)), trouble, "{now}");
        }
        // One that lives for six days is renewed after three or four.
        let short = valid(100, 106);
        assert_eq!(Trouble::of(short, day(104)), None);
        assert_eq!(Trouble::of(short, day(105)), Some(Trouble::Soon));
    }

    #[test]
    fn the_same_is_said_once_a_day() {
        let mut watch = Watch::default();
        let certificate = valid(100, 190);
        assert_eq!(watch.news(certificate, day(150)), None);
        assert_eq!(watch.news(certificate, day(180)), Some(Trouble::Soon));
        for minute in 1..(24 * 60) {
            let now = day(180) + Duration::from_secs(60 * minute);
            assert_eq!(watch.news(certificate, now), None);
        }
        assert_eq!(watch.news(certificate, day(181)), Some(Trouble::Soon));
        assert_eq!(watch.news(certificate, day(170)), None, "the clock is set back");
        // Another certificate, and another trouble, are news.
        assert_eq!(watch.news(valid(100, 189), day(181)), Some(Trouble::Soon));
        assert_eq!(watch.news(valid(100, 181), day(182)), Some(Trouble::Expired));
        assert_eq!(watch.news(valid(180, 270), day(182)), None);
        assert_eq!(watch.news(certificate, day(182)), Some(Trouble::Soon));
    }

    #[test]
    fn dates_are_for_people() {
        assert_eq!(date(day(0)), "1970-01-01 00:00 UTC");
        assert_eq!(
            date(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_903_260)),
            "2026-11-28 22:01 UTC"
        );
    }
}
