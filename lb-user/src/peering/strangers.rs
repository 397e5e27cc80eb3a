//! Who wanted to connect and was not let in: counted, and said once a minute at most. Pure.

use std::time::Duration;

/// Between two words about it.
const PAUSE: Duration = Duration::from_secs(60);

/// Attempts that have not been said yet.
#[derive(Debug, Default)]
pub struct Strangers {
    count: u64,
    last: String,
    /// When something was said, by the caller's clock.
    said: Option<Duration>,
}

impl Strangers {
    /// One more; gives what is to be said now, if anything. `now` is of any clock that does not go back.
    pub fn note(&mut self, now: Duration, what: String) -> Option<String> {
        self.count += 1;
        self.last = what;
        self.due(now)
    }

    /// What is to be said now, if anything.
    pub fn due(&mut self, now: Duration) -> Option<String> {
        let quiet = self.said.is_none_or(|said| now.saturating_sub(said) >= PAUSE);
        if self.count == 0 || !quiet {
            return None;
        }
        self.said = Some(now);
        let (count, last) = (std::mem::take(&mut self.count), std::mem::take(&mut self.last));
        let more = if count > 1 { format!(" (the last of {count})") } else { String::new() };
        Some(format!("{last}{more}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_said_at_once_and_then_one_a_minute() {
        let second = Duration::from_secs;
        let mut strangers = Strangers::default();
        assert_eq!(strangers.due(second(0)), None);
        assert_eq!(strangers.note(second(1), "a".into()).as_deref(), Some("a"));
        for now in 2..60 {
            assert_eq!(strangers.note(second(now), format!("b{now}")), None);
        }
        assert_eq!(strangers.due(second(60)), None);
        assert_eq!(strangers.due(second(61)).as_deref(), Some("b59 (the last of 58)"));
        assert_eq!(strangers.due(second(200)), None);
        assert_eq!(strangers.note(second(201), "c".into()).as_deref(), Some("c"));
    }
}
