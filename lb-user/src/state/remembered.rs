//! What can be seen in the maps of the flows and the buckets that real servers have.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering::Acquire;
use std::time::Duration;

use lb_common::abi::{Pin, RealId, RingRange, Settings, Tick};

use super::history::bucket_at;
use super::{Directory, Moment, read_value};
use crate::dataplane::{Maps, WordMap};

/// The flows that are remembered to be on one real server. Those that have been silent since before packets looked at the
/// pins are not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// How many were seen within the idle timeout.
    pub live: u64,
    /// In ticks: how long ago the last of them was seen.
    youngest: u32,
}

impl Remembered {
    /// How long ago one of them was seen: at least this long, and up to 17 seconds more.
    pub const fn silent_for(self) -> Duration {
        // Ticks are at most 2047.
        Duration::from_nanos((self.youngest.saturating_sub(1) as u64) << Tick::SHIFT)
    }
}

/// Reads all pins.
pub fn remembered(maps: &impl Maps, now: Moment) -> HashMap<RealId, Remembered> {
    let settings: Settings = read_value(maps.words(WordMap::Settings), 0);
    // A few hundred.
    let idle = settings.idle_ticks as u32;
    let mut found = HashMap::new();
    for word in maps.words(WordMap::Pins) {
        let pin = Pin::from_word(word.load(Acquire));
        let Some(real) = pin.real().filter(|_| pin.is_live(now.tick, idle)) else { continue };
        let its = found.entry(real).or_insert(Remembered { live: 0, youngest: u32::MAX });
        its.live += 1;
        its.youngest = its.youngest.min(pin.tick().age(now.tick));
    }
    found
}

/// How many buckets each real server owns, over the rings that services have.
pub fn owned_buckets(maps: &impl Maps, directory: &Directory) -> HashMap<RealId, u32> {
    let rings: HashSet<u64> = directory.services.values().map(|info| info.ring).collect();
    let mut owned = HashMap::new();
    for RingRange { base, size } in rings.into_iter().map(RingRange::from_word) {
        for real in (base..base.saturating_add(size)).filter_map(|index| bucket_at(maps, index).real()) {
            *owned.entry(real).or_default() += 1;
        }
    }
    owned
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use lb_common::abi::{PinName, ServiceId, Value};

    use super::*;
    use crate::config::Limits;
    use crate::dataplane::Memory;

    #[test]
    fn live_pins_are_counted_and_the_youngest_is_known() {
        let maps = Memory::new(&Limits { pins: 1024, ring_buckets: 251, ..Limits::default() });
        let moment = |seconds| Moment::new(Duration::from_secs(seconds));
        let settings = Settings { idle_ticks: 10, ..Settings::from_words(&Settings::ZEROS) };
        for (word, value) in maps.words(WordMap::Settings).iter().zip(settings.to_words()) {
            word.store(value, Relaxed);
        }
        let service = ServiceId::new(1).expect("an id");
        let [one, two] = [1, 2].map(|number| RealId::new(number).expect("an id"));
        for (place, (real, seconds)) in [(one, 1000), (one, 900), (one, 10), (two, 10)].into_iter().enumerate() {
            let pin = Pin::new(PinName::new(place as u64 + 1, service), real, true, moment(seconds).tick);
            maps.words(WordMap::Pins)[place].store(pin.to_word(), Relaxed);
        }
        let found = remembered(&maps, moment(1035));
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[&one].live, 2);
        let silent = found[&one].silent_for().as_secs();
        assert!((17..=35).contains(&silent), "{silent}");
    }
}
