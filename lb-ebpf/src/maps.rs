//! The only place that names a map. Sizes are defaults; the daemon sets them from the config when it loads.

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::btf_maps::{Array, LruHashMap, PerCpuArray};
use aya_ebpf::macros::btf_map;
use lb_common::abi::{
    Bucket, Counter, FragmentKey, FragmentOwner, RealId, RealInfo, ServiceId, ServiceInfo, ServiceSlot, Settings,
    limits,
};
use lb_common::datapath::Tables;
use lb_common::reason::Reason;

const SHARED: usize = BPF_F_MMAPABLE as usize;
const SERVICES_AND_ZERO: usize = limits::MAX_SERVICES as usize + 1;
const REALS_AND_ZERO: usize = limits::DEFAULT_REALS as usize + 1;

#[btf_map]
static SETTINGS: Array<Settings, 1, SHARED> = Array::new();
#[btf_map]
static SERVICES: Array<ServiceSlot, { 2 * limits::SERVICE_SLOTS as usize }, SHARED> = Array::new();
#[btf_map]
static BUCKETS: Array<Bucket, { limits::DEFAULT_RING_BUCKETS as usize }, SHARED> = Array::new();
#[btf_map]
static SERVICE_COUNTERS: PerCpuArray<Counter, SERVICES_AND_ZERO> = PerCpuArray::new();
#[btf_map]
static REAL_COUNTERS: PerCpuArray<Counter, REALS_AND_ZERO> = PerCpuArray::new();
#[btf_map]
static REASONS: PerCpuArray<u64, { Reason::COUNT }> = PerCpuArray::new();
#[btf_map]
static FRAGMENTS: LruHashMap<FragmentKey, FragmentOwner, { limits::FRAGMENTS as usize }> = LruHashMap::new();
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
    fn fragment_owner(&self, key: &FragmentKey) -> Option<FragmentOwner> {
        // SAFETY: the value is copied at once; should it be replaced in between it is another first fragment's, and the
        // worst is a fragment at a real server that has no use for it.
        unsafe { FRAGMENTS.get(key) }.copied()
    }

    #[inline(always)]
    fn remember_fragment(&mut self, key: &FragmentKey, owner: FragmentOwner) {
        // A map that is full forgets the least used; there is no other failure, and nothing to be done about one.
        let _ = FRAGMENTS.insert(key, owner, 0);
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
