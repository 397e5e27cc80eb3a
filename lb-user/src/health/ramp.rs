//! Slow start: how much of its share a real server has that came back a while ago.

use std::time::Duration;

use crate::state::Share;

/// How often the share grows on its way.
const STEPS: u128 = 10;
/// What it begins with, in thousandths.
const FIRST: u16 = 100;

/// The share of a real server that came back `age` ago, where that takes `duration` to end. It begins with a tenth and
/// grows in ten equal steps.
pub fn share(age: Duration, duration: Duration) -> Share {
    if age >= duration {
        return Share::ALL;
    }
    // Below STEPS, since the age is below the duration.
    let steps = (age.as_nanos() * STEPS / duration.as_nanos()) as u16;
    Share::thousandths(FIRST + steps * (Share::ALL.number() - FIRST) / STEPS as u16)
}

/// Both at once: a part of a part. What is asked for stays above nothing.
pub fn both(one: Share, other: Share) -> Share {
    let product = u32::from(one.number()) * u32::from(other.number());
    // At most 1000.
    Share::thousandths(product.div_ceil(u32::from(Share::ALL.number())) as u16)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_share_grows_from_a_tenth_to_all_in_ten_steps() {
        let at = |milliseconds| share(Duration::from_millis(milliseconds), Duration::from_secs(10)).number();
        let rows = [(0, 100), (999, 100), (1000, 190), (5000, 550), (9000, 910), (9999, 910), (10_000, 1000)];
        for (age, expected) in rows {
            assert_eq!(at(age), expected, "{age} ms");
        }
        assert_eq!(share(Duration::ZERO, Duration::ZERO), Share::ALL);
    }

    #[test]
    fn a_part_of_a_part_is_their_product() {
        let of = |a, b| both(Share::thousandths(a), Share::thousandths(b)).number();
        assert_eq!([of(1000, 1000), of(500, 100), of(0, 700), of(1, 1)], [1000, 50, 0, 1]);
    }

    proptest! {
        #[test]
        fn it_never_shrinks_and_is_never_below_a_tenth(a in 0u64..100_000, b in 0u64..100_000, whole in 0u64..90_000) {
            let of = |age| share(Duration::from_millis(age), Duration::from_millis(whole));
            prop_assert!(of(a.min(b)) <= of(a.max(b)));
            prop_assert!(of(a).number() >= FIRST);
        }
    }
}
