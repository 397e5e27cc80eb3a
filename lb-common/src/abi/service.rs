//! The service table: a perfect hash of (vip, port, protocol), one array access a packet.

use super::limits::{MAX_SERVICES, SERVICE_SLOT_BITS, SERVICE_SLOTS};

/// Names a service in the counters and the directory: 1 to [`MAX_SERVICES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId(u16);

impl ServiceId {
    /// `None` for 0 and above [`MAX_SERVICES`].
    #[inline(always)]
    pub const fn new(id: u16) -> Option<Self> {
        if id == 0 || id as u32 > MAX_SERVICES { None } else { Some(Self(id)) }
    }

    /// The map index.
    #[inline(always)]
    pub const fn index(self) -> u32 {
        self.0 as u32
    }

    /// As the slot holds it.
    #[inline(always)]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// Where its slot is, behind both halves, if it is that of clients who prefer a zone.
    #[inline(always)]
    pub const fn zone_slot(self) -> u32 {
        2 * SERVICE_SLOTS + self.index()
    }
}

/// A transport protocol that is balanced, by its IANA number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Protocol {
    /// TCP.
    Tcp = 6,
    /// UDP.
    Udp = 17,
}

impl Protocol {
    /// `None` for what is not balanced.
    #[inline(always)]
    pub const fn new(number: u8) -> Option<Self> {
        match number {
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            _ => None,
        }
    }
}

/// The address family of a vip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Family {
    /// IPv4: the first four bytes of an address field count, the others are zero.
    V4 = 4,
    /// IPv6.
    V6 = 6,
}

const BLOCK_SHIFT: u32 = 27;

/// What a packet is matched with: two words of address, one of port, protocol and family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceKey {
    /// The vip in network byte order, as two words loaded from memory.
    pub vip: [u64; 2],
    /// Bits 0-15: the port as loaded from the packet. Bits 16-23: the protocol. Bits 24-26: the family. Bits 27-31: the
    /// logarithm of the number of ports meant, whose lower bits are then 0 in the port.
    pub tail: u32,
}

impl ServiceKey {
    /// `port` is in network byte order, as it stands in the packet.
    #[inline(always)]
    pub const fn v4(vip: [u8; 4], port: [u8; 2], protocol: Protocol) -> Self {
        Self::from_v4_words(u32::from_le_bytes(vip), u16::from_le_bytes(port), protocol)
    }

    /// The same from words as loaded from the packet on a little-endian machine.
    #[inline(always)]
    pub const fn from_v4_words(vip: u32, port: u16, protocol: Protocol) -> Self {
        Self { vip: [vip as u64, 0], tail: port as u32 | (protocol as u32) << 16 | (Family::V4 as u32) << 24 }
    }

    /// An IPv6 key from words as loaded from the packet on a little-endian machine.
    #[inline(always)]
    pub const fn from_v6_words(vip: [u64; 2], port: u16, protocol: Protocol) -> Self {
        Self { vip, tail: port as u32 | (protocol as u32) << 16 | (Family::V6 as u32) << 24 }
    }

    /// `port` is in network byte order, as it stands in the packet.
    pub const fn v6(vip: [u8; 16], port: [u8; 2], protocol: Protocol) -> Self {
        let words = u128::from_le_bytes(vip);
        Self::from_v6_words([words as u64, (words >> 64) as u64], u16::from_le_bytes(port), protocol)
    }

    /// The block of 2^`bits` ports that this key's port lies in.
    #[inline(always)]
    #[must_use]
    pub const fn block(self, bits: u32) -> Self {
        let port = (self.tail as u16).swap_bytes() & (0xffff_u32 << bits) as u16;
        Self { vip: self.vip, tail: self.tail & 0x07ff_0000 | port.swap_bytes() as u32 | bits << BLOCK_SHIFT }
    }

    /// The slot within one half of the table, by multiply-shift hashing: `seed` is odd.
    #[inline(always)]
    pub const fn slot(self, seed: u64) -> u32 {
        let address = self.vip[0] ^ self.vip[1].rotate_left(29);
        let mixed = (address ^ (address >> 32)).wrapping_mul(seed) ^ (self.tail as u64) << 32 ^ self.tail as u64;
        (mixed.wrapping_mul(seed) >> (64 - SERVICE_SLOT_BITS)) as u32
    }
}

/// Where a service's ring lies in the bucket map; one word, so that both ends change at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingRange {
    /// Index of the first bucket.
    pub base: u32,
    /// Number of buckets; never 0 in a written slot.
    pub size: u32,
}

impl RingRange {
    /// As the slot holds it.
    #[inline(always)]
    pub const fn to_word(self) -> u64 {
        (self.size as u64) << 32 | self.base as u64
    }

    /// As the slot holds it.
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        Self { base: word as u32, size: (word >> 32) as u32 }
    }
}

/// One slot of the service table, and of a cache line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ServiceSlot {
    /// [`ServiceKey::vip`].
    pub vip: [u64; 2],
    /// [`RingRange`] of the ring before the last change, as long as flows may be where it says; else 0. Written before
    /// `ring`.
    pub old_ring: u64,
    /// [`RingRange`].
    pub ring: u64,
    /// What counts of a client's address, if the service asks for affinity by source: a mask as loaded from memory.
    pub source_mask: [u64; 2],
    /// Zero.
    pub reserved: u64,
    /// Bits 0-31: [`ServiceKey::tail`]. Bits 32-47: [`ServiceId`]. Bits 48-63: [`ServiceFlags`].
    ///
    /// The last word to be written and the first to be cleared: it alone says that the slot is taken.
    pub tail: u64,
}

const _: () = assert!(size_of::<ServiceSlot>() == 64);

impl ServiceSlot {
    /// A slot that is taken, of flows that are told apart by all five fields.
    pub const fn new(key: ServiceKey, service: ServiceId, flags: ServiceFlags, ring: RingRange) -> Self {
        let tail = flags.0 | (service.0 as u64) << 32 | key.tail as u64;
        Self { vip: key.vip, old_ring: 0, ring: ring.to_word(), source_mask: [0; 2], reserved: 0, tail }
    }

    /// Whether this slot is taken by just this key.
    #[inline(always)]
    pub const fn matches(&self, key: ServiceKey) -> bool {
        self.tail as u32 == key.tail && self.vip[0] == key.vip[0] && self.vip[1] == key.vip[1]
    }

    /// `None` if the slot is not taken.
    #[inline(always)]
    pub const fn service(&self) -> Option<ServiceId> {
        ServiceId::new((self.tail >> 32) as u16)
    }

    /// What else is to be done for its packets.
    #[inline(always)]
    pub const fn flags(&self) -> ServiceFlags {
        ServiceFlags(self.tail & ServiceFlags::ALL)
    }

    /// The ring.
    #[inline(always)]
    pub const fn ring(&self) -> RingRange {
        RingRange::from_word(self.ring)
    }

    /// `None` if no flow is where an older ring says.
    #[inline(always)]
    pub const fn old_ring(&self) -> Option<RingRange> {
        if self.old_ring == 0 { None } else { Some(RingRange::from_word(self.old_ring)) }
    }
}

/// What a service asks for beyond what all do; bits of [`ServiceSlot::tail`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceFlags(pub u64);

impl ServiceFlags {
    /// Affinity by source.
    pub const BY_SOURCE: Self = Self(1 << 48);
    /// It has an access list, or clients who prefer a zone: the first of its two lists.
    pub const ACCESS: Self = Self(1 << 49);
    /// The second of its two lists, rather.
    pub const SECOND_LIST: Self = Self(1 << 50);
    /// This machine is one of its real servers, so a frame from another director stays here.
    pub const LOCAL: Self = Self(1 << 51);
    /// Every flow is pinned. The same bit as [`Bucket::TRACKED`](super::Bucket::TRACKED).
    pub const FULL: Self = Self(super::Bucket::TRACKED);
    const ALL: u64 = 0xffff << 48;

    /// With those of `other`.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether it has all of `other`.
    #[inline(always)]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}
