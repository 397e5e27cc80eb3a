//! Debian's packages: what the lab needs, and how packages are installed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Once;

use anyhow::{Context, Result, bail};

use crate::process::{find, is_root, prepare, progress};

/// A program that the lab calls.
struct Tool {
    command: &'static str,
    package: &'static str,
    purpose: &'static str,
}

/// All that the lab, the tests in it and the demo call. The only such list.
const LAB: &[Tool] = &[
    Tool { command: "nginx", package: "nginx-light", purpose: "the real servers" },
    Tool {
        command: "mariadbd",
        package: "mariadb-server-core",
        purpose: "real servers again, and health checks of MySQL",
    },
    Tool { command: "mariadb", package: "mariadb-client-core", purpose: "replication between two of them" },
    Tool { command: "redis-server", package: "redis-server", purpose: "health checks of Redis" },
    Tool { command: "keepalived", package: "keepalived", purpose: "the other side of VRRP, and our rival" },
    Tool { command: "/usr/lib/frr/vrrpd", package: "frr", purpose: "another other side of VRRP" },
    Tool { command: "dnsmasq", package: "dnsmasq-base", purpose: "health checks of DNS, discovery" },
    Tool { command: "curl", package: "curl", purpose: "a client in a lab that was kept" },
    Tool { command: "ip", package: "iproute2", purpose: "namespaces, bridges, addresses, neighbours" },
    Tool { command: "ethtool", package: "ethtool", purpose: "checksum offload off on the lab's wires" },
    Tool { command: "ping", package: "iputils-ping", purpose: "traffic that is not ours" },
    Tool { command: "tcpdump", package: "tcpdump", purpose: "looking at a lab that was kept" },
];

/// Finds the lab's programs; installs those that are missing.
///
/// # Errors
/// Some are missing and cannot be installed; the message says which packages they are in.
pub fn provide_lab() -> Result<()> {
    let missing = LAB.iter().filter(|tool| find(tool.command).is_none()).collect::<Vec<_>>();
    if missing.is_empty() {
        return Ok(());
    }
    for tool in &missing {
        progress(format_args!("{} is missing (package {}): {}", tool.command, tool.package, tool.purpose));
    }
    install(&missing.iter().map(|tool| tool.package).collect::<Vec<_>>())
}

/// Installs Debian packages without asking. Removes none, and starts no service.
///
/// # Errors
/// No apt-get, not root, or apt-get fails; the message says what to type.
pub fn install(packages: &[&str]) -> Result<()> {
    let typed = format!("apt-get update && apt-get install --no-install-recommends {}", packages.join(" "));
    if find("apt-get").is_none() {
        bail!("there is no apt-get here; install by other means what Debian calls {}", packages.join(" "));
    }
    if !is_root()? {
        bail!("not root, so packages cannot be installed; as root, type: {typed}");
    }
    update();
    let _quiet = NoServices::begin()?;
    // --no-remove: a package of the user's that is in the way stays, and we fail.
    let mut command = apt_get();
    command.args(["install", "-y", "--no-install-recommends", "--no-remove"]).args(packages);
    prepare(&mut command)
}

/// Fetches the lists of packages, once. They may be there already, so a failure is only said.
fn update() {
    static UPDATED: Once = Once::new();
    UPDATED.call_once(|| {
        if let Err(error) = prepare(apt_get().arg("update")) {
            progress(format_args!("going on with the old lists of packages: {error:#}"));
        }
    });
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    // Another apt may be running: on a new machine one often is.
    command.env("DEBIAN_FRONTEND", "noninteractive").args(["-q", "-o", "DPkg::Lock::Timeout=300"]);
    command
}

/// While it lives, installed packages do not start their services: nginx belongs into the lab, not onto this machine.
struct NoServices {
    ours: bool,
}

/// Debian's way to forbid it: this program is asked, and 101 means no.
const POLICY: &str = "/usr/sbin/policy-rc.d";

impl NoServices {
    fn begin() -> Result<Self> {
        if Path::new(POLICY).exists() {
            return Ok(Self { ours: false });
        }
        fs::write(POLICY, "#!/bin/sh\nexit 101\n").with_context(|| format!("cannot write {POLICY}"))?;
        let quiet = Self { ours: true };
        fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("cannot make {POLICY} executable"))?;
        Ok(quiet)
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if !self.ours {
            return;
        }
        if let Err(error) = fs::remove_file(POLICY) {
            progress(format_args!("cannot remove {POLICY}, please do: {error}"));
        }
    }
}
