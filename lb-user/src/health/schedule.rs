//! When to ask next.

use std::time::Duration;

use lb_common::hash::mix;

/// One check's times, as durations since it was started: no clock in here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    due: Duration,
}

impl Schedule {
    /// The first probe, somewhere in the first interval (and its first second), so that a thousand checks do not fire
    /// together. `seed` tells checks apart.
    pub const fn new(interval: Duration, seed: u64) -> Self {
        let most = if interval.as_millis() < 1000 { interval.as_millis() as u64 } else { 1000 };
        Self { due: Duration::from_millis(mix(seed) % (most + 1)) }
    }

    /// When the next probe is due.
    pub const fn due(&self) -> Duration {
        self.due
    }

    /// After a probe that ended at `now`: the next one starts an interval after the last one did, but not before it
    /// has ended, and late ones are not made up for.
    pub fn handle_end(&mut self, now: Duration, interval: Duration) {
        self.due = (self.due + interval).max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn first_probes_are_spread_over_the_interval() {
        let dues: Vec<u128> = (0..1000).map(|seed| Schedule::new(SECOND, seed).due().as_millis()).collect();
        for tenth in 0..10 {
            let count = dues.iter().filter(|&&due| due / 100 == tenth).count();
            assert!((60..=140).contains(&count), "{count} of 1000 checks start in tenth {tenth}");
        }
        assert!(dues.iter().all(|&due| due <= 1000));
    }

    #[test]
    fn probes_start_an_interval_apart_and_never_overlap() {
        let mut schedule = Schedule { due: SECOND };
        schedule.handle_end(SECOND * 3 / 2, SECOND);
        assert_eq!(schedule.due(), SECOND * 2);
        schedule.handle_end(SECOND * 7, SECOND);
        assert_eq!(schedule.due(), SECOND * 7);
    }
}
