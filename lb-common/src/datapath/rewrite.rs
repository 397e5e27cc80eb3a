//! The frame's new addresses: to the real server, from the MAC it was sent to. IP and above stay as they are, so the
//! real server sees the client and answers it directly.

use crate::wire::{Cursor, Ethernet};

/// Writes both addresses, twelve bytes in two stores. `None` if the frame is too short, which parsing has excluded.
#[inline(always)]
pub fn rewrite<P: Cursor + ?Sized>(packet: &mut P, source: u64, destination: u64) -> Option<()> {
    packet.store::<u64>(Ethernet::DESTINATION, destination | source << 48)?;
    packet.store::<u32>(Ethernet::DESTINATION + 8, (source >> 16) as u32)
}
