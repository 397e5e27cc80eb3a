//! Values in maps of words.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Acquire;

use lb_common::abi::Value;

/// The value at an index; all zeros beyond the end.
pub fn read_value<T: Value>(words: &[AtomicU64], index: u32) -> T {
    let mut value = T::ZEROS;
    let slots = value.as_mut();
    let from = index as usize * slots.len();
    for (slot, word) in slots.iter_mut().zip(words.get(from..).unwrap_or_default()) {
        *slot = word.load(Acquire);
    }
    T::from_words(&value)
}

/// How many values of this kind there are.
pub fn values<T: Value>(words: &[AtomicU64]) -> u32 {
    let each = T::ZEROS.as_ref().len();
    u32::try_from(words.len() / each).unwrap_or(u32::MAX)
}
