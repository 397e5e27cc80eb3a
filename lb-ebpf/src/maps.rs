//! The only place that names a map. Sizes are defaults; the daemon sets them from the config when it loads.

use core::arch::asm;

use aya_ebpf::bindings::xdp_action::XDP_DROP;
use aya_ebpf::bindings::{BPF_F_MMAPABLE, xdp_md};
use aya_ebpf::btf_maps::lpm_trie::Key;
use aya_ebpf::btf_maps::{Array, DevMap, HashMap, LpmTrie, LruHashMap, PerCpuArray};
use aya_ebpf::helpers::generated::{bpf_jiffies64, bpf_ktime_get_coarse_ns, bpf_ktime_get_ns};
use aya_ebpf::macros::btf_map;
use lb_common::abi::{
    AccessKey, AccessList, Bucket, Counter, FragmentOwner, PinSet, ProbeMark, ProbedVip, RealId, RealInfo, RealSlot,
    Room, ServiceId, ServiceInfo, ServiceKey, ServiceSlot, Settings, Signal, Signals, SynNote, SynTick, Tick, VipGuard,
    WAYS, limits,
};
use lb_common::datapath::{Stage, Tables, Tracked, admit, fence, find_block, probe, rare, track};
use lb_common::hash::FlowKey;
use lb_common::reason::Reason;
use lb_common::wire::Frame;

use crate::cursor::XdpCursor;

const SHARED: usize = BPF_F_MMAPABLE as usize;
const SERVICES_AND_ZERO: usize = limits::MAX_SERVICES as usize + 1;
const REALS_AND_ZERO: usize = limits::DEFAULT_REALS as usize + 1;

#[btf_map]
static SETTINGS: Array<Settings, 1, SHARED> = Array::new();
#[btf_map]
static SERVICES: Array<ServiceSlot, { limits::ALL_SLOTS as usize }, SHARED> = Array::new();
#[btf_map]
static BUCKETS: Array<Bucket, { limits::DEFAULT_RING_BUCKETS as usize }, SHARED> = Array::new();
#[btf_map]
static REALS: Array<RealSlot, REALS_AND_ZERO, SHARED> = Array::new();
#[btf_map]
static PINS: Array<PinSet, { limits::DEFAULT_PINS as usize / WAYS }, SHARED> = Array::new();
#[btf_map]
static ACCESS: LpmTrie<AccessKey, u32, { limits::DEFAULT_ACCESS_PREFIXES as usize }> = LpmTrie::new();
#[btf_map]
static INTERFACES: DevMap<{ limits::MAX_INTERFACES }> = DevMap::new();
#[btf_map]
static VIPS: HashMap<[u64; 2], u32, { limits::MAX_VIPS as usize }> = HashMap::new();
#[btf_map]
static LEASES: Array<u64, { limits::LEASES as usize }, SHARED> = Array::new();
#[btf_map]
static SERVICE_COUNTERS: PerCpuArray<Counter, SERVICES_AND_ZERO> = PerCpuArray::new();
#[btf_map]
static REAL_COUNTERS: PerCpuArray<Counter, REALS_AND_ZERO> = PerCpuArray::new();
#[btf_map]
static REASONS: PerCpuArray<u64, { Reason::COUNT }> = PerCpuArray::new();
#[btf_map]
static PROBED_VIPS: Array<ProbedVip, { limits::PROBED_VIPS as usize }, SHARED> = Array::new();
#[btf_map]
static PROBES: LruHashMap<u64, [u64; 2], { limits::PROBES as usize }> = LruHashMap::new();
#[btf_map]
static SIGNALS: Array<Signals, REALS_AND_ZERO, SHARED> = Array::new();
#[btf_map]
static SYNS: Array<SynNote, { limits::SYNS as usize }, SHARED> = Array::new();
#[btf_map]
static FRAGMENTS: LruHashMap<u64, FragmentOwner, { limits::FRAGMENTS as usize }> = LruHashMap::new();
#[btf_map]
static SERVICE_INFO: Array<ServiceInfo, SERVICES_AND_ZERO, SHARED> = Array::new();
#[btf_map]
static REAL_INFO: Array<RealInfo, REALS_AND_ZERO, SHARED> = Array::new();

/// The pipeline's tables, in the kernel.
pub struct KernelTables {
    /// Of the frame that is looked at.
    context: *mut xdp_md,
}

impl KernelTables {
    /// For one frame.
    #[inline(always)]
    pub const fn new(context: *mut xdp_md) -> Self {
        Self { context }
    }

    /// For what looks at no frame.
    #[inline(always)]
    const fn without_frame() -> Self {
        Self::new(core::ptr::null_mut())
    }
}

impl Tables for KernelTables {
    #[inline(always)]
    fn settings(&self) -> Option<&Settings> {
        SETTINGS.get(0)
    }

    #[inline(always)]
    fn slot(&self, index: u32) -> Option<&ServiceSlot> {
        SERVICES.get(index)
    }

    #[inline(always)]
    fn bucket(&self, index: u32) -> Option<Bucket> {
        BUCKETS.get(index).copied()
    }

    #[inline(always)]
    fn real(&self, id: RealId) -> Option<&RealSlot> {
        REALS.get(id.index())
    }

    #[inline(always)]
    fn pins(&self, set: u32) -> Option<&PinSet> {
        PINS.get(set)
    }

    #[inline(always)]
    fn find_block(&self, key: ServiceKey) -> Option<u32> {
        Some(find_port_block(key.vip[0], key.vip[1], key.tail)).filter(|slot| *slot != u32::MAX)
    }

    #[inline(always)]
    fn track(&mut self, tracked: Tracked) -> Bucket {
        let Tracked { identity, ring_hash, bucket, service, slot, packet } = tracked;
        let place = slot | service.index() << 16;
        Bucket::from_word(track_flow(identity, ring_hash, bucket.to_word(), place, packet as u32))
    }

    #[inline(always)]
    fn room(&self, set: u32, now: Tick, idle: u32) -> Room {
        Room(pin_room(set, now.number(), idle))
    }

    #[inline(always)]
    fn now(&self) -> Tick {
        // SAFETY: takes nothing and reads a clock.
        Tick::from_nanoseconds(unsafe { bpf_ktime_get_coarse_ns() })
    }

    #[inline(always)]
    fn access(&self, list: AccessList, client: [u64; 2]) -> Option<u32> {
        ACCESS.get(&Key::new(AccessKey::BITS, AccessKey::new(list, client))).copied()
    }

    #[inline(always)]
    fn admit(&self, list: AccessList, client: [u64; 2], slot: u32) -> Option<u32> {
        Some(admit_client(list.0, client[0], client[1], slot)).filter(|slot| *slot != u32::MAX)
    }

    #[inline(always)]
    fn is_fenced(&self, vip: [u64; 2]) -> bool {
        vip_is_fenced(vip[0], vip[1]) != 0
    }

    #[inline(always)]
    fn guard(&self, vip: [u64; 2]) -> Option<VipGuard> {
        // SAFETY: one aligned word, copied at once.
        unsafe { VIPS.get(vip) }.copied().map(VipGuard::from_word)
    }

    #[inline(always)]
    fn is_closed<P: Frame + ?Sized>(&self, _: &mut P) -> bool {
        vip_is_closed(self.context) != 0
    }

    #[inline(always)]
    fn fragment_owner(&self, packet: u64) -> Option<FragmentOwner> {
        // SAFETY: the value is copied at once, as one word.
        unsafe { FRAGMENTS.get(packet) }.copied()
    }

    #[inline(always)]
    fn remember_fragment(&mut self, packet: u64, owner: FragmentOwner) {
        // A map that is full forgets the least used; there is no other failure, and nothing to be done about one.
        let _ = FRAGMENTS.insert(packet, owner, 0);
    }

    #[inline(always)]
    fn probed_real(&self, answer: u64) -> Option<[u64; 2]> {
        // SAFETY: the value is copied at once. One that is taken for another probe meanwhile is that of a probe that has been
        // forgotten.
        unsafe { PROBES.get(answer) }.copied()
    }

    #[inline(always)]
    fn take_answer<P: Frame + ?Sized>(&mut self, _: &mut P) -> bool {
        take_probe_answer(self.context) != 0
    }

    #[inline(always)]
    fn syn(&self, place: u32) -> Option<&SynNote> {
        SYNS.get(place)
    }

    #[inline(always)]
    fn syn_clock(&self) -> SynTick {
        // SAFETY: takes nothing and reads a counter. It is one load, while a clock in nanoseconds is a call that costs 19 of them.
        let jiffies = unsafe { bpf_jiffies64() };
        SynTick::from_nanoseconds(jiffies.wrapping_mul(SETTINGS.get(0).map_or(0, |settings| settings.jiffy)))
    }

    #[inline(always)]
    fn note_fragment<P: Frame + ?Sized>(&mut self, _: &mut P, service: ServiceId, real: RealId) {
        note_first_fragment(self.context, service.index(), real.index());
    }

    #[inline(always)]
    fn note_syn(&mut self, syn: u64, real: RealId) {
        note_client_syn(syn, real.index());
    }

    #[inline(always)]
    fn count_signal(&mut self, real: RealId, signal: Signal) {
        if let Some(signals) = SIGNALS.get_ptr_mut(real.index()) {
            // SAFETY: a valid slot, of which this is one of the two words; other CPUs add to it too.
            unsafe { add_one(signals.cast::<u64>().add(signal as usize)) };
        }
    }

    #[inline(always)]
    fn count_reason(&mut self, reason: Reason) {
        if let Some(count) = REASONS.get_ptr_mut(reason as u32) {
            // SAFETY: a valid slot of this CPU's copy; XDP does not interrupt itself on a CPU.
            unsafe { *count += 1 };
        }
    }

    #[inline(always)]
    fn count_forwarded(&mut self, service: ServiceId, real: RealId, bytes: u64) {
        count(SERVICE_COUNTERS.get_ptr_mut(service.index()), bytes);
        count(REAL_COUNTERS.get_ptr_mut(real.index()), bytes);
    }
}

// Functions of their own, and global: the verifier looks at each once, for any numbers, and takes its result for any number.
// In line it would follow every state that eight pins can be in through all that comes after, once for each family.

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn track_flow(identity: u64, ring_hash: u32, bucket: u64, place: u32, packet: u32) -> u64 {
    let packet = match packet {
        0 => Stage::Begins,
        1 => Stage::GoesOn,
        2 => Stage::Reports,
        _ => Stage::Datagram,
    };
    // Five numbers are all that a function of the kernel's takes, so one has both the slot and the service.
    let Some(service) = ServiceId::new((place >> 16) as u16) else { return bucket };
    let (bucket, slot) = (Bucket::from_word(bucket), place & 0xffff);
    track(Tracked { identity, ring_hash, bucket, service, slot, packet }, &mut KernelTables::without_frame()).to_word()
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn pin_room(set: u32, now: u32, idle: u32) -> u32 {
    PINS.get(set).map_or(0, |pins| pins.room(Tick::from_number(now), idle).0)
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn find_port_block(vip_0: u64, vip_1: u64, tail: u32) -> u32 {
    find_block(ServiceKey { vip: [vip_0, vip_1], tail }, &KernelTables::without_frame()).unwrap_or(u32::MAX)
}

/// This one for its key, which is better kept off the stack of the packets that need it not.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn admit_client(list: u32, client_0: u64, client_1: u64, slot: u32) -> u32 {
    admit(AccessList(list), [client_0, client_1], slot, &KernelTables::without_frame()).unwrap_or(u32::MAX)
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn vip_is_fenced(vip_0: u64, vip_1: u64) -> u32 {
    let guard = KernelTables::without_frame().guard([vip_0, vip_1]);
    // SAFETY: takes nothing and reads a clock.
    let has_run_out = |end: &u64| *end < unsafe { bpf_ktime_get_ns() };
    guard.and_then(|guard| LEASES.get(guard.lease())).is_some_and(has_run_out) as u32
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn vip_is_closed(context: *mut xdp_md) -> u32 {
    fence::is_closed(&mut XdpCursor::of(context), &KernelTables::new(context)) as u32
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn note_first_fragment(context: *mut xdp_md, service: u32, real: u32) -> u32 {
    let Some((service, real)) = ServiceId::new(service as u16).zip(RealId::new(real as u16)) else { return 0 };
    rare::note_fragment(&mut XdpCursor::of(context), service, real, &mut KernelTables::new(context));
    1
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn note_client_syn(syn: u64, real: u32) -> u32 {
    let Some(real) = RealId::new(real as u16) else { return 0 };
    rare::note_syn(syn, real, &mut KernelTables::without_frame());
    1
}

/// Adds one to a word of a map that other CPUs add to at the same time.
///
/// # Safety
/// It points to a valid, aligned word of a map.
#[inline(always)]
unsafe fn add_one(word: *mut u64) {
    // SAFETY: the caller's promise; the verifier checks it.
    unsafe { asm!("lock *(u64 *)({word} + 0) += {one}", word = in(reg) word, one = in(reg) 1_u64) };
}

/// This one is for few packets, and keeps what it does off the stack and out of the code of all others.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn take_probe_answer(context: *mut xdp_md) -> u32 {
    probe::answer(&mut XdpCursor::of(context), &KernelTables::new(context)) as u32
}

/// The vip that a probe is to go by.
#[inline(always)]
pub fn probed_vip(mark: ProbeMark) -> Option<&'static ProbedVip> {
    PROBED_VIPS.get(mark.index())
}

/// The key of all hashes.
#[inline(always)]
pub fn flow_key() -> Option<&'static FlowKey> {
    SETTINGS.get(0).map(|settings| &settings.flow_key)
}

/// Remembers which real server's answer to a probe this will be. `None`: there is no room, which cannot be.
#[inline(always)]
pub fn note_probe(answer: u64, real: [u64; 2]) -> Option<()> {
    PROBES.insert(answer, real, 0).ok()
}

/// Has the frame leave by another interface; if that is gone, nowhere.
#[inline(always)]
pub fn redirect(interface: u32) -> u32 {
    INTERFACES.redirect(interface, XDP_DROP as u64).unwrap_or(XDP_DROP)
}

#[inline(always)]
fn count(counter: Option<*mut Counter>, bytes: u64) {
    if let Some(counter) = counter {
        // SAFETY: a valid slot of this CPU's copy; XDP does not interrupt itself on a CPU.
        unsafe {
            (*counter).packets += 1;
            (*counter).bytes += bytes;
        }
    }
}
