//! A program that runs while the lab does.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::eventually;

/// A running program, its output in a file.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    pub(super) fn spawn(mut command: Command, name: &str, log: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name: name.into(), child, log: log.into() })
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        // A pid is never above 2^22.
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// What it has printed.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// If it is no more.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(self.pid(), signal).with_context(|| format!("cannot send {signal} to {}", self.name))
    }

    /// Sends it a signal and waits for its end.
    ///
    /// # Errors
    /// If it does not end within ten seconds.
    pub fn stop(&mut self, signal: Signal) -> Result<ExitStatus> {
        self.signal(signal)?;
        self.wait().with_context(|| format!("after {signal}"))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// If it does not end within ten seconds.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        let what = format!("{} ends", self.name);
        eventually(Duration::from_secs(10), &what, || Ok(self.child.try_wait()?))
    }

    /// Waits until its log has a line with this text.
    ///
    /// # Errors
    /// After the deadline, or if it ends before; quotes the log.
    pub fn wait_for(&mut self, text: &str, deadline: Duration) -> Result<()> {
        let what = format!("{} says \"{text}\"", self.name);
        let said = eventually(deadline, &what, || {
            let ended = self.child.try_wait()?;
            if self.log().contains(text) {
                return Ok(Some(None));
            }
            Ok(ended.map(Some))
        });
        match said.with_context(|| format!("its log:\n{}", self.log()))? {
            None => Ok(()),
            Some(status) => {
                bail!("{} ended with {status} before it said \"{text}\"; its log:\n{}", self.name, self.log())
            }
        }
    }
}
