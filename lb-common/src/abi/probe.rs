//! Health checks that go by a vip: how their packets are told, and which vip they are for.

use super::limits;
use super::service::Family;

/// Names one of the vips that probes go by: 1 to [`PROBED_VIPS`](limits::PROBED_VIPS) less one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeMark(u16);

impl ProbeMark {
    /// The upper half of the mark (`SO_MARK`) that all packets of such a probe carry: "xd".
    const BASE: u32 = 0x7864_0000;

    /// `None` for 0 and beyond the map's end.
    #[inline(always)]
    pub const fn new(index: u16) -> Option<Self> {
        if index == 0 || index as u32 >= limits::PROBED_VIPS { None } else { Some(Self(index)) }
    }

    /// As the socket has it.
    pub const fn to_mark(self) -> u32 {
        Self::BASE | self.0 as u32
    }

    /// `None` if the packet is of no such probe.
    #[inline(always)]
    pub const fn from_mark(mark: u32) -> Option<Self> {
        if mark & 0xffff_0000 == Self::BASE { Self::new(mark as u16) } else { None }
    }

    /// The map index.
    #[inline(always)]
    pub const fn index(self) -> u32 {
        self.0 as u32
    }
}

/// A vip that probes go by, one for each [`ProbeMark`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ProbedVip {
    /// In network byte order, as two words loaded from memory; IPv4 in the first half of the first word.
    pub address: [u64; 2],
    /// A [`Family`]; 0: there is none. The last word to be written and the first to be cleared.
    pub family: u64,
}

const _: () = assert!(size_of::<ProbedVip>() == 24);

impl ProbedVip {
    /// Of this family; `address` as loaded.
    pub const fn new(address: [u64; 2], family: Family) -> Self {
        Self { address, family: family as u64 }
    }

    /// `None` if there is none.
    #[inline(always)]
    pub const fn family(&self) -> Option<Family> {
        match self.family {
            4 => Some(Family::V4),
            6 => Some(Family::V6),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_of_a_probe_only_if_we_made_it() {
        let mark = ProbeMark::new(7).expect("the index is in range");
        assert_eq!(ProbeMark::from_mark(mark.to_mark()), Some(mark));
        assert_eq!(mark.index(), 7);
        for other in [0, 7, 0x7864_0000, 0x7864_ffff, 0x7865_0007] {
            assert_eq!(ProbeMark::from_mark(other), None, "{other:#x}");
        }
    }
}
