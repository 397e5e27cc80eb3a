//! Flow to service: one array access, and the question whether the frame was sent to us at all.

use super::Tables;
use super::flow::Flow;
use crate::abi::limits::SERVICE_SLOTS;
use crate::abi::{Access, AccessList, RingRange, ServiceFlags, ServiceId, ServiceKey, ServiceSlot, Settings, VERSION};
use crate::reason::Reason;
use crate::wire::{Ethernet, Frame};

/// The service that a flow belongs to.
pub struct Matched {
    /// The slot that says so.
    pub slot: u32,
    pub service: ServiceId,
    pub flags: ServiceFlags,
    pub ring: RingRange,
}

/// Looks the flow's destination up in the active half of the perfect-hash table.
#[inline(always)]
pub fn classify<F: Flow, T: Tables>(flow: &F, settings: &Settings, tables: &T) -> Result<Matched, Reason> {
    if settings.version != VERSION as u64 {
        return Err(Reason::NotConfigured);
    }
    let key = flow.service_key();
    let index = place(key, settings);
    let slot = tables.slot(index).ok_or(Reason::NoService)?;
    if slot.matches(key) {
        return matched(index, slot);
    }
    if settings.port_blocks == 0 {
        return Err(Reason::NoService);
    }
    let index = tables.find_block(key).ok_or(Reason::NoService)?;
    matched(index, tables.slot(index).ok_or(Reason::NoService)?)
}

/// Index of the only slot that a key can be in.
#[inline(always)]
const fn place(key: ServiceKey, settings: &Settings) -> u32 {
    let half = (settings.active_half & 1) as usize;
    half as u32 * SERVICE_SLOTS + key.slot(settings.slot_seeds[half])
}

#[inline(always)]
fn matched(index: u32, slot: &ServiceSlot) -> Result<Matched, Reason> {
    let service = slot.service().ok_or(Reason::NoService)?;
    Ok(Matched { slot: index, service, flags: slot.flags(), ring: slot.ring() })
}

/// The slot of a service of several ports: they are kept as aligned blocks of 2^n ports, and the smallest that has the
/// key's port is meant.
#[inline(always)]
pub fn find_block<T: Tables>(key: ServiceKey, tables: &T) -> Option<u32> {
    let settings = tables.settings()?;
    for bits in 1..=16 {
        if settings.port_blocks >> bits & 1 == 0 {
            continue;
        }
        let block = key.block(bits);
        let index = place(block, settings);
        if tables.slot(index)?.matches(block) {
            return Some(index);
        }
    }
    None
}

/// The MAC that a frame that was sent to us leaves from. A frame for another machine reaches us when a switch floods it or the
/// interface is promiscuous; to forward it would duplicate it.
#[inline(always)]
pub fn addressed_to_us<P: Frame + ?Sized>(frame: &P, settings: &Settings) -> Result<u64, Reason> {
    let destination = frame.load_front::<u64>(Ethernet::DESTINATION).ok_or(Reason::NotBalanced)? & MAC_MASK;
    if destination == 0 || !settings.own_macs.contains(&destination) {
        return Err(Reason::Overheard);
    }
    Ok(if destination as u32 == VIRTUAL {
        interface_mac(frame.interface(), settings, destination)
    } else {
        destination
    })
}

/// The MAC of the interface that a frame for a virtual MAC came in by. Frames leave from it: if one that comes here late, after
/// the virtual MAC has moved, left from that, the switches would believe that it has moved back.
#[inline(always)]
fn interface_mac(interface: u32, settings: &Settings, otherwise: u64) -> u64 {
    let places = settings.interfaces.iter().zip(&settings.own_macs);
    places.fold(otherwise, |mac, (index, own)| if *index == u64::from(interface) { *own } else { mac })
}

/// How the MACs of virtual routers begin (RFC 5798 section 7.3), as the first bytes of a word.
const VIRTUAL: u32 = u32::from_le_bytes([0x00, 0x00, 0x5e, 0x00]);

/// What another director sends to a real server that is this machine has been chosen already: to choose again is to play
/// ping-pong.
#[inline(always)]
pub fn chosen_already<P: Frame + ?Sized>(frame: &P, flags: ServiceFlags, settings: &Settings) -> Result<(), Reason> {
    if !flags.has(ServiceFlags::LOCAL) {
        return Ok(());
    }
    let source = frame.load_front::<u64>(Ethernet::DESTINATION + 4).ok_or(Reason::NotBalanced)? >> 16;
    if source != 0 && settings.peer_macs.contains(&source) { Err(Reason::Local) } else { Ok(()) }
}

/// Asks the service's access list, if it has one.
#[inline(always)]
pub fn let_in<F: Flow, T: Tables>(flow: &F, matched: &Matched, tables: &T) -> Result<(), Reason> {
    if !matched.flags.has(ServiceFlags::ACCESS) {
        return Ok(());
    }
    let list = AccessList::new(matched.service, matched.flags.has(ServiceFlags::SECOND_LIST));
    match tables.access(list, flow.client()) {
        Some(value) if Access::denies(value) => Err(Reason::AccessDenied),
        // A list always has an entry for the rest; what is missing is a defect of ours, and no reason to drop.
        _ => Ok(()),
    }
}

const MAC_MASK: u64 = (1 << 48) - 1;
