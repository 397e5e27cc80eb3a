//! When what the kernel refused is tried again, if nothing happens before that has it tried anyway.

use std::time::{Duration, Instant};

/// Pauses between tries: each is twice as long as the one before, until one has no failure.
#[derive(Debug, Default)]
pub struct Retry {
    due: Option<Instant>,
    pause: Option<Duration>,
}

impl Retry {
    const FIRST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(64);

    /// When to try.
    pub const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Something was refused.
    pub fn note_failure(&mut self, now: Instant) {
        if self.due.is_none() {
            let pause = self.pause.map_or(Self::FIRST, |pause| (pause * 2).min(Self::LONGEST));
            (self.due, self.pause) = (Some(now + pause), Some(pause));
        }
    }

    /// Whether it is time for a try, which begins.
    pub fn begin(&mut self, now: Instant) -> bool {
        match self.due {
            Some(due) if due <= now => {
                self.due = None;
                true
            }
            Some(_) => false,
            None => {
                // The last try, and all that was done since, went well.
                self.pause = None;
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tries_more_and_more_seldom_until_all_is_well() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut retry = Retry::default();
        assert!(!retry.begin(at(0)) && retry.due().is_none());
        retry.note_failure(at(0));
        retry.note_failure(at(0));
        assert!(!retry.begin(at(0)));
        assert_eq!(retry.due(), Some(at(1)));
        for (now, next) in [(1, 3), (3, 7), (7, 15), (15, 31), (31, 63), (63, 127), (127, 191), (191, 255)] {
            assert!(retry.begin(at(now)));
            retry.note_failure(at(now));
            assert_eq!(retry.due(), Some(at(next)));
        }
        assert!(retry.begin(at(255)));
        assert!(!retry.begin(at(255)));
        retry.note_failure(at(300));
        assert_eq!(retry.due(), Some(at(301)), "all was well in between");
    }
}
