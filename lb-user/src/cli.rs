//! The command line: a subcommand a file; arguments to calls to print. Nothing else in the library prints.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage or a wrong config.

mod check;
mod completions;
mod detach;
mod drain;
mod init;
mod log_level;
mod maintenance;
mod output;
mod reload;
mod remote;
mod run;
mod stats;
mod status;
mod undrain;
mod weight;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, ConfigErrors, PIN_DIR, STATE_DIR};
use crate::control::{ClientError, FailureKind};

const DEFAULT_CONFIG: &str = "/etc/xdirector.toml";

/// An XDP load balancer with direct server return.
#[derive(Debug, Parser)]
#[command(name = "xdirector", version, arg_required_else_help = true)]
#[command(
    after_help = "Examples:\n  xdirector check /etc/xdirector.toml\n  xdirector run --config /etc/xdirector.toml\n  \
                        xdirector status\n  xdirector drain web/web1\n  xdirector stats --json --interval 0s"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Init),
    Check(check::Check),
    Run(run::Run),
    Status(status::Status),
    Stats(stats::Stats),
    Drain(drain::Drain),
    Undrain(undrain::Undrain),
    Maintenance(maintenance::Maintenance),
    Weight(weight::Weight),
    Reload(reload::Reload),
    LogLevel(log_level::LogLevel),
    Detach(detach::Detach),
    Completions(completions::Completions),
}

/// Where the maps are pinned.
#[derive(Debug, Args)]
struct Pins {
    /// Where the maps are pinned [default: /sys/fs/bpf/xdirector]
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    pin_dir: Option<PathBuf>,
    /// Take director.pin_dir from this config instead
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Pins {
    fn dir(&self) -> anyhow::Result<PathBuf> {
        match (&self.pin_dir, &self.config) {
            (Some(dir), _) => Ok(dir.clone()),
            (None, Some(file)) => Ok(Config::load(file)?.config.director.pin_dir),
            (None, None) => Ok(PIN_DIR.into()),
        }
    }

    /// Where the daemon that pins there keeps what the operator has set; `None`: nobody says.
    fn state_dir(&self) -> anyhow::Result<Option<PathBuf>> {
        match (&self.pin_dir, &self.config) {
            (Some(_), _) => Ok(None),
            (None, Some(file)) => Ok(Some(Config::load(file)?.config.director.state_dir)),
            (None, None) => Ok(Some(STATE_DIR.into())),
        }
    }
}

/// Parses the arguments, does what they say, and reports what went wrong on stderr.
pub fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Init(command) => command.run(),
        Command::Check(command) => command.run(),
        Command::Run(command) => command.run(),
        Command::Status(command) => command.run(),
        Command::Stats(command) => command.run(),
        Command::Drain(command) => command.run(),
        Command::Undrain(command) => command.run(),
        Command::Maintenance(command) => command.run(),
        Command::Weight(command) => command.run(),
        Command::Reload(command) => command.run(),
        Command::LogLevel(command) => command.run(),
        Command::Detach(command) => command.run(),
        Command::Completions(command) => command.run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) if error.is::<ConfigErrors>() => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
        Err(error) => {
            eprintln!("xdirector: {error:#}");
            ExitCode::from(if is_wrong_usage(&error) { 2 } else { 1 })
        }
    }
}

/// A daemon has refused a name that it does not know, or a file that is no good.
fn is_wrong_usage(error: &anyhow::Error) -> bool {
    let kind = match error.downcast_ref::<ClientError>() {
        Some(ClientError::Refused(failure)) => failure.kind,
        _ => return false,
    };
    matches!(kind, FailureKind::Unknown | FailureKind::Config)
}

/// Whoever read our output has seen enough.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
