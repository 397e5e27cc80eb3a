//! `xdirector undrain`

use anyhow::Result;
use clap::Args;

use super::remote::{Real, Socket, order};
use crate::control::Request;

/// Let a real server that is drained take new flows again
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  xdirector undrain web/web1")]
pub struct Undrain {
    /// Which: its pool, and its name or its address
    #[arg(value_name = "POOL/REAL")]
    real: Real,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    socket: Socket,
}

impl Undrain {
    pub fn run(self) -> Result<()> {
        order(&self.socket, &Request::Undrain(self.real.0), self.json).map(drop)
    }
}
