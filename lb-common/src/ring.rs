//! The ring: who owns which bucket. A pure function of (seed, size, configured real servers and weights, which of them
//! are usable), so two directors with the same file and the same view of health hold the same ring.
//!
//! *Base*: weighted Maglev (Eisenbud and others, NSDI 2016, section 3.4) over all configured members, whatever their
//! health. *Fallback*: a bucket whose base owner is not usable goes to the best usable member by weighted rendezvous
//! hashing. So a member that goes takes only its own buckets along, and gets exactly those back.

use crate::hash::mix;

/// The smallest ring; a prime.
pub const MIN_RING_SIZE: u32 = 251;
/// The largest ring; a prime.
pub const MAX_RING_SIZE: u32 = 655_373;
/// The owner of a bucket that nobody can own.
pub const NOBODY: u16 = u16::MAX;

/// A real server as the ring sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Stands for its address.
    key: u64,
    weight: u32,
}

impl Member {
    /// `address` is what it is known by, on every director. A weight of 0 owns nothing.
    pub const fn new(seed: u64, address: [u8; 16], weight: u32) -> Self {
        let number = u128::from_be_bytes(address);
        let high = mix(seed ^ mix((number >> 64) as u64));
        Self { key: mix(high.wrapping_add(number as u64)), weight }
    }

    /// What the members of one ring are sorted by.
    pub const fn key(&self) -> u64 {
        self.key
    }

    /// Uniform over `u64` for each (member, bucket).
    const fn draw(&self, bucket: u32) -> u64 {
        mix(self.key ^ mix(bucket as u64))
    }

    /// Uniform over (0, 1), the upper 53 bits of the draw.
    const fn uniform(&self, bucket: u32) -> f64 {
        ((self.draw(bucket) >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }
}

/// What [`auto_size`] chooses from: the largest primes below powers of two, and the largest ring.
const AUTO_SIZES: [u32; 13] =
    [MIN_RING_SIZE, 509, 1021, 2039, 4093, 8191, 16_381, 32_749, 65_521, 131_071, 262_139, 524_287, MAX_RING_SIZE];

/// A size of at least 100 buckets for each weight unit (the weights divided by their greatest common divisor), within
/// [`MIN_RING_SIZE`] and [`MAX_RING_SIZE`].
///
/// Few sizes, far apart: rings of different sizes have little in common, so a size that changed with every real server
/// that comes would move nearly every flow, not its share of them.
pub fn auto_size(weights: impl Iterator<Item = u32> + Clone) -> u32 {
    let divisor = weights.clone().fold(0, greatest_common_divisor).max(1);
    let units: u64 = weights.map(|weight| u64::from(weight / divisor)).sum();
    let wanted = units.saturating_mul(100);
    AUTO_SIZES.into_iter().find(|size| u64::from(*size) >= wanted).unwrap_or(MAX_RING_SIZE)
}

const fn greatest_common_divisor(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// The smallest prime that is not below `number`.
pub const fn next_prime(mut number: u32) -> u32 {
    while !is_prime(number) {
        number += 1;
    }
    number
}

/// By trial division: for sizes of rings, which are small.
pub const fn is_prime(number: u32) -> bool {
    if number < 2 {
        return false;
    }
    let mut divisor = 2;
    while (divisor as u64) * (divisor as u64) <= number as u64 {
        if number.is_multiple_of(divisor) {
            return false;
        }
        divisor += 1;
    }
    true
}

/// A member's place in its own permutation of the buckets, while a base is built.
#[derive(Clone, Copy, Debug, Default)]
pub struct Turn {
    position: u32,
    skip: u32,
    credit: u32,
}

impl Turn {
    const fn new(member: &Member, size: u32) -> Self {
        let position = (mix(member.key ^ 1) % size as u64) as u32;
        let skip = (mix(member.key ^ 2) % (size as u64 - 1)) as u32 + 1;
        Self { position, skip, credit: 0 }
    }

    /// The next bucket of the permutation that is still free; there must be one.
    fn take(&mut self, ring: &mut [u16], owner: u16) {
        let size = ring.len() as u32;
        while ring[self.position as usize] != NOBODY {
            self.position += self.skip;
            if self.position >= size {
                self.position -= size;
            }
        }
        ring[self.position as usize] = owner;
    }
}

/// Fills `ring`, whose length is a prime, with the index in `members` of each bucket's base owner, or [`NOBODY`] if all
/// weights are 0. Members take turns as their weights say (a share is right to within a bucket or two).
///
/// `members` is sorted by [`Member::key`], so that the order of the file does not matter; there are fewer than 65535.
/// `turns` is scratch of the same length.
///
/// # Panics
/// If `turns` is shorter than `members`, or `ring` has fewer than two buckets.
pub fn base(members: &[Member], turns: &mut [Turn], ring: &mut [u16]) {
    ring.fill(NOBODY);
    let heaviest = members.iter().map(|member| member.weight).max().unwrap_or(0);
    if heaviest == 0 {
        return;
    }
    for (turn, member) in turns.iter_mut().zip(members) {
        *turn = Turn::new(member, ring.len() as u32);
    }
    let mut free = ring.len();
    loop {
        for (index, member) in members.iter().enumerate() {
            let turn = &mut turns[index];
            turn.credit += member.weight;
            if turn.credit < heaviest {
                continue;
            }
            turn.credit -= heaviest;
            turn.take(ring, index as u16);
            free -= 1;
            if free == 0 {
                return;
            }
        }
    }
}

/// The owner of each bucket now: its base owner if `usable` says so, else the best usable member by weighted rendezvous
/// hashing, else [`NOBODY`].
///
/// # Panics
/// If `ring` is shorter than `base`, or `usable` than `members`.
pub fn owners(members: &[Member], base: &[u16], usable: &[bool], ring: &mut [u16]) {
    let equal = members.iter().all(|member| member.weight == members[0].weight);
    for (bucket, &owner) in base.iter().enumerate() {
        let keeps = owner != NOBODY && usable[owner as usize];
        ring[bucket] = if keeps { owner } else { fallback(members, usable, bucket as u32, equal) };
    }
}

/// Rendezvous hashing with weights: the member with the least -ln(u)/weight, u uniform in (0, 1), wins with a probability
/// proportional to its weight (Schindelhauer and Schomaker, SPAA 2005). Among equal weights that is the largest u. The
/// logarithm is `libm`'s, which gives the same bits on every machine.
fn fallback(members: &[Member], usable: &[bool], bucket: u32, equal: bool) -> u16 {
    let candidates = members.iter().enumerate().filter(|(index, member)| usable[*index] && member.weight > 0);
    let best = if equal {
        candidates.max_by_key(|(_, member)| member.draw(bucket)).map(|(index, _)| index)
    } else {
        least_score(candidates, bucket)
    };
    best.map_or(NOBODY, |index| index as u16)
}

fn least_score<'a>(candidates: impl Iterator<Item = (usize, &'a Member)>, bucket: u32) -> Option<usize> {
    let (mut best, mut least) = (None, f64::INFINITY);
    for (index, member) in candidates {
        let (uniform, weight) = (member.uniform(bucket), f64::from(member.weight));
        // 1-u is less than -ln(u), and far cheaper: of a thousand members it spares all but a few the logarithm.
        if (1.0 - uniform) / weight > least {
            continue;
        }
        let score = -libm::log(uniform) / weight;
        if score < least {
            (best, least) = (Some(index), score);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn members(weights: &[u32]) -> Vec<Member> {
        let member = |(i, &weight): (usize, &u32)| {
            let mut address = [0; 16];
            address[..4].copy_from_slice(&(0x0a00_0001 + i as u32).to_be_bytes());
            Member::new(42, address, weight)
        };
        let mut members: Vec<Member> = weights.iter().enumerate().map(member).collect();
        members.sort_by_key(Member::key);
        members
    }

    fn base_of(members: &[Member], size: u32) -> Vec<u16> {
        let mut ring = vec![0; size as usize];
        base(members, &mut vec![Turn::default(); members.len()], &mut ring);
        ring
    }

    fn owners_of(members: &[Member], base: &[u16], usable: &[bool]) -> Vec<u16> {
        let mut ring = vec![0; base.len()];
        owners(members, base, usable, &mut ring);
        ring
    }

    /// Each member's share of the ring over its share of the weights.
    fn fairness(members: &[Member], ring: &[u16]) -> Vec<f64> {
        let total: u64 = members.iter().map(|member| u64::from(member.weight)).sum();
        let mut counts = vec![0u32; members.len()];
        for &owner in ring {
            counts[owner as usize] += 1;
        }
        let share = |(member, count): (&Member, u32)| {
            let fair = ring.len() as f64 * f64::from(member.weight) / total as f64;
            f64::from(count) / fair
        };
        members.iter().zip(counts).map(share).collect()
    }

    #[test]
    fn shares_of_up_to_100_equal_members_are_within_one_percent() {
        for count in 1..=100 {
            let members = members(&vec![7; count]);
            let size = auto_size(members.iter().map(|member| member.weight));
            for ratio in fairness(&members, &base_of(&members, size)) {
                assert!((ratio - 1.0).abs() < 0.01, "{count} members, {size} buckets: a share is {ratio} of its own");
            }
        }
    }

    #[test]
    fn sizes_are_primes_of_a_hundred_buckets_a_unit() {
        assert_eq!(auto_size([1, 1, 1].into_iter()), 509);
        assert_eq!(auto_size([300, 300].into_iter()), MIN_RING_SIZE);
        assert_eq!(auto_size([2, 4, 6].into_iter()), 1021);
        assert!(AUTO_SIZES.into_iter().all(is_prime));
        assert_eq!(auto_size([65_535, 65_534].into_iter()), MAX_RING_SIZE);
        assert_eq!(auto_size([].into_iter()), MIN_RING_SIZE);
        assert!(is_prime(MIN_RING_SIZE) && is_prime(MAX_RING_SIZE));
        assert!(!is_prime(1) && is_prime(2) && !is_prime(65_535) && is_prime(65_537));
    }

    #[test]
    fn nobody_owns_the_ring_of_an_empty_or_weightless_pool() {
        assert!(base_of(&members(&[0, 0]), 251).iter().all(|&owner| owner == NOBODY));
        assert!(base_of(&[], 251).iter().all(|&owner| owner == NOBODY));
        let members = members(&[1, 2]);
        let base = base_of(&members, 307);
        assert!(owners_of(&members, &base, &[false, false]).iter().all(|&owner| owner == NOBODY));
    }

    #[test]
    fn buckets_of_the_lost_are_spread_by_weight() {
        let members = members(&[1, 2, 3, 10]);
        let lost = members.iter().position(|member| member.weight == 10).expect("it was given");
        let base = base_of(&members, 65_537);
        let usable: Vec<bool> = (0..4).map(|index| index != lost).collect();
        let ring = owners_of(&members, &base, &usable);
        let mut counts = [0u32; 4];
        ring.iter().zip(&base).filter(|(_, base)| **base as usize == lost).for_each(|(o, _)| counts[*o as usize] += 1);
        let fallen: u32 = counts.iter().sum();
        for (member, count) in members.iter().zip(counts).filter(|(member, _)| member.weight < 10) {
            let fair = f64::from(fallen) * f64::from(member.weight) / 6.0;
            assert!((f64::from(count) / fair - 1.0).abs() < 0.05, "weight {} got {count}, not {fair}", member.weight);
        }
    }

    /// The same without a shortcut.
    fn plain_fallback(members: &[Member], usable: &[bool], bucket: u32) -> u16 {
        let score = |member: &Member| -libm::log(member.uniform(bucket)) / f64::from(member.weight);
        let candidates = members.iter().enumerate().filter(|(index, member)| usable[*index] && member.weight > 0);
        let best = candidates.min_by(|(_, a), (_, b)| score(a).total_cmp(&score(b)));
        best.map_or(NOBODY, |(index, _)| index as u16)
    }

    fn pools() -> impl Strategy<Value = (Vec<u32>, Vec<bool>)> {
        let weights =
            prop_oneof![prop::collection::vec(0u32..20, 1..40), (1usize..40, 1u32..9).prop_map(|(n, w)| vec![w; n])];
        weights.prop_flat_map(|weights| {
            let count = weights.len();
            (Just(weights), prop::collection::vec(any::<bool>(), count))
        })
    }

    proptest! {
        #[test]
        fn taking_members_out_moves_no_bucket_of_the_others((weights, usable) in pools()) {
            let members = members(&weights);
            let base = base_of(&members, 1009);
            let ring = owners_of(&members, &base, &usable);
            for (&owner, &before) in ring.iter().zip(&base) {
                if before != NOBODY && usable[before as usize] {
                    prop_assert_eq!(owner, before);
                } else {
                    let can_serve = members.iter().zip(&usable).any(|(member, &usable)| usable && member.weight > 0);
                    prop_assert_eq!(owner != NOBODY, can_serve);
                    prop_assert!(owner == NOBODY || usable[owner as usize]);
                }
            }
        }

        #[test]
        fn one_more_loss_moves_only_the_buckets_of_the_lost((weights, usable) in pools(), lost in any::<prop::sample::Index>()) {
            let members = members(&weights);
            let base = base_of(&members, 1009);
            let before = owners_of(&members, &base, &usable);
            let lost = lost.index(members.len());
            let mut fewer = usable.clone();
            fewer[lost] = false;
            for (&after, &before) in owners_of(&members, &base, &fewer).iter().zip(&before) {
                prop_assert!(after == before || before as usize == lost);
            }
            prop_assert_eq!(owners_of(&members, &base, &usable), before);
        }

        #[test]
        fn the_shortcut_of_the_fallback_changes_nothing((weights, usable) in pools(), buckets in any::<u32>()) {
            let members = members(&weights);
            for bucket in (0..50).map(|step| buckets.wrapping_add(step)) {
                let expected = plain_fallback(&members, &usable, bucket);
                prop_assert_eq!(fallback(&members, &usable, bucket, false), expected);
            }
        }

        #[test]
        fn everybody_back_is_the_base_again((weights, _) in pools()) {
            let members = members(&weights);
            let base = base_of(&members, 1009);
            prop_assert_eq!(owners_of(&members, &base, &vec![true; members.len()]), base);
        }
    }
}
