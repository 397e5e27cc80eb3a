//! Where things are, and the cargo that runs us.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// The root of the checkout.
pub fn root() -> PathBuf {
    // cargo says where our package is; a binary that was started by hand still knows where it was built.
    let package = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let package = Path::new(&package);
    package.parent().unwrap_or(package).to_path_buf()
}

/// The kernel program's package.
pub fn ebpf() -> PathBuf {
    root().join("lb-ebpf")
}

/// Where the kernel program's objects are left, whatever cargo's target directory is: the daemon's build reads them there.
pub fn objects() -> PathBuf {
    root().join("target/bpf")
}

/// A file that `cargo build --release` makes. It lies beside the directory that we were built to.
///
/// # Errors
/// The system does not say where our own binary is.
pub fn release_file(name: &str) -> Result<PathBuf> {
    let own = env::current_exe().context("cannot find our own binary")?;
    let target = own.parent().and_then(Path::parent).context("our own binary lies outside any target directory")?;
    Ok(target.join("release").join(name))
}

/// The cargo that runs us, in the root of the checkout.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_holds_the_workspace() {
        assert!(root().join("xtask/Cargo.toml").is_file());
        assert!(root().join(".cargo/config.toml").is_file());
    }
}
