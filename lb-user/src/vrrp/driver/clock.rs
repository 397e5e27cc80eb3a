//! The driver's clock: one that does not stop while the machine sleeps, and the way from it to the clock of leases.

use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

/// Reads the time. While a machine is suspended its `CLOCK_MONOTONIC` stands still, but the other routers' do not: what was
/// slept through is added, so that a master that wakes up finds that it has overslept.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// An instant, and what `CLOCK_MONOTONIC` was then or a moment before.
    base: (Instant, Duration),
    /// For how long the machine had been suspended when this was made.
    slept_before: Duration,
    /// For how long, by what is known so far.
    slept: Duration,
}

/// A time, for machines and for leases.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For machines: time slept is counted.
    pub instant: Instant,
    /// The same in nanoseconds of `CLOCK_MONOTONIC`, as packets read it.
    monotonic: u64,
}

impl Clock {
    /// Begins to count time slept.
    ///
    /// # Errors
    /// If the system has no such clocks.
    pub fn new() -> nix::Result<Self> {
        let monotonic = read(ClockId::CLOCK_MONOTONIC)?;
        let base = (Instant::now(), monotonic);
        let slept = read(ClockId::CLOCK_BOOTTIME)?.saturating_sub(read(ClockId::CLOCK_MONOTONIC)?);
        Ok(Self { base, slept_before: slept, slept })
    }

    /// The time.
    pub fn now(&mut self) -> Now {
        // In this order the difference is never more than was slept.
        let (boot, monotonic) = (read(ClockId::CLOCK_BOOTTIME), read(ClockId::CLOCK_MONOTONIC));
        if let (Ok(boot), Ok(monotonic)) = (boot, monotonic) {
            self.slept = self.slept.max(boot.saturating_sub(monotonic));
        }
        let (instant, (base, monotonic)) = (Instant::now(), self.base);
        let monotonic = monotonic + instant.saturating_duration_since(base);
        Now { instant: instant + self.slept.saturating_sub(self.slept_before), monotonic: nanoseconds(monotonic) }
    }
}

impl Now {
    /// Another time by the clock of leases.
    pub fn to_monotonic(self, at: Instant) -> u64 {
        match at.checked_duration_since(self.instant) {
            Some(ahead) => self.monotonic.saturating_add(nanoseconds(ahead)),
            None => self.monotonic.saturating_sub(nanoseconds(self.instant.saturating_duration_since(at))),
        }
    }

    /// How far in the future a time by the clock of leases is; `None` if it has come.
    pub fn until(self, monotonic: u64) -> Option<Duration> {
        monotonic.checked_sub(self.monotonic).filter(|left| *left > 0).map(Duration::from_nanos)
    }
}

fn read(clock: ClockId) -> nix::Result<Duration> {
    clock_gettime(clock).map(Duration::from)
}

/// 584 years fit.
fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_agree_on_other_times() {
        let now = Now { instant: Instant::now(), monotonic: 5_000_000_000 };
        let second = Duration::from_secs(1);
        assert_eq!(now.to_monotonic(now.instant + second), 6_000_000_000);
        assert_eq!(now.to_monotonic(now.instant - second), 4_000_000_000);
        assert_eq!(now.until(6_000_000_000), Some(second));
        assert_eq!((now.until(5_000_000_000), now.until(0)), (None, None));
    }

    #[test]
    fn the_lease_clock_is_that_of_packets_and_never_ahead_of_it() {
        let mut clock = Clock::new().unwrap();
        let now = clock.now();
        let packets = read(ClockId::CLOCK_MONOTONIC).unwrap();
        assert!(now.to_monotonic(now.instant) <= nanoseconds(packets));
    }
}
