//! `xdirector reload`

use anyhow::Result;
use clap::Args;

use super::output::print;
use super::remote::{Socket, print_json, unexpected};
use crate::control::{Answer, ReloadReport, Request};

/// Have the daemon read its file again, and say what that has changed
///
/// A file that is no good is refused whole, and all stays as it was: exit code 2, and stderr says what is wrong. SIGHUP does
/// the same without an answer.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  xdirector reload\n  xdirector check /etc/xdirector.toml && xdirector reload")]
pub struct Reload {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    socket: Socket,
}

impl Reload {
    pub fn run(self) -> Result<()> {
        let report = match self.socket.ask(&Request::Reload)? {
            Answer::Reload(report) => report,
            other => return unexpected(&other),
        };
        if self.json {
            return print_json(&report);
        }
        let ReloadReport { file, changes, tables } = report;
        let mut text = match changes.len() {
            0 => format!("{file}: nothing has changed\n"),
            _ => format!("{file}:\n"),
        };
        for change in changes {
            text += &format!("  {change}\n");
        }
        text += &format!("tables written: {tables}\n");
        print(&text)?;
        Ok(())
    }
}
