//! A look at all pins: which of them are live, and so what must not be given up yet.

use std::collections::HashMap;
use std::sync::atomic::Ordering::{AcqRel, Acquire};

use lb_common::abi::limits::{MAX_REALS, MAX_SERVICES};
use lb_common::abi::{Pin, RealId, RingRange, Settings, Tick};

use super::{Directory, Holds, Moment, read_value};
use crate::dataplane::{Maps, WordMap};

/// What a look at the pins found.
#[derive(Clone, Debug, Default)]
pub struct Sweep {
    /// What is held.
    pub holds: Holds,
    /// Live pins.
    pub live: usize,
    /// Those of flows that were elsewhere than their bucket said when they were last seen.
    pub foreign: usize,
}

/// When the owners in each ring, by its first bucket, last changed.
#[derive(Clone, Debug, Default)]
pub struct RingChanges(HashMap<u32, Tick>);

impl RingChanges {
    /// They change now.
    pub fn note(&mut self, ring: RingRange, now: Tick) {
        self.0.insert(ring.base, now);
    }

    /// What was never noted may have changed just now, by a daemon before this one.
    fn of(&mut self, ring: RingRange, now: Tick) -> Tick {
        *self.0.entry(ring.base).or_insert(now)
    }
}

/// Reads all pins and clears those that have expired, before the clock comes round to them again.
///
/// A flow holds its ring if it was elsewhere than its bucket said when it was last seen, or has not been seen since the ring
/// changed.
pub fn sweep(maps: &impl Maps, changes: &mut RingChanges, now: Moment) -> Sweep {
    let settings: Settings = read_value(maps.words(WordMap::Settings), 0);
    // A few hundred.
    let idle = settings.idle_ticks as u32;
    let rings = rings(maps, changes, now);
    let mut found = Sweep::default();
    let (mut held, mut reals) = (vec![false; rings.len()], vec![false; MAX_REALS as usize + 1]);
    for word in maps.words(WordMap::Pins) {
        let pin = Pin::from_word(word.load(Acquire));
        if pin.to_word() == 0 {
            continue;
        }
        if !pin.is_live(now.tick, idle) {
            // If a packet has come in between, it has made the pin live again.
            let _ = word.compare_exchange(pin.to_word(), 0, AcqRel, Acquire);
            continue;
        }
        found.live += 1;
        found.foreign += usize::from(pin.is_foreign());
        if let Some(real) = pin.real() {
            reals[real.index() as usize] = true;
        }
        let service = pin.service().map_or(0, |service| service.index() as usize);
        if let Some((_, change_age)) = rings[service]
            && (pin.is_foreign() || pin.tick().age(now.tick) >= change_age)
        {
            held[service] = true;
        }
    }
    let held = rings.iter().zip(held).filter(|(_, held)| *held).filter_map(|(ring, _)| Some(ring.as_ref()?.0.base));
    let ids = (0..).zip(reals).filter(|(_, has)| *has).filter_map(|(id, _)| RealId::new(id));
    found.holds = Holds { rings: Some(held.collect()), reals: Some(ids.collect()), ..Holds::default() };
    found
}

/// By a service's id: its ring, and how many ticks ago that changed.
pub(super) fn rings(maps: &impl Maps, changes: &mut RingChanges, now: Moment) -> Vec<Option<(RingRange, u32)>> {
    let mut rings = vec![None; MAX_SERVICES as usize + 1];
    for (id, info) in Directory::read(maps).services {
        let ring = RingRange::from_word(info.ring);
        rings[id.index() as usize] = Some((ring, changes.of(ring, now.tick).age(now.tick)));
    }
    rings
}
