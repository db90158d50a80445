//! A test harness for tests that need something that not every machine has: root, or another
//! system.
//!
//! Such a test runs where it can. Elsewhere `cargo test` reports it as ignored, with the reason.
//! Where [`REQUIRED`] names its requirement, as in `./check`, a test that cannot run fails.
//!
//! A test target with this harness has `harness = false` in `Cargo.toml` and this in its root:
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use signalbox_test_harness::{Requirement, run, trials};
//!
//! const LINUX: Requirement = Requirement {
//!     name: "linux",
//!     unavailable: || (!cfg!(target_os = "linux")).then(|| "needs Linux".to_owned()),
//! };
//!
//! fn the_kernel_has_a_version() {
//!     assert!(std::fs::exists("/proc/version").unwrap());
//! }
//!
//! fn main() -> ExitCode {
//!     run(trials![LINUX; the_kernel_has_a_version])
//! }
//! ```

use std::{env, process::ExitCode};

pub use libtest_mimic::Trial;
use libtest_mimic::{Arguments, Completion};

/// The environment variable with the names of requirements, separated by spaces, that this machine
/// must meet.
pub const REQUIRED: &str = "SIGNALBOX_REQUIRED_TESTS";

/// Something that tests need and not every machine has.
#[derive(Debug, Clone, Copy)]
pub struct Requirement {
    /// Its name in [`REQUIRED`].
    pub name: &'static str,
    /// The reason that this machine does not meet it; `None` if it does.
    pub unavailable: fn() -> Option<String>,
}

impl Requirement {
    /// A test that needs this. It fails by a panic.
    pub fn trial(self, name: &str, test: fn()) -> Trial {
        let required = env::var(REQUIRED).unwrap_or_default();
        self.trial_with(required.split_whitespace().any(|name| name == self.name), name, test)
    }

    fn trial_with(self, is_required: bool, name: &str, test: fn()) -> Trial {
        Trial::ignorable_test(name, move || match (self.unavailable)() {
            Some(reason) if is_required => Err(reason.into()),
            // The reporter prints it on one line.
            Some(reason) => Ok(Completion::ignored_with(reason.replace('\n', " "))),
            None => {
                test();
                Ok(Completion::Completed)
            }
        })
    }
}

/// Runs tests by the arguments of `cargo test`; returned by the `main` of a test target.
pub fn run(trials: Vec<Trial>) -> ExitCode {
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// Functions as tests with one [`Requirement`].
#[macro_export]
macro_rules! trials {
    ($requirement:expr; $($test:path),+ $(,)?) => {
        vec![$($requirement.trial(stringify!($test), $test)),+]
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Passed, failed and ignored tests.
    fn counts(trial: Trial) -> [u64; 3] {
        // Failures in the output of tests that pass would confuse.
        let quiet = Arguments { logfile: Some("/dev/null".to_owned()), ..Arguments::default() };
        let conclusion = libtest_mimic::run(&quiet, vec![trial]);
        [conclusion.num_passed, conclusion.num_failed, conclusion.num_ignored]
    }

    #[test]
    fn a_test_that_cannot_run_is_ignored_or_fails_where_it_is_required() {
        let missing = Requirement { name: "it", unavailable: || Some("not here".to_owned()) };
        assert_eq!(counts(missing.trial_with(false, "test", || ())), [0, 0, 1]);
        assert_eq!(counts(missing.trial_with(true, "test", || ())), [0, 1, 0]);
    }

    #[test]
    fn a_test_that_can_run_passes_or_fails() {
        let present = Requirement { name: "it", unavailable: || None };
        let fails = || assert!(std::hint::black_box(false));
        for is_required in [false, true] {
            assert_eq!(counts(present.trial_with(is_required, "test", || ())), [1, 0, 0]);
            assert_eq!(counts(present.trial_with(is_required, "test", fails)), [0, 1, 0]);
        }
    }
}
