//! Figures of the system about processes and the machine (Linux).

use std::time::Duration;

use anyhow::Context as _;
use procfs::{Current as _, CurrentSI as _, process::Process};

fn ticks(count: u64) -> Duration {
    Duration::from_secs_f64(count as f64 / procfs::ticks_per_second() as f64)
}

fn process(pid: u32) -> anyhow::Result<Process> {
    let process = Process::new(i32::try_from(pid)?);
    process.with_context(|| format!("cannot look at process {pid}: has it ended?"))
}

/// Processor time that a process has used, user and system.
///
/// The scheduler's times of its threads are exact, but lack threads that have ended; the process's
/// own has them all, rounded down to 10 ms. The greater of the two is nearer.
pub fn cpu_time(pid: u32) -> anyhow::Result<Duration> {
    let process = process(pid)?;
    let stat = process.stat()?;
    let threads = process.tasks()?.flatten().filter_map(|thread| thread.schedstat().ok());
    let exact: u64 = threads.map(|it| it.sum_exec_runtime).sum();
    Ok(ticks(stat.utime + stat.stime).max(Duration::from_nanos(exact)))
}

/// Resident memory of a process, in KiB.
pub fn resident_kib(pid: u32) -> anyhow::Result<u64> {
    process(pid)?.status()?.vmrss.context("a process without memory: has it ended?")
}

/// Time that all processors together have not been idle, counted from some point in the past: used
/// by a process, or taken away by the host. `now_ns` is since the machine's start.
///
/// Only idle time is accounted exactly; the rest of `/proc/stat` is sampled.
pub fn machine_used(now_ns: u64) -> anyhow::Result<Duration> {
    let stat = procfs::KernelStats::current()?;
    let idle = stat.total.idle + stat.total.iowait.unwrap_or_default();
    // All processors of the machine, whichever of them this thread may use.
    let passed = Duration::from_nanos(now_ns * stat.cpu_time.len() as u64);
    Ok(passed.saturating_sub(ticks(idle)))
}

/// Slabs of the kernel that cannot be reclaimed, in KiB.
pub fn kernel_slabs_kib() -> anyhow::Result<u64> {
    let bytes = procfs::Meminfo::current()?.s_unreclaim;
    Ok(bytes.context("/proc/meminfo has no SUnreclaim")? / 1024)
}

/// One line on the machine.
pub fn machine() -> String {
    let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let info = procfs::CpuInfo::current().ok();
    let model = info.and_then(|info| Some(info.model_name(0)?.to_owned()));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = procfs::Meminfo::current().map_or(0, |it| it.mem_total / (1024 * 1024 * 1024));
    let kernel = file("/proc/sys/kernel/osrelease");
    let congestion = file("/proc/sys/net/ipv4/tcp_congestion_control");
    format!(
        "{}, {cores} cores, {memory} GiB, {} Linux {}, TCP {}",
        model.as_deref().unwrap_or("unknown processor"),
        std::env::consts::ARCH,
        kernel.trim(),
        congestion.trim()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_and_this_machine_have_figures() {
        let pid = std::process::id();
        assert!(resident_kib(pid).unwrap() > 100);
        cpu_time(pid).unwrap();
        machine_used(crate::clock::now_ns()).unwrap();
        assert!(kernel_slabs_kib().unwrap() > 0);
        assert!(machine().contains("Linux"));
    }
}
