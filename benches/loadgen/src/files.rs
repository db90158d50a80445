//! The limit of open files.

use anyhow::Context as _;
use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the limit for this process and the gateways that it starts, as far as the system allows.
pub fn allow_files(needed: u64) -> anyhow::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    let enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= needed);
    if enough(limit.current) {
        return Ok(());
    }
    let maximum = limit.maximum;
    anyhow::ensure!(
        enough(maximum),
        "this needs {needed} open files in one process and the system allows {}: raise the hard \
         limit (as root: ulimit -Hn {needed}; permanently: LimitNOFILE= or limits.conf), or use \
         fewer --connections",
        maximum.unwrap_or_default()
    );
    limit.current = maximum;
    setrlimit(Resource::Nofile, limit).context("cannot raise the limit of open files")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_allowed_up_to_the_hard_limit() {
        allow_files(1).unwrap();
        if getrlimit(Resource::Nofile).maximum.is_some() {
            let error = allow_files(u64::MAX).unwrap_err().to_string();
            assert!(error.contains("ulimit"), "{error}");
        }
    }
}
