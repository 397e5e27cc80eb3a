//! What is special about a vip that moves.

/// The lease that a vip is answered under, and whether this machine may be reached by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct VipGuard(u32);

impl VipGuard {
    const CLOSED: u32 = 1 << 31;

    /// Under the lease of this index, which is below 2^31. A closed vip leads to services only.
    pub const fn new(lease: u32, is_closed: bool) -> Self {
        Self(lease & !Self::CLOSED | if is_closed { Self::CLOSED } else { 0 })
    }

    /// As the map holds it.
    #[inline(always)]
    pub const fn from_word(word: u32) -> Self {
        Self(word)
    }

    /// As the map holds it.
    pub const fn to_word(self) -> u32 {
        self.0
    }

    /// The index of the lease.
    #[inline(always)]
    pub const fn lease(self) -> u32 {
        self.0 & !Self::CLOSED
    }

    /// Whether packets for it that are for no service go no further.
    #[inline(always)]
    pub const fn is_closed(self) -> bool {
        self.0 & Self::CLOSED != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guard_has_a_lease_and_a_mark() {
        for (lease, is_closed) in [(0, false), (0, true), (255, false), (255, true)] {
            let guard = VipGuard::from_word(VipGuard::new(lease, is_closed).to_word());
            assert_eq!((guard.lease(), guard.is_closed()), (lease, is_closed));
        }
    }
}
