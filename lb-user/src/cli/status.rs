//! `xdirector status`

mod report;

use std::thread;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use super::output::{has_colours, print, width};
use super::remote::{Socket, ask, print_json, unexpected};
use crate::control::{Answer, Request};

/// Between two looks with --watch.
const LOOK: Duration = Duration::from_secs(1);

/// Show what the daemon knows: interfaces, pools and their real servers, verdicts, what the operator has set
///
/// `stats` has the packets, and needs no daemon.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  xdirector status\n  xdirector status --watch\n  xdirector status --json | jq '.pools[].reals[] | \
                        select(.order) | {name, order}'"
)]
pub struct Status {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Show again every second, until interrupted
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    socket: Socket,
}

impl Status {
    pub fn run(self) -> Result<()> {
        let mut client = self.socket.connect()?;
        loop {
            let status = match ask(&mut client, &Request::Status)? {
                Answer::Status(status) => status,
                other => return unexpected(&other),
            };
            if self.json {
                print_json(&status)?;
            } else {
                let clear = if self.watch && has_colours() { "\x1b[H\x1b[2J" } else { "" };
                print(&format!("{clear}{}", report::text(&status, has_colours(), width())))?;
            }
            if !self.watch {
                return Ok(());
            }
            thread::sleep(LOOK);
        }
    }
}
