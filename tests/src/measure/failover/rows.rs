//! The events, their targets and their contestants. The targets are what is wanted of ours; keepalived stands beside it.

use std::time::Duration;

use super::{Round, Row, crowd, many, plays};
use crate::failover::{CANARY, Cast};
use crate::lab::{Brand, Router, Script, Side, Weighed};

const OURS: [Brand; 2] = [Brand::Ours; 2];
const THEIRS: [Brand; 2] = [Brand::Keepalived; 2];
const TUNED: [Brand; 2] = [Brand::Tuned; 2];
const OURS_TO_THEIRS: [Brand; 2] = [Brand::Ours, Brand::Keepalived];

const BESIDE: &[[Brand; 2]] = &[OURS, THEIRS];
const BESIDE_AND_WITH: &[[Brand; 2]] = &[OURS, OURS_TO_THEIRS, THEIRS];
const BESIDE_AND_TUNED: &[[Brand; 2]] = &[OURS, THEIRS, TUNED];

const SHORTEST: Duration = Duration::from_millis(10);
const SHORT: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);

/// A client notices nothing.
const NO_LOSS: &str = "0 lost";

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "polite stop, v2 1 s",
        target: NO_LOSS,
        met: none_lost,
        contestants: BESIDE_AND_WITH,
        cast: v2,
        play: plays::stop,
        rounds: all,
    },
    Row {
        name: "polite stop, v3 1 s",
        target: NO_LOSS,
        met: none_lost,
        contestants: BESIDE_AND_WITH,
        cast: |brands| v3(brands, SECOND),
        play: plays::stop,
        rounds: all,
    },
    Row {
        name: "hand-over to a higher priority, v2",
        target: NO_LOSS,
        met: none_lost,
        contestants: BESIDE,
        cast: v2,
        play: plays::come_back,
        rounds: all,
    },
    Row {
        name: "crash and restart, v2 1 s",
        target: "0 lost, no take-over",
        met: nothing_happened,
        contestants: BESIDE,
        cast: v2,
        play: plays::crash,
        rounds: all,
    },
    Row {
        name: "kill -9 for good, v2 1 s",
        target: "0 lost, one MAC within a down interval",
        met: |round, cast| none_lost(round, cast) && single_in_time(round, cast),
        contestants: BESIDE,
        cast: v2,
        play: plays::kill,
        rounds: all,
    },
    Row {
        name: "frozen for 10 s, v2 1 s",
        target: "0 lost, silent before B, nothing stale",
        met: |round, cast| none_lost(round, cast) && round.wrong == 0 && round.single.is_some(),
        contestants: BESIDE,
        cast: v2,
        play: plays::freeze,
        rounds: all,
    },
    Row {
        name: "silent machine, v3 10 ms",
        target: "outage <= 40 ms",
        met: |round, _| round.outage <= Duration::from_millis(40),
        contestants: BESIDE_AND_TUNED,
        cast: |brands| v3(brands, SHORTEST),
        play: plays::silence,
        rounds: all,
    },
    Row {
        name: "silent machine, v3 100 ms",
        target: "down interval + 5 ms",
        met: down_interval,
        contestants: BESIDE,
        cast: |brands| v3(brands, SHORT),
        play: plays::silence,
        rounds: all,
    },
    Row {
        name: "silent machine, v2 1 s",
        target: "down interval + 5 ms",
        met: down_interval,
        contestants: BESIDE,
        cast: v2,
        play: plays::silence,
        rounds: all,
    },
    Row {
        name: "partition heals, v2 1 s",
        target: "outage <= 20 ms",
        met: healed,
        contestants: BESIDE_AND_TUNED,
        cast: v2,
        play: plays::heal,
        rounds: all,
    },
    Row {
        name: "partition heals often, v3 100 ms",
        target: "outage <= 20 ms, always",
        met: healed,
        contestants: BESIDE,
        cast: |brands| v3(brands, SHORT),
        play: plays::heal,
        rounds: |rounds| 5 * rounds,
    },
    Row {
        name: "8 hogs for 60 s, v3 10 ms",
        target: "0 lost, no take-over",
        met: nothing_happened,
        contestants: BESIDE_AND_TUNED,
        cast: |brands| v3(brands, SHORTEST),
        play: plays::hogs,
        rounds: |rounds| rounds.div_ceil(10),
    },
    Row {
        name: "script fails (every 2 s), v2 1 s",
        target: "take-over <= 2020 ms, 0 lost",
        met: |round, cast| none_lost(round, cast) && taken_over_in(round, Duration::from_millis(2020)),
        contestants: BESIDE,
        cast: scripted,
        play: plays::script,
        rounds: all,
    },
    Row {
        name: "pool fails, in process, v3 10 ms",
        target: "take-over <= interval of 100 ms + 20 ms, 0 lost",
        met: |round, cast| none_lost(round, cast) && taken_over_in(round, CANARY + Duration::from_millis(20)),
        contestants: &[OURS],
        cast: pooled,
        play: plays::pool,
        rounds: all,
    },
    Row {
        name: "link lost, second path, v2 1 s",
        target: "outage <= 20 ms",
        met: |round, _| round.outage <= Duration::from_millis(20),
        contestants: &[OURS],
        cast: second_path,
        play: plays::unplug,
        rounds: all,
    },
    Row {
        name: "link lost, no second path, v2 1 s",
        target: "down interval + 5 ms",
        met: down_interval,
        contestants: BESIDE,
        cast: |brands| Cast::new(brands, |side| Router { links: vec!["eth0"], ..Router::v2(side) }),
        play: plays::unplug,
        rounds: all,
    },
];

/// The names of all events.
pub fn names() -> impl Iterator<Item = &'static str> {
    ROWS.iter().map(|row| row.name).chain([crowd::NAME, many::NAME])
}

fn all(rounds: u32) -> u32 {
    rounds
}

fn v2(brands: [Brand; 2]) -> Cast {
    Cast::new(brands, Router::v2)
}

fn v3(brands: [Brand; 2], interval: Duration) -> Cast {
    Cast::new(brands, |side| Router::v3(side, interval))
}

/// Only A's script can fail; B is in a hurry where it can be.
fn scripted(brands: [Brand; 2]) -> Cast {
    let script = Script { fails_with: plays::fails_with(), interval: Duration::from_secs(2), weight: -20 };
    let of = |side| (side == Side::A).then(|| script.clone());
    Cast::new(brands, |side| Router { script: of(side), hasty: true, ..Router::v2(side) })
}

fn pooled(brands: [Brand; 2]) -> Cast {
    let pool = |side| (side == Side::A).then(|| Weighed { name: "canary".into(), weight: -20 });
    let router = |side| Router { pool: pool(side), hasty: true, ..Router::v3(side, SHORTEST) };
    Cast { canary: true, ..Cast::new(brands, router) }
}

/// Adverts by the cable between the two; the vip is on the switch's segment. A master whose link is lost says that it leaves, and
/// a backup waits for a skew time then, which the protocol makes short for high priorities: 12 ms for 253, 649 ms for 90.
fn second_path(brands: [Brand; 2]) -> Cast {
    let unicast = |side: Side| Some((side.second_address().into(), side.other().second_address().into()));
    let priority = |side| if side == Side::A { 254 } else { 253 };
    let router =
        |side| Router { unicast: unicast(side), links: vec!["eth0"], priority: priority(side), ..Router::v2(side) };
    Cast { second_path: true, ..Cast::new(brands, router) }
}

fn none_lost(round: &Round, _: &Cast) -> bool {
    round.lost == 0
}

fn nothing_happened(round: &Round, cast: &Cast) -> bool {
    none_lost(round, cast) && round.wrong == 0
}

/// One asks every 20 milliseconds or so, and listens for as long.
fn single_in_time(round: &Round, cast: &Cast) -> bool {
    round.single.is_some_and(|single| single <= cast.down_interval() + Duration::from_millis(50))
}

fn down_interval(round: &Round, cast: &Cast) -> bool {
    round.outage <= cast.down_interval() + Duration::from_millis(5)
}

fn healed(round: &Round, _: &Cast) -> bool {
    round.wrong == 0 && round.outage <= Duration::from_millis(20)
}

fn taken_over_in(round: &Round, time: Duration) -> bool {
    round.takeover.is_some_and(|takeover| takeover <= time)
}
