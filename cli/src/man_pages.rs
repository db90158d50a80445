//! `signalbox man-pages`: writes the manual pages, for packages.

use std::{fs, io, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::CommandFactory;

/// Write the manual pages: `signalbox.1`, and one for each command.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// An existing directory, for nothing but these pages.
    dir: PathBuf,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let dir = &args.dir;
    let write = || -> io::Result<()> {
        clap_mangen::generate_to(crate::Cli::command(), dir)?;
        for entry in fs::read_dir(dir)? {
            let page = entry?.path();
            // The text after the help, which begins with the examples everywhere.
            let text =
                fs::read_to_string(&page)?.replace(".SH EXTRA\nExamples:\n", ".SH EXAMPLES\n");
            fs::write(&page, text)?;
        }
        Ok(())
    };
    write().with_context(|| format!("cannot write manual pages to {}", dir.display()))?;
    Ok(ExitCode::SUCCESS)
}
