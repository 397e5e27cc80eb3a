//! `xdirector log-level`

use anyhow::Result;
use clap::Args;

use super::output::print;
use super::remote::{Socket, print_json, unexpected};
use crate::control::{Answer, Request};

/// Change how much the daemon logs, until it ends
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  xdirector log-level debug\n  xdirector log-level info")]
pub struct LogLevel {
    /// error, warn, info, debug or trace
    #[arg(value_name = "LEVEL")]
    level: tracing::Level,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    socket: Socket,
}

impl LogLevel {
    pub fn run(self) -> Result<()> {
        let answer = self.socket.ask(&Request::LogLevel { level: self.level.into() })?;
        match &answer {
            Answer::LogLevel { .. } if self.json => print_json(&answer),
            Answer::LogLevel { level } => Ok(print(&format!("what is logged: {}\n", level.name()))?),
            other => unexpected(other),
        }
    }
}
