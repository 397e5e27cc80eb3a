//! One machine.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, anyhow};
use nix::sched::{CloneFlags, setns};

use super::command::{run, write_sysctl};

/// A named network namespace.
#[derive(Clone, Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes it.
    pub(super) fn create(name: String) -> Result<Self> {
        run(Command::new("ip").args(["netns", "add", &name]))?;
        let machine = Self { name };
        // Reverse-path checks do not know that a director forwards for others. Nobody else could have our addresses, so
        // they need not be tentative for a second.
        machine.sysctl("net/ipv4/conf/all/rp_filter", "0")?;
        machine.sysctl("net/ipv4/conf/default/rp_filter", "0")?;
        machine.sysctl("net/ipv6/conf/default/accept_dad", "0")?;
        machine.sysctl("net/ipv6/conf/default/dad_transmits", "0")?;
        Ok(machine)
    }

    /// Its name, as `ip netns` lists it.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }

    /// A command that will run in it. By nsenter and not `ip netns exec`, which hides the BPF file system.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg(program);
        command
    }

    /// Runs `ip` in it; arguments are parted by spaces.
    ///
    /// # Errors
    /// If it fails.
    pub fn ip(&self, arguments: &str) -> Result<()> {
        run(self.command("ip").args(arguments.split_whitespace()))
    }

    /// Sets one of its sysctls, such as `net/ipv4/conf/all/arp_ignore`.
    ///
    /// # Errors
    /// If there is no such sysctl.
    pub fn sysctl(&self, name: &str, value: &str) -> Result<()> {
        self.enter(|| write_sysctl(name, value))
    }

    /// Runs code on a thread of its own in this machine; its sockets belong there.
    ///
    /// # Errors
    /// Those of the code, or if the namespace cannot be entered.
    pub fn enter<T: Send>(&self, code: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let path = self.path();
        let inside = move || {
            let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
            setns(file, CloneFlags::CLONE_NEWNET).context("cannot enter a network namespace")?;
            code()
        };
        thread::scope(|scope| scope.spawn(inside).join().map_err(|_| anyhow!("code in {} panicked", self.name))?)
    }
}
