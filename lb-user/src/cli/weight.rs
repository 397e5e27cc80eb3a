//! `xdirector weight`

use anyhow::{Context, Result, ensure};
use clap::Args;

use super::remote::{Real, Socket, order};
use crate::control::Request;

const MAX_WEIGHT: u32 = 65_535;

/// Give a real server another weight than the file says
///
/// Survives a reload and a restart; `auto` ends it. Established flows stay where they are.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  xdirector weight web/web1 5\n  xdirector weight web/web1 auto")]
pub struct Weight {
    /// Which: its pool, and its name or its address
    #[arg(value_name = "POOL/REAL")]
    real: Real,
    /// 0 to 65535, or auto: what the file says
    #[arg(value_name = "WEIGHT", value_parser = wanted)]
    weight: Wanted,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    socket: Socket,
}

/// `None`: the file's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wanted(Option<u32>);

fn wanted(text: &str) -> Result<Wanted> {
    if text == "auto" {
        return Ok(Wanted(None));
    }
    let number: u32 = text.parse().context("write a number or auto")?;
    ensure!(number <= MAX_WEIGHT, "it must be from 0 to {MAX_WEIGHT}");
    Ok(Wanted(Some(number)))
}

impl Weight {
    pub fn run(self) -> Result<()> {
        order(&self.socket, &Request::Weight { target: self.real.0, weight: self.weight.0 }, self.json).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_is_a_number_or_auto() {
        assert_eq!(wanted("auto").expect("it is one"), Wanted(None));
        assert_eq!(wanted("0").expect("it is one"), Wanted(Some(0)));
        assert_eq!(wanted("65535").expect("it is one"), Wanted(Some(65_535)));
        for bad in ["", "-1", "65536", "Auto", "1.5"] {
            assert!(wanted(bad).is_err(), "{bad}");
        }
    }
}
