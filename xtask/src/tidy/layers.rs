//! Who may know whom.

use super::Finding;
use super::source::Source;

const DAEMON: &str = "lb-user/src";

/// Modules that are functions of what they are given.
const PURE: [&str; 12] = [
    "lb-common/src",
    "lb-user/src/state",
    "lb-user/src/health/tracker",
    "lb-user/src/health/schedule",
    "lb-user/src/track/board",
    "lb-user/src/track/streak",
    "lb-user/src/vrrp/announce",
    "lb-user/src/vrrp/checksum",
    "lb-user/src/vrrp/group",
    "lb-user/src/vrrp/machine",
    "lb-user/src/vrrp/packet",
    "lb-user/src/vrrp/priority",
];

/// What pure modules must not name: runtimes, clocks, sockets.
const IMPURE: [&str; 11] = [
    "tokio",
    "Instant::now",
    "SystemTime::now",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "UnixListener",
    "socket2",
    "nix",
    "rtnetlink",
];

/// Only `dataplane` imports aya.
pub fn only_dataplane_knows_aya(source: &Source) -> Vec<Finding> {
    let names = ["aya", "aya_obj", "aya_log"];
    outside(source, &["lb-user/src/dataplane"], &names, "only `dataplane` knows aya: give it a function for this")
}

/// Only `cli` and the shell around it print.
pub fn only_cli_prints(source: &Source) -> Vec<Finding> {
    let allowed = ["lb-user/src/cli", "lb-user/src/main"];
    let names = ["println!", "print!", "eprintln!", "eprint!"];
    let cure = "only `cli` prints: return a value to it, or log with tracing";
    outside(source, &allowed, &names, cure)
}

/// Only what meets the outside as text knows serde.
pub fn only_raw_and_control_know_serde(source: &Source) -> Vec<Finding> {
    let allowed = ["lb-user/src/config/raw", "lb-user/src/control", "lb-user/src/cli"];
    let names = ["serde", "serde_json", "Serialize", "Deserialize"];
    outside(source, &allowed, &names, "only `config::raw`, `control` and `cli` know serde: use a type of its own there")
}

/// Pure modules know no runtime, no clock and no socket.
pub fn pure_modules_stay_pure(source: &Source) -> Vec<Finding> {
    if !PURE.iter().any(|module| source.is_in(module)) {
        return Vec::new();
    }
    let cure = |name: &str| format!("a pure module names {name}: take its result as an argument");
    naming(source, &IMPURE, cure)
}

/// The shared crate knows no other crate of the workspace.
pub fn common_knows_nobody(source: &Source) -> Vec<Finding> {
    let others = ["lb_user", "lb_ebpf", "lb-user", "lb-ebpf", "xtask"];
    if !source.is_in("lb-common") {
        return Vec::new();
    }
    naming(source, &others, |name| {
        format!("lb-common knows nobody, yet it names {name}: move what it needs into lb-common")
    })
}

/// The kernel program knows the shared crate only.
pub fn ebpf_knows_only_common(source: &Source) -> Vec<Finding> {
    if !source.is_in("lb-ebpf") {
        return Vec::new();
    }
    let others = ["lb_user", "lb-user", "xtask"];
    naming(source, &others, |name| format!("lb-ebpf knows lb-common only, yet it names {name}"))
}

/// Names in the daemon outside the modules that may use them.
fn outside(source: &Source, allowed: &[&str], names: &[&str], cure: &str) -> Vec<Finding> {
    if !source.is_in(DAEMON) || allowed.iter().any(|module| source.is_in(module)) {
        return Vec::new();
    }
    naming(source, names, |_| cure.to_owned())
}

fn naming(source: &Source, names: &[&str], cure: impl Fn(&str) -> String) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in source.numbered() {
        if let Some(name) = names.iter().find(|name| line.names(name)) {
            findings.push(Finding::new(number, cure(name)));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::lines;
    use super::*;

    #[test]
    fn aya_is_found_outside_dataplane() {
        let text = "use std::fs;\nuse aya::Ebpf;\n";
        assert_eq!(lines(only_dataplane_knows_aya, "lb-user/src/reconcile.rs", text), [2]);
        assert_eq!(lines(only_dataplane_knows_aya, "lb-user/src/dataplane/load.rs", text), []);
        assert_eq!(lines(only_dataplane_knows_aya, "tests/src/lib.rs", text), []);
    }

    #[test]
    fn printing_is_found_outside_cli() {
        let text = "fn a() {\n    println!(\"x\");\n}\n";
        assert_eq!(lines(only_cli_prints, "lb-user/src/daemon.rs", text), [2]);
        assert_eq!(lines(only_cli_prints, "lb-user/src/cli/stats.rs", text), []);
        assert_eq!(lines(only_cli_prints, "lb-user/src/main.rs", text), []);
    }

    #[test]
    fn serde_is_found_in_validated_types() {
        let text = "#[derive(serde::Deserialize)]\nstruct A;\n";
        assert_eq!(lines(only_raw_and_control_know_serde, "lb-user/src/config.rs", text), [1]);
        assert_eq!(lines(only_raw_and_control_know_serde, "lb-user/src/config/raw.rs", text), []);
    }

    #[test]
    fn clocks_are_found_in_pure_modules() {
        let text = "fn a(now: Instant) {}\nfn b() { Instant::now(); }\n";
        assert_eq!(lines(pure_modules_stay_pure, "lb-user/src/state/diff.rs", text), [2]);
        assert_eq!(lines(pure_modules_stay_pure, "lb-user/src/health/engine.rs", text), []);
    }

    #[test]
    fn other_crates_are_found_in_the_shared_one() {
        assert_eq!(lines(common_knows_nobody, "lb-common/src/lib.rs", "use lb_user::a;\n"), [1]);
        assert_eq!(
            lines(common_knows_nobody, "lb-common/Cargo.toml", "[dependencies]\nlb-user.workspace = true\n"),
            [2]
        );
        assert_eq!(lines(common_knows_nobody, "lb-user/src/lib.rs", "use lb_user::a;\n"), []);
    }

    #[test]
    fn the_kernel_program_knows_only_the_shared_crate() {
        assert_eq!(lines(ebpf_knows_only_common, "lb-ebpf/src/lib.rs", "use lb_common::a;\nuse lb_user::b;\n"), [2]);
    }
}
