//! A compiler and a linker for eBPF: where one is, how one is installed, and how it is called.
//!
//! Two kinds work. Rustup's nightly links with a `bpf-linker` that uses rustc's own LLVM; Debian's rustc links with one
//! that uses Debian's LLVM. Linkers are kept in our own directory, so that no tool of the user's is replaced.

mod environment;
mod linker;
mod rustup;
mod system;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use clap::ValueEnum;

use crate::process::prepare;

/// What the user may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Choice {
    /// What is there, else what can be installed.
    Auto,
    /// Rustup's nightly, with its component rust-src.
    Rustup,
    /// The distribution's: Debian's packages rustc-web, cargo-web, rust-web-src and llvm-22-dev.
    System,
}

/// Where a toolchain comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// See [`Choice::Rustup`].
    Rustup,
    /// See [`Choice::System`].
    System,
}

/// A compiler and a linker that fit each other.
#[derive(Debug)]
pub struct Toolchain {
    compiler: Compiler,
    linker: PathBuf,
}

/// A cargo and a rustc that come with the source of `core`. Called by their paths, never through rustup's proxies.
#[derive(Debug)]
pub struct Compiler {
    cargo: PathBuf,
    rustc: PathBuf,
    /// Where `bpf-linker` finds rustc's own LLVM; nothing if it has an LLVM of its own.
    llvm: Option<PathBuf>,
}

impl Choice {
    /// The kinds to try: what is there before what would have to be installed.
    pub fn kinds(self) -> Vec<Kind> {
        match self {
            Self::Rustup => vec![Kind::Rustup],
            Self::System => vec![Kind::System],
            Self::Auto => {
                let mut kinds = vec![Kind::Rustup, Kind::System];
                kinds.sort_by_key(|kind| !kind.is_present());
                kinds
            }
        }
    }
}

impl Kind {
    /// How it is called in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rustup => "rustup's nightly",
            Self::System => "the system's Rust",
        }
    }

    /// The commands that install it, for a person to type.
    pub fn instructions(self) -> &'static str {
        match self {
            Self::Rustup => rustup::INSTRUCTIONS,
            Self::System => system::INSTRUCTIONS,
        }
    }

    /// Finds it; installs what it lacks.
    ///
    /// # Errors
    /// It is not there and cannot be installed.
    pub fn provide(self) -> Result<Toolchain> {
        let (compiler, recipe) = match self {
            Self::Rustup => (rustup::provide()?, linker::WITH_RUSTC_LLVM),
            Self::System => (system::provide()?, linker::WITH_SYSTEM_LLVM),
        };
        let linker = linker::provide(&compiler, recipe)?;
        Ok(Toolchain { compiler, linker })
    }

    /// Whether its compiler is there; the linker is a small matter.
    fn is_present(self) -> bool {
        match self {
            Self::Rustup => rustup::present().is_some(),
            Self::System => system::present().is_some(),
        }
    }
}

impl Toolchain {
    /// Builds all binaries of a package for the kernel, and returns the directory that they are in.
    ///
    /// # Errors
    /// The compiler or the linker fails.
    pub fn build(&self, package: &Path, target: &Path) -> Result<PathBuf> {
        let mut command = self.compiler.cargo();
        command.current_dir(package).args(["build", "--release", "-Z", "build-std=core", "--target", TARGET]);
        command.arg("--target-dir").arg(target).env("CARGO_ENCODED_RUSTFLAGS", self.flags());
        prepare(&mut command)?;
        Ok(target.join(TARGET).join("release"))
    }

    /// Flags for rustc, as cargo wants them: separated by the byte 0x1f.
    fn flags(&self) -> OsString {
        let architecture = format!("--cfg=bpf_target_arch=\"{}\"", std::env::consts::ARCH);
        let mut flags = OsString::from(architecture);
        for flag in FLAGS {
            flags.push("\x1f");
            flags.push(flag);
        }
        flags.push("\x1f-Clinker=");
        flags.push(&self.linker);
        flags
    }
}

impl Compiler {
    /// Its cargo, with nothing in the environment that the build we are part of has put there.
    fn cargo(&self) -> Command {
        let mut command = Command::new(&self.cargo);
        environment::clear(&mut command);
        // rustup's nightly needs no permission for `-Z`, but it takes it.
        command.env("RUSTC", &self.rustc).env("RUSTC_BOOTSTRAP", "1");
        if let Some(llvm) = &self.llvm {
            command.env("LD_LIBRARY_PATH", llvm);
        }
        command
    }
}

/// Little-endian, like every machine we run on.
const TARGET: &str = "bpfel-unknown-none";

/// Debug information becomes BTF, which the kernel wants.
const FLAGS: [&str; 2] = ["-Cdebuginfo=2", "-Clink-arg=--btf"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_separated_as_cargo_wants() {
        let compiler = Compiler { cargo: "/c".into(), rustc: "/r".into(), llvm: None };
        let flags = Toolchain { compiler, linker: "/tools/bpf-linker".into() }.flags();
        let flags = flags.to_str().unwrap().split('\x1f').collect::<Vec<_>>();
        assert_eq!(flags.len(), FLAGS.len() + 2);
        assert!(flags[0].starts_with("--cfg=bpf_target_arch=\""));
        assert_eq!(flags[flags.len() - 1], "-Clinker=/tools/bpf-linker");
    }

    #[test]
    fn a_forced_choice_is_the_only_one() {
        assert_eq!(Choice::Rustup.kinds(), [Kind::Rustup]);
        assert_eq!(Choice::System.kinds(), [Kind::System]);
        assert_eq!(Choice::Auto.kinds().len(), 2);
    }
}
