//! VRRP from the outside: who answers for a vip, when, and what a client loses.

mod interop;
mod ours;
mod partition;
mod rehearsal;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tests::failover::{GRACE, Stage, Watched};
use tests::lab::Side;

/// What a client may notice where it should notice nothing, on a machine that is busy with other things.
const NOTHING: Duration = Duration::from_millis(50);

/// How long a client is watched after the last thing that happens.
const AFTER: Duration = Duration::from_millis(500);

/// The client noticed nothing, by and large.
fn lost_nothing(watched: &Watched, event: &str) -> Result<()> {
    let after = watched.after();
    println!("{event}: lost {}, outage {:?}, the probe's own {:?}", after.lost(), after.outage(), after.lateness());
    ensure!(after.outage() <= NOTHING + after.lateness(), "{event}: no answer for {:?}", after.outage());
    Ok(())
}

/// The client was alone for as long as the protocol takes to find out, and not for much longer.
fn lost_a_down_interval(stage: &Stage, watched: &Watched, event: &str) -> Result<()> {
    let (outage, down) = (watched.after().outage(), stage.cast.down_interval());
    println!("{event}: outage {outage:?} with a down interval of {down:?}");
    ensure!(outage <= down + GRACE, "{event}: no answer for {outage:?}");
    Ok(())
}

/// B takes over after what is done here, and A takes it back after the second.
fn there_and_back(
    stage: &mut Stage,
    away: impl FnOnce(&mut Stage) -> Result<()>,
    back: impl FnOnce(&mut Stage) -> Result<()>,
) -> Result<[Watched; 2]> {
    let there = stage.watch(
        |stage| {
            let begun = Instant::now();
            away(stage)?;
            stage.wait_for_master(Side::B, begun).map(drop)
        },
        AFTER,
    )?;
    let back = stage.watch(
        |stage| {
            back(stage)?;
            stage.settle()
        },
        AFTER,
    )?;
    Ok([there, back])
}
