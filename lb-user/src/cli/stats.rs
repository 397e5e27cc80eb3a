//! `xdirector stats`

mod report;

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use clap::Args;

use super::Pins;
use super::output::{has_colours, print};
use crate::dataplane::Dump;
use crate::saved::{ORDERS, Orders, StateDir};
use report::Report;

/// Show what the kernel's maps say: services, real servers, packets, bytes, and why packets met which fate
///
/// Needs no daemon: the maps outlive it. Rates are taken from two readings, an interval apart.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  xdirector stats\n  xdirector stats --interval 5s --watch\n  xdirector stats --json --interval 0s \
                        | jq '.services[].reals[] | {name, state, share}'"
)]
pub struct Stats {
    #[command(flatten)]
    pins: Pins,
    /// Time between the two readings that rates are made of, such as 1s or 500ms; 0s shows no rates and does not wait
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    interval: Duration,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Show reasons that no packet had, too
    #[arg(long)]
    all: bool,
    /// Show again and again, until interrupted
    #[arg(long)]
    watch: bool,
}

fn interval(text: &str) -> Result<Duration> {
    let Some((number, unit)) = text.find(|c: char| !c.is_ascii_digit()).map(|at| text.split_at(at)) else {
        bail!("write a number with ms or s, such as 500ms");
    };
    match (number.parse::<u64>(), unit) {
        (Ok(number), "ms") => Ok(Duration::from_millis(number)),
        (Ok(number), "s") => Ok(Duration::from_secs(number)),
        _ => bail!("write a number with ms or s, such as 500ms"),
    }
}

/// Where the orders are.
struct Kept(Option<PathBuf>);

impl Kept {
    /// None if there is nothing to be read: the tables say as much as matters.
    fn read(&self) -> Orders {
        let read = |dir: &PathBuf| StateDir::new(dir).read(ORDERS).ok().flatten();
        self.0.as_ref().and_then(read).unwrap_or_default()
    }
}

impl Stats {
    pub fn run(self) -> Result<()> {
        ensure!(!self.watch || !self.interval.is_zero(), "--watch needs an interval above 0s");
        let (dir, orders) = (self.pins.dir()?, Kept(self.pins.state_dir()?));
        let mut before = (Dump::read(&dir)?, Instant::now());
        if self.interval.is_zero() {
            return self.show(&Report::new(None, &before.0, &orders.read()));
        }
        loop {
            before = self.next(&dir, before, &orders)?;
            if !self.watch {
                return Ok(());
            }
        }
    }

    /// Waits, reads again and shows; returns what was read.
    fn next(&self, dir: &Path, (before, since): (Dump, Instant), orders: &Kept) -> Result<(Dump, Instant)> {
        thread::sleep(self.interval);
        let (after, now) = (Dump::read(dir)?, Instant::now());
        self.show(&Report::new(Some((&before, now - since)), &after, &orders.read()))?;
        Ok((after, now))
    }

    fn show(&self, report: &Report) -> Result<()> {
        let clear = if self.watch && has_colours() { "\x1b[H\x1b[2J" } else { "" };
        let text = if self.json { serde_json::to_string(report)? + "\n" } else { report.text(self.all, has_colours()) };
        print(&format!("{clear}{text}"))?;
        Ok(())
    }
}
