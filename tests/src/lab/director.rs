//! xdirector itself, in the lab.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::{INTERFACE, Lab, Namespace, Process, eventually, output, write_file};

/// How long anything that a daemon does at once may take on a busy machine.
const SOON: Duration = Duration::from_secs(10);

/// The name of the director that every lab has.
pub const FIRST: &str = "director";

/// A machine that a director runs on, and what of `[director]` is its own.
#[derive(Clone, Debug)]
pub struct Seat {
    /// The machine.
    pub machine: Namespace,
    /// Tells its files and pins from those of another.
    pub name: String,
    /// `interfaces`
    pub interfaces: Vec<&'static str>,
    /// `peers`
    pub peers: Vec<IpAddr>,
}

impl Seat {
    /// That of the director that every lab has.
    pub fn first(lab: &Lab) -> Self {
        Self { machine: lab.director.clone(), name: FIRST.into(), interfaces: vec![INTERFACE], peers: Vec::new() }
    }

    fn write(&self, lab: &Lab, rest: &str) -> Result<PathBuf> {
        let Self { name, interfaces, peers, .. } = self;
        let pin_dir = lab.pin_dir_of(name);
        let peers: Vec<String> = peers.iter().map(IpAddr::to_string).collect();
        let (socket, state_dir) = (socket(lab, name), state_dir(lab, name));
        let text = format!(
            "[director]\ninterfaces = {interfaces:?}\nhash_seed = \"6f1d0c2b9a7e4d35\"\npeers = {peers:?}\npin_dir = {pin_dir:?}\n\
             control_socket = {socket:?}\nstate_dir = {state_dir:?}\n\n{rest}"
        );
        write_file(lab.directory(), &format!("x{name}.toml"), &text)
    }

    fn spawn(&self, lab: &Lab, config: &Path, number: u32) -> Result<Process> {
        let (binary, config) = (binary(), config.to_string_lossy().into_owned());
        let binary = binary.to_str().context("the path of the binary is not text")?;
        lab.spawn(&self.machine, &format!("{}{number}", self.name), binary, &["run", "--config", &config])
    }
}

/// `control_socket`
fn socket(lab: &Lab, name: &str) -> PathBuf {
    lab.directory().join(format!("{name}.sock"))
}

/// `state_dir`
fn state_dir(lab: &Lab, name: &str) -> PathBuf {
    lab.directory().join(format!("{name}.state"))
}

/// A running daemon with its config file.
#[derive(Debug)]
pub struct Director {
    /// The daemon.
    pub process: Process,
    /// Its config file.
    pub config: PathBuf,
    seat: Seat,
    number: u32,
}

/// The binary under test.
pub fn binary() -> PathBuf {
    let built = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/xdirector");
    std::env::var_os("XDIRECTOR_BIN").map_or_else(built, PathBuf::from)
}

impl Director {
    /// Writes `[director]` and what follows it to a file, and runs the daemon until it is ready.
    ///
    /// # Errors
    /// If it does not get ready; quotes its log.
    pub fn start(lab: &Lab, rest: &str) -> Result<Self> {
        Self::start_on(lab, Seat::first(lab), rest)
    }

    /// The same on any machine.
    ///
    /// # Errors
    /// If it does not get ready; quotes its log.
    pub fn start_on(lab: &Lab, seat: Seat, rest: &str) -> Result<Self> {
        let config = seat.write(lab, rest)?;
        let process = seat.spawn(lab, &config, 0)?;
        let mut director = Self { process, config, seat, number: 0 };
        director.process.wait_for("ready", SOON)?;
        Ok(director)
    }

    /// Runs a new daemon with the same file, after the old one has ended.
    ///
    /// # Errors
    /// If it does not get ready; quotes its log.
    pub fn start_again(&mut self, lab: &Lab) -> Result<()> {
        self.number += 1;
        self.process = self.seat.spawn(lab, &self.config, self.number)?;
        self.process.wait_for("ready", SOON)
    }

    /// Writes the file anew, sends SIGHUP and waits until the log says one of the two things a reload can end with.
    ///
    /// # Errors
    /// If it says neither.
    pub fn reload(&mut self, lab: &Lab, rest: &str) -> Result<()> {
        let outcomes = |log: &str| log.matches("reloaded ").count() + log.matches("reload refused").count();
        self.seat.write(lab, rest)?;
        let before = outcomes(&self.process.log());
        self.process.signal(Signal::SIGHUP)?;
        let ended = || Ok((outcomes(&self.process.log()) > before).then_some(()));
        eventually(SOON, "the reload ends", ended).with_context(|| self.process.log())
    }

    /// Where it listens for commands.
    pub fn socket(&self, lab: &Lab) -> PathBuf {
        socket(lab, &self.seat.name)
    }

    /// Where it keeps what the operator has set.
    pub fn state_dir(&self, lab: &Lab) -> PathBuf {
        state_dir(lab, &self.seat.name)
    }

    /// Writes the file anew, and nothing else.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, lab: &Lab, rest: &str) -> Result<()> {
        self.seat.write(lab, rest).map(drop)
    }

    /// A command to it, whatever comes of that.
    ///
    /// # Errors
    /// If it cannot be run.
    pub fn command(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(binary());
        command.args(arguments).arg("--config").arg(&self.config).output().context("cannot run a command")
    }

    /// A command that has to be done; its answer as JSON.
    ///
    /// # Errors
    /// If it is refused.
    pub fn ask(&self, arguments: &[&str]) -> Result<Value> {
        let mut command = Command::new(binary());
        let answer = output(command.args(arguments).arg("--json").arg("--config").arg(&self.config))?;
        serde_json::from_str(&answer).with_context(|| format!("{arguments:?} answers {answer:?}"))
    }

    /// `xdirector stats` with these arguments.
    ///
    /// # Errors
    /// If it fails.
    pub fn stats_text(&self, arguments: &[&str]) -> Result<String> {
        output(Command::new(binary()).arg("stats").arg("--config").arg(&self.config).args(arguments))
    }

    /// `xdirector stats --json`, without rates.
    ///
    /// # Errors
    /// If it fails.
    pub fn stats(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.stats_text(&["--json", "--interval", "0s"])?)?)
    }

    /// The rows of the real servers of the first service.
    ///
    /// # Errors
    /// If the stats cannot be read.
    pub fn reals(&self) -> Result<Vec<Value>> {
        let stats = self.stats()?;
        let reals = stats["services"][0]["reals"].as_array().context("the stats have no real servers")?;
        Ok(reals.clone())
    }

    /// Waits until the named real server is in this state.
    ///
    /// # Errors
    /// If that does not come; quotes the log.
    pub fn wait_for_state(&self, real: &str, state: &str) -> Result<()> {
        let what = format!("{real} is {state}");
        let found = || Ok(self.reals()?.iter().any(|row| row["name"] == real && row["state"] == state).then_some(()));
        eventually(SOON, &what, found).with_context(|| self.process.log())
    }

    /// Packets with this reason.
    ///
    /// # Errors
    /// If there is no such reason.
    pub fn reason(&self, name: &str) -> Result<u64> {
        let stats = self.stats()?;
        let reasons = stats["reasons"].as_array().context("the stats have no reasons")?;
        let row = reasons.iter().find(|row| row["name"] == name);
        row.and_then(|row| row["packets"].as_u64()).with_context(|| format!("the stats have no reason {name}"))
    }
}
