//! How long to wait. RFC 3768 section 6.1 and RFC 5798 section 6.1, without their rounding to whole units.

use std::num::NonZeroU8;
use std::time::Duration;

use super::super::packet::Version;

/// So many adverts must be missed before the master is given up, and then a moment more: the skew.
pub const ADVERTS_MISSED: u32 = 3;

/// The moment by which routers of a lower priority wait longer, so that the best of them is first. Version 2 has it in
/// 256ths of a second, version 3 in 256ths of the master's interval.
pub fn skew(version: Version, priority: NonZeroU8, interval: Duration) -> Duration {
    let whole = match version {
        Version::V2 => Duration::from_secs(1),
        Version::V3 => interval,
    };
    // Never all of it, and never nothing.
    whole * (256 - u32::from(priority.get())) / 256
}

/// How long a master may be silent. `interval` is its own in version 3, and everybody's in version 2.
pub fn master_down(version: Version, priority: NonZeroU8, interval: Duration) -> Duration {
    interval * ADVERTS_MISSED + skew(version, priority, interval)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_standards() {
        let rows = [
            (Version::V2, 100, 1_000_000, 609_375, 3_609_375),
            (Version::V2, 90, 1_000_000, 648_437, 3_648_437),
            (Version::V2, 100, 5_000_000, 609_375, 15_609_375),
            (Version::V2, 255, 1_000_000, 3_906, 3_003_906),
            (Version::V3, 100, 1_000_000, 609_375, 3_609_375),
            (Version::V3, 100, 100_000, 60_937, 360_937),
            (Version::V3, 90, 100_000, 64_843, 364_843),
            (Version::V3, 100, 10_000, 6_093, 36_093),
            (Version::V3, 1, 40_950_000, 40_790_039, 163_640_039),
            (Version::V3, 254, 10_000, 78, 30_078),
        ];
        for (version, priority, interval, skewed, down) in rows {
            let (priority, interval) = (NonZeroU8::new(priority).unwrap(), Duration::from_micros(interval));
            assert_eq!(skew(version, priority, interval).as_micros(), skewed, "{version:?} {priority} {interval:?}");
            assert_eq!(
                master_down(version, priority, interval).as_micros(),
                down,
                "{version:?} {priority} {interval:?}"
            );
        }
    }
}
