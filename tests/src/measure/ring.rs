//! A large ring: made anew, and with one real server that goes or comes back.
//!
//! Timed is all that the daemon does for it: reading what the maps hold, working out what they should hold, the difference,
//! and the writing of it to the maps in the kernel, which are shared memory.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lb_user::config::Config;
use lb_user::dataplane::Kernel;
use lb_user::reconcile::Reconciler;
use lb_user::state::{Health, Moment, Summary};
use serde::Serialize;

use crate::fixture::{self, World};

/// Buckets of the ring.
pub const BUCKETS: u32 = 65_537;
/// Its real servers.
pub const REALS: u16 = 1000;

/// The name of the change that makes a new ring.
pub const REBUILT: &str = "rebuilt";

/// What a change of the ring took.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Timing {
    /// Which change.
    pub change: &'static str,
    /// The least, in milliseconds.
    pub ms_min: f64,
    /// The median, in milliseconds.
    pub ms_median: f64,
    /// Buckets written each time.
    pub buckets: usize,
}

/// Each change, so many times over.
///
/// # Errors
/// The kernel's, or that nothing was changed.
pub fn measure(rounds: u32) -> Result<Vec<Timing>> {
    let mut world = World::with_ring(REALS, BUCKETS);
    let kernel = fixture::load(&fixture::program_object()?, &world)?;
    let mut bed = Bed { kernel, reconciler: Reconciler::default(), now: Moment::default() };
    let mut times = [const { Vec::new() }; 5];
    for round in 0..rounds {
        let [rebuilt, down_soon, up_soon, down, up] = &mut times;
        let lost = u16::try_from(round % u32::from(REALS))?;
        reweigh(&mut world.config, round);
        rebuilt.push(bed.reconcile(&world)?);
        down_soon.push(bed.set_health(&mut world, lost, Health::Down)?);
        up_soon.push(bed.set_health(&mut world, lost, Health::Up)?);
        bed.settle(&world)?;
        down.push(bed.set_health(&mut world, lost, Health::Down)?);
        up.push(bed.set_health(&mut world, lost, Health::Up)?);
        bed.settle(&world)?;
    }
    let names = [REBUILT, "one down, ring new", "one up, ring new", "one down", "one up"];
    names.into_iter().zip(times).map(|(name, all)| timing(name, all)).collect()
}

struct Bed {
    kernel: Kernel,
    reconciler: Reconciler,
    now: Moment,
}

impl Bed {
    fn reconcile(&mut self, world: &World) -> Result<(Duration, Summary)> {
        let start = Instant::now();
        let summary = self.reconciler.reconcile(&world.config, &world.view, &mut self.kernel, self.now)?;
        Ok((start.elapsed(), summary))
    }

    fn set_health(&mut self, world: &mut World, real: u16, health: Health) -> Result<(Duration, Summary)> {
        let pool = &world.config.pools[0];
        world.view.set_health(&pool.name, pool.reals[usize::from(real)].address, health);
        self.reconcile(world)
    }

    /// Lets every flow that an older ring had expire, so that its ring is forgotten.
    fn settle(&mut self, world: &World) -> Result<()> {
        for _ in 0..2 {
            self.now.seconds += 3600;
            self.reconciler.sweep(&world.config, &world.view, &mut self.kernel, self.now)?;
        }
        Ok(())
    }
}

/// Another weight makes another base: the ring is built and written from scratch.
fn reweigh(config: &mut Config, round: u32) {
    config.pools[0].reals[0].weight = 2 + round % 2;
}

fn timing(change: &'static str, all: Vec<(Duration, Summary)>) -> Result<Timing> {
    let (mut times, summaries): (Vec<Duration>, Vec<Summary>) = all.into_iter().unzip();
    let buckets = summaries.iter().map(|summary| summary.buckets).max().unwrap_or(0);
    ensure!(buckets > 0, "{change}: nothing was written");
    times.sort();
    let ms = |time: Duration| (time.as_secs_f64() * 1e5).round() / 100.0;
    Ok(Timing { change, ms_min: ms(times[0]), ms_median: ms(times[times.len() / 2]), buckets })
}

/// A table for people.
pub fn table(timings: &[Timing]) -> String {
    let head = format!("{:<18} {:>8} {:>8} {:>8}\n", "change", "min ms", "median", "buckets");
    timings.iter().fold(head, |text, Timing { change, ms_min, ms_median, buckets }| {
        text + &format!("{change:<18} {ms_min:>8.2} {ms_median:>8.2} {buckets:>8}\n")
    })
}
