//! What is noted of few packets only, once their real server is known: where a first fragment goes, and what clients' segments
//! say of a real server (a SYN that comes again was not answered, a reset ends what went wrong).
//!
//! The packet is read anew for it: what would have to be known of it is better kept off the stack of all others, and out of
//! what the kernel's verifier follows for each of them. What may be filled are a table that forgets its oldest and an array of a
//! fixed size, both by keyed hashes.

use super::Tables;
use super::flow::{Flow, Part};
use super::ipv4::Ipv4Flow;
use super::ipv6::Ipv6Flow;
use super::link::look_behind_tags;
use crate::abi::{FragmentOwner, RealId, ServiceId, Signal, limits};
use crate::hash::mix;
use crate::wire::{Cursor, Ethernet, Frame, TcpFlags};

/// Whether there is something to be noted.
#[inline(always)]
pub fn is_rare<F: Flow, P: Cursor + ?Sized>(flow: &F, packet: &P) -> bool {
    matches!(flow.part(), Part::First(_)) || flow.segment_flags(packet).is_some_and(TcpFlags::opens_or_resets)
}

/// Notes it.
#[inline(always)]
pub fn note<P: Frame + ?Sized, T: Tables>(packet: &mut P, service: ServiceId, real: RealId, tables: &mut T) {
    match look_behind_tags(packet) {
        Some(Ethernet::IPV4) => {
            Ipv4Flow::parse(packet).and_then(|flow| note_flow(&flow, packet, service, real, tables))
        }
        Some(Ethernet::IPV6) => {
            Ipv6Flow::parse(packet).and_then(|flow| note_flow(&flow, packet, service, real, tables))
        }
        _ => None,
    };
}

/// `None`: it is no TCP, or too short for what was seen in it.
#[inline(always)]
fn note_flow<F: Flow, P: Cursor + ?Sized, T: Tables>(
    flow: &F,
    packet: &P,
    service: ServiceId,
    real: RealId,
    tables: &mut T,
) -> Option<()> {
    if let Part::First(id) = flow.part() {
        let packet = flow.fragment_hash(id, &tables.settings()?.flow_key).identity();
        let owner = FragmentOwner::new(real, service, tables.now());
        tables.remember_fragment(packet, owner);
    }
    let flags = flow.segment_flags(packet)?;
    if TcpFlags::resets(flags) {
        tables.count_signal(real, Signal::ClientReset);
    } else if TcpFlags::opens(flags) {
        // Stands for the SYN: its flow and its sequence number.
        let syn = mix(flow.hash(&tables.settings()?.flow_key).identity() ^ flow.sequence(packet)? as u64);
        let now = tables.syn_clock();
        if tables.syn(syn as u32 & (limits::SYNS - 1))?.is_retransmission(syn, now) {
            tables.count_signal(real, Signal::SynRetransmission);
        }
    }
    Some(())
}
