//! The pipeline's tables over maps in user space: the host's run of the datapath, which is its specification.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use lb_common::abi::{
    AccessKey, AccessList, Bucket, FragmentOwner, Pin, PinSet, RealId, RealSlot, ServiceId, ServiceKey, ServiceSlot,
    Settings, Signal, Signals, SynNote, SynTick, Tick, Value, VipGuard, WAYS,
};
use lb_common::datapath::{Tables, Tracked, find_block, track};
use lb_common::reason::Reason;

use super::{AccessLists, Maps, Memory, WordMap};
use crate::config::Limits;
use crate::state::{address_of, read_value, values};

/// The tables as they were when this was made, and counters that start at zero.
pub struct HostTables {
    settings: Settings,
    slots: Vec<ServiceSlot>,
    buckets: Vec<Bucket>,
    reals: Vec<RealSlot>,
    /// As the maps have them; packets change them here only.
    pub pins: Vec<PinSet>,
    access: AccessLists,
    guards: BTreeMap<IpAddr, VipGuard>,
    lease_ends: Vec<u64>,
    fragments: HashMap<u64, FragmentOwner>,
    /// The real server that each answer to a probe is from, by the answer's number. The kernel's are not copied.
    pub probes: HashMap<u64, [u64; 2]>,
    /// As the maps have them; packets change them here only.
    pub syns: Vec<SynNote>,
    /// The time, as SYNs have it.
    pub syn_clock: SynTick,
    /// The time, which stands still.
    pub now: Tick,
    /// The same, as leases have it.
    pub nanoseconds: u64,
    /// Where this run counts; its other maps are not used.
    pub counted: Memory,
}

impl HostTables {
    /// Copies everything that packets read.
    ///
    /// # Errors
    /// The kernel's, if the maps are in the kernel and it does not give the access lists.
    pub fn new(maps: &impl Maps, limits: &Limits) -> std::io::Result<Self> {
        let (slots, reals) = (maps.words(WordMap::Services), maps.words(WordMap::Reals));
        let load = |word: &AtomicU64| word.load(Ordering::Acquire);
        let set = |words: &[AtomicU64]| PinSet::new(std::array::from_fn(|way| Pin::from_word(load(&words[way]))));
        Ok(Self {
            settings: read_value(maps.words(WordMap::Settings), 0),
            slots: (0..values::<ServiceSlot>(slots)).map(|index| read_value(slots, index)).collect(),
            buckets: maps.words(WordMap::Buckets).iter().map(|word| Bucket::from_word(load(word))).collect(),
            reals: (0..values::<RealSlot>(reals)).map(|index| read_value(reals, index)).collect(),
            pins: maps.words(WordMap::Pins).chunks_exact(WAYS).map(set).collect(),
            access: maps.access_lists()?,
            guards: maps.guards()?,
            lease_ends: maps.words(WordMap::Leases).iter().map(load).collect(),
            fragments: HashMap::new(),
            probes: HashMap::new(),
            syns: maps.words(WordMap::Syns).iter().map(|word| SynNote::from_word(load(word))).collect(),
            syn_clock: SynTick::default(),
            now: Tick::default(),
            nanoseconds: 0,
            counted: Memory::new(limits),
        })
    }
}

impl HostTables {
    /// Copies everything anew, after the maps have changed; goes on counting, and remembers its fragments.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn refresh(&mut self, maps: &impl Maps, limits: &Limits) -> std::io::Result<()> {
        let former = std::mem::replace(self, Self::new(maps, limits)?);
        self.fragments = former.fragments;
        self.probes = former.probes;
        self.counted = former.counted;
        Ok(())
    }

    /// Forgets all pins, fragments and SYNs.
    pub fn forget_flows(&mut self) {
        let pins = self.pins.iter().flat_map(|set| (0..WAYS).map(move |way| (set, way)));
        pins.for_each(|(set, way)| set.set_pin(way, Pin::from_word(0)));
        self.fragments.clear();
        self.syns.iter_mut().for_each(|note| *note = SynNote::default());
    }

    /// Writes the pins to the maps, as packets would have.
    pub fn store_pins(&self, maps: &impl Maps) {
        let pins = self.pins.iter().flat_map(|set| (0..WAYS).map(|way| set.pin(way)));
        for (word, pin) in maps.words(WordMap::Pins).iter().zip(pins) {
            word.store(pin.to_word(), Ordering::Release);
        }
    }
}

/// Whether the first `bits` of two keys are the same.
fn same_prefix(a: &AccessKey, b: &AccessKey, bits: u32) -> bool {
    let bytes = |key: &AccessKey| [key.list].into_iter().chain(key.address).flat_map(u32::to_le_bytes);
    let whole = bits as usize / 8;
    let rest = |byte: u8| byte.checked_shr(8 - bits % 8).unwrap_or(0);
    bytes(a).take(whole).eq(bytes(b).take(whole)) && bytes(a).nth(whole).map(rest) == bytes(b).nth(whole).map(rest)
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

    fn real(&self, id: RealId) -> Option<&RealSlot> {
        self.reals.get(id.index() as usize)
    }

    fn find_block(&self, key: ServiceKey) -> Option<u32> {
        find_block(key, self)
    }

    fn pins(&self, set: u32) -> Option<&PinSet> {
        self.pins.get(set as usize)
    }

    fn track(&mut self, tracked: Tracked) -> Bucket {
        track(tracked, self)
    }

    fn now(&self) -> Tick {
        self.now
    }

    fn access(&self, list: AccessList, client: [u64; 2]) -> Option<u32> {
        let key = AccessKey::new(list, client);
        let matching = self.access.iter().filter(|(prefix, _)| same_prefix(&prefix.key, &key, prefix.bits));
        matching.max_by_key(|(prefix, _)| prefix.bits).map(|(_, access)| access.to_word())
    }

    fn is_fenced(&self, vip: [u64; 2]) -> bool {
        let end = self.guard(vip).and_then(|guard| self.lease_ends.get(guard.lease() as usize));
        end.is_some_and(|end| *end < self.nanoseconds)
    }

    fn guard(&self, vip: [u64; 2]) -> Option<VipGuard> {
        self.guards.get(&address_of(vip)).copied()
    }

    fn fragment_owner(&self, packet: u64) -> Option<FragmentOwner> {
        self.fragments.get(&packet).copied()
    }

    fn remember_fragment(&mut self, packet: u64, owner: FragmentOwner) {
        self.fragments.insert(packet, owner);
    }

    fn probed_real(&self, answer: u64) -> Option<[u64; 2]> {
        self.probes.get(&answer).copied()
    }

    fn syn(&self, place: u32) -> Option<&SynNote> {
        self.syns.get(place as usize)
    }

    fn syn_clock(&self) -> SynTick {
        self.syn_clock
    }

    fn count_signal(&mut self, real: RealId, signal: Signal) {
        let word = real.index() as usize * Signals::ZEROS.len() + signal as usize;
        if let Some(word) = self.counted.words(WordMap::Signals).get(word) {
            word.fetch_add(1, Ordering::AcqRel);
        }
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
