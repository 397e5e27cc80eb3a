//! The ends of leases, which the thread that holds the vips writes by itself.
//!
//! All other words of the maps have one writer, the reconciler. A lease must end when *that thread* stops, whoever else still
//! runs; so each word here has one writer too, the holder of its [`LeaseHandle`].

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};

use lb_common::abi::limits;

use super::mapped::Mapped;

/// The ends of all leases: shared memory, or its twin.
#[derive(Clone, Debug)]
pub struct Leases(Words);

#[derive(Clone, Debug)]
enum Words {
    Mapped(Arc<Mapped>),
    Memory(Arc<[AtomicU64]>),
}

/// The end of one lease.
#[derive(Clone, Debug)]
pub struct LeaseHandle {
    leases: Leases,
    index: usize,
}

impl Leases {
    pub(super) const fn mapped(words: Arc<Mapped>) -> Self {
        Self(Words::Mapped(words))
    }

    /// Leases of no map, all run out: for tests.
    pub fn in_memory() -> Self {
        Self(Words::Memory((0..limits::LEASES).map(|_| AtomicU64::new(0)).collect()))
    }

    /// The lease of this index; `None` if there is none.
    pub fn handle(&self, index: u32) -> Option<LeaseHandle> {
        let index = index as usize;
        (index < self.words().len()).then(|| LeaseHandle { leases: self.clone(), index })
    }

    fn words(&self) -> &[AtomicU64] {
        match &self.0 {
            Words::Mapped(mapped) => mapped.words(),
            Words::Memory(words) => words,
        }
    }
}

impl LeaseHandle {
    /// Whether it is the same lease.
    pub fn is(&self, other: &Self) -> bool {
        self.index == other.index
    }

    /// Has it run until this time, in nanoseconds of `CLOCK_MONOTONIC`.
    pub fn renew(&self, until: u64) {
        self.store(until);
    }

    /// Ends it.
    pub fn end(&self) {
        self.store(0);
    }

    /// Until when it runs, in nanoseconds of `CLOCK_MONOTONIC`; 0 if it was ended or never given.
    pub fn until(&self) -> u64 {
        self.word().map_or(0, |word| word.load(Acquire))
    }

    fn store(&self, until: u64) {
        if let Some(word) = self.word() {
            word.store(until, Release);
        }
    }

    fn word(&self) -> Option<&AtomicU64> {
        self.leases.words().get(self.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_renewed_and_ended_by_its_handle_alone() {
        let leases = Leases::in_memory();
        let (first, last) = (leases.handle(0).unwrap(), leases.handle(limits::LEASES - 1).unwrap());
        assert_eq!(first.until(), 0);
        first.renew(7);
        assert_eq!((first.until(), last.until(), leases.handle(0).unwrap().until()), (7, 0, 7));
        first.end();
        assert_eq!(first.until(), 0);
        assert!(first.is(&leases.handle(0).unwrap()) && !first.is(&last));
        assert!(leases.handle(limits::LEASES).is_none());
    }
}
