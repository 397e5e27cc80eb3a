//! The only place that names a map. Sizes are defaults; the daemon sets them from the config when it loads.

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::bindings::xdp_action::XDP_DROP;
use aya_ebpf::btf_maps::lpm_trie::Key;
use aya_ebpf::btf_maps::{Array, DevMap, HashMap, LpmTrie, LruHashMap, PerCpuArray};
use aya_ebpf::helpers::generated::{bpf_ktime_get_coarse_ns, bpf_ktime_get_ns};
use aya_ebpf::macros::btf_map;
use lb_common::abi::{
    AccessKey, AccessList, Bucket, Counter, FragmentOwner, PinSet, RealId, RealInfo, RealSlot, Room, ServiceId,
    ServiceInfo, ServiceKey, ServiceSlot, Settings, Tick, WAYS, limits,
};
use lb_common::datapath::{Stage, Tables, Tracked, admit, find_block, track};
use lb_common::reason::Reason;

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
static FRAGMENTS: LruHashMap<u64, FragmentOwner, { limits::FRAGMENTS as usize }> = LruHashMap::new();
#[btf_map]
static SERVICE_INFO: Array<ServiceInfo, SERVICES_AND_ZERO, SHARED> = Array::new();
#[btf_map]
static REAL_INFO: Array<RealInfo, REALS_AND_ZERO, SHARED> = Array::new();

/// The pipeline's tables, in the kernel.
pub struct KernelTables;

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
        _ => Stage::Reports,
    };
    // Five numbers are all that a function of the kernel's takes, so one has both the slot and the service.
    let Some(service) = ServiceId::new((place >> 16) as u16) else { return bucket };
    let (bucket, slot) = (Bucket::from_word(bucket), place & 0xffff);
    track(Tracked { identity, ring_hash, bucket, service, slot, packet }, &mut KernelTables).to_word()
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn pin_room(set: u32, now: u32, idle: u32) -> u32 {
    PINS.get(set).map_or(0, |pins| pins.room(Tick::from_number(now), idle).0)
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn find_port_block(vip_0: u64, vip_1: u64, tail: u32) -> u32 {
    find_block(ServiceKey { vip: [vip_0, vip_1], tail }, &KernelTables).unwrap_or(u32::MAX)
}

/// This one for its key, which is better kept off the stack of the packets that need it not.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn admit_client(list: u32, client_0: u64, client_1: u64, slot: u32) -> u32 {
    admit(AccessList(list), [client_0, client_1], slot, &KernelTables).unwrap_or(u32::MAX)
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn vip_is_fenced(vip_0: u64, vip_1: u64) -> u32 {
    // SAFETY: one aligned word, copied at once.
    let lease = unsafe { VIPS.get([vip_0, vip_1]) }.copied();
    // SAFETY: takes nothing and reads a clock.
    let has_run_out = |end: &u64| *end < unsafe { bpf_ktime_get_ns() };
    lease.and_then(|lease| LEASES.get(lease)).is_some_and(has_run_out) as u32
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
