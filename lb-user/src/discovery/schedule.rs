//! When a name is asked for again. Pure.

use std::time::Duration;

/// However short an answer lives.
const SOONEST: Duration = Duration::from_secs(1);
/// However long it does.
const LATEST: Duration = Duration::from_secs(3600);
/// The longest pause between two questions without an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// After an answer that may be kept for so long.
pub fn after_answer(time_to_live: Duration) -> Duration {
    time_to_live.clamp(SOONEST, LATEST)
}

/// After so many failures in a row, 1 or more: 1, 2, 4, ... 30 seconds.
pub fn after_failure(failures: u32) -> Duration {
    SOONEST.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1))).min(PATIENCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_live_for_a_second_to_an_hour() {
        let rows = [(0, 1), (1, 1), (60, 60), (3600, 3600), (86_400, 3600)];
        for (lives, wait) in rows {
            assert_eq!(after_answer(Duration::from_secs(lives)), Duration::from_secs(wait));
        }
    }

    #[test]
    fn failures_are_asked_about_less_and_less_often() {
        let waits = [1, 2, 3, 4, 5, 6, 7, 40, u32::MAX].map(|failures| after_failure(failures).as_secs());
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30, 30]);
    }
}
