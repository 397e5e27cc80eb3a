//! Flow to service: one array access, and the question whether the frame was sent to us at all.

use super::Tables;
use super::flow::Flow;
use crate::abi::limits::SERVICE_SLOTS;
use crate::abi::{RingRange, ServiceId, Settings, VERSION};
use crate::reason::Reason;
use crate::wire::{Cursor, Ethernet};

/// The service that a flow belongs to.
pub struct Matched {
    pub service: ServiceId,
    pub ring: RingRange,
}

/// Looks the flow's destination up in the active half of the perfect-hash table.
#[inline(always)]
pub fn classify<F: Flow, T: Tables>(flow: &F, settings: &Settings, tables: &T) -> Result<Matched, Reason> {
    if settings.version != VERSION as u64 {
        return Err(Reason::NotConfigured);
    }
    let half = (settings.active_half & 1) as usize;
    let key = flow.service_key();
    let index = half as u32 * SERVICE_SLOTS + key.slot(settings.slot_seeds[half]);
    let slot = tables.slot(index).ok_or(Reason::NoService)?;
    if !slot.matches(key) {
        return Err(Reason::NoService);
    }
    let service = slot.service().ok_or(Reason::NoService)?;
    Ok(Matched { service, ring: slot.ring() })
}

/// Our own MAC that the frame was sent to. A frame for another machine reaches us when a switch floods it or the
/// interface is promiscuous; to forward it would duplicate it.
#[inline(always)]
pub fn addressed_to_us<P: Cursor + ?Sized>(packet: &P, settings: &Settings) -> Result<u64, Reason> {
    let destination = packet.load::<u64>(Ethernet::DESTINATION).ok_or(Reason::NotBalanced)? & MAC_MASK;
    if destination != 0 && settings.own_macs.contains(&destination) { Ok(destination) } else { Err(Reason::Overheard) }
}

const MAC_MASK: u64 = (1 << 48) - 1;
