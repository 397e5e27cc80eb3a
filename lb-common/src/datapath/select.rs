//! Flow to real server: one bucket of the service's ring.

use super::Tables;
use super::flow::Flow;
use crate::abi::{Bucket, RealId, RingRange, Settings};
use crate::hash::reduce;
use crate::reason::Reason;

/// The real server a packet goes to.
pub struct Chosen {
    pub real: RealId,
    pub bucket: Bucket,
}

/// Hashes the flow and takes the owner of its bucket.
#[inline(always)]
pub fn select<F: Flow, T: Tables>(
    flow: &F,
    settings: &Settings,
    ring: RingRange,
    tables: &T,
) -> Result<Chosen, Reason> {
    let hash = flow.hash(&settings.flow_key);
    let index = ring.base.wrapping_add(reduce(hash, ring.size));
    let bucket = tables.bucket(index).unwrap_or(Bucket::UNWRITTEN);
    match bucket.real() {
        Some(real) => Ok(Chosen { real, bucket }),
        None if bucket == Bucket::EMPTY => Err(Reason::NoUsableReal),
        None => Err(Reason::UnwrittenBucket),
    }
}
