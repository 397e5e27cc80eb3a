//! When to ask next.

use std::time::Duration;

use lb_common::hash::mix;

/// Probes are due at multiples of this part of their interval, but of [`MOST_GRAIN`] at the most: those that are due together
/// cost one wake-up.
const GRAIN: u32 = 100;
const MOST_GRAIN: Duration = Duration::from_millis(10);

/// One check's times, as durations since a moment that all checks share: no clock in here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    due: Duration,
    /// Changes with each probe; tells checks apart.
    seed: u64,
}

impl Schedule {
    /// The first probe, somewhere in the first interval (and its first second) from `now`, so that a thousand checks do not
    /// fire together. `seed` tells checks apart.
    pub fn new(now: Duration, interval: Duration, seed: u64) -> Self {
        let most = if interval.as_millis() < 1000 { interval.as_millis() as u64 } else { 1000 };
        Self { due: grained(now + Duration::from_millis(mix(seed) % (most + 1)), interval).max(now), seed }
    }

    /// When the next probe is due.
    pub const fn due(&self) -> Duration {
        self.due
    }

    /// After a probe that ended at `now`: the next one starts an interval after the last one did, or up to `jitter` less
    /// than that, but not before it has ended, and late ones are not made up for.
    pub fn handle_end(&mut self, now: Duration, interval: Duration, jitter: Duration) {
        self.seed = mix(self.seed.wrapping_add(1));
        let most = u64::try_from(jitter.min(interval).as_micros()).unwrap_or(u64::MAX).saturating_add(1);
        let less = Duration::from_micros(self.seed % most);
        self.due = grained(self.due + interval - less, interval).max(now);
    }

    /// The next probe is due at once.
    pub fn hurry(&mut self, now: Duration) {
        self.due = self.due.min(now);
    }
}

/// The last multiple of the grain that is not after `time`.
fn grained(time: Duration, interval: Duration) -> Duration {
    let grain = (interval / GRAIN).min(MOST_GRAIN);
    let past = time.as_nanos().checked_rem(grain.as_nanos()).unwrap_or(0);
    time - Duration::from_nanos(u64::try_from(past).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn first_probes_are_spread_over_the_interval() {
        let now = Duration::from_secs(7);
        let first = |seed| (Schedule::new(now, SECOND, seed).due() - now).as_millis();
        let dues: Vec<u128> = (0..1000).map(first).collect();
        for tenth in 0..10 {
            let count = dues.iter().filter(|&&due| due / 100 == tenth).count();
            assert!((60..=140).contains(&count), "{count} of 1000 checks start in tenth {tenth}");
        }
        assert!(dues.iter().all(|&due| due <= 1000));
    }

    #[test]
    fn probes_start_an_interval_apart_and_never_overlap() {
        let mut schedule = Schedule { due: SECOND, seed: 1 };
        schedule.handle_end(SECOND * 3 / 2, SECOND, Duration::ZERO);
        assert_eq!(schedule.due(), SECOND * 2);
        schedule.handle_end(SECOND * 7, SECOND, Duration::ZERO);
        assert_eq!(schedule.due(), SECOND * 7);
        schedule.handle_end(SECOND * 7, SECOND, Duration::ZERO);
        schedule.hurry(SECOND * 15 / 2);
        assert_eq!(schedule.due(), SECOND * 15 / 2);
    }

    #[test]
    fn probes_that_are_due_at_about_the_same_time_are_due_together() {
        let mut schedule = Schedule { due: SECOND, seed: 1 };
        schedule.hurry(SECOND - Duration::from_micros(1));
        schedule.handle_end(SECOND, SECOND, Duration::ZERO);
        assert_eq!(schedule.due(), SECOND * 2 - MOST_GRAIN);
        let mut schedule = Schedule { due: SECOND - Duration::from_micros(1), seed: 1 };
        schedule.handle_end(SECOND, SECOND / 50, Duration::ZERO);
        assert_eq!(schedule.due(), SECOND + SECOND / 50 - SECOND / 5000, "short intervals have a finer grain");
    }

    #[test]
    fn jitter_shortens_intervals_each_by_another_length() {
        let jitter = SECOND / 10;
        let mut schedule = Schedule { due: Duration::ZERO, seed: 7 };
        let mut lengths: Vec<Duration> = Vec::new();
        for _ in 0..1000 {
            let before = schedule.due();
            schedule.handle_end(before, SECOND, jitter);
            lengths.push(schedule.due() - before);
        }
        assert!(lengths.iter().all(|length| (SECOND - jitter..=SECOND).contains(length)));
        let short = lengths.iter().filter(|length| **length < SECOND - jitter / 2).count();
        assert!((400..=600).contains(&short), "{short} of 1000 are in the lower half");
    }
}
