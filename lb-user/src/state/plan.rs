//! The difference between the maps and what they should hold, as steps in an order that packets may watch.
//!
//! 1. Ids that are new: counters to zero, then the directory entry, its `used` word last. What packets know of real servers,
//!    and the interfaces they are reached by.
//! 2. Buckets. Each is valid on its own, old or new. Slots of zones. Access lists that nobody looks at yet.
//! 3. Slots of the half that is or becomes active: an old key's tail goes first, a new key's tail comes last; where a
//!    ring moved, the old ring is one word and the ring the next.
//! 4. Settings: everything else, then the half, then the version.
//! 5. Access lists that nobody looks at any more, then slots of zones, and entries of ids that are gone.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};

use lb_common::abi::limits::{ALL_SLOTS, MAX_INTERFACES, SERVICE_SLOTS};
use lb_common::abi::{
    Admission, Bucket, RealId, RealSlot, RingRange, ServiceId, ServiceInfo, ServiceSlot, Settings, Value,
};

use super::directory::taken_slots;
use super::{Desired, Directory, read_value};
use crate::dataplane::{AccessLists, AccessPrefix, CounterId, Maps, WordMap};

/// One thing to do. A packet may come between any two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Start a counter anew.
    Zero(CounterId),
    /// Put a prefix into an access list, or take it out.
    Access(AccessPrefix, Option<Admission>),
    /// Make an interface (place, index) one that frames leave by.
    Interface(u32, u32),
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
    /// Prefixes put into access lists and taken out.
    pub access: (usize, usize),
    /// Whether the service table moves to its other half.
    pub new_table: bool,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { services, reals, buckets, access, new_table } = self;
        write!(f, "{buckets} buckets, services +{} -{}, reals +{} -{}", services.0, services.1, reals.0, reals.1)?;
        if *access != (0, 0) {
            write!(f, ", access prefixes +{} -{}", access.0, access.1)?;
        }
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
    /// Rings in which some bucket gets another owner, or that a service comes to.
    pub changed_rings: Vec<RingRange>,
}

impl Plan {
    /// Does all of it. A counter that stays as it is, or an interface that cannot be left by, loses nothing else. Without a
    /// prefix of an access list nothing that comes after it is done: packets look at the list of before.
    ///
    /// # Errors
    /// The first failure: the kernel's, from whatever is not a word.
    pub fn apply(&self, maps: &mut impl Maps) -> std::io::Result<()> {
        let mut outcome = Ok(());
        for step in &self.steps {
            let result = step.apply(maps);
            if matches!(step, Step::Access(_, Some(_))) {
                result?;
            } else {
                outcome = outcome.and(result);
            }
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
    /// What it is about, in a message.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Write { .. } => "a word",
            Self::Zero(_) => "a counter",
            Self::Access(..) => "a prefix of an access list",
            Self::Interface(..) => "an interface to leave by",
        }
    }

    /// Does it.
    ///
    /// # Errors
    /// The kernel's, from whatever is not a word.
    pub fn apply(&self, maps: &mut impl Maps) -> std::io::Result<()> {
        match *self {
            Self::Zero(counter) => maps.zero_counter(counter),
            Self::Access(prefix, access) => maps.set_access(prefix, access),
            Self::Interface(place, index) => maps.set_interface(place, index),
            Self::Write { map, index, word } => {
                if let Some(slot) = maps.words(map).get(index) {
                    slot.store(word, Release);
                }
                Ok(())
            }
        }
    }
}

/// All that differs. `access` is what the access lists are now, `interfaces` those that frames can leave by.
pub fn plan(
    desired: &Desired,
    directory: &Directory,
    access: &AccessLists,
    interfaces: &[u64; MAX_INTERFACES],
    maps: &impl Maps,
) -> Plan {
    let mut plan = Plan::default();
    add_ids(&mut plan, desired, directory, maps);
    write_interfaces(&mut plan, desired, interfaces);
    write_buckets(&mut plan, desired, directory, maps);
    write_zone_slots(&mut plan, desired, maps);
    add_access(&mut plan, desired, access);
    add_port_blocks(&mut plan, desired, maps);
    write_slots(&mut plan, desired, maps);
    write_settings(&mut plan, desired, maps);
    remove_access(&mut plan, desired, access);
    remove_zone_slots(&mut plan, desired, maps);
    remove_ids(&mut plan, desired, directory, maps);
    plan
}

/// Every word but the first, then the first. Of a ring and the one before, the one before: a daemon that dies between the two
/// leaves both.
fn service_words() -> impl Iterator<Item = usize> {
    const RINGS: std::ops::Range<usize> = 4..8;
    let (before, behind) = (1..RINGS.start, RINGS.end..ServiceInfo::ZEROS.len());
    const OLD_UNTIL: usize = 7;
    const OLD_RING: usize = 6;
    const RING: usize = 4;
    const SIGNATURE: usize = 5;
    before.chain([OLD_UNTIL, OLD_RING, RING, SIGNATURE]).chain(behind).chain([0])
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
        plan.write_value(words, id.index(), info, service_words());
    }
    let words = (WordMap::RealInfo, maps.words(WordMap::RealInfo));
    for (id, info) in &desired.reals {
        if !directory.reals.contains_key(id) {
            plan.steps.push(Step::Zero(CounterId::Real(*id)));
            plan.summary.reals.0 += 1;
        }
        plan.write_value(words, id.index(), info, first_last(info.to_words().len()));
    }
    let words = (WordMap::Reals, maps.words(WordMap::Reals));
    for (id, slot) in &desired.real_slots {
        // The exit first: a bucket or an owner may send packets to look at it.
        plan.write_value(words, id.index(), slot, [1, 0].into_iter());
    }
}

fn write_interfaces(plan: &mut Plan, desired: &Desired, now: &[u64; MAX_INTERFACES]) {
    for (place, (now, wanted)) in (0..).zip(now.iter().zip(desired.settings.interfaces)) {
        if *now != wanted {
            // An interface's index is 31 bits.
            plan.steps.push(Step::Interface(place, wanted as u32));
        }
    }
}

/// All that packets will see after the next steps; and nothing of before may be in a list that they are about to look at.
fn add_access(plan: &mut Plan, desired: &Desired, now: &AccessLists) {
    for (prefix, access) in &desired.access {
        if now.get(prefix) != Some(access) {
            plan.steps.push(Step::Access(*prefix, Some(*access)));
            plan.summary.access.0 += 1;
        }
    }
    let (stale, lists) = (now.keys().filter(|prefix| !desired.access.contains_key(prefix)), wanted_lists(desired));
    for prefix in stale.filter(|prefix| lists.contains(&prefix.key.list)) {
        plan.steps.push(Step::Access(*prefix, None));
    }
}

fn remove_access(plan: &mut Plan, desired: &Desired, now: &AccessLists) {
    let lists = wanted_lists(desired);
    for prefix in now.keys().filter(|prefix| !lists.contains(&prefix.key.list)) {
        plan.steps.push(Step::Access(*prefix, None));
        plan.summary.access.1 += 1;
    }
}

fn wanted_lists(desired: &Desired) -> HashSet<u32> {
    desired.access.keys().map(|prefix| prefix.key.list).collect()
}

fn write_buckets(plan: &mut Plan, desired: &Desired, directory: &Directory, maps: &impl Maps) {
    let words = maps.words(WordMap::Buckets);
    let before = plan.steps.len();
    for (range, buckets) in &desired.rings {
        let mut moves = false;
        let first = range.base as usize;
        for ((index, bucket), now) in (first..).zip(buckets).zip(words.get(first..).unwrap_or_default()) {
            let now = Bucket::from_word(now.load(Acquire));
            // Nearly always.
            if now == *bucket {
                continue;
            }
            moves |= now.real() != bucket.real();
            plan.steps.push(Step::Write { map: WordMap::Buckets, index, word: bucket.to_word() });
        }
        // What was there may be the same by chance, if the place is another one.
        let come = |(id, info): &(ServiceId, ServiceInfo)| {
            let former = directory.services.get(id).map(|former| former.ring);
            info.ring == range.to_word() && former != Some(info.ring)
        };
        moves |= desired.services.iter().any(come);
        plan.changed_rings.extend(moves.then_some(*range));
    }
    plan.summary.buckets = plan.steps.len() - before;
}

/// Packets look for blocks of the sizes that there are and of those that there will be.
fn add_port_blocks(plan: &mut Plan, desired: &Desired, maps: &impl Maps) {
    let words = maps.words(WordMap::Settings);
    let current: Settings = read_value(words, 0);
    let both = Settings { port_blocks: current.port_blocks | desired.settings.port_blocks, ..current };
    plan.write_value((WordMap::Settings, words), 0, &both, 0..both.to_words().len());
}

/// The last word of a slot, which says that it is taken.
const TAIL: usize = ServiceSlot::ZEROS.len() - 1;

/// Nobody finds a new one before the access lists say it; one that is there changes as any slot does.
fn write_zone_slots(plan: &mut Plan, desired: &Desired, maps: &impl Maps) {
    let words = (WordMap::Services, maps.words(WordMap::Services));
    for (id, slot) in &desired.zone_slots {
        plan.write_value(words, id.zone_slot(), slot, 0..=TAIL);
    }
}

fn remove_zone_slots(plan: &mut Plan, desired: &Desired, maps: &impl Maps) {
    let wanted: HashSet<u32> = desired.zone_slots.iter().map(|(id, _)| id.zone_slot()).collect();
    let words = maps.words(WordMap::Services);
    let taken = taken_slots(words, 2 * SERVICE_SLOTS..ALL_SLOTS);
    for (index, _) in taken.filter(|(index, _)| !wanted.contains(index)) {
        plan.write(WordMap::Services, words, index as usize * (TAIL + 1) + TAIL, 0);
    }
}

fn write_slots(plan: &mut Plan, desired: &Desired, maps: &impl Maps) {
    /// The key: what else the word says may change with it at once.
    const KEY: u64 = 0xffff_ffff;
    let words = maps.words(WordMap::Services);
    let half = desired.settings.active_half as u32 & 1;
    let taken = taken_slots(words, half * SERVICE_SLOTS..(half + 1) * SERVICE_SLOTS);
    // By slot, so that they are gone through in the order of the map.
    let mut wanted: BTreeMap<u32, Option<ServiceSlot>> = taken.map(|(index, _)| (index, None)).collect();
    wanted.extend(desired.slots.iter().map(|(slot, wanted)| (half * SERVICE_SLOTS + slot, Some(*wanted))));
    // A service whose ports change is found by its new keys before the old ones go.
    let is_kept = |(index, wanted): &(u32, Option<ServiceSlot>)| {
        let now: ServiceSlot = read_value(words, *index);
        wanted.is_some_and(|wanted| now.tail == 0 || (now.tail & KEY, now.vip) == (wanted.tail & KEY, wanted.vip))
    };
    let (first, last): (Vec<_>, Vec<_>) = wanted.into_iter().partition(is_kept);
    for (index, wanted) in first.into_iter().chain(last) {
        let now: ServiceSlot = read_value(words, index);
        let wanted = wanted.unwrap_or(ServiceSlot { tail: 0, ..now });
        let tail = |word| Step::Write { map: WordMap::Services, index: index as usize * (TAIL + 1) + TAIL, word };
        let replaced = now.tail != 0 && (now.tail & KEY, now.vip) != (wanted.tail & KEY, wanted.vip);
        if replaced {
            plan.steps.push(tail(0));
        }
        if wanted.tail != 0 {
            plan.write_value((WordMap::Services, words), index, &wanted, 0..TAIL);
            if replaced || now.tail != wanted.tail {
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
        for word in 0..RealSlot::ZEROS.len() {
            plan.write(
                WordMap::Reals,
                maps.words(WordMap::Reals),
                id.index() as usize * RealSlot::ZEROS.len() + word,
                0,
            );
        }
        let first = id.index() as usize * info.to_words().len();
        plan.write(WordMap::RealInfo, maps.words(WordMap::RealInfo), first, 0);
        plan.summary.reals.1 += 1;
    }
}
