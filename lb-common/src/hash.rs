//! The keyed flow hash.
//!
//! Multilinear hashing (Lemire and Kaser, "Strongly universal string hashing is fast"): each 32-bit word of the flow
//! is multiplied by a secret 64-bit key of its own, the products are added, and the high half is the hash. For any two
//! flows chosen without the key, the hashes are independent and uniform, so nobody outside can aim at a bucket. The
//! products do not depend on each other, which a CPU likes. A last multiply-and-fold breaks the linearity, so that a
//! client that counts its ports up does not walk around the ring in equal steps.

/// The secret: one word to start with and one for each 32-bit word hashed (IPv6 has nine).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct FlowKey(pub [u64; 10]);

impl FlowKey {
    /// Stretches the config's `hash_seed`.
    pub const fn from_seed(seed: u64) -> Self {
        let mut key = [0; 10];
        let mut state = seed;
        let mut i = 0;
        while i < key.len() {
            state = state.wrapping_add(GOLDEN);
            key[i] = mix(state);
            i += 1;
        }
        Self(key)
    }

    /// Hashes an IPv4 flow: addresses and ports as loaded from the packet (`ports`: source in the low half).
    #[inline(always)]
    pub const fn v4(&self, source: u32, destination: u32, ports: u32) -> FlowHash {
        let Self(key) = self;
        let sum = key[0]
            .wrapping_add(key[1].wrapping_mul(source as u64))
            .wrapping_add(key[2].wrapping_mul(destination as u64))
            .wrapping_add(key[3].wrapping_mul(ports as u64));
        FlowHash(sum)
    }

    /// Hashes an IPv6 flow: each address as two words as loaded from the packet, ports as above.
    #[inline(always)]
    pub const fn v6(&self, source: [u64; 2], destination: [u64; 2], ports: u32) -> FlowHash {
        let Self(key) = self;
        let sum = key[0]
            .wrapping_add(two([key[1], key[2]], source[0]))
            .wrapping_add(two([key[3], key[4]], source[1]))
            .wrapping_add(two([key[5], key[6]], destination[0]))
            .wrapping_add(two([key[7], key[8]], destination[1]))
            .wrapping_add(key[9].wrapping_mul(ports as u64));
        FlowHash(sum)
    }

    /// Hashes a client's address alone, of either family.
    #[inline(always)]
    pub const fn client(&self, address: [u64; 2]) -> FlowHash {
        let Self(key) = self;
        let sum =
            key[0].wrapping_add(two([key[1], key[2]], address[0])).wrapping_add(two([key[3], key[4]], address[1]));
        FlowHash(sum)
    }
}

/// The hash of a flow, before it is cut down to what one use needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowHash(u64);

impl FlowHash {
    /// Chooses the bucket: see [`reduce`].
    #[inline(always)]
    pub const fn ring(self) -> u32 {
        let folded = (self.0 ^ self.0 >> 32).wrapping_mul(GOLDEN);
        (folded >> 32) as u32
    }

    /// Stands for the flow itself: two flows have the same one with a chance of 2^-33 at most.
    #[inline(always)]
    pub const fn identity(self) -> u64 {
        mix(self.0)
    }

    /// Stands for the segment of this flow with this sequence number, as well as [`identity`](Self::identity) for a flow.
    #[inline(always)]
    pub const fn segment(self, sequence: u32) -> u64 {
        mix(self.0 ^ sequence as u64)
    }
}

/// The products of the two halves of a word.
#[inline(always)]
const fn two(key: [u64; 2], word: u64) -> u64 {
    key[0].wrapping_mul(word & 0xffff_ffff).wrapping_add(key[1].wrapping_mul(word >> 32))
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64's output function (Steele, Lea, Flood): a bijection in which every input bit moves every output bit.
#[inline(always)]
pub const fn mix(mut x: u64) -> u64 {
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

/// Maps a hash to `0..size` by its high bits, without a division (Lemire).
#[inline(always)]
pub const fn reduce(hash: u32, size: u32) -> u32 {
    ((hash as u64 * size as u64) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Chi-squared over `buckets` for `flows` flows made by `flow`.
    fn chi_squared(buckets: u32, flows: u32, flow: impl Fn(u32) -> (u32, u32, u32)) -> f64 {
        let key = FlowKey::from_seed(0x6f1d_0c2b_9a7e_4d35);
        let mut counts = vec![0u32; buckets as usize];
        for i in 0..flows {
            let (source, destination, ports) = flow(i);
            counts[reduce(key.v4(source, destination, ports).ring(), buckets) as usize] += 1;
        }
        let expected = f64::from(flows) / f64::from(buckets);
        counts.iter().map(|&n| (f64::from(n) - expected).powi(2) / expected).sum()
    }

    #[test]
    fn spreads_the_flows_that_real_clients_make() {
        let port = |i: u32| (i & 0xffff).swap_bytes() >> 16;
        let address = |i: u32| (0x0a00_0000 | i).swap_bytes();
        let vip = 0x6451_a8c0;
        for (name, chi) in [
            ("one client, ports counted up", chi_squared(251, 60_000, |i| (address(1), vip, port(i)))),
            ("addresses counted up, one port", chi_squared(251, 60_000, |i| (address(i), vip, port(4242)))),
            ("both", chi_squared(251, 60_000, |i| (address(i >> 6), vip, port(32_768 + (i & 63) * 2)))),
        ] {
            // 250 degrees of freedom: mean 250, standard deviation 22. More even than random is fine.
            assert!(chi < 400.0, "{name}: chi-squared {chi}");
        }
    }

    #[test]
    fn another_seed_is_another_hash() {
        let (a, b) = (FlowKey::from_seed(1), FlowKey::from_seed(2));
        let equal =
            (0..1000).filter(|&i| reduce(a.v4(i, 7, 9).ring(), 251) == reduce(b.v4(i, 7, 9).ring(), 251)).count();
        assert!(equal < 40, "{equal} of 1000 flows in the same bucket");
    }

    #[test]
    fn reduce_stays_in_range() {
        assert_eq!(reduce(u32::MAX, 251), 250);
        assert_eq!(reduce(0, 251), 0);
    }
}
