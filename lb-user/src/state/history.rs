//! What has to be known of the past: rings that flows may still be where they say, and what must not be given up yet.

use std::collections::HashSet;
use std::sync::atomic::Ordering::Acquire;

use lb_common::abi::{Bucket, RealId, RingRange, ServiceInfo, Tick};
use lb_common::hash::reduce;

use crate::dataplane::{Maps, WordMap};

/// One point in time, by the clock that packets see too (`CLOCK_MONOTONIC`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Seconds.
    pub seconds: u64,
    /// The same, as pins have it.
    pub tick: Tick,
}

impl Moment {
    /// Of the clock's reading.
    pub const fn new(since_start: std::time::Duration) -> Self {
        // A u64 of nanoseconds lasts for 584 years.
        Self { seconds: since_start.as_secs(), tick: Tick::from_nanoseconds(since_start.as_nanos() as u64) }
    }
}

/// What flows still need, as far as the pins say. Without a look at them all is held.
#[derive(Clone, Debug, Default)]
pub struct Holds {
    /// Rings, by their first bucket, some flow of which may be elsewhere than its bucket says.
    pub rings: Option<HashSet<u32>>,
    /// Real servers that have flows.
    pub reals: Option<HashSet<RealId>>,
    /// Rings, by their first bucket, any bucket of which may have flows that another director has told of: all are marked.
    pub whole: HashSet<u32>,
}

impl Holds {
    /// Whether the marks in this ring stay.
    pub fn ring(&self, ring: RingRange) -> bool {
        self.rings.as_ref().is_none_or(|rings| rings.contains(&ring.base))
    }

    /// Whether this id still means what it meant.
    pub fn real(&self, id: RealId) -> bool {
        self.reals.as_ref().is_none_or(|reals| reals.contains(&id))
    }
}

/// The ring before, and until when it counts: [`ServiceInfo::old_ring`] and [`ServiceInfo::old_until`] of a service that had
/// `former` and is to have `ring`.
pub fn old_ring(former: Option<&ServiceInfo>, ring: RingRange, now: Moment, idle_seconds: u64) -> (u64, u64) {
    let Some(former) = former else { return (0, 0) };
    let is_open = former.old_ring != 0 && now.seconds < former.old_until;
    match (former.ring == ring.to_word(), is_open) {
        (true, true) => (former.old_ring, former.old_until),
        (true, false) => (0, 0),
        // Flows that nobody has seen since are where the oldest ring says: those of the rings in between are pinned, or
        // are where the oldest ring says too.
        (false, true) => (former.old_ring, now.seconds + idle_seconds),
        (false, false) => (former.ring, now.seconds + idle_seconds),
    }
}

/// The buckets of a former ring that the flows of one bucket of a ring of `size` buckets were in.
fn overlapping(bucket: u32, size: u32, former: RingRange) -> std::ops::RangeInclusive<u32> {
    if former.size == size {
        // The same whatever is divided, and there are tens of thousands of them.
        return bucket..=bucket;
    }
    let start = |bucket: u32| (u64::from(bucket) << 32).div_ceil(u64::from(size));
    let last = start(bucket + 1) - 1;
    // Both are below 2^32: a bucket's hashes.
    reduce(start(bucket) as u32, former.size)..=reduce(last as u32, former.size)
}

/// Buckets of former rings of a pool's services.
pub struct FormerRings<'a, M> {
    maps: &'a M,
    /// Those that unpinned flows may be where they say.
    pub open: Vec<RingRange>,
    /// Those that packets see until the new one is there; marks in them are inherited.
    pub replaced: Vec<RingRange>,
}

impl<'a, M: Maps> FormerRings<'a, M> {
    /// None yet.
    pub const fn new(maps: &'a M) -> Self {
        Self { maps, open: Vec::new(), replaced: Vec::new() }
    }

    /// Whether flows of this bucket may be elsewhere than at `owner` because of one of them.
    pub fn disagree(&self, bucket: u32, size: u32, owner: Bucket) -> bool {
        // Where the old ring has nobody too: who comes has to be remembered, for it could not say so later.
        let elsewhere = |former: Bucket| former.real() != owner.real();
        self.any(&self.open, bucket, size, elsewhere) || self.any(&self.replaced, bucket, size, Bucket::is_tracked)
    }

    fn any(&self, rings: &[RingRange], bucket: u32, size: u32, is: impl Fn(Bucket) -> bool) -> bool {
        if rings.is_empty() {
            return false;
        }
        let former = |ring: &RingRange, index| bucket_at(self.maps, ring.base + index);
        rings.iter().any(|ring| overlapping(bucket, size, *ring).any(|index| is(former(ring, index))))
    }
}

/// A bucket as it is in the maps now.
pub fn bucket_at(maps: &impl Maps, index: u32) -> Bucket {
    let word = maps.words(WordMap::Buckets).get(index as usize);
    word.map_or(Bucket::UNWRITTEN, |word| Bucket::from_word(word.load(Acquire)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buckets_of_two_rings_overlap_where_a_hash_is_in_both() {
        for (size, former) in [(251, 251), (65_537, 65_537), (251, 1009), (1009, 251), (307, 401)] {
            let range = RingRange { base: 0, size: former };
            for hash in (0..u32::MAX - 12_345).step_by(12_345) {
                let (bucket, old) = (reduce(hash, size), reduce(hash, former));
                assert!(overlapping(bucket, size, range).contains(&old), "{hash} of {size} and {former}");
            }
            let all: usize = (0..size).map(|bucket| overlapping(bucket, size, range).count()).sum();
            assert!(all <= (size + former) as usize, "{all} overlaps of {size} and {former}");
        }
    }

    #[test]
    fn the_oldest_ring_counts_until_nobody_can_be_where_it_says() {
        let moment = |seconds| Moment { seconds, ..Moment::default() };
        let info = |ring, old_ring, old_until| ServiceInfo { ring, old_ring, old_until, ..unused() };
        let new = RingRange::from_word(7);
        assert_eq!(old_ring(None, new, moment(5), 60), (0, 0));
        assert_eq!(old_ring(Some(&info(7, 0, 0)), new, moment(5), 60), (0, 0));
        assert_eq!(old_ring(Some(&info(6, 0, 0)), new, moment(5), 60), (6, 65));
        assert_eq!(old_ring(Some(&info(7, 6, 65)), new, moment(64), 60), (6, 65));
        assert_eq!(old_ring(Some(&info(7, 6, 65)), new, moment(65), 60), (0, 0));
        assert_eq!(old_ring(Some(&info(6, 5, 65)), new, moment(60), 60), (5, 120));
    }

    fn unused() -> ServiceInfo {
        use lb_common::abi::Value;
        ServiceInfo::from_words(&ServiceInfo::ZEROS)
    }
}
