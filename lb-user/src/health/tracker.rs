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
    due: Option<Health>,
}

impl Tracker {
    /// Starts from a former verdict, or from [`Health::Unchecked`]. `rise` and `fall` are at least 1.
    pub const fn new(state: Health, rise: u32, fall: u32) -> Self {
        Self { state, against: 0, rise, fall, due: None }
    }

    /// The verdict.
    pub const fn state(&self) -> Health {
        self.state
    }

    /// Takes one result and says the verdict that is due, if it is another. The first result of all decides at once;
    /// later, `rise` successes in a row make a real server that is down up, `fall` failures in a row the other way. What is
    /// due stays so until it is [settled](Self::settle), [forgotten](Self::forget), or the results say otherwise.
    pub fn note(&mut self, success: bool) -> Option<Health> {
        let (agrees, other, needed) = match (self.state, success) {
            (Health::Unchecked, true) => (false, Health::Up, 1),
            (Health::Unchecked, false) => (false, Health::Down, 1),
            (Health::Up, success) => (success, Health::Down, self.fall),
            (Health::Down, success) => (!success, Health::Up, self.rise),
        };
        self.against = if agrees { 0 } else { self.against.saturating_add(1) };
        self.due = (self.against >= needed).then_some(other);
        self.due
    }

    /// What is due, if anything.
    pub const fn due(&self) -> Option<Health> {
        self.due
    }

    /// Makes what is due the verdict, and says it.
    pub fn settle(&mut self) -> Option<Health> {
        let due = self.due.take()?;
        (self.state, self.against) = (due, 0);
        Some(due)
    }

    /// [`note`](Self::note) and [`settle`](Self::settle) in one: says the new verdict if it changes.
    pub fn handle_result(&mut self, success: bool) -> Option<Health> {
        self.note(success)?;
        self.settle()
    }

    /// Counts anew from here; the verdict stays.
    pub const fn forget(&mut self) {
        (self.against, self.due) = (0, None);
    }

    /// From now on this many successes bring it back; at least 1.
    pub const fn set_rise(&mut self, rise: u32) {
        self.rise = rise;
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

    #[test]
    fn what_is_due_waits_until_it_is_settled_or_forgotten() {
        let mut tracker = Tracker::new(Health::Up, 2, 2);
        assert_eq!(
            [false, false, false].map(|result| tracker.note(result)),
            [None, Some(Health::Down), Some(Health::Down)]
        );
        assert_eq!((tracker.state(), tracker.due()), (Health::Up, Some(Health::Down)));
        tracker.forget();
        assert_eq!([false, true, false].map(|result| tracker.note(result)), [None; 3]);
        assert_eq!(tracker.note(false), Some(Health::Down));
        assert_eq!((tracker.settle(), tracker.settle(), tracker.state()), (Some(Health::Down), None, Health::Down));
        tracker.set_rise(1);
        assert_eq!(tracker.handle_result(true), Some(Health::Up));
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
