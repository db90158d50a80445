//! Load on gateways and other systems.
//!
//! The system under test runs in a process of its own. All clients are in this process, on one
//! thread, so that sender and receiver read the same clock, and "was the generator the limit" has
//! an answer: its thread was busy, or it was not. Floods and swarms of reconnecting clients come
//! from worker processes, so that they cannot delay the measuring thread.
//!
//! ```text
//! system       the systems that are measured side by side, and their flags
//! target/      gateways, and the place where the clients of a measurement meet
//! peer/        other systems: nats-server, mosquitto, Socket.IO, uWebSockets.js, ws
//! browser/     a page in headless Chromium that uses the TypeScript SDK
//! baseline/    echoes without a relay
//! process/     processes that end with the benchmark, and their directories
//! worker/      this program with a hidden command: floods, swarms, echoes
//! client/      minimal clients, the same for every system
//! sdk          many clients of the SDK
//! load         one measurement: senders at a fixed rate, receivers, and its cost
//! recorder     signals received, and their latencies
//! latencies    distributions, and their course over time
//! usage        processor time by process, and whether that spoils a measurement
//! cores        one core for the gateway and one for the generator
//! machine      figures of the system about processes and the machine (Linux)
//! clock        one monotonic clock, and a metronome
//! http         as much HTTP as the REST API needs
//! payload      128 bytes with the time at which they were due
//! ```

pub mod baseline;
pub mod browser;
pub mod client;
pub mod clock;
pub mod cores;
pub mod files;
pub mod http;
pub mod latencies;
pub mod load;
pub mod machine;
pub mod output;
pub mod payload;
pub mod peer;
pub mod process;
pub mod recorder;
pub mod sdk;
pub mod system;
pub mod target;
pub mod transport;
pub mod usage;
pub mod worker;
