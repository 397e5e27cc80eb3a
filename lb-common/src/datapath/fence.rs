//! The fence: who asks for a vip that this director may not answer for now gets no answer.
//!
//! The director that holds a vip renews a lease. If it dies, or is frozen, its kernel would go on answering ARP for the vip
//! beside its successor; without the lease it is silent. What is sent here by mistake is forwarded all the same.

use super::Tables;
use crate::reason::Reason;
use crate::wire::{Arp, Ethernet, Frame, Icmp, Ipv6};

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
