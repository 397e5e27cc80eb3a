//! `cargo xtask fuzz`.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use clap::Parser;
use tests::fixture::World;
use tests::fuzz::{Differential, other_interface};

/// Packets through one world; then another one has its turn, with another seed.
const ROUND: u64 = 1_000_000;
const PROGRESS: Duration = Duration::from_secs(2);

/// Tries random packets on the kernel program and on the host's pipeline, until they disagree or the time is over.
#[derive(Parser)]
struct Args {
    /// For how long.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Begin with the round of this seed, as a failure says it.
    #[arg(long)]
    seed: Option<u64>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    ensure!(nix::unistd::geteuid().is_root(), "the kernel program is loaded: run this as root");
    let clock = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u64;
    let mut run =
        Run { start: Instant::now(), end: Duration::from_secs(args.seconds), told: Duration::ZERO, packets: 0 };
    let interface = other_interface()?;
    let mut seed = args.seed.unwrap_or(clock);
    while run.start.elapsed() < run.end {
        // The seed says which world, so that it alone is enough to come here again.
        let world = if seed % 3 == 0 { World::with_few_pins() } else { World::of_everything(interface) };
        run.round(world, seed)?;
        seed += 1;
    }
    println!("{} packets, and no difference", run.packets);
    Ok(())
}

struct Run {
    start: Instant,
    end: Duration,
    /// When progress was last said.
    told: Duration,
    packets: u64,
}

impl Run {
    fn round(&mut self, world: World, seed: u64) -> Result<()> {
        println!("seed {seed}");
        let mut both = Differential::new(world, seed)?;
        while both.packets() < ROUND && self.start.elapsed() < self.end {
            both.step()?;
            self.packets += 1;
            self.progress(seed);
        }
        both.compare()
    }

    fn progress(&mut self, seed: u64) {
        let now = self.start.elapsed();
        if now - self.told >= PROGRESS {
            self.told = now;
            eprintln!("{} of {} s, {} packets, seed {seed}", now.as_secs(), self.end.as_secs(), self.packets);
        }
    }
}
