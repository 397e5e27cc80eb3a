//! `cargo xtask test`: the tiers of tests. A tier that was asked for runs or fails; it is never skipped.

use anyhow::{Result, ensure};
use clap::ValueEnum;

use crate::process::{output, require_root, run as run_program};
use crate::report::Report;
use crate::toolchain::Choice;
use crate::{build, build_ebpf, packages, workspace};

/// What is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Tier {
    /// Pure code; needs neither root nor the kernel program.
    Pure,
    /// The kernel program on prepared packets, and against the host's pipeline. Needs root.
    Kernel,
    /// The whole thing in a lab of network namespaces. Needs root.
    E2e,
    /// All of them.
    All,
}

impl Tier {
    fn includes(self, other: Self) -> bool {
        self == other || self == Self::All
    }

    fn needs_root(self) -> bool {
        self != Self::Pure
    }
}

/// Runs the tests of a tier whose names contain `filter`.
///
/// # Errors
/// A test fails, or what a tier needs is not to be had.
pub fn run(choice: Choice, tier: Tier, filter: Option<&str>) -> Result<()> {
    check(tier)?;
    let mut report = Report::default();
    add_to(&mut report, choice, tier, filter);
    report.finish()
}

/// Fails if we cannot run the tier at all.
///
/// # Errors
/// It needs root and we are not.
pub fn check(tier: Tier) -> Result<()> {
    if tier.needs_root() {
        require_root("this tier of the tests (all but `cargo xtask test --tier pure`)")?;
    }
    Ok(())
}

/// Runs a tier as steps of a report. Once the kernel program does not build, no test that wants it is tried.
pub fn add_to(report: &mut Report, choice: Choice, tier: Tier, filter: Option<&str>) {
    if tier.includes(Tier::Pure) {
        report.step("pure tests", || pure(filter));
    }
    if !tier.needs_root() || !report.step("build the kernel program", || build_ebpf::run(choice)) {
        return;
    }
    if tier.includes(Tier::Kernel) {
        report.step("kernel tests", || kernel(filter));
    }
    if tier.includes(Tier::E2e) && report.step("packages for the lab", packages::provide_lab) {
        report.step("end-to-end tests", || end_to_end(filter));
    }
    if let Some(filter) = filter {
        report.step("some test was meant", || some_match(tier, filter));
    }
}

const PURE: &[&str] = &["test", "--workspace", "--exclude", "tests"];
const KERNEL: &[&str] = &["test", "--release", "--package", "tests", "--test", "kernel"];
const E2E: &[&str] = &["test", "--release", "--package", "tests", "--test", "e2e"];

/// A filter that matches nothing is a slip of the pen, and must not look like success.
fn some_match(tier: Tier, filter: &str) -> Result<()> {
    let mut matches = 0;
    for (of, arguments) in [(Tier::Pure, PURE), (Tier::Kernel, KERNEL), (Tier::E2e, E2E)] {
        if tier.includes(of) {
            let listed = output(workspace::cargo().args(arguments).args([filter, "--", "--list"]))?;
            matches += listed.lines().filter(|line| line.ends_with(": test")).count();
        }
    }
    ensure!(matches > 0, "no test of this tier has a name that contains \"{filter}\"");
    Ok(())
}

fn pure(filter: Option<&str>) -> Result<()> {
    run_program(workspace::cargo().args(PURE).args(filter))
}

fn kernel(filter: Option<&str>) -> Result<()> {
    run_program(workspace::cargo().args(KERNEL).args(filter))
}

fn end_to_end(filter: Option<&str>) -> Result<()> {
    let daemon = build::daemon()?;
    let mut command = workspace::cargo();
    command.args(E2E).args(filter);
    // One lab at a time: the namespaces have names, and the machine has few cores.
    run_program(command.args(["--", "--test-threads=1"]).env("XDIRECTOR_BIN", daemon))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_includes_every_tier_and_one_only_itself() {
        for tier in [Tier::Pure, Tier::Kernel, Tier::E2e] {
            assert!(Tier::All.includes(tier));
            assert!(tier.includes(tier));
            assert!(!tier.includes(Tier::All));
        }
        assert!(!Tier::Kernel.includes(Tier::E2e));
    }

    #[test]
    fn only_pure_tests_do_without_root() {
        assert!(!Tier::Pure.needs_root());
        assert!(Tier::Kernel.needs_root() && Tier::E2e.needs_root() && Tier::All.needs_root());
    }
}
