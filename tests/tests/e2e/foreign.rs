//! Says aloud what `cargo test` leaves out: the clients in other languages, which need their own
//! tools and are run by `./check`.

use std::io::Write as _;

#[test]
fn foreign_clients_are_left_to_check() {
    // Written past the capture of test output, which would hide it.
    let _ = writeln!(
        std::io::stderr(),
        "note: `cargo test` leaves out the foreign clients (tests/foreign); ./check runs them too"
    );
}
