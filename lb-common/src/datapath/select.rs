//! Flow to real server: one bucket of the service's ring, and a look at the pins if the bucket says so.

use super::Tables;
use super::classify::Matched;
use super::flow::Flow;
use super::track::{Stage, Tracked};
use crate::abi::{Bucket, RealId, ServiceFlags};
use crate::hash::{FlowHash, reduce};
use crate::reason::Reason;
use crate::wire::Cursor;

/// The real server a packet goes to.
pub struct Chosen {
    pub real: RealId,
    pub bucket: Bucket,
    pub flow_hash: FlowHash,
}

/// Hashes the flow and takes the owner of its bucket.
#[inline(always)]
pub fn select<F: Flow, P: Cursor + ?Sized, T: Tables>(
    flow: &F,
    packet: &P,
    matched: &Matched,
    tables: &mut T,
) -> Result<Chosen, Reason> {
    let settings = tables.settings().ok_or(Reason::NotConfigured)?;
    let flow_hash = flow.hash(&settings.flow_key);
    let mut ring_hash = flow_hash.ring();
    if matched.flags.has(ServiceFlags::BY_SOURCE) {
        let mask = tables.slot(matched.slot).ok_or(Reason::NoService)?.source_mask;
        let client = flow.client();
        ring_hash = settings.flow_key.client([client[0] & mask[0], client[1] & mask[1]]).ring();
    }
    let index = matched.ring.base.wrapping_add(reduce(ring_hash, matched.ring.size));
    let mut bucket = tables.bucket(index).unwrap_or(Bucket::UNWRITTEN);
    // The flag of a service that tracks all and the mark of a bucket are the same bit.
    if (bucket.to_word() | matched.flags.0) & Bucket::TRACKED != 0
        && let Some(packet) = stage(flow, packet, matched.flags)
    {
        let identity = flow_hash.identity();
        let Matched { service, slot, .. } = *matched;
        bucket = tables.track(Tracked { identity, ring_hash, bucket, service, slot, packet });
    }
    match bucket.real() {
        Some(real) => Ok(Chosen { real, bucket, flow_hash }),
        None => Err(nobody(bucket)),
    }
}

/// Why a bucket has no owner.
#[inline(always)]
fn nobody(bucket: Bucket) -> Reason {
    if bucket.mac_word() == Bucket::EMPTY.mac_word() {
        Reason::NoUsableReal
    } else if bucket.mac_word() == Bucket::PASSED.mac_word() {
        Reason::EmptyPassed
    } else {
        Reason::UnwrittenBucket
    }
}

/// How a packet stands to its flow. `None`: its flow is not tracked. UDP has nothing that begins a flow, so a datagram without
/// a pin may always be the first: one whose flow was not tracked from its first packet on cannot be told from a new one.
#[inline(always)]
fn stage<F: Flow, P: Cursor + ?Sized>(flow: &F, packet: &P, flags: ServiceFlags) -> Option<Stage> {
    let opens = flow.opens(packet);
    if opens.is_none() && !flags.has(ServiceFlags::FULL) {
        return None;
    }
    Some(match (flow.sent_as(), opens) {
        (Reason::IcmpError, _) => Stage::Reports,
        (_, Some(true)) => Stage::Begins,
        (_, Some(false)) => Stage::GoesOn,
        (_, None) => Stage::Datagram,
    })
}
