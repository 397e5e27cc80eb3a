//! What packets need to know of a real server beside what is in its buckets: read only off the straight path.

use super::bucket::Bucket;

/// One for each [`RealId`](super::RealId).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct RealSlot {
    /// A [`Bucket`] of this real server as long as flows may go to it, even if the ring gives it none; else 0.
    pub owner: u64,
    /// An [`Exit`].
    pub exit: u64,
}

const _: () = assert!(size_of::<RealSlot>() == 16);

impl RealSlot {
    /// In `owner`: it keeps the flows it has and gets no others. A bucket uses the bit for something else.
    pub const DRAINING: u64 = Bucket::TRACKED;

    /// Whether it keeps the flows it has and gets no others.
    #[inline(always)]
    pub const fn is_draining(&self) -> bool {
        self.owner & Self::DRAINING != 0
    }

    /// `None` if no flow may go to it.
    #[inline(always)]
    pub const fn owner(&self) -> Option<Bucket> {
        let bucket = Bucket::from_word(self.owner);
        if bucket.real().is_some() { Some(bucket) } else { None }
    }
}

/// The way out to a real server. Bits 0-7: the interface, by its place in [`Settings`](super::Settings). Bits 8-19: the
/// VLAN, 0 for none. Bits 32-47: the MTU, in bytes from the IP header on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Exit(pub u64);

impl Exit {
    /// `vlan` is 0 to 4094; 0 is none.
    pub const fn new(interface: u8, vlan: u16, mtu: u16) -> Self {
        Self(interface as u64 | ((vlan & 0xfff) as u64) << 8 | (mtu as u64) << 32)
    }

    /// Its place in the settings.
    #[inline(always)]
    pub const fn interface(self) -> u32 {
        self.0 as u8 as u32
    }

    /// 0 is none.
    #[inline(always)]
    pub const fn vlan(self) -> u16 {
        (self.0 >> 8) as u16 & 0xfff
    }

    /// Bytes from the IP header on.
    #[inline(always)]
    pub const fn mtu(self) -> usize {
        (self.0 >> 32) as u16 as usize
    }
}
