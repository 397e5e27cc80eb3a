//! Rustup's nightly with its component rust-src.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::Compiler;
use crate::process::{find, output, prepare_within, progress};

/// What a person would type.
pub const INSTRUCTIONS: &str = "rustup toolchain install nightly --profile minimal -c rust-src";

/// A download that takes longer than this will not come.
const LIMIT: Duration = Duration::from_secs(300);

/// The nightly, if it is there with the source of `core`.
pub fn present() -> Option<Compiler> {
    let sysroot = sysroot()?;
    has_source(&sysroot).then(|| compiler(&sysroot))
}

/// Finds the nightly and its source, or has rustup fetch them.
///
/// # Errors
/// No rustup, or it cannot fetch them in time.
pub fn provide() -> Result<Compiler> {
    if find("rustup").is_none() {
        bail!("there is no rustup here");
    }
    let sysroot = match sysroot() {
        Some(sysroot) => sysroot,
        None => install_nightly()?,
    };
    if !has_source(&sysroot) {
        progress("adding the source of core to rustup's nightly");
        fetch(&["component", "add", "rust-src", "--toolchain", "nightly"])?;
    }
    if !has_source(&sysroot) {
        bail!("rustup's nightly in {} still has no source of core", sysroot.display());
    }
    Ok(compiler(&sysroot))
}

fn install_nightly() -> Result<PathBuf> {
    progress("installing rustup's nightly (some hundred megabytes)");
    fetch(&["toolchain", "install", "nightly", "--profile", "minimal", "-c", "rust-src"])?;
    sysroot().context("rustup has installed a nightly, but it does not run")
}

fn fetch(arguments: &[&str]) -> Result<()> {
    prepare_within(LIMIT, rustup().args(arguments))
}

fn sysroot() -> Option<PathBuf> {
    // Any failure means that there is none to use: what is missing is said when it cannot be installed either.
    let sysroot = output(rustup().args(["run", "nightly", "rustc", "--print", "sysroot"])).ok()?;
    Some(PathBuf::from(sysroot))
}

/// Rustup, which must not fetch anything that it was not told to.
fn rustup() -> Command {
    let mut command = Command::new("rustup");
    command.env("RUSTUP_AUTO_INSTALL", "0").env_remove("RUSTUP_TOOLCHAIN");
    command
}

fn has_source(sysroot: &Path) -> bool {
    sysroot.join("lib/rustlib/src/rust/library/core/src/lib.rs").is_file()
}

fn compiler(sysroot: &Path) -> Compiler {
    let binaries = sysroot.join("bin");
    Compiler { cargo: binaries.join("cargo"), rustc: binaries.join("rustc"), llvm: Some(sysroot.join("lib")) }
}
