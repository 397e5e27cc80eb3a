//! A look at all pins: which of them are live, and so what must not be given up yet.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering::{AcqRel, Acquire};

use lb_common::abi::{Pin, RingRange, ServiceId, Settings, Tick};

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
    let rings = rings(maps);
    let mut found = Sweep::default();
    let (mut held, mut reals) = (HashSet::new(), HashSet::new());
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
        reals.extend(pin.real());
        let Some(ring) = pin.service().and_then(|service| rings.get(&service)) else { continue };
        let changed = changes.of(*ring, now.tick);
        if pin.is_foreign() || pin.tick().age(now.tick) >= changed.age(now.tick) {
            held.insert(ring.base);
        }
    }
    found.holds = Holds { rings: Some(held), reals: Some(reals) };
    found
}

fn rings(maps: &impl Maps) -> HashMap<ServiceId, RingRange> {
    let services = Directory::read(maps).services;
    services.into_iter().map(|(id, info)| (id, RingRange::from_word(info.ring))).collect()
}
