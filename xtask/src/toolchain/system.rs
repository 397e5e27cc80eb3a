//! The distribution's rustc with its source, and the LLVM that it was built with. The packages are Debian's.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::Compiler;
use crate::packages;
use crate::process::{output, progress};

/// What a person would type.
pub const INSTRUCTIONS: &str =
    "apt-get update && apt-get install --no-install-recommends rustc-web cargo-web rust-web-src llvm-22-dev g++";

/// Where the packages put LLVM.
pub const LLVM_PREFIX: &str = "/usr/lib/llvm-22";

/// rustc must be built with the same LLVM, or the linker cannot read what it writes.
const LLVM_VERSION: &str = "LLVM version: 22.";

/// g++ brings the C++ library that bpf-linker is linked with.
const PACKAGES: [&str; 5] = ["rustc-web", "cargo-web", "rust-web-src", "llvm-22-dev", "g++"];

/// By their paths: `cargo` alone may be rustup's.
const CARGO: &str = "/usr/bin/cargo";
const RUSTC: &str = "/usr/bin/rustc";
const SOURCE: &str = "/usr/lib/rustlib/src/rust/library/core/src/lib.rs";

/// The system's Rust, if it is there with the source of `core` and the right LLVM.
pub fn present() -> Option<Compiler> {
    check().is_ok().then(compiler)
}

/// Finds the system's Rust, or installs the packages.
///
/// # Errors
/// It is not there, and this is no Debian, or we are not root, or the packages cannot be installed.
pub fn provide() -> Result<Compiler> {
    if check().is_err() {
        progress("installing Debian's Rust and LLVM (about 230 megabytes)");
        packages::install(&PACKAGES).context("cannot install Debian's Rust and LLVM")?;
    }
    check()?;
    Ok(compiler())
}

fn check() -> Result<()> {
    let config = format!("{LLVM_PREFIX}/bin/llvm-config");
    for file in [CARGO, RUSTC, SOURCE, config.as_str()] {
        if !Path::new(file).is_file() {
            bail!("there is no {file}");
        }
    }
    let version = output(Command::new(RUSTC).args(["--version", "--verbose"]))?;
    if !version.contains(LLVM_VERSION) {
        bail!("{RUSTC} is not built with the LLVM of {LLVM_PREFIX}:\n{version}");
    }
    Ok(())
}

fn compiler() -> Compiler {
    Compiler { cargo: CARGO.into(), rustc: RUSTC.into(), llvm: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_name_every_package() {
        for package in PACKAGES {
            assert!(INSTRUCTIONS.split(' ').any(|word| word == package), "{package}");
        }
    }
}
