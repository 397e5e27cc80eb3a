//! The pipeline's tables over maps in user space: the host's run of the datapath, which is its specification.

use std::collections::HashMap;

use lb_common::abi::{Bucket, FragmentKey, FragmentOwner, RealId, ServiceId, ServiceSlot, Settings};
use lb_common::datapath::Tables;
use lb_common::reason::Reason;

use super::{Maps, Memory, WordMap};
use crate::config::Limits;
use crate::state::{read_value, values};

/// The tables as they were when this was made, and counters that start at zero.
pub struct HostTables {
    settings: Settings,
    slots: Vec<ServiceSlot>,
    buckets: Vec<Bucket>,
    fragments: HashMap<FragmentKey, FragmentOwner>,
    /// Where this run counts; its other maps are not used.
    pub counted: Memory,
}

impl HostTables {
    /// Copies settings, slots and buckets.
    pub fn new(maps: &impl Maps, limits: &Limits) -> Self {
        let (slots, buckets) = (maps.words(WordMap::Services), maps.words(WordMap::Buckets));
        let bucket =
            |word: &std::sync::atomic::AtomicU64| Bucket::from_word(word.load(std::sync::atomic::Ordering::Acquire));
        Self {
            settings: read_value(maps.words(WordMap::Settings), 0),
            slots: (0..values::<ServiceSlot>(slots)).map(|index| read_value(slots, index)).collect(),
            buckets: buckets.iter().map(bucket).collect(),
            fragments: HashMap::new(),
            counted: Memory::new(limits),
        }
    }
}

impl Tables for HostTables {
    fn settings(&self) -> Option<&Settings> {
        Some(&self.settings)
    }

    fn slot(&self, index: u32) -> Option<&ServiceSlot> {
        self.slots.get(index as usize)
    }

    fn bucket(&self, index: u32) -> Option<Bucket> {
        self.buckets.get(index as usize).copied()
    }

    fn fragment_owner(&self, key: &FragmentKey) -> Option<FragmentOwner> {
        self.fragments.get(key).copied()
    }

    fn remember_fragment(&mut self, key: &FragmentKey, owner: FragmentOwner) {
        self.fragments.insert(*key, owner);
    }

    fn count_reason(&mut self, reason: Reason) {
        self.counted.reasons[reason as usize] += 1;
    }

    fn count_forwarded(&mut self, service: ServiceId, real: RealId, bytes: u64) {
        let Memory { service_counters, real_counters, .. } = &mut self.counted;
        let counters =
            [service_counters.get_mut(service.index() as usize), real_counters.get_mut(real.index() as usize)];
        for counter in counters.into_iter().flatten() {
            counter.packets += 1;
            counter.bytes += bytes;
        }
    }
}
