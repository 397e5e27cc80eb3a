//! What 255 virtual routers cost.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::unistd::{Pid, SysconfVar, sysconf};

use super::Line;
use crate::failover::{Cast, Stage, pass};
use crate::lab::{Brand, Router, Side};

/// For `--only`.
pub const NAME: &str = "255 instances, v3 1 s";

const INSTANCES: u8 = 255;
/// For how long their processor time is counted.
const COUNTED: Duration = Duration::from_secs(10);
/// Of one core, in thousandths.
const TARGET: u128 = 50;

/// The cost as master and as backup.
///
/// # Errors
/// If the lab cannot be built, or a process ends.
pub fn lines(brand: Brand) -> Result<[Line; 2]> {
    let stage = Stage::up(cast(brand))?;
    let (master, backup) = (stage.member(Side::A).pids()?, stage.member(Side::B).pids()?);
    let before = (spent(&master)?, spent(&backup)?);
    pass(COUNTED);
    let after = (spent(&master)?, spent(&backup)?);
    Ok([line(brand, "master", after.0 - before.0), line(brand, "backup", after.1 - before.1)])
}

fn cast(brand: Brand) -> Cast {
    let routers = |side: Side| {
        let router = |vrid: u8| Router {
            name: format!("VI_{vrid}"),
            vrid,
            // The first one has the vip that the client asks for; the others have one each in another network.
            vips: if vrid == 1 { Router::v2(side).vips } else { vec![format!("10.70.0.{vrid}/32")] },
            ..Router::v3(side, Duration::from_secs(1))
        };
        (1..=INSTANCES).map(router).collect()
    };
    Cast { routers: Side::ALL.map(routers), ..Cast::new([brand; 2], Router::v2) }
}

fn line(brand: Brand, part: &str, time: Duration) -> Line {
    let thousandths = time.as_micros() * 1000 / COUNTED.as_micros();
    let met = u32::from(thousandths < TARGET);
    Line {
        event: NAME,
        who: format!("{}, {part}", brand.name()),
        rounds: 1,
        lost: (0, 0),
        outage_ms: (0.0, 0.0),
        takeover_ms: None,
        single_ms: None,
        wrong: 0,
        lateness_ms: 0.0,
        target: format!("< 5 % of a core; is {}.{} %", thousandths / 10, thousandths % 10),
        met: (brand == Brand::Ours).then_some(met),
    }
}

/// The processor time that these processes have had, with all their threads.
fn spent(pids: &[Pid]) -> Result<Duration> {
    let ticks = sysconf(SysconfVar::CLK_TCK)?.context("the clock's ticks are not known")?;
    let mut sum = 0;
    for pid in pids {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("no process {pid}"))?;
        sum += ticks_of(&stat).with_context(|| format!("/proc/{pid}/stat makes no sense"))?;
    }
    Ok(Duration::from_secs(1) * u32::try_from(sum)? / u32::try_from(ticks)?)
}

/// `utime` and `stime`: the 14th and 15th field. The second one, in brackets, may have spaces in it.
fn ticks_of(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_behind_a_name_with_spaces() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 100 0 0 0 12 34 0 0 20 0 1 0 5 6 7";
        assert_eq!(ticks_of(stat), Some(46));
    }
}
