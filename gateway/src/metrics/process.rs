//! What the system knows of this process: CPU, memory, descriptors.

use super::exposition::Samples;

/// Adds the metrics of the process. It reads files of the system, so it may block.
#[cfg(target_os = "linux")]
pub(super) fn collect(samples: &mut Samples) {
    // Without /proc there are no such metrics.
    let _ = linux::collect(samples);
}

/// Other systems have no such files.
#[cfg(not(target_os = "linux"))]
pub(super) fn collect(_: &mut Samples) {}

#[cfg(target_os = "linux")]
mod linux {
    use procfs::{
        CurrentSI as _, KernelStats, ProcResult, WithCurrentSystemInfo as _,
        process::{LimitValue, Process},
    };

    use super::Samples;
    use crate::metrics::{
        declared::{CPU, MAX_FDS, OPEN_FDS, RESIDENT, START_TIME, THREADS, VIRTUAL},
        exposition::SampleNumber,
    };

    pub(super) fn collect(samples: &mut Samples) -> ProcResult<()> {
        let process = Process::myself()?;
        let stat = process.stat()?;
        let ticks = procfs::ticks_per_second() as f64;
        let cpu = (stat.utime + stat.stime) as f64 / ticks;
        samples.numbers(&CPU, [([], SampleNumber::Fraction(cpu))]);
        samples.gauge(&RESIDENT, stat.rss_bytes().get() as f64);
        samples.gauge(&VIRTUAL, stat.vsize as f64);
        samples.gauge(&THREADS, stat.num_threads as f64);
        let booted = KernelStats::current()?.btime as f64;
        samples.gauge(&START_TIME, booted + stat.starttime as f64 / ticks);
        samples.gauge(&OPEN_FDS, descriptors(&process)? as f64);
        if let LimitValue::Value(limit) = process.limits()?.max_open_files.soft_limit {
            samples.gauge(&MAX_FDS, limit as f64);
        }
        Ok(())
    }

    /// The number of open descriptors. Newer kernels say it as the size of the directory; counting a
    /// hundred thousand takes long.
    fn descriptors(process: &Process) -> ProcResult<u64> {
        match std::fs::metadata("/proc/self/fd").map_or(0, |directory| directory.len()) {
            0 => Ok(process.fd_count()? as u64),
            count => Ok(count),
        }
    }
}
