//! `xdirector detach`

use anyhow::Result;
use clap::Args;

use super::Pins;
use super::output::print;
use crate::dataplane;

/// Remove what a dead daemon left: take the program off its interfaces, drop the maps
///
/// Forwarding ends. Refused while a daemon runs: stop that with SIGTERM, and it detaches itself.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  xdirector detach --config /etc/xdirector.toml")]
pub struct Detach {
    #[command(flatten)]
    pins: Pins,
}

impl Detach {
    pub fn run(self) -> Result<()> {
        let dir = self.pins.dir()?;
        let removed = dataplane::detach(&dir)?;
        if removed.is_empty() {
            print(&format!("nothing is pinned under {}\n", dir.display()))?;
        }
        for name in removed {
            print(&format!("removed {}\n", dir.join(name).display()))?;
        }
        Ok(())
    }
}
