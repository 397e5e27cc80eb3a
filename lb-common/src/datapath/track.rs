//! Just enough tracking: a bucket whose flows may be elsewhere than its owner says.
//!
//! A flow that is pinned stays where it is as long as that real server may have flows. Of the others, those that begin go to
//! the bucket's owner, and those that were there before go to who had them before, if anybody knows (the old ring).

use super::Tables;
use crate::abi::{Bucket, Pin, PinName, ServiceId, WAYS};
use crate::hash::reduce;

/// What of a packet decides about its pin. Numbers, so that it can be what a function of the kernel program takes.
#[derive(Clone, Copy, Debug)]
pub struct Tracked {
    /// Stands for the flow.
    pub identity: u64,
    /// Chooses its bucket.
    pub ring_hash: u32,
    /// That bucket.
    pub bucket: Bucket,
    /// The service.
    pub service: ServiceId,
    /// Its slot, below 65,536.
    pub slot: u32,
    /// How the packet stands to its flow.
    pub packet: Stage,
}

/// How a packet stands to its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Stage {
    /// As far as one can tell it is the first.
    Begins = 0,
    /// It is a later one.
    GoesOn = 1,
    /// It is an error about the flow, which says nothing of how the flow itself does.
    Reports = 2,
    /// It may be either, as every datagram may.
    Datagram = 3,
}

/// Where a flow goes that may be elsewhere than its bucket says; remembers that.
#[inline(always)]
pub fn track<T: Tables>(tracked: Tracked, tables: &mut T) -> Bucket {
    let Tracked { identity, bucket, service, packet, .. } = tracked;
    let Some(settings) = tables.settings() else { return bucket };
    let set = identity as u32 & settings.pin_mask as u32;
    let name = PinName::new(identity, service);
    let idle = settings.idle_ticks as u32;
    let Some(pins) = tables.pins(set) else { return bucket };
    let way = pins.find(name);
    // After the look at the pins, whose cache miss it need not wait for.
    let now = tables.now();
    // Its own, live or not: one that has expired is where the flow is pinned anew.
    let own = if way < WAYS { Some(pins.pin(way)).filter(|pin| pin.is_of(name)) } else { None };
    let pinned = own.filter(|pin| pin.is_live(now, idle));
    let mut chosen = bucket;
    let mut confirmed = false;
    if let Some((pin, owner)) = pinned.and_then(|pin| stays(pin, packet, tables)) {
        chosen = owner;
        confirmed = pin.is_confirmed() || tables.room(set, now, idle).may_confirm();
    } else if packet != Stage::Begins
        && let Some(owner) = old_owner(&tracked, tables)
    {
        chosen = owner;
    }
    let Some(real) = chosen.real().filter(|_| packet != Stage::Reports) else { return chosen };
    let pin = Pin::new(name, real, bucket.real() != chosen.real(), now).confirmed(confirmed);
    if own.is_some() {
        // Most of the time it is what it was.
        if own != Some(pin) {
            pins.set_pin(way, pin);
        }
    } else if let Some(way) = tables.room(set, now, idle).way() {
        pins.set_pin(way, pin);
    }
    chosen
}

/// The real server that a pin says, if the flow is to stay there.
#[inline(always)]
fn stays<T: Tables>(pin: Pin, packet: Stage, tables: &T) -> Option<(Pin, Bucket)> {
    let real = tables.real(pin.real()?)?;
    // A segment that opens a connection in the midst of one is a forgery, or a port used again.
    let anew = packet == Stage::Begins && (real.is_draining() || !pin.is_confirmed());
    if anew { None } else { Some((pin, real.owner()?)) }
}

/// Who had the flows of this hash before the ring changed, if it may have them still.
#[inline(always)]
fn old_owner<T: Tables>(tracked: &Tracked, tables: &T) -> Option<Bucket> {
    let old = tables.slot(tracked.slot)?.old_ring()?;
    let bucket = tables.bucket(old.base.wrapping_add(reduce(tracked.ring_hash, old.size)))?;
    let real = tables.real(bucket.real()?)?;
    // A datagram without a pin is more likely the first of its flow, and who goes gets no new ones.
    if tracked.packet == Stage::Datagram && real.is_draining() { None } else { real.owner() }
}
