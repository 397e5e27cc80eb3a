//! Where things go: free ids, free stretches of the bucket map, a seed without collisions.

use std::collections::BTreeSet;

use lb_common::abi::{RingRange, ServiceKey};
use lb_common::hash::mix;

/// How many seeds are tried: for 512 services one in 3,000 is free of collisions.
const SEED_TRIES: u64 = 200_000;

/// Hands out the lowest free numbers.
pub struct FreeIds<T> {
    taken: BTreeSet<T>,
    next: u32,
    end: u32,
}

impl<T: Copy + Ord> FreeIds<T> {
    /// From 1 to `limit`, except those taken.
    pub fn new(taken: impl IntoIterator<Item = T>, limit: u32) -> Self {
        Self { taken: taken.into_iter().collect(), next: 1, end: limit }
    }

    /// `None` when there is none left.
    pub fn take(&mut self, id: impl Fn(u16) -> Option<T>) -> Option<T> {
        while self.next <= self.end {
            let candidate = u16::try_from(self.next).ok().and_then(&id);
            self.next += 1;
            if let Some(candidate) = candidate
                && !self.taken.contains(&candidate)
            {
                return Some(candidate);
            }
        }
        None
    }
}

/// First-fit over the bucket map.
pub struct FreeBuckets {
    /// Sorted by base.
    taken: Vec<RingRange>,
    end: u32,
}

impl FreeBuckets {
    /// `taken` may repeat and overlap.
    pub fn new(taken: impl IntoIterator<Item = RingRange>, end: u32) -> Self {
        let mut taken: Vec<_> = taken.into_iter().collect();
        taken.sort_by_key(|range| range.base);
        Self { taken, end }
    }

    /// `None` if no free stretch is that long.
    pub fn take(&mut self, size: u32) -> Option<RingRange> {
        let mut base = 0;
        let mut at = self.taken.len();
        for (index, range) in self.taken.iter().enumerate() {
            if range.base.saturating_sub(base) >= size {
                at = index;
                break;
            }
            base = base.max(range.base.saturating_add(range.size));
        }
        if self.end.saturating_sub(base) < size {
            return None;
        }
        let range = RingRange { base, size };
        self.taken.insert(at, range);
        Some(range)
    }
}

/// An odd seed under which all keys fall in slots of their own; the first candidate is `current`.
pub fn slot_seed(keys: &[ServiceKey], current: u64, hash_seed: u64) -> Option<u64> {
    let fresh = (0..SEED_TRIES).map(|i| mix(hash_seed ^ i) | 1);
    std::iter::once(current).filter(|seed| seed % 2 == 1).chain(fresh).find(|&seed| is_perfect(keys, seed))
}

fn is_perfect(keys: &[ServiceKey], seed: u64) -> bool {
    let mut seen = BTreeSet::new();
    keys.iter().all(|key| seen.insert(key.slot(seed)))
}

#[cfg(test)]
mod tests {
    use lb_common::abi::limits::MAX_SERVICES;
    use lb_common::abi::{Protocol, RealId};

    use super::*;

    #[test]
    fn ids_skip_those_taken_and_end_at_the_limit() {
        let mut free = FreeIds::new([1, 3].into_iter().filter_map(RealId::new), 4);
        let taken: Vec<_> = std::iter::from_fn(|| free.take(RealId::new)).map(RealId::index).collect();
        assert_eq!(taken, [2, 4]);
    }

    #[test]
    fn stretches_are_taken_from_the_front_and_never_overlap() {
        let range = |base, size| RingRange { base, size };
        let mut free = FreeBuckets::new([range(10, 5), range(12, 8), range(30, 1)], 40);
        assert_eq!(free.take(10), Some(range(0, 10)));
        assert_eq!(free.take(10), Some(range(20, 10)));
        assert_eq!(free.take(10), None);
        assert_eq!(free.take(9), Some(range(31, 9)));
        assert_eq!(free.take(1), None);
    }

    #[test]
    fn the_most_services_allowed_have_a_seed() {
        let key =
            |i: u32| ServiceKey::v4([10, 0, 0, (i / 64) as u8], (8000 + (i % 64) as u16).to_be_bytes(), Protocol::Tcp);
        let keys: Vec<_> = (0..MAX_SERVICES).map(key).collect();
        for hash_seed in 0..5 {
            assert!(slot_seed(&keys, 0, hash_seed).is_some_and(|seed| is_perfect(&keys, seed)), "seed {hash_seed}");
        }
    }
}
