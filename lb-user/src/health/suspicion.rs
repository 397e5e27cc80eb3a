//! From what clients' packets say of real servers to those that are to be asked at once.
//!
//! A suspicion never takes a real server out: it only has its check ask more often for a while, and the check decides. So
//! whoever forges packets can have questions asked, and that is bounded too: a suspicion takes [`LASTS`](Suspicions::LASTS),
//! comes back after [`RESTS`](Suspicions::RESTS) at the soonest, and only [`MOST`](Suspicions::MOST) real servers are under
//! one at a time, those with the most signs first.

use std::collections::HashMap;
use std::time::Duration;

use lb_common::abi::{RealId, Signals};

/// Who is suspected, and what has been counted so far. Times are those of any clock that only goes forward.
#[derive(Clone, Debug, Default)]
pub struct Suspicions {
    known: HashMap<RealId, Known>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    counted: Signals,
    /// When the last suspicion began.
    suspected: Option<Duration>,
}

impl Suspicions {
    /// How long a suspicion lasts.
    pub const LASTS: Duration = Duration::from_secs(3);
    /// From the beginning of one to the beginning of the next of the same real server, at the least.
    pub const RESTS: Duration = Duration::from_secs(13);
    /// So many at a time.
    pub const MOST: usize = 16;
    /// SYNs that come again between two looks and make a suspicion. Single ones are lost on any way.
    pub const SYNS: u64 = 3;
    /// The same of resets, which clients send for reasons of their own too.
    pub const RESETS: u64 = 16;

    /// Takes a look: all counts at about one time, a second or less after the last look. Says who is suspected from now on and
    /// was not before, those with the most signs first. The first look at a real server, and one at which it counts anew,
    /// says nothing of it.
    pub fn look(&mut self, now: Duration, counts: impl IntoIterator<Item = (RealId, Signals)>) -> Vec<RealId> {
        let mut known = HashMap::new();
        let mut odd: Vec<(u64, RealId)> = Vec::new();
        for (real, counted) in counts {
            let former = self.known.get(&real).copied().unwrap_or(Known { counted, suspected: None });
            let signs = signs(former.counted, counted);
            let rested = former.suspected.is_none_or(|since| now.saturating_sub(since) >= Self::RESTS);
            if rested && let Some(signs) = signs {
                odd.push((signs, real));
            }
            known.insert(real, Known { counted, ..former });
        }
        self.known = known;
        // By id where the signs are the same, so that it is a function of what was seen.
        odd.sort_unstable_by_key(|(signs, real)| (std::cmp::Reverse(*signs), real.index()));
        let free = Self::MOST.saturating_sub(self.suspected(now).count());
        let new: Vec<RealId> = odd.into_iter().take(free).map(|(_, real)| real).collect();
        for real in &new {
            self.known.entry(*real).and_modify(|known| known.suspected = Some(now));
        }
        new
    }

    /// Who is suspected now.
    pub fn suspected(&self, now: Duration) -> impl Iterator<Item = RealId> {
        let lasts = move |since: Duration| now.saturating_sub(since) < Self::LASTS;
        self.known.iter().filter(move |(_, known)| known.suspected.is_some_and(lasts)).map(|(real, _)| *real)
    }
}

/// How much there is to be seen between two counts; `None`: not enough.
fn signs(before: Signals, now: Signals) -> Option<u64> {
    let syns = now.syn_retransmissions.checked_sub(before.syn_retransmissions)?;
    let resets = now.client_resets.checked_sub(before.client_resets)?;
    (syns >= Suspicions::SYNS || resets >= Suspicions::RESETS).then(|| syns.saturating_add(resets))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn real(id: u16) -> RealId {
        RealId::new(id).expect("it is in range")
    }

    fn count(id: u16, syn_retransmissions: u64, client_resets: u64) -> (RealId, Signals) {
        (real(id), Signals { syn_retransmissions, client_resets })
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn some_syns_that_come_again_make_a_suspicion_and_single_ones_do_not() {
        let mut suspicions = Suspicions::default();
        assert_eq!(suspicions.look(seconds(0), [count(1, 50, 50), count(2, 7, 7), count(3, 0, 0)]), []);
        let now = seconds(1);
        assert_eq!(suspicions.look(now, [count(1, 53, 50), count(2, 9, 22), count(3, 0, 16)]), [real(3), real(1)]);
        assert_eq!(suspicions.suspected(now).count(), 2);
        assert_eq!(suspicions.suspected(now + Suspicions::LASTS).count(), 0);
    }

    #[test]
    fn an_id_that_counts_anew_is_another_real_server() {
        let mut suspicions = Suspicions::default();
        suspicions.look(seconds(0), [count(1, 50, 50)]);
        assert_eq!(suspicions.look(seconds(1), [count(1, 5, 60)]), []);
        assert_eq!(suspicions.look(seconds(2), [count(1, 8, 60)]), [real(1)]);
    }

    proptest! {
        /// However much is forged, no real server is under suspicion for more than its part of the time, and never too many are.
        #[test]
        fn forged_signs_cost_a_bounded_number_of_questions(forged in prop::collection::vec(prop::collection::vec(0u64..100, 40), 1..60)) {
            let mut suspicions = Suspicions::default();
            let mut totals = [0; 40];
            let mut begun: HashMap<RealId, Duration> = HashMap::new();
            for (now, more) in (0..).map(seconds).zip(forged) {
                totals.iter_mut().zip(more).for_each(|(total, more)| *total += more);
                let counts = (1..).zip(totals).map(|(id, total)| count(id, total, 0));
                for real in suspicions.look(now, counts) {
                    if let Some(before) = begun.insert(real, now) {
                        prop_assert!(now - before >= Suspicions::RESTS);
                    }
                }
                prop_assert!(suspicions.suspected(now).count() <= Suspicions::MOST);
            }
        }
    }
}
