//! Rise and fall: from results to a verdict.

use crate::state::Health;

/// One real server's verdict, and how close it is to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tracker {
    state: Health,
    /// Results in a row that speak against the state.
    against: u32,
    rise: u32,
    fall: u32,
}

impl Tracker {
    /// Starts from a former verdict, or from [`Health::Unchecked`]. `rise` and `fall` are at least 1.
    pub const fn new(state: Health, rise: u32, fall: u32) -> Self {
        Self { state, against: 0, rise, fall }
    }

    /// The verdict.
    pub const fn state(&self) -> Health {
        self.state
    }

    /// Takes one result and says the new verdict if it changes. The first result of all decides at once; later,
    /// `rise` successes in a row make a real server that is down up, `fall` failures in a row the other way.
    pub fn handle_result(&mut self, success: bool) -> Option<Health> {
        let (agrees, other, needed) = match (self.state, success) {
            (Health::Unchecked, true) => (false, Health::Up, 1),
            (Health::Unchecked, false) => (false, Health::Down, 1),
            (Health::Up, success) => (success, Health::Down, self.fall),
            (Health::Down, success) => (!success, Health::Up, self.rise),
        };
        self.against = if agrees { 0 } else { self.against + 1 };
        if self.against < needed {
            return None;
        }
        self.against = 0;
        self.state = other;
        Some(other)
    }

    /// Whether a change is in the air: some results against the verdict, but not enough yet.
    pub const fn is_wavering(&self) -> bool {
        self.against > 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_result_decides_at_once() {
        assert_eq!(Tracker::new(Health::Unchecked, 5, 5).handle_result(true), Some(Health::Up));
        assert_eq!(Tracker::new(Health::Unchecked, 5, 5).handle_result(false), Some(Health::Down));
    }

    #[test]
    fn one_result_the_other_way_starts_the_count_anew() {
        let mut tracker = Tracker::new(Health::Up, 2, 3);
        let changes = [false, false, true, false, false, false, true, true].map(|result| tracker.handle_result(result));
        assert_eq!(changes[..5], [None; 5]);
        assert_eq!(changes[5..], [Some(Health::Down), None, Some(Health::Up)]);
    }

    proptest! {
        /// The verdict changes exactly when the last `needed` results all speak against it.
        #[test]
        fn agrees_with_looking_back(results in prop::collection::vec(any::<bool>(), 0..60), rise in 1u32..5, fall in 1u32..5) {
            let mut tracker = Tracker::new(Health::Up, rise, fall);
            let (mut state, mut since) = (Health::Up, 0);
            for end in 1..=results.len() {
                let up = state == Health::Up;
                let needed = if up { fall } else { rise } as usize;
                let recent = &results[since..end];
                let changes = recent.len() >= needed && recent[recent.len() - needed..].iter().all(|&result| result != up);
                if changes {
                    (state, since) = (if up { Health::Down } else { Health::Up }, end);
                }
                prop_assert_eq!(tracker.handle_result(results[end - 1]), changes.then_some(state));
                prop_assert_eq!(tracker.state(), state);
            }
        }
    }
}
