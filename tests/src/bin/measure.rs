//! `cargo xtask measure`.

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};
use tests::measure::ring;

/// How long changes take, from what the daemon knows to maps in the kernel.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// A ring of 65,537 buckets and 1000 real servers.
    Ring {
        /// One JSON object a line instead of a table.
        #[arg(long)]
        json: bool,
        /// How often each change is made.
        #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        rounds: u32,
    },
}

fn main() -> Result<()> {
    let Args { what: What::Ring { json, rounds } } = Args::parse();
    ensure!(nix::unistd::geteuid().is_root(), "maps are made in the kernel: run this as root");
    let timings = ring::measure(rounds)?;
    if json {
        for timing in timings {
            println!("{}", serde_json::to_string(&timing)?);
        }
    } else {
        print!("{}", ring::table(&timings));
    }
    Ok(())
}
