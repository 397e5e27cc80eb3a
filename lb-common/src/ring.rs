//! The ring: who owns which bucket. A pure function of (seed, size, configured real servers and weights, which of them
//! are usable), so two directors with the same file and the same view of health hold the same ring.
//!
//! *Base*: weighted Maglev (Eisenbud and others, NSDI 2016, section 3.4) over all configured members, whatever their
//! health. *Fallback*: a bucket whose base owner is not usable goes to the best usable member by weighted rendezvous
//! hashing. So a member that goes takes only its own buckets along, and gets exactly those back. A member that takes only a
//! [`Part`] of its new flows is treated likewise, bucket by bucket.

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

    /// As given.
    pub const fn weight(&self) -> u32 {
        self.weight
    }

    /// Uniform over `u64` for each (member, bucket).
    const fn draw(&self, bucket: u32) -> u64 {
        mix(self.key ^ mix(bucket as u64))
    }

    /// Uniform over (0, 1), the upper 53 bits of the draw.
    const fn uniform(&self, bucket: u32) -> f64 {
        ((self.draw(bucket) >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Whether the bucket is in this part of those that are its own. Another draw than that of the rendezvous.
    const fn takes(&self, bucket: u32, part: Part) -> bool {
        part.0 == Part::ALL.0 || ((mix(self.key ^ mix(bucket as u64 | 1 << 32)) >> 48) as u32) < part.0
    }
}

/// The part of a member's buckets that new flows find it in.
///
/// Which those are is a fixed draw for each (member, bucket), so a larger part has all of a smaller one, on every director.
/// The others go to whoever is chosen by rendezvous hashing, in which it stands with its weight times its part: so in the end
/// the members share the flows in proportion to weight times part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part(u32);

impl Part {
    /// It takes no new flows.
    pub const NONE: Self = Self(0);
    /// It takes all that are its own.
    pub const ALL: Self = Self(1 << 16);

    /// So many of so many, as near as it gets, but not nothing unless `number` is 0; all if there are no more.
    pub const fn of(number: u32, whole: u32) -> Self {
        if number >= whole {
            return if number == 0 { Self::NONE } else { Self::ALL };
        }
        let part = ((number as u64) << 16) / whole as u64;
        if part == 0 && number > 0 { Self(1) } else { Self(part as u32) }
    }

    /// This part of that part; not nothing unless one of them is.
    #[must_use]
    pub const fn times(self, other: Self) -> Self {
        let product = (self.0 as u64 * other.0 as u64) >> 16;
        if product == 0 && self.0 > 0 && other.0 > 0 { Self(1) } else { Self(product as u32) }
    }

    const fn fraction(self) -> f64 {
        self.0 as f64 / Self::ALL.0 as f64
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

/// The owner of each bucket now: its base owner if the bucket is in the part that it takes, else the best member by weighted
/// rendezvous hashing that takes any, else [`NOBODY`]. `members` are those that the base was made of, in the same order; their
/// weights, those of the rendezvous, may be others.
///
/// # Panics
/// If `ring` is shorter than `base`, or `parts` than `members`.
pub fn owners(members: &[Member], base: &[u16], parts: &[Part], ring: &mut [u16]) {
    let equal = are_equal(members, parts);
    for (bucket, &owner) in base.iter().enumerate() {
        let keeps = owner != NOBODY && members[owner as usize].takes(bucket as u32, parts[owner as usize]);
        ring[bucket] = if keeps { owner } else { fallback(members, parts, bucket as u32, equal) };
    }
}

/// The members that take new flows at all, each with its index and part.
fn candidates<'a>(members: &'a [Member], parts: &'a [Part]) -> impl Iterator<Item = (usize, &'a Member, Part)> {
    let takes = |(_, member, part): &(usize, &Member, Part)| *part != Part::NONE && member.weight > 0;
    members.iter().enumerate().map(|(index, member)| (index, member, parts[index])).filter(takes)
}

fn are_equal(members: &[Member], parts: &[Part]) -> bool {
    let mut all = candidates(members, parts).map(|(_, member, part)| (member.weight, part));
    let first = all.next();
    all.all(|other| Some(other) == first)
}

/// Rendezvous hashing with weights: the member with the least -ln(u)/weight, u uniform in (0, 1), wins with a probability
/// proportional to its weight (Schindelhauer and Schomaker, SPAA 2005). Among equal weights that is the largest u. The
/// logarithm is `libm`'s, which gives the same bits on every machine.
fn fallback(members: &[Member], parts: &[Part], bucket: u32, equal: bool) -> u16 {
    let best = if equal {
        candidates(members, parts).max_by_key(|(_, member, _)| member.draw(bucket)).map(|(index, ..)| index)
    } else {
        least_score(members, parts, bucket)
    };
    best.map_or(NOBODY, |index| index as u16)
}

fn least_score(members: &[Member], parts: &[Part], bucket: u32) -> Option<usize> {
    let (mut best, mut least) = (None, f64::INFINITY);
    for (index, member, part) in candidates(members, parts) {
        let (uniform, weight) = (member.uniform(bucket), f64::from(member.weight) * part.fraction());
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

    fn all_or_none(usable: &[bool]) -> Vec<Part> {
        usable.iter().map(|usable| if *usable { Part::ALL } else { Part::NONE }).collect()
    }

    fn owners_of(members: &[Member], base: &[u16], usable: &[bool]) -> Vec<u16> {
        owners_by(members, base, &all_or_none(usable))
    }

    fn owners_by(members: &[Member], base: &[u16], parts: &[Part]) -> Vec<u16> {
        let mut ring = vec![0; base.len()];
        owners(members, base, parts, &mut ring);
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

    #[test]
    fn members_share_a_ring_in_proportion_to_weight_times_part() {
        let members = members(&[4, 4, 4, 4]);
        let base = base_of(&members, 65_537);
        let parts = [Part::ALL, Part::of(1, 2), Part::of(1, 4), Part::NONE];
        let mut counts = [0u32; 4];
        owners_by(&members, &base, &parts).iter().for_each(|owner| counts[*owner as usize] += 1);
        for (count, part) in counts.into_iter().zip(parts) {
            let fair = 65_537.0 * part.fraction() / 1.75;
            assert!((f64::from(count) - fair).abs() < 0.02 * 65_537.0, "{counts:?}, not {fair}");
        }
        let alone = owners_by(&members, &base, &[Part::NONE, Part::of(1, 1000), Part::NONE, Part::NONE]);
        assert!(alone.iter().all(|owner| *owner == 1), "the only one that takes any takes all");
    }

    #[test]
    fn a_part_is_nothing_only_if_it_is_meant_to_be() {
        assert_eq!(
            (Part::of(0, 0), Part::of(0, 5), Part::of(5, 5), Part::of(9, 5)),
            (Part::NONE, Part::NONE, Part::ALL, Part::ALL)
        );
        let least = Part::of(1, u32::MAX);
        assert!(least > Part::NONE && least.times(least) > Part::NONE);
        assert_eq!(Part::of(1, 2).times(Part::of(1, 2)), Part::of(1, 4));
        assert_eq!((Part::ALL.times(Part::of(2, 7)), Part::NONE.times(Part::ALL)), (Part::of(2, 7), Part::NONE));
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
                prop_assert_eq!(fallback(&members, &all_or_none(&usable), bucket, false), expected);
            }
        }

        #[test]
        fn a_smaller_part_takes_nothing_that_a_larger_one_did_not(
            (weights, _) in pools(), member in any::<prop::sample::Index>(), low in 0u32..=1000, more in 0u32..=1000,
        ) {
            let members = members(&weights);
            let base = base_of(&members, 1009);
            let member = member.index(members.len());
            let mut parts = vec![Part::ALL; members.len()];
            parts[member] = Part::of(low, 1000);
            let fewer = owners_by(&members, &base, &parts);
            parts[member] = Part::of((low + more).min(1000), 1000);
            for ((&many, &few), &base) in owners_by(&members, &base, &parts).iter().zip(&fewer).zip(&base) {
                prop_assert!(few == many || many as usize == member && base as usize == member);
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
