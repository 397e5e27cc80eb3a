//! Two directors that do not hear each other, and what happens once they do again.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tests::failover::{Cast, Stage};
use tests::lab::{Brand, Router, Side, eventually};

use super::AFTER;

/// What a busy machine may add to a second.
const GRACE: Duration = Duration::from_millis(250);

/// How often it heals.
const TIMES: usize = 3;

/// Parts them until both are master, and heals that. Within a second only A is, only A answers, and the client is served.
fn heals_within_a_second(brands: [Brand; 2], interval: Duration) -> Result<()> {
    let mut stage = Stage::up(Cast::new(brands, |side| Router::v3(side, interval)))?;
    for _ in 0..TIMES {
        let parted = Instant::now();
        stage.pair.part()?;
        stage.wait_for_master(Side::B, parted)?;
        // B has announced itself to the client, which A must undo.
        let watched = stage.watch(|stage| stage.pair.heal(), Duration::from_secs(1) + AFTER)?;
        let outage = watched.after().outage();
        println!("healed: lost {}, outage {outage:?}", watched.after().lost());
        ensure!(outage < Duration::from_millis(300), "no answer for {outage:?}");
        let late = stage.observer.adverts("partner", watched.at + Duration::from_secs(1) + GRACE);
        ensure!(late.is_empty(), "B is still master a second after");
        let alone = || Ok((stage.answering(Duration::from_millis(50))? == [Side::A]).then_some(()));
        eventually(AFTER, "A answers alone", alone)?;
        stage.settle()?;
    }
    Ok(())
}

#[test]
fn a_partition_of_two_of_ours_heals_within_a_second() -> Result<()> {
    heals_within_a_second([Brand::Ours; 2], Duration::from_millis(100))
}

#[test]
fn a_partition_of_two_of_ours_heals_within_a_second_at_one_advert_a_second() -> Result<()> {
    heals_within_a_second([Brand::Ours; 2], Duration::from_secs(1))
}

/// As it comes, keepalived gives way without a word, and then nobody can know that its last announcement was the later one.
#[test]
fn a_partition_of_ours_and_keepalived_heals_within_a_second() -> Result<()> {
    heals_within_a_second([Brand::Ours, Brand::Tuned], Duration::from_millis(100))
}
