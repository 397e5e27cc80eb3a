//! `bpf-linker`, built from source into a directory of our own.

use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::{Compiler, system};
use crate::process::{prepare, progress};

/// Which linker goes with which LLVM.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    /// The first two numbers of the version.
    version: &'static str,
    /// More arguments for `cargo install`.
    arguments: &'static [&'static str],
    /// `LLVM_PREFIX`, for the build.
    llvm: Option<&'static str>,
}

/// Loads the LLVM of the rustc that calls it. 0.10 is the last that can.
pub const WITH_RUSTC_LLVM: Recipe = Recipe { version: "0.10", arguments: &[], llvm: None };

/// Linked with the distribution's LLVM.
pub const WITH_SYSTEM_LLVM: Recipe = Recipe {
    version: "0.13",
    arguments: &["--no-default-features", "--features", "llvm-22"],
    llvm: Some(system::LLVM_PREFIX),
};

/// Finds the linker, or builds it.
///
/// # Errors
/// It cannot be fetched or built.
pub fn provide(compiler: &Compiler, recipe: Recipe) -> Result<PathBuf> {
    let root = tools()?.join(format!("bpf-linker-{}", recipe.version));
    let linker = root.join("bin/bpf-linker");
    if linker.is_file() {
        return Ok(linker);
    }
    progress(format_args!(
        "building bpf-linker {} into {} (one to three minutes, once)",
        recipe.version,
        root.display()
    ));
    let mut command = compiler.cargo();
    command.args(["install", "bpf-linker", "--locked", "--version"]).arg(format!("^{}", recipe.version));
    command.args(recipe.arguments).arg("--root").arg(&root);
    if let Some(prefix) = recipe.llvm {
        command.env("LLVM_PREFIX", prefix);
    }
    prepare(&mut command).context("cannot build bpf-linker")?;
    Ok(linker)
}

/// Where we keep tools: below the user's cache directory.
fn tools() -> Result<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = cache.or_else(|| env::home_dir().map(|home| home.join(".cache")));
    let cache = cache.context("no place for tools: neither HOME nor XDG_CACHE_HOME is set")?;
    Ok(cache.join("xdirector/tools"))
}
