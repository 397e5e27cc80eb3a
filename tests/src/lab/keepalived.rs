//! keepalived, in the lab. All machines share one file system, so every file has the name of its machine in it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Lab, Namespace, Process, Router, eventually, write_file};

/// How long anything that it does at once may take on a busy machine.
const SOON: Duration = Duration::from_secs(10);

/// With what is not on by default: real-time priority (and more than ten milliseconds of it in a row, or the kernel kills it when
/// it becomes master), and adverts that make a winner announce itself again.
const TUNED: &str =
    "  vrrp_rt_priority 50\n  vrrp_rlimit_rttime 1000000\n  vrrp_no_swap\n  vrrp_higher_prio_send_advert\n";

/// A running keepalived: a parent, and the child that speaks VRRP.
#[derive(Debug)]
pub struct Keepalived {
    process: Process,
    child: PathBuf,
}

impl Keepalived {
    /// Runs it with these virtual routers, and with what `tuned` says. Waits until the child runs.
    ///
    /// # Errors
    /// If it does not, or does not like its file; quotes its log.
    pub fn start(lab: &Lab, machine: &Namespace, name: &str, routers: &[Router], tuned: bool) -> Result<Self> {
        let globals = if tuned { TUNED } else { "" };
        let routers: String = routers.iter().map(Router::keepaliveds).collect();
        let text = format!(
            "global_defs {{\n  router_id {name}\n  script_user root\n  enable_script_security\n{globals}}}\n{routers}"
        );
        write_file(lab.directory(), &format!("{name}.keepalived"), &text)?;
        let path = |what: &str| lab.directory().join(format!("{name}.{what}"));
        let [config, parent, child, checkers] = ["keepalived", "parent", "child", "checkers"].map(path);
        let files = [&config, &parent, &child, &checkers].map(|path| path.to_string_lossy().into_owned());
        let [config, parent, vrrp, checkers] = &files;
        // One that was killed leaves these behind.
        [parent, vrrp].iter().for_each(|file| drop(std::fs::remove_file(file)));
        let arguments = ["-n", "-l", "-D", "-P", "-f", config, "-p", parent, "-r", vrrp, "-c", checkers];
        let process = lab.spawn(machine, &format!("{name}-keepalived"), "keepalived", &arguments)?;
        let keepalived = Self { process, child };
        let runs = || Ok(keepalived.child().ok());
        eventually(SOON, "keepalived's child runs", runs).with_context(|| keepalived.process.log())?;
        Ok(keepalived)
    }

    /// The process that speaks VRRP. The parent starts a new one if it dies.
    ///
    /// # Errors
    /// If there is none.
    pub fn child(&self) -> Result<Pid> {
        let text = std::fs::read_to_string(&self.child).context("keepalived has no child")?;
        Ok(Pid::from_raw(text.trim().parse()?))
    }

    /// What it has printed.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Stops it as its init script does, without waiting for its end.
    ///
    /// # Errors
    /// If it is no more.
    pub fn ask_to_stop(&self) -> Result<()> {
        self.process.signal(Signal::SIGTERM)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// If it does not end.
    pub fn wait(&mut self) -> Result<()> {
        self.process.wait().map(drop)
    }

    /// Kills the child only.
    ///
    /// # Errors
    /// If it is no more.
    pub fn kill_child(&self) -> Result<()> {
        Ok(kill(self.child()?, Signal::SIGKILL)?)
    }

    /// Kills both, so that neither can tidy up.
    ///
    /// # Errors
    /// If they are no more.
    pub fn kill(&mut self) -> Result<()> {
        let child = self.child()?;
        // A child that is stopped cannot obey the signal that it gets when its parent dies.
        kill(child, Signal::SIGSTOP)?;
        self.process.stop(Signal::SIGKILL)?;
        kill(child, Signal::SIGKILL)?;
        let gone = || Ok((kill(child, None) == Err(Errno::ESRCH)).then_some(()));
        eventually(SOON, "keepalived's child is gone", gone)
    }

    /// Freezes both, or wakes them.
    ///
    /// # Errors
    /// If they are no more.
    pub fn signal_both(&self, signal: Signal) -> Result<()> {
        kill(self.child()?, signal)?;
        self.process.signal(signal)
    }

    /// The processes.
    ///
    /// # Errors
    /// If there is no child.
    pub fn pids(&self) -> Result<Vec<Pid>> {
        Ok(vec![self.process.pid(), self.child()?])
    }
}
