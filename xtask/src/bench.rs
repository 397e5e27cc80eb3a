//! `cargo xtask bench`: nanoseconds a packet.

use std::ffi::OsString;

use anyhow::Result;

use crate::process::{become_program, require_root};
use crate::toolchain::Choice;
use crate::{build_ebpf, workspace};

/// Builds what is measured and becomes the measuring program. Nothing but its own output goes to stdout.
///
/// # Errors
/// Not root, or something cannot be built or started.
pub fn run(choice: Choice, arguments: &[OsString]) -> Result<()> {
    require_root("the benchmark")?;
    build_ebpf::run(choice)?;
    let mut command = workspace::cargo();
    command.args(["run", "--release", "--package", "tests", "--bin", "bench", "--"]);
    become_program(command.args(arguments))
}
