//! What is around the IP packet: VLAN tags, and the frame's new addresses.
//!
//! A frame that goes back out the way it came keeps its tags. One whose real server has an exit gets the tag of that exit and
//! no other. IP and above stay as they are but for the time to live, which is one less so that no loop can live; so the
//! real server sees the client and answers it directly.

use super::Tables;
use super::flow::Flow;
use crate::abi::limits::MAX_INTERFACES;
use crate::abi::{Bucket, Exit, RealId};
use crate::reason::Reason;
use crate::wire::{Ethernet, Frame, Vlan};

/// Looks for tags, has offsets count from behind them, and says the type of what they are before. `None`: too short.
#[inline(always)]
pub fn look_behind_tags<P: Frame + ?Sized>(frame: &mut P) -> Option<u16> {
    let outer: u16 = frame.load_front(Ethernet::TYPE)?;
    if !Vlan::is_tag(outer) {
        frame.set_tags(0);
        return Some(outer);
    }
    let inner: u16 = frame.load_front(Ethernet::TYPE + Vlan::LEN)?;
    // By arithmetic: the kernel's verifier would follow one tag and two through all that comes after, one by one.
    let differs = |tag: u16| i64::from(inner ^ tag) - 1;
    let is_tag = (differs(Vlan::CUSTOMER) | differs(Vlan::PROVIDER)) >> 63;
    frame.set_tags(Vlan::LEN + (is_tag as usize & Vlan::LEN));
    frame.load(Ethernet::TYPE)
}

/// Makes the frame ready to leave for the owner of a bucket, from the MAC it was sent to. Says by which interface, by its
/// place in the settings, if not by the one that it came in by.
#[inline(always)]
pub fn leave<F: Flow, P: Frame + ?Sized, T: Tables>(
    flow: &F,
    packet: &mut P,
    own_mac: u64,
    real: RealId,
    bucket: Bucket,
    tables: &T,
) -> Result<Option<u32>, Reason> {
    if bucket.has_exit() {
        return leave_by_exit(flow, packet, real, bucket, tables);
    }
    flow.age(packet)?;
    address(packet, bucket.mac_word(), own_mac)?;
    Ok(None)
}

#[inline(always)]
fn leave_by_exit<F: Flow, P: Frame + ?Sized, T: Tables>(
    flow: &F,
    packet: &mut P,
    real: RealId,
    bucket: Bucket,
    tables: &T,
) -> Result<Option<u32>, Reason> {
    let settings = tables.settings().ok_or(Reason::NotConfigured)?;
    let exit = Exit(tables.real(real).ok_or(Reason::UnwrittenBucket)?.exit);
    if packet.length() > Ethernet::LEN + exit.mtu() {
        return Err(Reason::TooBig);
    }
    let place = exit.interface() as usize % MAX_INTERFACES;
    let (own_mac, interface) = (settings.own_macs[place], settings.interfaces[place] as u32);
    flow.age(packet)?;
    retag(packet, exit.vlan()).ok_or(Reason::TooBig)?;
    address(packet, bucket.mac_word(), own_mac)?;
    Ok(if interface == packet.interface() { None } else { Some(place as u32) })
}

/// Replaces all tags by this one, or by none if it is 0. The priority stays.
#[inline(always)]
fn retag<P: Frame + ?Sized>(packet: &mut P, vlan: u16) -> Option<()> {
    let priority = match packet.tags() {
        0 => 0,
        _ => packet.load_front::<u16>(Ethernet::TYPE + 2)?.swap_bytes() & Vlan::PRIORITY,
    };
    let tags = if vlan == 0 { 0 } else { Vlan::LEN };
    let cut = packet.tags() as i32 - tags as i32;
    if cut != 0 {
        packet.cut_front(cut)?;
    }
    if vlan == 0 {
        return Some(());
    }
    let control = (priority | vlan).swap_bytes();
    packet.store_front::<u32>(Ethernet::TYPE, Vlan::CUSTOMER as u32 | (control as u32) << 16)
}

/// Writes both addresses, twelve bytes in two stores.
#[inline(always)]
fn address<P: Frame + ?Sized>(frame: &mut P, destination: u64, source: u64) -> Result<(), Reason> {
    let first = frame.store_front::<u64>(Ethernet::DESTINATION, destination | source << 48);
    let last = frame.store_front::<u32>(Ethernet::DESTINATION + 8, (source >> 16) as u32);
    // Parsing has excluded that the frame is too short.
    first.and(last).ok_or(Reason::BadLength)
}
