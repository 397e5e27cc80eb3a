//! Ours and keepalived, or FRR, one each, either side.

use std::fs::File;
use std::time::Duration;

use anyhow::{Result, ensure};
use tests::failover::{Cast, Stage};
use tests::lab::{Brand, Router, Script, Side};

use super::{lost_a_down_interval, lost_nothing, there_and_back};

/// As keepalived's interval may be with version 3.
const SHORT: Duration = Duration::from_millis(100);

/// Election, a polite stop and its end, a death and its end.
fn all_there_is(brands: [Brand; 2], router: impl Fn(Side) -> Router) -> Result<()> {
    let mut stage = Stage::up(Cast::new(brands, router))?;
    let stop = |stage: &mut Stage| stage.member_mut(Side::A).stop();
    let start = |stage: &mut Stage| stage.start_again(Side::A);
    let [stopped, preempted] = there_and_back(&mut stage, stop, start)?;
    if brands[0] == Brand::Ours {
        lost_nothing(&stopped, "polite stop of ours")?;
    } else {
        lost_a_down_interval(&stage, &stopped, "polite stop of keepalived")?;
    }
    if brands[1] == Brand::Ours {
        lost_nothing(&preempted, "keepalived takes the vip back from ours")?;
    }
    let silence = |stage: &mut Stage| stage.pair.silence(Side::A);
    let speak = |stage: &mut Stage| stage.pair.let_speak(Side::A);
    let [silent, _] = there_and_back(&mut stage, silence, speak)?;
    lost_a_down_interval(&stage, &silent, "silent machine")?;
    let vip = stage.router(Side::A).vips[0].clone();
    for (side, brand) in Side::ALL.into_iter().zip(brands) {
        // FRR turns a device off and leaves the vip on it.
        if brand != Brand::Frr {
            ensure!(stage.member(side).holds(&vip)? == (side == Side::A), "{vip} is not where it should be");
        }
    }
    Ok(())
}

const OURS_FIRST: [Brand; 2] = [Brand::Ours, Brand::Keepalived];
const KEEPALIVED_FIRST: [Brand; 2] = [Brand::Keepalived, Brand::Ours];

#[test]
fn ours_is_master_of_keepalived_over_version_2_with_a_password() -> Result<()> {
    all_there_is(OURS_FIRST, Router::v2)
}

#[test]
fn keepalived_is_master_of_ours_over_version_2_with_a_password() -> Result<()> {
    all_there_is(KEEPALIVED_FIRST, Router::v2)
}

#[test]
fn ours_is_master_of_keepalived_over_version_3() -> Result<()> {
    all_there_is(OURS_FIRST, |side| Router::v3(side, SHORT))
}

#[test]
fn keepalived_is_master_of_ours_over_version_3() -> Result<()> {
    all_there_is(KEEPALIVED_FIRST, |side| Router::v3(side, SHORT))
}

#[test]
fn ours_is_master_of_keepalived_over_ipv6() -> Result<()> {
    all_there_is(OURS_FIRST, |side| Router::v6(side, SHORT))
}

#[test]
fn keepalived_is_master_of_ours_over_ipv6() -> Result<()> {
    all_there_is(KEEPALIVED_FIRST, |side| Router::v6(side, SHORT))
}

#[test]
fn ours_is_master_of_keepalived_by_unicast() -> Result<()> {
    all_there_is(OURS_FIRST, |side| Router::v3(side, SHORT).unicast(side))
}

#[test]
fn keepalived_is_master_of_ours_by_unicast() -> Result<()> {
    all_there_is(KEEPALIVED_FIRST, |side| Router::v3(side, SHORT).unicast(side))
}

/// A script of A's fails and is well again; B does not care.
fn a_script_decides(brands: [Brand; 2]) -> Result<()> {
    let fails_with = std::env::temp_dir().join(format!("xdirector-fails-{}", std::process::id()));
    let script = Script { fails_with: fails_with.clone(), interval: Duration::from_secs(1), weight: -20 };
    let router = |side| Router { script: (side == Side::A).then(|| script.clone()), ..Router::v3(side, SHORT) };
    let mut stage = Stage::up(Cast::new(brands, router))?;
    let fail = |_: &mut Stage| Ok(File::create(&fails_with).map(drop)?);
    let mend = |_: &mut Stage| Ok(std::fs::remove_file(&fails_with)?);
    let outcome = there_and_back(&mut stage, fail, mend);
    // It is not the lab's, so it does not go with the lab; most often it is gone.
    std::fs::remove_file(&fails_with).ok();
    let [failed, mended] = outcome?;
    let [before, after] = if brands[0] == Brand::Ours { [&failed, &mended] } else { [&mended, &failed] };
    lost_nothing(before, "ours gives the vip away")?;
    lost_a_down_interval(&stage, after, "keepalived gives it away")
}

#[test]
fn a_script_of_ours_gives_the_vip_to_keepalived_and_takes_it_back() -> Result<()> {
    a_script_decides(OURS_FIRST)
}

#[test]
fn a_script_of_keepalived_gives_the_vip_to_ours_and_takes_it_back() -> Result<()> {
    a_script_decides(KEEPALIVED_FIRST)
}

#[test]
fn ours_is_master_of_frr() -> Result<()> {
    all_there_is([Brand::Ours, Brand::Frr], |side| Router::v3(side, SHORT))
}

#[test]
fn frr_is_master_of_ours() -> Result<()> {
    all_there_is([Brand::Frr, Brand::Ours], |side| Router::v3(side, SHORT))
}
