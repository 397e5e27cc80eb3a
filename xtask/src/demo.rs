//! `cargo xtask demo`: everything from nothing to a lab at work.

use anyhow::Result;

use crate::process::{become_program, require_root};
use crate::toolchain::Choice;
use crate::{build, packages, workspace};

/// Prepares all that the demo needs and becomes it, so that its exit status and Ctrl-C are its own.
///
/// # Errors
/// Not root, or something cannot be installed, built or started.
pub fn run(choice: Choice, arguments: &[&str]) -> Result<()> {
    require_root("the demo")?;
    packages::provide_lab()?;
    let daemon = build::everything(choice)?;
    let mut command = workspace::cargo();
    command.args(["run", "--release", "--package", "tests", "--bin", "demo", "--"]).env("XDIRECTOR_BIN", daemon);
    become_program(command.args(arguments))
}
