//! What is noted of few packets only, once their real server is known: where a first fragment goes, and what clients' segments
//! say of a real server (a SYN that comes again was not answered, a reset ends what went wrong).
//!
//! What may be filled are a table that forgets its oldest and an array of a fixed size, both by keyed hashes.

use super::Tables;
use super::flow::{Flow, Part};
use super::ipv4::Ipv4Flow;
use super::ipv6::Ipv6Flow;
use super::link::look_behind_tags;
use crate::abi::{FragmentOwner, RealId, ServiceId, Signal, limits};
use crate::hash::FlowHash;
use crate::wire::{Cursor, Ethernet, Frame, TcpFlags};

/// Notes what a client's own segment says, if it is a SYN or a reset.
#[inline(always)]
pub fn note_segment<F: Flow, P: Cursor + ?Sized, T: Tables>(
    flow: &F,
    packet: &P,
    flow_hash: FlowHash,
    real: RealId,
    tables: &mut T,
) {
    let Some(flags) = flow.segment_flags(packet) else { return };
    if TcpFlags::resets(flags) {
        tables.count_signal(real, Signal::ClientReset);
    } else if TcpFlags::opens(flags)
        && let Some(sequence) = flow.sequence(packet)
    {
        tables.note_syn(flow_hash.segment(sequence), real);
    }
}

/// Notes a SYN by the [`FlowHash::segment`] that stands for it, and counts it if it came before.
#[inline(always)]
pub fn note_syn<T: Tables>(syn: u64, real: RealId, tables: &mut T) {
    let now = tables.syn_clock();
    if tables.syn(syn as u32 & (limits::SYNS - 1)).is_some_and(|note| note.is_retransmission(syn, now)) {
        tables.count_signal(real, Signal::SynRetransmission);
    }
}

/// Remembers where this first fragment goes. It is read anew for that: what would have to be known of it is better kept off
/// the stack of all other packets, and out of what the kernel's verifier follows for each of them.
#[inline(always)]
pub fn note_fragment<P: Frame + ?Sized, T: Tables>(packet: &mut P, service: ServiceId, real: RealId, tables: &mut T) {
    match look_behind_tags(packet) {
        Some(Ethernet::IPV4) => Ipv4Flow::parse(packet).and_then(|flow| remember(&flow, service, real, tables)),
        Some(Ethernet::IPV6) => Ipv6Flow::parse(packet).and_then(|flow| remember(&flow, service, real, tables)),
        _ => None,
    };
}

/// `None`: it is no first fragment, or the tables have not been filled.
#[inline(always)]
fn remember<F: Flow, T: Tables>(flow: &F, service: ServiceId, real: RealId, tables: &mut T) -> Option<()> {
    let Part::First(id) = flow.part() else { return None };
    let packet = flow.fragment_hash(id, &tables.settings()?.flow_key).identity();
    tables.remember_fragment(packet, FragmentOwner::new(real, service, tables.now()));
    Some(())
}
