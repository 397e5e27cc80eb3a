//! `xdirector run`

use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt, reload};

use super::DEFAULT_CONFIG;
use crate::config::Config;
use crate::control::LogLevel;
use crate::daemon::{self, LogSwitch};

/// Serve: attach to the interfaces, check the real servers, keep the tables true
///
/// Stays in the foreground and logs to stderr. SIGHUP reads the file again; a file that is no good changes nothing.
/// SIGTERM and SIGINT detach and end. If the daemon dies in any other way the kernel goes on forwarding with the last
/// tables, and the next start takes over from there.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  xdirector run\n  xdirector run --config web.toml --log-level debug")]
pub struct Run {
    /// The config file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    /// error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: tracing::Level,
}

impl Run {
    pub fn run(self) -> Result<()> {
        let parsed = Config::load(&self.config)?;
        ensure!(nix::unistd::geteuid().is_root(), "run needs root: it loads a program into the kernel");
        let log = log(self.log_level);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
        runtime.block_on(daemon::run(self.config, parsed, log))
    }
}

/// To stderr; what comes back changes how much.
fn log(level: tracing::Level) -> LogSwitch {
    let level = LogLevel::from(level);
    let (filter, handle) = reload::Layer::new(filter(level));
    let ansi = std::io::stderr().is_terminal();
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(ansi).with_target(false);
    tracing_subscriber::registry().with(filter).with(lines).init();
    LogSwitch::new(level, move |level| handle.reload(self::filter(level)).map_err(|error| error.to_string()))
}

/// Of libraries only what deserves a look.
fn filter(level: LogLevel) -> EnvFilter {
    EnvFilter::new(format!("warn,lb_user={}", level.name()))
}
