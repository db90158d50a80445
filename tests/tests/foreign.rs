//! A reminder that the clients in other languages are not tested by `cargo test`.

use std::process::ExitCode;

use signalbox_test_harness::{Requirement, run, trials};

fn main() -> ExitCode {
    let foreign = Requirement {
        name: "foreign",
        unavailable: || Some("needs Python, Node and Java: ./check foreign".to_owned()),
    };
    run(trials![foreign; clients_in_other_languages])
}

/// `./check foreign` runs them with pytest.
fn clients_in_other_languages() {}
