//! Flow to real server: one bucket of the service's ring.

use super::Tables;
use super::parse::Flow;
use crate::abi::{Bucket, RealId, RingRange, Settings};
use crate::hash::reduce;
use crate::reason::Reason;

/// The real server a packet goes to.
pub struct Chosen {
    pub real: RealId,
    pub mac_word: u64,
}

/// Hashes the flow and takes the owner of its bucket.
#[inline(always)]
pub fn select<T: Tables>(flow: &Flow, settings: &Settings, ring: RingRange, tables: &T) -> Result<Chosen, Reason> {
    let hash = settings.flow_key.v4(flow.source, flow.destination, flow.ports.0);
    let index = ring.base.wrapping_add(reduce(hash, ring.size));
    let bucket = tables.bucket(index).unwrap_or(Bucket::UNWRITTEN);
    match bucket.real() {
        Some(real) => Ok(Chosen { real, mac_word: bucket.mac_word() }),
        None if bucket == Bucket::EMPTY => Err(Reason::NoUsableReal),
        None => Err(Reason::UnwrittenBucket),
    }
}
