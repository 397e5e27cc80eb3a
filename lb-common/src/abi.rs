//! Everything that crosses the kernel boundary: the values of the BPF maps, their limits and their names.
//!
//! Every value is `repr(C)`, has no padding, and is a whole number of 64-bit words, because the daemon writes the
//! maps word by word through shared memory while packets read them: one aligned word is the unit that is never seen
//! half-written. An all-zero value means *unwritten* everywhere; identifiers start at 1.

mod access;
mod bucket;
mod counter;
mod directory;
mod fragment;
mod guard;
mod pin;
mod probe;
mod real;
mod service;
mod settings;
mod signal;
mod value;

pub use access::{Access, AccessKey, AccessList, Admission};
pub use bucket::{Bucket, Mac, RealId};
pub use counter::Counter;
pub use directory::{Name, RealInfo, RealState, ServiceInfo};
pub use fragment::FragmentOwner;
pub use guard::VipGuard;
pub use pin::{Pin, PinName, PinSet, Room, Tick, WAYS};
pub use probe::{ProbeMark, ProbedVip};
pub use real::{Exit, RealSlot};
pub use service::{Family, Protocol, RingRange, ServiceFlags, ServiceId, ServiceKey, ServiceSlot};
pub use settings::Settings;
pub use signal::{Signal, Signals, SynNote, SynTick};
pub use value::Value;

/// Changes whenever the meaning or layout of a map does. Maps of another version are never adopted.
pub const VERSION: u32 = 7;

/// The names of the maps, as the kernel program declares them and as they are pinned.
pub mod map {
    /// One [`Settings`](super::Settings): what every packet needs to know.
    pub const SETTINGS: &str = "SETTINGS";
    /// [`ServiceSlot`](super::ServiceSlot)s: two halves of [`SERVICE_SLOTS`](super::limits::SERVICE_SLOTS) each, then those of
    /// zones, by [`ServiceId::zone_slot`](super::ServiceId::zone_slot).
    pub const SERVICES: &str = "SERVICES";
    /// [`Bucket`](super::Bucket)s of all rings, ring behind ring.
    pub const BUCKETS: &str = "BUCKETS";
    /// One [`RealSlot`](super::RealSlot) for each [`RealId`](super::RealId).
    pub const REALS: &str = "REALS";
    /// [`PinSet`](super::PinSet)s.
    pub const PINS: &str = "PINS";
    /// [`Access`](super::Access) by prefix of [`AccessKey`](super::AccessKey).
    pub const ACCESS: &str = "ACCESS";
    /// Our interfaces, to be left by: their indexes, by their place in the settings.
    pub const INTERFACES: &str = "INTERFACES";
    /// The lease that a vip is answered under, by the vip: an index of [`LEASES`]. A vip that nobody moves is not in it.
    pub const VIPS: &str = "VIPS";
    /// When each lease runs out, in nanoseconds of `CLOCK_MONOTONIC`.
    pub const LEASES: &str = "LEASES";
    /// One per-CPU [`Counter`](super::Counter) for each [`ServiceId`](super::ServiceId).
    pub const SERVICE_COUNTERS: &str = "SERVICE_COUNTERS";
    /// One per-CPU [`Counter`](super::Counter) for each [`RealId`](super::RealId).
    pub const REAL_COUNTERS: &str = "REAL_COUNTERS";
    /// One per-CPU `u64` for each [`Reason`](crate::reason::Reason).
    pub const REASONS: &str = "REASONS";
    /// [`ProbedVip`](super::ProbedVip)s by [`ProbeMark`](super::ProbeMark); only what leaves this machine is looked up here.
    pub const PROBED_VIPS: &str = "PROBED_VIPS";
    /// The real server that each probe by a vip is for, as its own address, by a hash of the answer that will come. The least
    /// used is forgotten first.
    pub const PROBES: &str = "PROBES";
    /// One [`Signals`](super::Signals) for each [`RealId`](super::RealId).
    pub const SIGNALS: &str = "SIGNALS";
    /// [`SynNote`](super::SynNote)s, by a hash of the SYN.
    pub const SYNS: &str = "SYNS";
    /// [`FragmentOwner`](super::FragmentOwner)s by a hash of their packet, the least used forgotten first.
    pub const FRAGMENTS: &str = "FRAGMENTS";
    /// One [`ServiceInfo`](super::ServiceInfo) for each [`ServiceId`](super::ServiceId); packets never read it.
    pub const SERVICE_INFO: &str = "SERVICE_INFO";
    /// One [`RealInfo`](super::RealInfo) for each [`RealId`](super::RealId); packets never read it.
    pub const REAL_INFO: &str = "REAL_INFO";

    /// All of them.
    pub const ALL: [&str; 19] = [
        SETTINGS,
        SERVICES,
        BUCKETS,
        REALS,
        PINS,
        ACCESS,
        INTERFACES,
        VIPS,
        LEASES,
        SERVICE_COUNTERS,
        REAL_COUNTERS,
        REASONS,
        PROBED_VIPS,
        PROBES,
        SIGNALS,
        SYNS,
        FRAGMENTS,
        SERVICE_INFO,
        REAL_INFO,
    ];
}

/// The sizes of what the kernel holds.
pub mod limits {
    /// Slots in one half of the perfect-hash service table; a power of two.
    ///
    /// With n services a random seed is free of collisions with probability exp(-n²/2·slots): one in 3,000 for the
    /// 512 services allowed, a millisecond of search, and nearly always the first seed for a few dozen.
    pub const SERVICE_SLOTS: u32 = 1 << SERVICE_SLOT_BITS;
    /// The logarithm of [`SERVICE_SLOTS`].
    pub const SERVICE_SLOT_BITS: u32 = 14;
    /// All slots: two halves, and one for each id that the clients of a zone can have.
    pub const ALL_SLOTS: u32 = 2 * SERVICE_SLOTS + MAX_SERVICES + 1;
    /// The most services that one director serves; clients who prefer a zone count as one more; a service of a range of ports counts once for each aligned block of it.
    pub const MAX_SERVICES: u32 = 512;
    /// Real servers that fit unless the config says otherwise.
    pub const DEFAULT_REALS: u32 = 4096;
    /// The most real servers a config may ask for: a bucket keeps 14 bits for the id, and id 0 is never valid.
    pub const MAX_REALS: u32 = (1 << 14) - 1;
    /// Buckets of all rings together, unless the config says otherwise.
    pub const DEFAULT_RING_BUCKETS: u32 = 4_194_304;
    /// The most buckets that a config may ask for (1 GiB of buckets).
    pub const MAX_RING_BUCKETS: u32 = 1 << 27;
    /// The most interfaces of a director.
    pub const MAX_INTERFACES: usize = 8;
    /// The most other directors.
    pub const MAX_PEERS: usize = 4;
    /// Pins unless the config says otherwise: 8 MiB of them.
    pub const DEFAULT_PINS: u32 = 1 << 20;
    /// The most pins that a config may ask for.
    pub const MAX_PINS: u32 = 1 << 28;
    /// Prefixes in access lists unless the config says otherwise.
    pub const DEFAULT_ACCESS_PREFIXES: u32 = 16_384;
    /// The most prefixes that a config may ask for.
    pub const MAX_ACCESS_PREFIXES: u32 = 1 << 24;
    /// The most leases: as many as there are virtual routers on one interface, for each family.
    pub const LEASES: u32 = 512;
    /// The most vips that are answered under a lease.
    pub const MAX_VIPS: u32 = 4096;
    /// Fragmented packets that are remembered at a time; a flood of them can push out no more than one another.
    pub const FRAGMENTS: u32 = 8192;
    /// Places for vips that probes go by, the first of them never used: a few more than there can be services, so that each has
    /// one of its own by a hash.
    pub const PROBED_VIPS: u32 = 1024;
    /// Probes by a vip that are under way at a time, or were of late.
    pub const PROBES: u32 = 16_384;
    /// SYNs that are remembered at a time, in 128 KiB; a power of two. More come in a second under a flood, and then nearly none is
    /// seen again.
    pub const SYNS: u32 = 1 << 14;
    /// Bytes of a name in the directory maps, ended by zeros.
    pub const NAME_BYTES: usize = 64;
}
