//! `cargo xtask build`: the one file to copy.

use std::path::PathBuf;

use anyhow::Result;

use crate::process::{prepare, progress};
use crate::toolchain::Choice;
use crate::{build_ebpf, workspace};

/// Builds the kernel program and the daemon that holds it, and says where the file is.
///
/// # Errors
/// Either does not build.
pub fn run(choice: Choice) -> Result<()> {
    let file = everything(choice)?;
    progress(format_args!("{} is all there is to copy", file.display()));
    Ok(())
}

/// Builds the kernel program and the daemon, and returns the daemon's path.
///
/// # Errors
/// Either does not build.
pub fn everything(choice: Choice) -> Result<PathBuf> {
    build_ebpf::run(choice)?;
    daemon()
}

/// Builds the daemon with the objects that are there, and returns its path.
///
/// # Errors
/// It does not build.
pub fn daemon() -> Result<PathBuf> {
    prepare(workspace::cargo().args(["build", "--release", "--package", "lb-user"]))?;
    workspace::release_file("xdirector")
}
