//! `cargo xtask lint` and `cargo xtask ci`: what a change must pass.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::process::{prepare, prepare_within, run as run_program};
use crate::report::Report;
use crate::test::{self, Tier};
use crate::toolchain::Choice;
use crate::{tidy, workspace};

/// A component that takes longer than this to download will not come.
const LIMIT: Duration = Duration::from_secs(300);

/// Checks format, clippy's advice and the house rules.
///
/// # Errors
/// One of them is not met.
pub fn lint() -> Result<()> {
    let mut report = Report::default();
    add_lints(&mut report);
    report.finish()
}

/// [`lint`], then all tests.
///
/// # Errors
/// A check or a test fails, or we are not root.
pub fn run(choice: Choice) -> Result<()> {
    test::check(Tier::All)?;
    let mut report = Report::default();
    add_lints(&mut report);
    test::add_to(&mut report, choice, Tier::All, None);
    report.finish()
}

fn add_lints(report: &mut Report) {
    report.step("format", format);
    report.step("clippy", clippy);
    report.step("tidy", tidy::run);
}

fn format() -> Result<()> {
    component("rustfmt", "fmt")?;
    run_program(workspace::cargo().args(["fmt", "--all", "--check"]))?;
    run_program(workspace::cargo().current_dir(workspace::ebpf()).args(["fmt", "--check"]))
}

fn clippy() -> Result<()> {
    component("clippy", "clippy")?;
    run_program(workspace::cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

/// Has rustup add a component whose command cargo does not know.
fn component(name: &str, command: &str) -> Result<()> {
    if prepare(workspace::cargo().args([command, "--version"])).is_ok() {
        return Ok(());
    }
    prepare_within(LIMIT, Command::new("rustup").args(["component", "add", name]))
}
