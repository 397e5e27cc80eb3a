//! `cargo xtask bench`.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use tests::bench::report::{Sample, rows, table};
use tests::bench::{case, measure};

/// What a packet costs, in ns, beside the MAC-swap floor.
#[derive(Parser)]
#[command(after_help = "Example: cargo xtask bench --json --processes 9 --case v4-tcp")]
struct Args {
    /// One JSON object a line instead of a table.
    #[arg(long)]
    json: bool,
    /// How many fresh processes measure.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1000))]
    processes: u64,
    /// Only cases whose name contains this.
    #[arg(long, default_value = "")]
    case: String,
    /// Be one of the processes: measure once, print the samples.
    #[arg(long, hide = true)]
    child: Option<u64>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(seed) = args.child {
        println!("{}", serde_json::to_string(&measure::measure(cases(&args.case)?, seed)?)?);
        return Ok(());
    }
    cases(&args.case)?;
    ensure!(nix::unistd::geteuid().is_root(), "the bench loads programs into the kernel: run it as root");
    let mut samples = Vec::new();
    for process in 1..=args.processes {
        eprintln!("measuring, process {process} of {}", args.processes);
        samples.extend(child(&args.case, process)?);
    }
    let rows = rows(&samples);
    if args.json {
        for row in rows {
            println!("{}", serde_json::to_string(&row)?);
        }
    } else {
        print!("{}", table(&rows));
    }
    Ok(())
}

fn cases(filter: &str) -> Result<Vec<case::Case>> {
    let mut cases = case::all();
    cases.retain(|case| case.name.contains(filter));
    ensure!(!cases.is_empty(), "no case's name contains {filter:?}");
    Ok(cases)
}

fn child(filter: &str, seed: u64) -> Result<Vec<Sample>> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--case", filter, "--child", &seed.to_string()]).stderr(Stdio::inherit());
    let output = command.output().context("cannot start a measuring process")?;
    ensure!(output.status.success(), "a measuring process failed: {}", output.status);
    Ok(serde_json::from_slice(&output.stdout)?)
}
