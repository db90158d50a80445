//! Counting with valgrind's callgrind, which runs a program on a simulated processor.
//!
//! Counted are the instructions of this program: Signalbox, its crates and Rust's standard library,
//! all statically linked. Those of the C library are not, as they differ with its version and the
//! processor. Calls to its allocator are counted as allocations.

use std::{env, fs, hint::black_box, path::Path, process::Command};

use anyhow::{Context as _, ensure};

/// The cost of a piece of code.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Cost {
    /// Instructions of this program.
    pub(crate) instructions: f64,
    /// Calls of the C library's functions that allocate memory or enlarge an allocation.
    pub(crate) allocations: f64,
}

impl Cost {
    /// The average of several runs.
    pub(crate) fn mean(costs: &[Self]) -> Self {
        let mean = |of: fn(&Self) -> f64| costs.iter().map(of).sum::<f64>() / costs.len() as f64;
        Self {
            instructions: mean(|cost| cost.instructions),
            allocations: mean(|cost| cost.allocations),
        }
    }
}

/// Runs a piece of code whose cost is counted, with a few instructions around it.
pub(crate) fn counted(part: &mut dyn FnMut()) {
    start_counting();
    part();
    stop_counting();
}

// Callgrind knows these two functions by name. The black boxes keep them from being optimised away,
// and hold different values so that the two are not merged into one.

/// Callgrind starts counting from zero here.
#[inline(never)]
fn start_counting() {
    black_box(1);
}

/// Callgrind writes its counts here.
#[inline(never)]
fn stop_counting() {
    black_box(2);
}

/// Runs this program with an argument under callgrind. Returns the cost of each counted part.
pub(crate) fn count(argument: &str) -> anyhow::Result<Vec<Cost>> {
    let program = env::current_exe().and_then(fs::canonicalize).context("find this program")?;
    let directory = tempfile::tempdir().context("create a directory for callgrind")?;
    let out = directory.path().join("out");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet", "--combine-dumps=yes"])
        .args(["--compress-strings=no", "--compress-pos=no"])
        .args(["--zero-before=*start_counting*", "--dump-before=*stop_counting*"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .args([program.as_os_str(), argument.as_ref()])
        .output()
        .context("run valgrind; on Debian: apt-get install valgrind")?;
    ensure!(output.status.success(), "valgrind: {}", String::from_utf8_lossy(&output.stderr));
    let dumps = fs::read_to_string(out).context("read the output of callgrind")?;
    // The file's header stands before the first part; the end of the program is the last part.
    let mut costs: Vec<_> =
        dumps.split("\npart: ").skip(1).map(|dump| parse(dump, &program)).collect();
    costs.pop();
    Ok(costs)
}

/// Functions of the C library by which Rust allocates.
const ALLOCATE: [&str; 5] = ["malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc"];

/// Sums up one part of callgrind's output. Its lines are `key=value` or `position cost`. The cost
/// after `calls=` is the callee's, which is also listed under the callee itself.
fn parse(dump: &str, program: &Path) -> Cost {
    let mut cost = Cost::default();
    let (mut is_ours, mut callee) = (false, "");
    let mut lines = dump.lines();
    while let Some(line) = lines.next() {
        match line.split_once('=') {
            Some(("ob", object)) => is_ours = Path::new(object) == program,
            Some(("cfn", function)) => callee = function,
            Some(("calls", calls)) => {
                if is_ours && ALLOCATE.contains(&callee) {
                    cost.allocations += first_number(calls);
                }
                lines.next();
            }
            Some(_) => {}
            None if is_ours && line.starts_with(|first: char| first.is_ascii_digit()) => {
                cost.instructions +=
                    line.split_once(' ').map_or(0.0, |(_, cost)| first_number(cost));
            }
            None => {}
        }
    }
    cost
}

fn first_number(numbers: &str) -> f64 {
    numbers.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_of_the_program_and_its_allocations_are_counted_once() {
        let dump = "\
version: 1
events: Ir
fl=a.rs
ob=/bin/ours
fn=ours::outer
12 100
fi=b.rs
13 20
cob=/lib/libc.so.6
cfn=malloc
calls=3 0
14 5000
cob=/bin/ours
cfn=ours::inner
calls=7 0
15 70

fn=ours::inner
1 70

ob=/lib/libc.so.6
fn=malloc
0 4000
cfn=malloc
calls=9 0
0 1000

totals: 5190
";
        let cost = parse(dump, Path::new("/bin/ours"));
        assert_eq!(cost, Cost { instructions: 190.0, allocations: 3.0 });
        let mean = Cost::mean(&[cost, Cost { instructions: 191.0, allocations: 4.0 }]);
        assert_eq!(mean, Cost { instructions: 190.5, allocations: 3.5 });
    }
}
