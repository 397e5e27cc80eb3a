//! The difference between the maps and what they should hold, as steps in an order that packets may watch.
//!
//! 1. Ids that are new: counters to zero, then the directory entry, its `used` word last.
//! 2. Buckets. Each is valid on its own, old or new.
//! 3. Slots of the half that is or becomes active: an old key's tail goes first, a new key's tail comes last, and a
//!    ring that moved is one word.
//! 4. Settings: everything else, then the half, then the version.
//! 5. Directory entries of ids that are gone.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};

use lb_common::abi::limits::SERVICE_SLOTS;
use lb_common::abi::{RealId, ServiceId, ServiceSlot, Settings, Value};

use super::{Desired, Directory, read_value};
use crate::dataplane::{CounterId, Maps, WordMap};

/// One thing to do. A packet may come between any two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Start a counter anew.
    Zero(CounterId),
    /// Store a word.
    Write {
        /// In which map.
        map: WordMap,
        /// Which word of it.
        index: usize,
        /// What.
        word: u64,
    },
}

/// What a plan changes, for the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Ids given out and taken back.
    pub services: (usize, usize),
    /// Ids given out and taken back.
    pub reals: (usize, usize),
    /// Buckets that get another owner, or another MAC.
    pub buckets: usize,
    /// Whether the service table moves to its other half.
    pub new_table: bool,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { services, reals, buckets, new_table } = self;
        write!(f, "{buckets} buckets, services +{} -{}, reals +{} -{}", services.0, services.1, reals.0, reals.1)?;
        if *new_table { write!(f, ", new service table") } else { Ok(()) }
    }
}

/// Steps in order; empty if the maps are as they should be.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<Step>,
    /// What they amount to.
    pub summary: Summary,
}

impl Plan {
    /// Does all of it. A counter that cannot be zeroed loses nothing else; the first such failure is returned.
    ///
    /// # Errors
    /// The kernel's, from a counter.
    pub fn apply(&self, maps: &mut impl Maps) -> std::io::Result<()> {
        let mut outcome = Ok(());
        for step in &self.steps {
            outcome = outcome.and(step.apply(maps));
        }
        outcome
    }

    fn write(&mut self, map: WordMap, words: &[AtomicU64], index: usize, word: u64) {
        if words.get(index).is_some_and(|current| current.load(Acquire) != word) {
            self.steps.push(Step::Write { map, index, word });
        }
    }

    /// Words in the order given.
    fn write_value<T: Value>(
        &mut self,
        (map, words): (WordMap, &[AtomicU64]),
        index: u32,
        value: &T,
        order: impl Iterator<Item = usize>,
    ) {
        let value = value.to_words();
        let from = index as usize * value.as_ref().len();
        for word in order {
            self.write(map, words, from + word, value.as_ref()[word]);
        }
    }
}

impl Step {
    /// Does it.
    ///
    /// # Errors
    /// The kernel's, from a counter.
    pub fn apply(&self, maps: &mut impl Maps) -> std::io::Result<()> {
        match *self {
            Self::Zero(counter) => maps.zero_counter(counter),
            Self::Write { map, index, word } => {
                if let Some(slot) = maps.words(map).get(index) {
                    slot.store(word, Release);
                }
                Ok(())
            }
        }
    }
}

/// All that differs.
pub fn plan(desired: &Desired, directory: &Directory, maps: &impl Maps) -> Plan {
    let mut plan = Plan::default();
    add_ids(&mut plan, desired, directory, maps);
    write_buckets(&mut plan, desired, maps);
    write_slots(&mut plan, desired, maps);
    write_settings(&mut plan, desired, maps);
    remove_ids(&mut plan, desired, directory, maps);
    plan
}

/// Every word but the first, then the first.
fn first_last(words: usize) -> impl Iterator<Item = usize> {
    (1..words).chain([0])
}

fn add_ids(plan: &mut Plan, desired: &Desired, directory: &Directory, maps: &impl Maps) {
    let words = (WordMap::ServiceInfo, maps.words(WordMap::ServiceInfo));
    for (id, info) in &desired.services {
        if !directory.services.contains_key(id) {
            plan.steps.push(Step::Zero(CounterId::Service(*id)));
            plan.summary.services.0 += 1;
        }
        plan.write_value(words, id.index(), info, first_last(info.to_words().len()));
    }
    let words = (WordMap::RealInfo, maps.words(WordMap::RealInfo));
    for (id, info) in &desired.reals {
        if !directory.reals.contains_key(id) {
            plan.steps.push(Step::Zero(CounterId::Real(*id)));
            plan.summary.reals.0 += 1;
        }
        plan.write_value(words, id.index(), info, first_last(info.to_words().len()));
    }
}

fn write_buckets(plan: &mut Plan, desired: &Desired, maps: &impl Maps) {
    let words = maps.words(WordMap::Buckets);
    let before = plan.steps.len();
    for (range, buckets) in &desired.rings {
        for (index, bucket) in (range.base as usize..).zip(buckets) {
            plan.write(WordMap::Buckets, words, index, bucket.to_word());
        }
    }
    plan.summary.buckets = plan.steps.len() - before;
}

fn write_slots(plan: &mut Plan, desired: &Desired, maps: &impl Maps) {
    const TAIL: usize = 3;
    let words = maps.words(WordMap::Services);
    let wanted: HashMap<u32, ServiceSlot> = desired.slots.iter().copied().collect();
    let half = desired.settings.active_half as u32 & 1;
    for slot in 0..SERVICE_SLOTS {
        let index = half * SERVICE_SLOTS + slot;
        let now: ServiceSlot = read_value(words, index);
        let wanted = wanted.get(&slot).copied().unwrap_or(ServiceSlot { tail: 0, ..now });
        let tail = |word| Step::Write { map: WordMap::Services, index: index as usize * 4 + TAIL, word };
        let replaced = now.tail != 0 && (now.tail, now.vip) != (wanted.tail, wanted.vip);
        if replaced {
            plan.steps.push(tail(0));
        }
        if wanted.tail != 0 {
            plan.write_value((WordMap::Services, words), index, &wanted, 0..TAIL);
            if replaced || now.tail == 0 {
                plan.steps.push(tail(wanted.tail));
            }
        }
    }
}

fn write_settings(plan: &mut Plan, desired: &Desired, maps: &impl Maps) {
    let words = maps.words(WordMap::Settings);
    let current: Settings = read_value(words, 0);
    plan.summary.new_table = current.version != 0 && current.active_half != desired.settings.active_half;
    let count = desired.settings.to_words().len();
    plan.write_value((WordMap::Settings, words), 0, &desired.settings, (2..count).chain([1, 0]));
}

fn remove_ids(plan: &mut Plan, desired: &Desired, directory: &Directory, maps: &impl Maps) {
    let services: BTreeMap<ServiceId, ()> = desired.services.iter().map(|(id, _)| (*id, ())).collect();
    let reals: BTreeMap<RealId, ()> = desired.reals.iter().map(|(id, _)| (*id, ())).collect();
    for (id, info) in directory.services.iter().filter(|(id, _)| !services.contains_key(id)) {
        let first = id.index() as usize * info.to_words().len();
        plan.write(WordMap::ServiceInfo, maps.words(WordMap::ServiceInfo), first, 0);
        plan.summary.services.1 += 1;
    }
    for (id, info) in directory.reals.iter().filter(|(id, _)| !reals.contains_key(id)) {
        let first = id.index() as usize * info.to_words().len();
        plan.write(WordMap::RealInfo, maps.words(WordMap::RealInfo), first, 0);
        plan.summary.reals.1 += 1;
    }
}
