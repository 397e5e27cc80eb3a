//! What every packet needs to know: one value, all of it in cache.

use super::limits::{MAX_INTERFACES, MAX_PEERS};
use crate::hash::FlowKey;

/// The one value of the settings map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Settings {
    /// [`VERSION`](super::VERSION) once the daemon has written everything a packet may need; 0 before.
    pub version: u64,
    /// Which half of the service table packets look at: 0 or 1. The daemon fills the other one, then switches.
    pub active_half: u64,
    /// The seed of each half's perfect hash; odd.
    pub slot_seeds: [u64; 2],
    /// The config's `hash_seed`, or the one a daemon made where the config has none. Packets do not read it: it lets
    /// the next daemon compute the same rings and the same flow key.
    pub hash_seed: u64,
    /// The key of the flow hash, from [`FlowKey::from_seed`] of the seed above.
    pub flow_key: FlowKey,
    /// Bit n: some service has a block of 2^n ports, n from 1 to 16.
    pub port_blocks: u64,
    /// The number of sets of pins less one; the number is a power of two.
    pub pin_mask: u64,
    /// A pin is live for so many ticks after its flow was last seen.
    pub idle_ticks: u64,
    /// 1 if some health check goes by a vip, so that what is for no service may be the answer to it.
    pub probes: u64,
    /// Nanoseconds from one of the kernel's timer interrupts to the next, for [`SynTick`](super::SynTick). 0: that clock stands
    /// still, and no SYN is taken for one that came before.
    pub jiffy: u64,
    /// 1 if some vip is closed: see [`VipGuard`](super::VipGuard).
    pub closed: u64,
    /// The MACs of our interfaces, as [`Mac::to_word`](super::Mac::to_word); unused ones are 0.
    pub own_macs: [u64; MAX_INTERFACES],
    /// The indexes of the same interfaces.
    pub interfaces: [u64; MAX_INTERFACES],
    /// The MACs of the other directors; unused ones are 0.
    pub peer_macs: [u64; MAX_PEERS],
}

const _: () = assert!(size_of::<Settings>() == 8 * (5 + 10 + 6 + 2 * MAX_INTERFACES + MAX_PEERS));
