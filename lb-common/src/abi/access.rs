//! Access lists: prefixes of client addresses, in one trie for all services.

/// The key of the trie, behind its prefix length: the list, then the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct AccessKey {
    /// [`AccessList`] as its number.
    pub list: u32,
    /// The client's address in network byte order, as two words loaded from memory, each of two halves; IPv4 in the first.
    pub address: [u32; 4],
}

const _: () = assert!(size_of::<AccessKey>() == 20);

impl AccessKey {
    /// Bits before the address.
    pub const LIST_BITS: u32 = 32;
    /// All bits: what a packet is looked up with.
    pub const BITS: u32 = Self::LIST_BITS + 128;

    /// Of words as loaded from the packet on a little-endian machine.
    #[inline(always)]
    pub const fn new(list: AccessList, address: [u64; 2]) -> Self {
        let [low, high] = address;
        Self { list: list.0, address: [low as u32, (low >> 32) as u32, high as u32, (high >> 32) as u32] }
    }
}

/// One of the two lists of a service: while packets look at one the daemon fills the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccessList(pub u32);

impl AccessList {
    /// The list of a service in one of two generations.
    #[inline(always)]
    pub const fn new(service: super::ServiceId, second: bool) -> Self {
        Self(service.index() << 1 | second as u32)
    }
}

/// What the longest prefix that matches says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Access {
    /// Served.
    Allowed = 1,
    /// Dropped.
    Denied = 2,
}

impl Access {
    /// Whether the value of the trie says [`Denied`](Self::Denied).
    #[inline(always)]
    pub const fn denies(value: u32) -> bool {
        value == Self::Denied as u32
    }
}
