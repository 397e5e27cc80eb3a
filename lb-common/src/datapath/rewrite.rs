//! The frame's new addresses: to the real server, from the MAC it was sent to. The time to live is one less, so that no
//! loop can live; IP and above stay as they are, so the real server sees the client and answers it directly.

use super::flow::Flow;
use crate::abi::Bucket;
use crate::wire::{Cursor, Ethernet};

/// Writes both addresses, twelve bytes in two stores. `None` if the frame is too short, which parsing has excluded.
#[inline(always)]
pub fn rewrite<F: Flow, P: Cursor + ?Sized>(flow: &F, packet: &mut P, source: u64, owner: Bucket) -> Option<()> {
    flow.age(packet)?;
    packet.store::<u64>(Ethernet::DESTINATION, owner.mac_word() | source << 48)?;
    packet.store::<u32>(Ethernet::DESTINATION + 8, (source >> 16) as u32)
}
