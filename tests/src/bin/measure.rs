//! `cargo xtask measure`.

use std::time::Duration;

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};
use tests::measure::{checks, failover, ring};

/// How long changes take, and what is lost meanwhile.
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
    /// A thousand health checks, each once a second, in the lab: processor time and memory of the daemon.
    Checks {
        /// A JSON object instead of a table.
        #[arg(long)]
        json: bool,
        /// For how many seconds.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3600))]
        seconds: u64,
    },
    /// A vip that moves between two directors, beside keepalived. All of it takes an hour or two.
    Failover {
        /// One JSON object a line instead of a table.
        #[arg(long)]
        json: bool,
        /// How often each event is played; the heals five times as often, the load a tenth as often.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
        rounds: u32,
        /// Only events whose name contains this.
        #[arg(long)]
        only: Option<String>,
        /// Only those whose name begins with this, for example xdirector.
        #[arg(long)]
        who: Option<String>,
        /// Say the names of all events instead.
        #[arg(long)]
        list: bool,
    },
}

fn main() -> Result<()> {
    ensure!(nix::unistd::geteuid().is_root(), "it needs network namespaces and the kernel's maps: run this as root");
    match Args::parse().what {
        What::Ring { json, rounds } => measure_ring(json, rounds),
        What::Checks { json, seconds } => {
            let cost = checks::measure(Duration::from_secs(seconds))?;
            let text = if json { serde_json::to_string(&cost)? + "\n" } else { cost.table() };
            print!("{text}");
            Ok(())
        }
        What::Failover { list: true, .. } => {
            failover::names().for_each(|name| println!("{name}"));
            Ok(())
        }
        What::Failover { json, rounds, only, who, .. } => {
            measure_failover(json, rounds, failover::Choice { event: only.as_deref(), who: who.as_deref() })
        }
    }
}

fn measure_ring(json: bool, rounds: u32) -> Result<()> {
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

fn measure_failover(json: bool, rounds: u32, choice: failover::Choice<'_>) -> Result<()> {
    if let Some(only) = choice.event {
        ensure!(failover::names().any(|name| name.contains(only)), "no event is named like \"{only}\"; see --list");
    }
    if !json {
        print!("{}", failover::head());
    }
    failover::measure(rounds, choice, |line| {
        if json {
            println!("{}", serde_json::to_string(line)?)
        } else {
            print!("{}", failover::row(line))
        }
        Ok(())
    })
}
