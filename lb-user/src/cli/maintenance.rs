//! `xdirector maintenance`

use anyhow::Result;
use clap::Args;

use super::remote::{Real, Socket, order};
use crate::control::Request;

/// Take a real server out at once: its flows are moved too, and so broken
///
/// Survives a reload and a restart; `--off` ends it. To spare its flows, `drain` it first.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  xdirector maintenance web/web1\n  xdirector maintenance web/web1 --off")]
pub struct Maintenance {
    /// Which: its pool, and its name or its address
    #[arg(value_name = "POOL/REAL")]
    real: Real,
    /// End it
    #[arg(long)]
    off: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    socket: Socket,
}

impl Maintenance {
    pub fn run(self) -> Result<()> {
        order(&self.socket, &Request::Maintenance { target: self.real.0, on: !self.off }, self.json).map(drop)
    }
}
