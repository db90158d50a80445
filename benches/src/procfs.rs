//! What the system says about a process and the machine, from /proc.

use std::{fs, time::Duration};

use anyhow::Context as _;

fn read(path: &str) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| {
        format!("cannot read {path}: the benchmark needs Linux, and the process must still run")
    })
}

fn ticks(count: u64) -> Duration {
    Duration::from_secs_f64(count as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Processor time that a process has used, user and system.
///
/// What the scheduler says of each thread is exact, but forgets threads that have ended;
/// `/proc/PID/stat` has them all, in steps of 10 ms and rounded down. The greater is nearer.
pub(crate) fn cpu_time(pid: u32) -> anyhow::Result<Duration> {
    let stat = read(&format!("/proc/{pid}/stat"))?;
    let count = parse_stat(&stat).context("/proc/PID/stat has another form than expected")?;
    let threads = fs::read_dir(format!("/proc/{pid}/task"))
        .with_context(|| format!("cannot list the threads of process {pid}"))?;
    let exact: u64 = threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok())
        .filter_map(|text| parse_schedstat(&text))
        .sum();
    Ok(ticks(count).max(Duration::from_nanos(exact)))
}

/// `utime + stime`: fields 14 and 15. The name, field 2, may itself hold spaces and brackets.
fn parse_stat(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// Nanoseconds on a processor, the first field.
fn parse_schedstat(text: &str) -> Option<u64> {
    text.split_ascii_whitespace().next()?.parse().ok()
}

/// Resident memory of a process, in KiB.
pub(crate) fn resident_kib(pid: u32) -> anyhow::Result<u64> {
    let status = read(&format!("/proc/{pid}/status"))?;
    parse_kib(&status, "VmRSS:").context("/proc/PID/status has no VmRSS: has the process ended?")
}

fn parse_kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// Time that all processors together have not been idle, counted from some point in the past:
/// used by somebody, or taken away by the host. `now_ns` is since the machine's start.
///
/// Only idling is accounted exactly; what `/proc/stat` has for the rest is sampled.
pub(crate) fn machine_used(now_ns: u64) -> anyhow::Result<Duration> {
    let stat = read("/proc/stat")?;
    let (idle, cores) =
        parse_machine(&stat).context("/proc/stat has another form than expected")?;
    let passed = Duration::from_nanos(now_ns * cores);
    Ok(passed.saturating_sub(ticks(idle)))
}

/// Ticks of idling, and the processors that they are of: all of the machine's, whichever of them
/// this thread may use.
fn parse_machine(stat: &str) -> Option<(u64, u64)> {
    let mut lines = stat.lines();
    let fields = lines.next()?.strip_prefix("cpu ")?;
    let cores = lines.take_while(|line| line.starts_with("cpu")).count();
    let mut fields = fields.split_ascii_whitespace().skip(3);
    let idle: u64 = fields.next()?.parse().ok()?;
    let waiting: u64 = fields.next()?.parse().ok()?;
    Some((idle + waiting, u64::try_from(cores).ok()?))
}

/// One line on the machine.
pub(crate) fn machine() -> String {
    let file = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = file("/proc/cpuinfo");
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown processor", |(_, name)| name.trim());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = parse_kib(&file("/proc/meminfo"), "MemTotal:").unwrap_or_default() / 1024 / 1024;
    let kernel = file("/proc/sys/kernel/osrelease");
    let congestion = file("/proc/sys/net/ipv4/tcp_congestion_control");
    format!(
        "{model}, {cores} cores, {memory} GiB, {} Linux {}, TCP {}",
        std::env::consts::ARCH,
        kernel.trim(),
        congestion.trim()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_found_behind_any_name() {
        let stat = "42 (a (b) c) S 1 42 42 0 -1 4194304 100 0 0 0 250 50 7 8 20 0 5 0 999 1 2";
        assert_eq!(parse_stat(stat), Some(300));
        assert_eq!(parse_stat("42 (short) S 1"), None);
    }

    #[test]
    fn memory_is_read_in_kib() {
        let status = "Name:\tsignalbox\nVmHWM:\t   9000 kB\nVmRSS:\t   8192 kB\n";
        assert_eq!(parse_kib(status, "VmRSS:"), Some(8192));
        assert_eq!(parse_kib(status, "VmSwap:"), None);
    }

    #[test]
    fn the_machine_is_idle_when_it_waits_too() {
        let stat =
            "cpu  100 10 50 9999 77 5 6 3 0 0\ncpu0 1 2 3 4 5 6 7 8 9 10\ncpu1 1 2\nintr 1\n";
        assert_eq!(parse_machine(stat), Some((10_076, 2)));
        assert_eq!(parse_machine("cpu0 1 2 3\n"), None);
    }

    #[test]
    fn the_schedulers_time_comes_first() {
        assert_eq!(parse_schedstat("123456789 42 7\n"), Some(123_456_789));
        assert_eq!(parse_schedstat(""), None);
    }

    #[test]
    fn we_can_look_at_ourselves() {
        let pid = std::process::id();
        assert!(resident_kib(pid).unwrap() > 100);
        cpu_time(pid).unwrap();
        machine_used(crate::clock::now_ns()).unwrap();
        assert!(machine().contains("Linux"));
    }
}
