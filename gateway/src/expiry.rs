//! The watch over a certificate: it is loaded again when its files change, and a warning says that it
//! has expired, expires soon, or is not valid yet.

use std::time::{Duration, SystemTime};

use signalbox_certs::{Certificates, Validity};
use time::OffsetDateTime;
use tracing::warn;

use crate::supervise;

const DAY: Duration = Duration::from_hours(24);

/// Remaining time at which a certificate expires soon. Renewal usually happens 30 days before the
/// end, so it has then been failing for two weeks.
const SOON: Duration = Duration::from_hours(14 * 24);

/// A certificate that is valid for days only expires soon in the last fifth of its life.
const SOON_PART: u32 = 5;

/// Interval after which a warning is repeated.
const REPEAT: Duration = DAY;

/// Interval at which the certificate files are checked for changes.
const CERTIFICATE_POLL: Duration = Duration::from_secs(10);

/// Reloads the certificate when its files change, and warns before it expires. The resolver logs
/// failures and keeps the old certificate.
pub(crate) async fn watch(certificates: Certificates) {
    let mut poll = tokio::time::interval(CERTIFICATE_POLL);
    let mut expiry = ExpiryWatch::default();
    loop {
        poll.tick().await;
        let reloaded = certificates.clone();
        let reload = move || {
            if reloaded.changed_on_disk() {
                let _ = reloaded.reload();
            }
        };
        supervise::blocking("certificate watch", reload).await;
        expiry.check(&certificates, SystemTime::now());
    }
}

/// A problem with a certificate's validity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ValidityProblem {
    NotYet,
    Soon,
    Expired,
}

impl ValidityProblem {
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

/// Checks a certificate repeatedly. Logs a new problem at once and a known one daily.
#[derive(Default)]
struct ExpiryWatch {
    logged: Option<(Validity, ValidityProblem, SystemTime)>,
}

impl ExpiryWatch {
    /// Logs a warning if one is due.
    fn check(&mut self, certificates: &Certificates, now: SystemTime) {
        let Some(validity) = certificates.validity() else { return };
        let Some(problem) = self.due(validity, now) else { return };
        let path = certificates.path();
        let path = path.display();
        let (from, until) = (date(validity.not_before), date(validity.not_after));
        match problem {
            ValidityProblem::NotYet => {
                warn!(%path, valid_from = from, "certificate is not valid yet: clients refuse it; check the clock");
            }
            ValidityProblem::Soon => {
                warn!(%path, expires = until, "certificate expires soon: renew it");
            }
            ValidityProblem::Expired => {
                warn!(%path, expired = until, "certificate has expired: clients refuse it; renew it");
            }
        }
    }

    fn due(&mut self, validity: Validity, now: SystemTime) -> Option<ValidityProblem> {
        let problem = ValidityProblem::of(validity, now);
        if let Some((known, logged, at)) = self.logged
            && (known, Some(logged)) == (validity, problem)
            // A clock that was set back must not cause a repetition.
            && now.duration_since(at).unwrap_or_default() < REPEAT
        {
            return None;
        }
        self.logged = problem.map(|problem| (validity, problem, now));
        problem
    }
}

/// Formats a time like `2026-11-28 22:00 UTC`.
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
    fn a_certificate_has_problems_at_both_ends_of_its_validity() {
        let long = valid(100, 190);
        for (now, problem) in [
            (99, Some(ValidityProblem::NotYet)),
            (100, None),
            (176, None),
            (177, Some(ValidityProblem::Soon)),
            (190, Some(ValidityProblem::Soon)),
            (191, Some(ValidityProblem::Expired)),
        ] {
            assert_eq!(ValidityProblem::of(long, day(now)), problem, "{now}");
        }
        // One that is valid for six days is renewed after three or four.
        let short = valid(100, 106);
        assert_eq!(ValidityProblem::of(short, day(104)), None);
        assert_eq!(ValidityProblem::of(short, day(105)), Some(ValidityProblem::Soon));
    }

    #[test]
    fn a_warning_is_repeated_daily() {
        let mut watch = ExpiryWatch::default();
        let certificate = valid(100, 190);
        assert_eq!(watch.due(certificate, day(150)), None);
        assert_eq!(watch.due(certificate, day(180)), Some(ValidityProblem::Soon));
        for minute in 1..(24 * 60) {
            let now = day(180) + Duration::from_secs(60 * minute);
            assert_eq!(watch.due(certificate, now), None);
        }
        assert_eq!(watch.due(certificate, day(181)), Some(ValidityProblem::Soon));
        assert_eq!(watch.due(certificate, day(170)), None, "the clock is set back");
        // Another certificate and another problem are due at once.
        assert_eq!(watch.due(valid(100, 189), day(181)), Some(ValidityProblem::Soon));
        assert_eq!(watch.due(valid(100, 181), day(182)), Some(ValidityProblem::Expired));
        assert_eq!(watch.due(valid(180, 270), day(182)), None);
        assert_eq!(watch.due(certificate, day(182)), Some(ValidityProblem::Soon));
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
