//! Counting by valgrind's callgrind, which runs a program on a processor of its own making.
//!
//! Counted are the instructions of this program: Signalbox, its crates and Rust's standard library, all
//! linked in. Those of the C library are not, as they differ with its version and with the processor
//! that it finds; its allocator's are seen all the same, as the number of allocations.

use std::{env, fs, hint::black_box, path::Path, process::Command};

use anyhow::{Context as _, ensure};

/// What something costs.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Cost {
    /// Instructions of this program.
    pub(crate) instructions: f64,
    /// Calls to the C library that allocate memory, or allocate more of it.
    pub(crate) allocations: f64,
}

impl Cost {
    /// What each of them costs on average.
    pub(crate) fn mean(costs: &[Self]) -> Self {
        let mean = |of: fn(&Self) -> f64| costs.iter().map(of).sum::<f64>() / costs.len() as f64;
        Self {
            instructions: mean(|cost| cost.instructions),
            allocations: mean(|cost| cost.allocations),
        }
    }
}

/// Does something that is to be counted, and a few instructions more.
pub(crate) fn counted(part: &mut dyn FnMut()) {
    before_part();
    part();
    after_part();
}

// Callgrind knows these two by their names. The black boxes are there because nobody calls a function
// that does nothing, and hold different things because two functions that do the same become one.

/// Here callgrind begins to count, from nothing.
#[inline(never)]
fn before_part() {
    black_box(1);
}

/// Here callgrind writes down what it has counted.
#[inline(never)]
fn after_part() {
    black_box(2);
}

/// Runs this program again, with one argument, and returns what each of its counted parts costs.
pub(crate) fn count(argument: &str) -> anyhow::Result<Vec<Cost>> {
    let program = env::current_exe().and_then(fs::canonicalize).context("find this program")?;
    let directory = tempfile::tempdir().context("make a directory for what is counted")?;
    let out = directory.path().join("out");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet", "--combine-dumps=yes"])
        .args(["--compress-strings=no", "--compress-pos=no"])
        .args(["--zero-before=*before_part*", "--dump-before=*after_part*"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .args([program.as_os_str(), argument.as_ref()])
        .output()
        .context("run valgrind; on Debian: apt-get install valgrind")?;
    ensure!(output.status.success(), "valgrind: {}", String::from_utf8_lossy(&output.stderr));
    let dumps = fs::read_to_string(out).context("read what was counted")?;
    // What stands before the first is the file's head; after the last counted part the program ends.
    let mut costs: Vec<_> =
        dumps.split("\npart: ").skip(1).map(|dump| read(dump, &program)).collect();
    costs.pop();
    Ok(costs)
}

/// Functions of the C library by which Rust allocates.
const ALLOCATE: [&str; 5] = ["malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc"];

/// Sums up a dump. Its lines are `key=value`, or `position cost`; the cost that follows `calls=` is
/// the callee's, and counted there.
fn read(dump: &str, program: &Path) -> Cost {
    let mut cost = Cost::default();
    let (mut ours, mut callee) = (false, "");
    let mut lines = dump.lines();
    while let Some(line) = lines.next() {
        match line.split_once('=') {
            Some(("ob", object)) => ours = Path::new(object) == program,
            Some(("cfn", function)) => callee = function,
            Some(("calls", calls)) => {
                if ours && ALLOCATE.contains(&callee) {
                    cost.allocations += first(calls);
                }
                lines.next();
            }
            Some(_) => {}
            None if ours && line.starts_with(|first: char| first.is_ascii_digit()) => {
                cost.instructions += line.split_once(' ').map_or(0.0, |(_, cost)| first(cost));
            }
            None => {}
        }
    }
    cost
}

/// The first of the numbers in a line.
fn first(numbers: &str) -> f64 {
    numbers.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_program_does_itself_counts_and_what_it_calls_once() {
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
        let cost = read(dump, Path::new("/bin/ours"));
        assert_eq!(cost, Cost { instructions: 190.0, allocations: 3.0 });
        let mean = Cost::mean(&[cost, Cost { instructions: 191.0, allocations: 4.0 }]);
        assert_eq!(mean, Cost { instructions: 190.5, allocations: 3.5 });
    }
}
