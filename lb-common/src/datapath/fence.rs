//! The fence: who asks for a vip that this director may not answer for now gets no answer.
//!
//! The director that holds a vip renews a lease. If it dies, or is frozen, its kernel would go on answering ARP for the vip
//! beside its successor; without the lease it is silent. What is sent here by mistake is forwarded all the same.

use super::Tables;
use super::link::look_behind_tags;
use crate::abi::VipGuard;
use crate::reason::Reason;
use crate::wire::{Arp, Ethernet, Frame, Icmp, Ipv4, Ipv6};

/// What becomes of a frame of this type that is for no service.
#[inline(always)]
pub fn not_balanced<P: Frame + ?Sized, T: Tables>(ether_type: u16, frame: &P, tables: &T) -> Reason {
    let asked = match ether_type {
        Ethernet::ARP => asked_by_arp(frame),
        Ethernet::IPV6 => solicited(frame),
        _ => None,
    };
    match asked {
        Some(vip) if tables.is_fenced(vip) => Reason::Fenced,
        _ => Reason::NotBalanced,
    }
}

/// What becomes of a packet that has this reason to stay on this machine, if no vip is to lead there.
#[inline(always)]
pub fn reason<P: Frame + ?Sized, T: Tables>(reason: Reason, frame: &mut P, tables: &T) -> Reason {
    // A later fragment alone does this machine no harm, and may belong to one that another director chose it for.
    let stays = matches!(reason, Reason::NotBalanced | Reason::NoService);
    let may_be_closed = stays && tables.settings().is_some_and(|settings| settings.closed != 0);
    if may_be_closed && tables.is_closed(frame) { Reason::NotAccepted } else { reason }
}

/// Whether a packet is for a closed vip, and not the discovery of its neighbours.
#[inline(always)]
pub fn is_closed<P: Frame + ?Sized, T: Tables>(frame: &mut P, tables: &T) -> bool {
    let destination = match look_behind_tags(frame) {
        Some(Ethernet::IPV4) => frame.load::<u32>(Ipv4::DESTINATION).map(|vip| [vip as u64, 0]),
        Some(Ethernet::IPV6) if !discovers(frame) => {
            frame.load(Ipv6::DESTINATION).zip(frame.load(Ipv6::DESTINATION + 8)).map(|(high, low)| [high, low])
        }
        _ => None,
    };
    destination.and_then(|vip| tables.guard(vip)).is_some_and(VipGuard::is_closed)
}

/// Solicitations and advertisements, which have no extension headers (RFC 4861, sections 4.3 and 4.4).
#[inline(always)]
fn discovers<P: Frame + ?Sized>(frame: &P) -> bool {
    let header = (frame.load::<u16>(Ipv6::NEXT_HEADER), frame.load::<u16>(Ipv6::PAYLOAD));
    let (Some(next_header), Some(kind)) = header else { return false };
    next_header as u8 == Icmp::V6 && matches!(kind as u8, Icmp::SOLICITATION | Icmp::ADVERTISEMENT)
}

/// The address that an ARP request asks for. One that announces its sender's own asks nobody, and whoever watches for other
/// masters should see it.
#[inline(always)]
fn asked_by_arp<P: Frame + ?Sized>(frame: &P) -> Option<[u64; 2]> {
    let target: u32 = frame.load(Arp::TARGET)?;
    let is_request = frame.load::<u32>(Arp::LENGTHS_AND_OPERATION)? == Arp::REQUEST;
    (is_request && frame.load::<u32>(Arp::SENDER)? != target).then_some([target as u64, 0])
}

/// The address that a neighbour solicitation without extension headers is for.
#[inline(always)]
fn solicited<P: Frame + ?Sized>(frame: &P) -> Option<[u64; 2]> {
    let low: u64 = frame.load(Ipv6::PAYLOAD + Icmp::SOLICITED + 8)?;
    let next_header = frame.load::<u16>(Ipv6::NEXT_HEADER)? as u8;
    let kind = frame.load::<u16>(Ipv6::PAYLOAD)? as u8;
    if next_header != Icmp::V6 || kind != Icmp::SOLICITATION {
        return None;
    }
    Some([frame.load(Ipv6::PAYLOAD + Icmp::SOLICITED)?, low])
}
