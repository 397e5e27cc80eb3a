//! The kernel's side as the daemon sees it: maps that are arrays of 64-bit words, and counters.
//!
//! The maps that packets read are shared memory: what is written is seen by the next packet, one word at a time.
//! [`Kernel`] holds the real ones; [`Memory`] is the twin without a kernel, for tests and for the host pipeline.
//!
//! Architecture invariant: nothing outside this module knows aya.

mod attach;
mod dump;
mod egress;
mod former;
mod host;
mod kernel;
mod lease;
mod mapped;
mod memory;
mod pins;

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lb_common::abi::{AccessKey, Admission, RealId, ServiceId, Signals, Value, VipGuard};
use nix::time::{ClockId, clock_getres};

pub use attach::{Attached, Mode};
pub use dump::{Dump, DumpError, PinsDump, RealDump, ServiceDump};
pub use egress::{EgressError, EgressWay};
pub use former::Former;
pub use host::HostTables;
pub use kernel::{Kernel, LoadError};
pub use lease::{LeaseHandle, Leases};
pub use memory::Memory;
pub use pins::{PinError, detach};

/// From one of the kernel's timer interrupts to the next, which its coarse clocks go on with. None if it does not say, which
/// Linux does.
pub fn jiffy() -> Duration {
    clock_getres(ClockId::CLOCK_MONOTONIC_COARSE).map_or(Duration::ZERO, Into::into)
}

/// The maps that are written word by word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WordMap {
    /// One [`Settings`](lb_common::abi::Settings).
    Settings,
    /// [`ServiceSlot`](lb_common::abi::ServiceSlot)s, two halves.
    Services,
    /// [`Bucket`](lb_common::abi::Bucket)s.
    Buckets,
    /// [`RealSlot`](lb_common::abi::RealSlot)s by id; index 0 stays unwritten.
    Reals,
    /// [`PinSet`](lb_common::abi::PinSet)s, which packets write too.
    Pins,
    /// When each lease runs out: nanoseconds of `CLOCK_MONOTONIC`.
    Leases,
    /// [`ProbedVip`](lb_common::abi::ProbedVip)s by [`ProbeMark`](lb_common::abi::ProbeMark); index 0 stays unwritten.
    ProbedVips,
    /// [`Signals`](lb_common::abi::Signals) by id of the real server, which packets write; index 0 stays unwritten.
    Signals,
    /// [`SynNote`](lb_common::abi::SynNote)s, which packets write.
    Syns,
    /// [`ServiceInfo`](lb_common::abi::ServiceInfo)s by id; index 0 stays unwritten.
    ServiceInfo,
    /// [`RealInfo`](lb_common::abi::RealInfo)s by id; index 0 stays unwritten.
    RealInfo,
}

/// Whose counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CounterId {
    /// A service's.
    Service(ServiceId),
    /// A real server's.
    Real(RealId),
}

/// A prefix in an access list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccessPrefix {
    /// The list, and the address with zeros behind its length.
    pub key: AccessKey,
    /// Bits of `key` that count, those of the list among them.
    pub bits: u32,
}

/// All access lists.
pub type AccessLists = BTreeMap<AccessPrefix, Admission>;

/// The maps of one loaded program, or their twin.
pub trait Maps {
    /// All words of a map. Reading and writing one is atomic; a reader in the kernel may see any mix of old and new
    /// *words*, so the order of writes is the writer's business.
    fn words(&self, map: WordMap) -> &[AtomicU64];

    /// Starts a counter anew, because its id will name something else.
    ///
    /// # Errors
    /// The kernel's, if it refuses.
    fn zero_counter(&mut self, counter: CounterId) -> io::Result<()>;

    /// Reads all access lists.
    ///
    /// # Errors
    /// The kernel's.
    fn access_lists(&self) -> io::Result<AccessLists>;

    /// Puts a prefix in, or takes it out.
    ///
    /// # Errors
    /// The kernel's, above all that the map is full.
    fn set_access(&mut self, prefix: AccessPrefix, access: Option<Admission>) -> io::Result<()>;

    /// Has a vip guarded so, or not at all.
    ///
    /// # Errors
    /// The kernel's, above all that the map is full.
    fn set_guard(&mut self, vip: IpAddr, guard: Option<VipGuard>) -> io::Result<()>;

    /// All vips that are guarded.
    ///
    /// # Errors
    /// The kernel's.
    fn guards(&self) -> io::Result<BTreeMap<IpAddr, VipGuard>>;

    /// Makes the interface of this index (0: none) the one at a place in the settings.
    ///
    /// # Errors
    /// The kernel's, above all that the interface is gone.
    fn set_interface(&mut self, place: u32, index: u32) -> io::Result<()>;
}

/// What is counted of signs that a real server does not answer begins anew with its counter.
fn zero_signals(maps: &impl Maps, counter: CounterId) {
    let CounterId::Real(real) = counter else { return };
    let words = Signals::ZEROS.len();
    for word in maps.words(WordMap::Signals).iter().skip(real.index() as usize * words).take(words) {
        word.store(0, Ordering::Release);
    }
}
