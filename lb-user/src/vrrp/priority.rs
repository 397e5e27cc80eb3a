//! The priority in effect: the configured one, and what is known of the things that it depends on.
//!
//! The arithmetic is keepalived's, so that a configuration of its `track_*` blocks means the same here.

use std::num::NonZeroU8;

use super::packet::OWNER;

/// The least and the greatest that weights make of a priority: 0 means leaving, 255 the owner.
const LEAST: i32 = 1;
const GREATEST: i32 = 254;
/// A number times its weight is a fault from here down, and no more than the other from there up.
const FAULT: i64 = -254;
const MOST: i64 = 253;

/// Something that the priority depends on: a link, a check, a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tracked {
    /// Above 0: added while it is well. Below 0: taken away while it is not. 0: a fault while it is not. Multiplied with a
    /// [`Health::Value`].
    pub weight: i16,
    /// How it is.
    pub health: Health,
}

/// How a tracked thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// As it should be.
    Well,
    /// Not so.
    Ill,
    /// Not known yet: it neither adds nor takes away, and is no fault.
    Unknown,
    /// A number, as of keepalived's `track_file`: times the weight, it is added. A product of -254 or less is a fault; so is
    /// any number but 0 with a weight of 0.
    Value(i64),
}

/// What tracked things amount to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effective {
    /// This priority.
    Priority(NonZeroU8),
    /// None: it must not be master.
    Fault,
}

impl Tracked {
    /// What it adds; `None` for a fault.
    fn share(self) -> Option<i32> {
        let weight = i32::from(self.weight);
        match (self.health, self.weight) {
            (Health::Ill, 0) => None,
            (Health::Well, 1..) | (Health::Ill, ..0) => Some(weight),
            (Health::Well, ..=0) | (Health::Ill, 1..) | (Health::Unknown, _) => Some(0),
            (Health::Value(number), 0) => (number == 0).then_some(0),
            (Health::Value(number), _) => {
                let product = number.saturating_mul(weight.into()).min(MOST);
                // It fits: both ends are small.
                (product > FAULT).then_some(product as i32)
            }
        }
    }
}

/// The priority in effect, from 1 to 254. An owner stays one whatever the weights are, for it answers for addresses of its
/// own; only a fault stops it.
pub fn effective(configured: NonZeroU8, tracked: impl IntoIterator<Item = Tracked>) -> Effective {
    let mut sum = i32::from(configured.get());
    for one in tracked {
        match one.share() {
            Some(share) => sum = sum.saturating_add(share),
            None => return Effective::Fault,
        }
    }
    if configured.get() == OWNER {
        return Effective::Priority(configured);
    }
    // It fits after the clamp.
    let clamped = u8::try_from(sum.clamp(LEAST, GREATEST)).ok().and_then(NonZeroU8::new);
    Effective::Priority(clamped.unwrap_or(configured))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_summed_and_the_sum_is_clamped() {
        use Health::{Ill, Unknown, Value, Well};
        type Row<'a> = (u8, &'a [(i16, Health)], Option<u8>);
        let rows: [Row<'_>; 28] = [
            (100, &[], Some(100)),
            (100, &[(-20, Well)], Some(100)),
            (100, &[(-20, Ill)], Some(80)),
            (100, &[(20, Well)], Some(120)),
            (100, &[(20, Ill)], Some(100)),
            (100, &[(-20, Ill), (-30, Ill), (5, Well)], Some(55)),
            (100, &[(-253, Ill)], Some(1)),
            (100, &[(253, Well)], Some(254)),
            // What is over is not lost before all are summed.
            (200, &[(100, Well), (-100, Ill)], Some(200)),
            (100, &[(0, Well)], Some(100)),
            (100, &[(0, Ill)], None),
            (255, &[(-20, Ill)], Some(255)),
            (255, &[(0, Ill)], None),
            (1, &[(i16::MIN, Ill), (i16::MIN, Ill)], Some(1)),
            (100, &[(-20, Unknown), (20, Unknown), (0, Unknown)], Some(100)),
            // A number is multiplied and added.
            (100, &[(1, Value(-30))], Some(70)),
            (100, &[(-2, Value(10))], Some(80)),
            (100, &[(3, Value(0)), (-20, Ill)], Some(80)),
            (100, &[(-1, Value(253))], Some(1)),
            (100, &[(-1, Value(254))], None),
            (100, &[(1, Value(-254))], None),
            (100, &[(-254, Value(1))], None),
            (100, &[(1, Value(5_000)), (-200, Ill)], Some(153)),
            (100, &[(0, Value(0))], Some(100)),
            (100, &[(0, Value(7))], None),
            (255, &[(1, Value(-30))], Some(255)),
            (255, &[(1, Value(-254))], None),
            (100, &[(254, Value(i64::MIN))], None),
        ];
        for (configured, tracked, expected) in rows {
            let list = tracked.iter().map(|&(weight, health)| Tracked { weight, health });
            let expected = expected.map_or(Effective::Fault, |p| Effective::Priority(NonZeroU8::new(p).unwrap()));
            assert_eq!(effective(NonZeroU8::new(configured).unwrap(), list), expected, "{configured} {tracked:?}");
        }
    }
}
