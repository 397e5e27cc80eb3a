//! Values as the words that the daemon reads and writes. The kernel sees the same bytes as `repr(C)` structs; a test
//! says that the two agree.

use super::directory::{Name, RealInfo, ServiceInfo};
use super::limits::{MAX_OWN_MACS, NAME_BYTES};
use super::service::ServiceSlot;
use super::settings::Settings;
use crate::hash::FlowKey;

/// A map's value as a row of 64-bit words, first word first.
pub trait Value: Sized {
    /// The array of words.
    type Words: AsRef<[u64]> + AsMut<[u64]> + Default;

    /// As the map holds it.
    fn to_words(&self) -> Self::Words;

    /// As the map held it.
    fn from_words(words: &Self::Words) -> Self;
}

const NAME_WORDS: usize = NAME_BYTES / 8;
const INFO_WORDS: usize = 5 + 2 * NAME_WORDS;

impl Value for Settings {
    type Words = [u64; 15 + MAX_OWN_MACS];

    fn to_words(&self) -> Self::Words {
        let Self { version, active_half, slot_seeds, hash_seed, flow_key: FlowKey(key), own_macs } = self;
        let mut words = Self::Words::default();
        words[..5].copy_from_slice(&[*version, *active_half, slot_seeds[0], slot_seeds[1], *hash_seed]);
        words[5..15].copy_from_slice(key);
        words[15..].copy_from_slice(own_macs);
        words
    }

    fn from_words(words: &Self::Words) -> Self {
        let [version, active_half, seed_0, seed_1, hash_seed, rest @ ..] = *words;
        let (mut key, mut own_macs) = ([0; 10], [0; MAX_OWN_MACS]);
        key.copy_from_slice(&rest[..10]);
        own_macs.copy_from_slice(&rest[10..]);
        Self { version, active_half, slot_seeds: [seed_0, seed_1], hash_seed, flow_key: FlowKey(key), own_macs }
    }
}

impl Value for ServiceSlot {
    type Words = [u64; 4];

    fn to_words(&self) -> Self::Words {
        let Self { vip, ring, tail } = *self;
        [vip[0], vip[1], ring, tail]
    }

    fn from_words(&[vip_0, vip_1, ring, tail]: &Self::Words) -> Self {
        Self { vip: [vip_0, vip_1], ring, tail }
    }
}

impl Value for ServiceInfo {
    type Words = [u64; INFO_WORDS];

    fn to_words(&self) -> Self::Words {
        let Self { used, vip, port, protocol, family, reserved, ring, name, pool } = self;
        let numbers =
            u64::from(*port) | u64::from(*protocol) << 16 | u64::from(*family) << 24 | u64::from(*reserved) << 32;
        info_words(*used, vip, numbers, *ring, [name, pool])
    }

    fn from_words(words: &Self::Words) -> Self {
        let (used, vip, numbers, ring, [name, pool]) = info_parts(words);
        let [port, protocol_family, ..] = u16s(numbers);
        let [protocol, family] = protocol_family.to_le_bytes();
        Self { used, vip, port, protocol, family, reserved: (numbers >> 32) as u32, ring, name, pool }
    }
}

impl Value for RealInfo {
    type Words = [u64; INFO_WORDS];

    fn to_words(&self) -> Self::Words {
        let Self { used, address, weight, family, state, reserved, mac, name, pool } = self;
        let numbers =
            u64::from(*weight) | u64::from(*family) << 32 | u64::from(*state) << 40 | u64::from(*reserved) << 48;
        info_words(*used, address, numbers, *mac, [name, pool])
    }

    fn from_words(words: &Self::Words) -> Self {
        let (used, address, numbers, mac, [name, pool]) = info_parts(words);
        let [_, _, family_state, reserved] = u16s(numbers);
        let [family, state] = family_state.to_le_bytes();
        Self { used, address, weight: numbers as u32, family, state, reserved, mac, name, pool }
    }
}

fn info_words(used: u64, address: &[u8; 16], numbers: u64, word: u64, names: [&Name; 2]) -> [u64; INFO_WORDS] {
    let mut words = [0; INFO_WORDS];
    let address = u128::from_le_bytes(*address);
    words[..5].copy_from_slice(&[used, address as u64, (address >> 64) as u64, numbers, word]);
    let bytes = names.iter().flat_map(|name| name.0.chunks_exact(8));
    for (word, bytes) in words[5..].iter_mut().zip(bytes) {
        *word = bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
    }
    words
}

fn info_parts(words: &[u64; INFO_WORDS]) -> (u64, [u8; 16], u64, u64, [Name; 2]) {
    let [used, low, high, numbers, word, ..] = *words;
    let address = (u128::from(high) << 64 | u128::from(low)).to_le_bytes();
    let name = |from: usize| {
        let mut bytes = [0; NAME_BYTES];
        for (bytes, word) in bytes.chunks_exact_mut(8).zip(&words[from..]) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        Name(bytes)
    };
    (used, address, numbers, word, [name(5), name(5 + NAME_WORDS)])
}

fn u16s(word: u64) -> [u16; 4] {
    [word as u16, (word >> 16) as u16, (word >> 32) as u16, (word >> 48) as u16]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of a value must be its bytes as the kernel sees them, and lead back to it.
    fn check<T: Value + Copy + PartialEq + core::fmt::Debug>(value: T) {
        let words = value.to_words();
        let bytes: Vec<u8> = words.as_ref().iter().flat_map(|word| word.to_le_bytes()).collect();
        // SAFETY: the value is `repr(C)` without padding, so all its bytes are initialised.
        let in_memory = unsafe { core::slice::from_raw_parts((&raw const value).cast::<u8>(), size_of::<T>()) };
        assert_eq!(bytes, in_memory);
        assert_eq!(T::from_words(&words), value);
    }

    #[test]
    fn words_are_the_bytes_that_the_kernel_sees() {
        let own_macs = core::array::from_fn(|i| 100 + i as u64);
        check(Settings {
            version: 1,
            active_half: 2,
            slot_seeds: [3, 4],
            hash_seed: 5,
            flow_key: FlowKey(core::array::from_fn(|i| 6 + i as u64)),
            own_macs,
        });
        check(ServiceSlot { vip: [1, 2], ring: 3, tail: 4 });
        let (name, pool) = (Name::new("web"), Name::new(&"p".repeat(64)));
        let address = core::array::from_fn(|i| i as u8 + 1);
        let (port, protocol, family, ring) = (0x1234, 6, 4, 77);
        check(ServiceInfo { used: 1, vip: address, port, protocol, family, reserved: 0x5678_9abc, ring, name, pool });
        let (weight, state, reserved, mac) = (0x0102_0304, 3, 0x0506, 0xffee);
        check(RealInfo { used: 1, address, weight, family, state, reserved, mac, name, pool });
    }
}
