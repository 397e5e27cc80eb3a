//! One bucket of a ring: everything the common packet needs, in one word.

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// The address in the low 48 bits of a little-endian word, as packets and buckets carry it.
    #[inline(always)]
    pub const fn to_word(self) -> u64 {
        let [a, b, c, d, e, f] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
    }

    /// Takes the low 48 bits.
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        let [a, b, c, d, e, f, _, _] = word.to_le_bytes();
        Self([a, b, c, d, e, f])
    }
}

impl core::fmt::Display for Mac {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// Names a real server in the counters and the directory: 1 to [`MAX_REALS`](super::limits::MAX_REALS).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RealId(u16);

impl RealId {
    /// `None` for 0 and for what does not fit in a bucket.
    #[inline(always)]
    pub const fn new(id: u16) -> Option<Self> {
        if id == 0 || id as u32 > super::limits::MAX_REALS { None } else { Some(Self(id)) }
    }

    /// The map index.
    #[inline(always)]
    pub const fn index(self) -> u32 {
        self.0 as u32
    }
}

/// Bits 0-47: the real server's MAC; 0 if it is this machine. Bits 48-61: its id. Bit 62: see [`Bucket::EXIT`]. Bit 63: see
/// [`Bucket::TRACKED`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Bucket(u64);

const MAC_BITS: u32 = 48;
const MAC_MASK: u64 = (1 << MAC_BITS) - 1;
const REAL_MASK: u64 = (1 << 14) - 1;

impl Bucket {
    /// Never written by the daemon: an array starts like this.
    pub const UNWRITTEN: Self = Self(0);
    /// Written, and no real server of the pool can serve.
    pub const EMPTY: Self = Self(1);
    /// The same, and its packets are left to this host's own stack.
    pub const PASSED: Self = Self(2);
    /// Flows may be elsewhere than the owner says: look at the pins first.
    pub const TRACKED: u64 = 1 << 63;
    /// The way to the owner is not simply back out: look at its [`Exit`](super::Exit).
    pub const EXIT: u64 = 1 << 62;

    /// A bucket that sends its flows to `real`, reached at `mac`, out of the interface they came in by.
    #[inline(always)]
    pub const fn new(real: RealId, mac: Mac) -> Self {
        Self((real.0 as u64) << MAC_BITS | mac.to_word())
    }

    /// A bucket whose flows stay here: the real server is this machine.
    #[inline(always)]
    pub const fn local(real: RealId) -> Self {
        Self((real.0 as u64) << MAC_BITS)
    }

    /// The same, for packets to look at the owner's exit.
    #[must_use]
    pub const fn with_exit(self) -> Self {
        Self(self.0 | Self::EXIT)
    }

    /// The same, for packets to look at the pins.
    #[must_use]
    pub const fn tracked(self) -> Self {
        Self(self.0 | Self::TRACKED)
    }

    /// Whether packets look at the pins.
    #[inline(always)]
    pub const fn is_tracked(self) -> bool {
        self.0 & Self::TRACKED != 0
    }

    /// Whether packets look at the owner's exit.
    #[inline(always)]
    pub const fn has_exit(self) -> bool {
        self.0 & Self::EXIT != 0
    }

    /// Whether the owner is this machine.
    #[inline(always)]
    pub const fn is_local(self) -> bool {
        self.mac_word() == 0
    }

    /// The owner; `None` for [`EMPTY`](Self::EMPTY), [`PASSED`](Self::PASSED) and [`UNWRITTEN`](Self::UNWRITTEN).
    #[inline(always)]
    pub const fn real(self) -> Option<RealId> {
        RealId::new(((self.0 >> MAC_BITS) & REAL_MASK) as u16)
    }

    /// The owner's MAC in the low 48 bits of a word.
    #[inline(always)]
    pub const fn mac_word(self) -> u64 {
        self.0 & MAC_MASK
    }

    /// As the map holds it.
    #[inline(always)]
    pub const fn to_word(self) -> u64 {
        self.0
    }

    /// As the map holds it.
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_its_owner_and_mac() {
        let mac = Mac([0xff, 1, 2, 3, 4, 0xfe]);
        let real = RealId::new(16_383).expect("the largest id is valid");
        let bucket = Bucket::new(real, mac);
        assert_eq!(bucket.real(), Some(real));
        assert_eq!(Mac::from_word(bucket.mac_word()), mac);
        assert_eq!(Bucket::from_word(bucket.to_word()), bucket);
        let odd = bucket.tracked().with_exit();
        assert_eq!((odd.real(), odd.mac_word()), (Some(real), bucket.mac_word()));
        assert!(odd.is_tracked() && odd.has_exit() && !bucket.is_tracked() && !bucket.has_exit());
        assert!(Bucket::local(real).is_local() && !bucket.is_local());
    }

    #[test]
    fn empty_and_unwritten_have_no_owner_and_differ() {
        assert_eq!(Bucket::EMPTY.tracked().real(), None);
        assert_eq!(Bucket::PASSED.tracked().real(), None);
        assert_eq!(Bucket::UNWRITTEN.real(), None);
        assert_ne!(Bucket::EMPTY, Bucket::UNWRITTEN);
    }

    #[test]
    fn ids_are_bounded() {
        assert_eq!(RealId::new(0), None);
        assert_eq!(RealId::new(16_384), None);
    }
}
