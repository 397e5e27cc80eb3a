//! `cargo xtask bench`, `fuzz` and `measure`: programs of the tests crate that load the kernel program.

use std::ffi::OsString;

use anyhow::Result;

use crate::process::{become_program, require_root};
use crate::toolchain::Choice;
use crate::{build, build_ebpf, packages, workspace};

/// One of them.
#[derive(Clone, Copy, Debug)]
pub enum Tool {
    /// Nanoseconds a packet.
    Bench,
    /// Host pipeline against kernel program.
    Fuzz,
    /// How long a change takes.
    Measure,
}

impl Tool {
    /// Of the binary in the tests crate.
    const fn name(self) -> &'static str {
        match self {
            Self::Bench => "bench",
            Self::Fuzz => "fuzz",
            Self::Measure => "measure",
        }
    }
}

/// Builds what is run and becomes it. Nothing but its own output goes to stdout.
///
/// # Errors
/// Not root, or something cannot be built or started.
pub fn run(choice: Choice, tool: Tool, arguments: &[OsString]) -> Result<()> {
    require_root(&format!("`cargo xtask {}`", tool.name()))?;
    build_ebpf::run(choice)?;
    let mut command = workspace::cargo();
    if needs_lab(tool, arguments) {
        packages::provide_lab()?;
        command.env("XDIRECTOR_BIN", build::daemon()?);
    }
    command.args(["run", "--release", "--package", "tests", "--bin", tool.name(), "--"]);
    become_program(command.args(arguments))
}

/// What is measured of a vip that moves is measured in the lab, with the daemon; all else only with the kernel program.
fn needs_lab(tool: Tool, arguments: &[OsString]) -> bool {
    matches!(tool, Tool::Measure) && arguments.first().is_some_and(|what| what == "failover")
}
