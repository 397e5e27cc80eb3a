//! What clients' segments say of a real server by themselves: that it does not answer.

use core::cell::UnsafeCell;

/// How often clients have seen a real server not answer. One for each [`RealId`](super::RealId), over all CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Signals {
    /// SYNs that came once more, [`SynNote::SOONEST`] to [`SynNote::LATEST`] after the time before.
    pub syn_retransmissions: u64,
    /// Segments with RST from clients.
    pub client_resets: u64,
}

const _: () = assert!(size_of::<Signals>() == 16);

/// One of the two, by its place in [`Signals`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Signal {
    /// A SYN that came once more.
    SynRetransmission = 0,
    /// A reset.
    ClientReset = 1,
}

/// The clock of SYNs: 16.8 milliseconds a tick, counted modulo 2^24 (78 hours).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SynTick(u32);

impl SynTick {
    const MASK: u64 = (1 << 24) - 1;

    /// Of so many nanoseconds since whenever.
    #[inline(always)]
    pub const fn from_nanoseconds(now: u64) -> Self {
        Self((now >> 24 & Self::MASK) as u32)
    }
}

/// The last SYN of those that a hash puts in one place, in a word. Bits 0-23: the [`SynTick`]. Bits 24-63: the hash's upper
/// bits.
///
/// CPUs write it with plain stores: a SYN that meets another one there is forgotten, and with it no more than a signal.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct SynNote(UnsafeCell<u64>);

// SAFETY: one aligned word, read and written whole; which of several writers is the last does not matter.
unsafe impl Sync for SynNote {}

impl SynNote {
    /// In ticks: what comes sooner is a copy made on the way (0.5 seconds; RFC 6298 has the first retransmission after one).
    pub const SOONEST: u64 = 30;
    /// In ticks: what comes later is a port that is used again (8 seconds).
    pub const LATEST: u64 = 477;

    /// As the map holds it.
    pub const fn from_word(word: u64) -> Self {
        Self(UnsafeCell::new(word))
    }

    /// As the map holds it.
    #[inline(always)]
    pub fn to_word(&self) -> u64 {
        // SAFETY: a valid, aligned word; who shares it has it in a map, where words are read and written whole.
        unsafe { self.0.get().read_volatile() }
    }

    /// Notes a SYN by a hash of its flow and its sequence number. Whether it is the one that was here, and has been sent once
    /// more.
    #[inline(always)]
    pub fn is_retransmission(&self, syn: u64, now: SynTick) -> bool {
        let former = self.to_word();
        let age = (now.0 as u64).wrapping_sub(former) & SynTick::MASK;
        let is_same = (former ^ syn) >> 24 == 0;
        if is_same && age < Self::SOONEST {
            return false;
        }
        // SAFETY: as above.
        unsafe { self.0.get().write_volatile(syn & !SynTick::MASK | now.0 as u64) };
        is_same && age <= Self::LATEST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn at(milliseconds: u64) -> SynTick {
        // Late, where the clock comes round.
        SynTick::from_nanoseconds((1 << 48) - 2 * SECOND + milliseconds * 1_000_000)
    }

    #[test]
    fn each_retransmission_counts_once_and_nothing_else_does() {
        let note = SynNote::default();
        let syn = 0x1234_5678_9abc_def0;
        // As Linux sends it: after 1, 2 and 4 seconds more. Copies of each are made on the way.
        let rows = [(0, false), (100, false), (1000, true), (1001, false), (3000, true), (7000, true), (16_000, false)];
        for (milliseconds, expected) in rows {
            assert_eq!(note.is_retransmission(syn, at(milliseconds)), expected, "after {milliseconds} ms");
        }
        assert!(!note.is_retransmission(!syn, at(17_000)), "another one");
        assert!(!note.is_retransmission(syn, at(18_000)), "it has been forgotten");
    }
}
