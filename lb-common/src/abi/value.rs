//! Values as the words that the daemon reads and writes. The kernel sees the same bytes as `repr(C)` structs; a test
//! says that the two agree.

use super::directory::{Name, RealInfo, ServiceInfo};
use super::limits::{MAX_INTERFACES, MAX_PEERS, NAME_BYTES};
use super::probe::ProbedVip;
use super::real::RealSlot;
use super::service::ServiceSlot;
use super::settings::Settings;
use super::signal::Signals;
use crate::hash::FlowKey;

/// A map's value as a row of 64-bit words, first word first.
pub trait Value: Sized {
    /// The array of words.
    type Words: AsRef<[u64]> + AsMut<[u64]>;

    /// As a map holds it that was never written.
    const ZEROS: Self::Words;

    /// As the map holds it.
    fn to_words(&self) -> Self::Words;

    /// As the map held it.
    fn from_words(words: &Self::Words) -> Self;
}

/// Hands out the words of a value one after the other.
struct Words<'a>(&'a [u64]);

impl Words<'_> {
    /// Zeros beyond the end, where the types below never go.
    fn take<const N: usize>(&mut self) -> [u64; N] {
        let mut words = [0; N];
        let (taken, rest) = self.0.split_at(N.min(self.0.len()));
        words[..taken.len()].copy_from_slice(taken);
        self.0 = rest;
        words
    }

    fn name(&mut self) -> Name {
        let mut bytes = [0; NAME_BYTES];
        for (bytes, word) in bytes.chunks_exact_mut(8).zip(self.take::<NAME_WORDS>()) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        Name(bytes)
    }

    fn address(&mut self) -> [u8; 16] {
        let [low, high] = self.take();
        (u128::from(high) << 64 | u128::from(low)).to_le_bytes()
    }
}

/// Lays parts into the words of a value one after the other.
fn lay<const N: usize>(parts: &[&[u64]]) -> [u64; N] {
    let mut words = [0; N];
    for (word, part) in words.iter_mut().zip(parts.iter().flat_map(|part| part.iter())) {
        *word = *part;
    }
    words
}

const NAME_WORDS: usize = NAME_BYTES / 8;
const SETTINGS_WORDS: usize = size_of::<Settings>() / 8;
const SERVICE_WORDS: usize = size_of::<ServiceInfo>() / 8;
const REAL_WORDS: usize = size_of::<RealInfo>() / 8;

fn name_words(name: &Name) -> [u64; NAME_WORDS] {
    let mut words = [0; NAME_WORDS];
    for (word, bytes) in words.iter_mut().zip(name.0.chunks_exact(8)) {
        *word = bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
    }
    words
}

fn address_words(address: &[u8; 16]) -> [u64; 2] {
    let address = u128::from_le_bytes(*address);
    [address as u64, (address >> 64) as u64]
}

impl Value for Settings {
    type Words = [u64; SETTINGS_WORDS];
    const ZEROS: Self::Words = [0; SETTINGS_WORDS];

    fn to_words(&self) -> Self::Words {
        let Self { version, active_half, slot_seeds, hash_seed, flow_key: FlowKey(key), .. } = self;
        let Self { port_blocks, pin_mask, idle_ticks, probes, jiffy, closed, own_macs, interfaces, peer_macs, .. } =
            self;
        let first = [*version, *active_half, slot_seeds[0], slot_seeds[1], *hash_seed];
        let second = [*port_blocks, *pin_mask, *idle_ticks, *probes, *jiffy, *closed];
        lay(&[&first, key, &second, own_macs, interfaces, peer_macs])
    }

    fn from_words(words: &Self::Words) -> Self {
        let mut words = Words(words);
        let [version, active_half, seed_0, seed_1, hash_seed] = words.take();
        let flow_key = FlowKey(words.take());
        let [port_blocks, pin_mask, idle_ticks, probes, jiffy, closed] = words.take();
        let own_macs = words.take::<MAX_INTERFACES>();
        let (interfaces, peer_macs) = (words.take(), words.take::<MAX_PEERS>());
        let slot_seeds = [seed_0, seed_1];
        Self {
            version,
            active_half,
            slot_seeds,
            hash_seed,
            flow_key,
            port_blocks,
            pin_mask,
            idle_ticks,
            probes,
            jiffy,
            closed,
            own_macs,
            interfaces,
            peer_macs,
        }
    }
}

impl Value for ServiceSlot {
    type Words = [u64; 8];
    const ZEROS: Self::Words = [0; 8];

    fn to_words(&self) -> Self::Words {
        let Self { vip, old_ring, ring, source_mask, reserved, tail } = *self;
        [vip[0], vip[1], old_ring, ring, source_mask[0], source_mask[1], reserved, tail]
    }

    fn from_words(&[vip_0, vip_1, old_ring, ring, mask_0, mask_1, reserved, tail]: &Self::Words) -> Self {
        Self { vip: [vip_0, vip_1], old_ring, ring, source_mask: [mask_0, mask_1], reserved, tail }
    }
}

impl Value for ProbedVip {
    type Words = [u64; 3];
    const ZEROS: Self::Words = [0; 3];

    fn to_words(&self) -> Self::Words {
        let Self { address, family } = *self;
        [address[0], address[1], family]
    }

    fn from_words(&[low, high, family]: &Self::Words) -> Self {
        Self { address: [low, high], family }
    }
}

impl Value for Signals {
    type Words = [u64; 2];
    const ZEROS: Self::Words = [0; 2];

    fn to_words(&self) -> Self::Words {
        [self.syn_retransmissions, self.client_resets]
    }

    fn from_words(&[syn_retransmissions, client_resets]: &Self::Words) -> Self {
        Self { syn_retransmissions, client_resets }
    }
}

impl Value for RealSlot {
    type Words = [u64; 2];
    const ZEROS: Self::Words = [0; 2];

    fn to_words(&self) -> Self::Words {
        [self.owner, self.exit]
    }

    fn from_words(&[owner, exit]: &Self::Words) -> Self {
        Self { owner, exit }
    }
}

impl Value for ServiceInfo {
    type Words = [u64; SERVICE_WORDS];
    const ZEROS: Self::Words = [0; SERVICE_WORDS];

    fn to_words(&self) -> Self::Words {
        let Self { used, vip, port, protocol, family, last_port, reserved, .. } = self;
        let Self { ring, signature, old_ring, old_until, name, pool, zone, .. } = self;
        let low = u64::from(*port) | u64::from(*protocol) << 16 | u64::from(*family) << 24;
        let numbers = low | u64::from(*last_port) << 32 | u64::from(*reserved) << 48;
        let rings = [numbers, *ring, *signature, *old_ring, *old_until];
        let [name, pool, zone] = [name, pool, zone].map(name_words);
        lay(&[&[*used], &address_words(vip), &rings, &name, &pool, &zone])
    }

    fn from_words(words: &Self::Words) -> Self {
        let mut words = Words(words);
        let ([used], vip) = (words.take(), words.address());
        let [numbers, ring, signature, old_ring, old_until] = words.take();
        let (name, pool, zone) = (words.name(), words.name(), words.name());
        let [port, protocol_family, last_port, reserved] = u16s(numbers);
        let [protocol, family] = protocol_family.to_le_bytes();
        Self {
            used,
            vip,
            port,
            protocol,
            family,
            last_port,
            reserved,
            ring,
            signature,
            old_ring,
            old_until,
            name,
            pool,
            zone,
        }
    }
}

impl Value for RealInfo {
    type Words = [u64; REAL_WORDS];
    const ZEROS: Self::Words = [0; REAL_WORDS];

    fn to_words(&self) -> Self::Words {
        let Self { used, address, weight, family, state, health, reserved, mac, name, pool } = self;
        let high = u64::from(u32::from_le_bytes([*family, *state, *health, *reserved]));
        let numbers = [u64::from(*weight) | high << 32, *mac];
        lay(&[&[*used], &address_words(address), &numbers, &name_words(name), &name_words(pool)])
    }

    fn from_words(words: &Self::Words) -> Self {
        let mut words = Words(words);
        let ([used], address) = (words.take(), words.address());
        let [numbers, mac] = words.take();
        let (name, pool) = (words.name(), words.name());
        let [family, state, health, reserved] = ((numbers >> 32) as u32).to_le_bytes();
        Self { used, address, weight: numbers as u32, family, state, health, reserved, mac, name, pool }
    }
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
            port_blocks: 16,
            pin_mask: 17,
            idle_ticks: 18,
            probes: 19,
            jiffy: 20,
            closed: 21,
            own_macs,
            interfaces: core::array::from_fn(|i| 200 + i as u64),
            peer_macs: core::array::from_fn(|i| 300 + i as u64),
        });
        check(ServiceSlot { vip: [1, 2], old_ring: 3, ring: 4, source_mask: [5, 6], reserved: 7, tail: 8 });
        check(RealSlot { owner: 1, exit: 2 });
        check(Signals { syn_retransmissions: 1, client_resets: 2 });
        check(ProbedVip { address: [1, 2], family: 3 });
        let (name, pool) = (Name::new("web"), Name::new(&"p".repeat(64)));
        let address = core::array::from_fn(|i| i as u8 + 1);
        let (port, protocol, family, ring) = (0x1234, 6, 4, 77);
        let (last_port, reserved, signature, old_ring, old_until) = (0x5678, 0x9abc, 78, 79, 80);
        let vip = address;
        check(ServiceInfo {
            used: 1,
            vip,
            port,
            protocol,
            family,
            last_port,
            reserved,
            ring,
            signature,
            old_ring,
            old_until,
            name,
            pool,
            zone: Name::new("hz1"),
        });
        let (weight, state, health, reserved, mac) = (0x0102_0304, 3, 5, 6, 0xffee);
        check(RealInfo { used: 1, address, weight, family, state, health, reserved, mac, name, pool });
    }
}
