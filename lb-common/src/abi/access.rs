//! Access lists: prefixes of client addresses, in one trie for all services. They say too which zone a client prefers, so that
//! a packet asks once for both.

use super::ServiceId;

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
    pub const fn new(service: ServiceId, second: bool) -> Self {
        Self(service.index() << 1 | second as u32)
    }
}

/// Whether a client is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Access {
    /// Served.
    Allowed = 1,
    /// Dropped.
    Denied = 2,
}

/// What the longest prefix that matches says. Bits 0-7: an [`Access`]. Bits 8-23: the [`ServiceId`] that its clients have
/// because of the zone that they prefer, 0 if they prefer none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Admission(u32);

impl Admission {
    /// Of clients who prefer a zone, or none.
    pub const fn new(access: Access, zone: Option<ServiceId>) -> Self {
        let zone = match zone {
            Some(zone) => zone.index() << 8,
            None => 0,
        };
        Self(access as u32 | zone)
    }

    /// Whether it says [`Access::Denied`].
    #[inline(always)]
    pub const fn denies(self) -> bool {
        self.0 as u8 == Access::Denied as u8
    }

    /// The service that these clients have rather; `None`: the one that they were looked up for.
    #[inline(always)]
    pub const fn zone(self) -> Option<ServiceId> {
        ServiceId::new((self.0 >> 8) as u16)
    }

    /// As the map holds it.
    #[inline(always)]
    pub const fn to_word(self) -> u32 {
        self.0
    }

    /// As the map holds it.
    #[inline(always)]
    pub const fn from_word(word: u32) -> Self {
        Self(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_admission_keeps_both_its_parts() {
        for zone in [None, ServiceId::new(1), ServiceId::new(512)] {
            for access in [Access::Allowed, Access::Denied] {
                let admission = Admission::from_word(Admission::new(access, zone).to_word());
                assert_eq!((admission.denies(), admission.zone()), (access == Access::Denied, zone));
            }
        }
    }
}
