//! What clients' segments say of a real server: a SYN that comes again was not answered, a reset ends what went wrong.
//!
//! Only segments with SYN or RST pay for more than a look at their flags, and what they may fill is an array of a fixed size,
//! by a keyed hash.

use super::Tables;
use super::flow::Flow;
use crate::abi::{RealId, Signal, limits};
use crate::hash::mix;
use crate::wire::{Cursor, TcpFlags};

/// Looks at a client's packet that goes to a real server.
#[inline(always)]
pub fn observe<F: Flow, P: Cursor + ?Sized, T: Tables>(flow: &F, packet: &P, real: RealId, tables: &mut T) {
    let Some(flags) = flow.segment_flags(packet) else { return };
    if !TcpFlags::opens_or_resets(flags) {
        return;
    }
    if TcpFlags::resets(flags) {
        tables.count_signal(real, Signal::ClientReset);
    } else if let (Some(sequence), Some(settings)) = (flow.sequence(packet), tables.settings()) {
        let syn = mix(flow.hash(&settings.flow_key).identity() ^ sequence as u64);
        tables.note_syn(syn, real);
    }
}

/// Notes a SYN by the hash that stands for it, and counts it if it has been here before.
#[inline(always)]
pub fn note_syn<T: Tables>(syn: u64, real: RealId, tables: &mut T) {
    let now = tables.syn_clock();
    let place = syn as u32 & (limits::SYNS - 1);
    if tables.syn(place).is_some_and(|note| note.is_retransmission(syn, now)) {
        tables.count_signal(real, Signal::SynRetransmission);
    }
}
