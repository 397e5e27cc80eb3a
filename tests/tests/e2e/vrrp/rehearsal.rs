//! Two keepaliveds: does the lab see what they are known to do? What is measured of ours is measured with the same eyes.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tests::failover::{Cast, GRACE, Stage};
use tests::lab::{Brand, Router, Side, eventually};

const INTERVAL: Duration = Duration::from_millis(100);
const BOTH: [Brand; 2] = [Brand::Keepalived; 2];

fn stage() -> Result<Stage> {
    Stage::up(Cast::new(BOTH, |side| Router::v3(side, INTERVAL)))
}

#[test]
fn a_silent_keepalived_is_replaced_after_its_down_interval() -> Result<()> {
    let mut stage = stage()?;
    ensure!(stage.answering(INTERVAL)? == [Side::A]);
    let down = stage.cast.down_interval();
    let event = |stage: &mut Stage| {
        stage.pair.silence(Side::A)?;
        stage.wait_for_master(Side::B, Instant::now()).map(drop)
    };
    let watched = stage.watch(event, Duration::from_millis(300))?;
    let (after, vip) = (watched.after(), stage.vip()?);
    println!("outage {:?}, lost {}, lateness {:?}", after.outage(), after.lost(), after.lateness());
    ensure!(after.outage() > down - INTERVAL - INTERVAL && after.outage() < down + GRACE, "{:?}", after.outage());
    let answerers = watched.probed.answerers();
    ensure!(answerers.keys().eq(["director", "partner"]), "{answerers:?}");
    ensure!(!stage.observer.announcements("partner", vip, watched.at).is_empty(), "nobody saw a gratuitous ARP");
    let alone = || Ok((stage.answering(INTERVAL)? == [Side::B]).then_some(()));
    eventually(GRACE, "B answers alone", alone)?;
    stage.pair.let_speak(Side::A)?;
    stage.settle()
}

#[test]
fn a_killed_keepalived_leaves_a_vip_in_two_places() -> Result<()> {
    let mut stage = stage()?;
    let killed = Instant::now();
    stage.member_mut(Side::A).kill()?;
    stage.wait_for_master(Side::B, killed)?;
    let both = || Ok((stage.macs_that_answer(INTERVAL)? == 2).then_some(()));
    eventually(GRACE, "the disease is gone, the comparison needs another look: both answer for the vip", both)
}

#[test]
fn a_partition_makes_two_masters_and_healing_leaves_one() -> Result<()> {
    let stage = stage()?;
    let parted = Instant::now();
    stage.pair.part()?;
    stage.wait_for_master(Side::B, parted)?;
    ensure!(!stage.observer.adverts("director", Instant::now() - 2 * INTERVAL).is_empty(), "A is not master any more");
    // Its first advert is sent before it has the vip.
    let both = || Ok((stage.macs_that_answer(INTERVAL)? == 2).then_some(()));
    eventually(GRACE, "both answer for the vip", both)?;
    stage.pair.heal()?;
    stage.settle()
}

#[test]
fn a_keepalived_over_ipv6_is_seen_too() -> Result<()> {
    let mut stage = Stage::up(Cast::new(BOTH, |side| Router::v6(side, INTERVAL)))?;
    let event = |stage: &mut Stage| {
        stage.pair.unplug(Side::A)?;
        stage.wait_for_master(Side::B, Instant::now()).map(drop)
    };
    let watched = stage.watch(event, Duration::from_millis(300))?;
    println!("outage {:?}", watched.after().outage());
    ensure!(watched.probed.answerers().keys().eq(["director", "partner"]));
    ensure!(!stage.observer.announcements("partner", stage.vip()?, watched.at).is_empty());
    ensure!(stage.answering(INTERVAL)? == [Side::B]);
    Ok(())
}
