//! Random bytes of the operating system.

use anyhow::Context as _;

pub(crate) fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).context("the random number generator of the system failed")?;
    Ok(bytes)
}
