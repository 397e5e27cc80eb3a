//! Flap damping: what goes down often has to prove itself longer.

use std::time::Duration;

/// After this time half of what was counted is forgotten.
const HALF_LIFE: Duration = Duration::from_secs(120);
/// More than this are not counted, or a bad day would be held against it for hours.
const MOST: f64 = 16.0;
/// From so many downs on, decayed, so many times the successes are needed; the last row that fits counts.
const STEPS: [(f64, u32); 3] = [(2.5, 2), (4.0, 4), (8.0, 8)];

/// How often a real server has gone down of late. Times are since any fixed moment: no clock in here.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Damping {
    /// As it was at `at`.
    downs: f64,
    at: Duration,
}

impl Damping {
    /// It has gone down.
    pub fn handle_down(&mut self, now: Duration) {
        *self = Self { downs: (self.downs(now) + 1.0).min(MOST), at: now };
    }

    /// How many times the configured successes it needs to come back: 1, 2, 4 or 8.
    pub fn factor(&self, now: Duration) -> u32 {
        let downs = self.downs(now);
        STEPS.iter().rev().find(|(from, _)| downs >= *from).map_or(1, |(_, factor)| *factor)
    }

    fn downs(&self, now: Duration) -> f64 {
        let half_lives = now.saturating_sub(self.at).as_secs_f64() / HALF_LIFE.as_secs_f64();
        self.downs * (-half_lives).exp2()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    /// The factor right after each of so many downs, this far apart.
    fn factors(count: u64, apart: u64) -> Vec<u32> {
        let mut damping = Damping::default();
        let one = |number| {
            damping.handle_down(seconds(number * apart));
            damping.factor(seconds(number * apart))
        };
        (0..count).map(one).collect()
    }

    #[test]
    fn the_third_down_within_a_minute_or_two_costs_and_many_more_cost_most() {
        let rows: [(u64, u64, Vec<u32>); 4] = [
            (10, 5, vec![1, 1, 2, 2, 4, 4, 4, 4, 8, 8]),
            (8, 30, vec![1, 1, 2, 2, 2, 4, 4, 4]),
            (6, 60, vec![1, 1, 1, 2, 2, 2]),
            (6, 300, vec![1, 1, 1, 1, 1, 1]),
        ];
        for (count, apart, expected) in rows {
            assert_eq!(factors(count, apart), expected, "{apart} s apart");
        }
    }

    #[test]
    fn a_quiet_time_makes_up_for_it() {
        let mut damping = Damping::default();
        (0..20).for_each(|_| damping.handle_down(seconds(10)));
        let found = [10, 200, 300, 450, 600].map(|now| damping.factor(seconds(now)));
        assert_eq!(found, [8, 4, 2, 1, 1]);
        // A clock that stands still, or a moment before, is no reason to panic.
        assert_eq!(damping.factor(seconds(0)), 8);
    }
}
