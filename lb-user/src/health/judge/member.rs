//! One real server of one pool.

use std::sync::Arc;
use std::time::Duration;

use super::super::damping::Damping;
use super::super::probe::{Answer, Weight};
use super::super::{Tracker, ramp};
use crate::state::{Asked, Health, Share};

/// The largest weight in effect.
const MOST_WEIGHT: u32 = 65_535;

/// What a real server's results are judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Successes in a row that bring it back; at least 1.
    pub rise: u32,
    /// Failures in a row that take it out; at least 1.
    pub fall: u32,
    /// Whether it needs more successes if it goes down often.
    pub damping: bool,
    /// Whether the other directors are asked before it is taken out.
    pub confirm: bool,
    /// How long the other directors may take to answer.
    pub patience: Duration,
    /// How long it takes to get its whole share after it came back.
    pub slow_start: Duration,
    /// Its weight in the file: what a percentage is of.
    pub weight: u32,
}

/// How a real server stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The verdict.
    pub health: Health,
    /// What the last probe found, in words; empty if there was none.
    pub words: String,
    /// How long ago that was.
    pub age: Option<Duration>,
    /// What it, or the time since it came back, wants of its share.
    pub asked: Asked,
    /// Whether another director has said that it is up, though to us it is down.
    pub is_disputed: bool,
    /// Successes in a row that it would need to come back.
    pub rise: u32,
}

#[derive(Clone, Copy, Debug)]
pub struct Last {
    pub started: Duration,
    pub ended: Duration,
    pub answers: bool,
}

#[derive(Debug)]
pub struct Member {
    pub terms: Terms,
    pub tracker: Tracker,
    damping: Damping,
    /// When it came back.
    back: Option<Duration>,
    answer: Answer,
    told: Asked,
    pub last: Option<Last>,
    pub words: Arc<str>,
    pub is_consulting: bool,
    pub is_disputed: bool,
    pub suspected_until: Duration,
}

impl Member {
    /// With this verdict, and what is remembered of its former self.
    pub fn new(terms: Terms, health: Health, former: Option<Self>) -> Self {
        let (damping, back, told) = match former {
            Some(Self { damping, back, told, .. }) => (damping, back, told),
            None => (Damping::default(), None, Asked::default()),
        };
        Self {
            terms,
            tracker: Tracker::new(health, terms.rise, terms.fall),
            damping,
            back: back.filter(|_| health == Health::Up),
            answer: Answer::default(),
            told,
            last: None,
            words: Arc::default(),
            is_consulting: false,
            is_disputed: false,
            suspected_until: Duration::ZERO,
        }
    }

    /// Whether it did not answer the last time it was asked.
    pub fn is_silent(&self) -> bool {
        self.last.is_some_and(|last| !last.answers)
    }

    /// Counts a success. Says why it is up if it was not.
    pub fn handle_success(&mut self, answer: Answer, now: Duration) -> Option<String> {
        self.answer = answer;
        self.is_disputed = false;
        self.tracker.set_rise(self.rise(now));
        let before = self.tracker.state();
        self.tracker.handle_result(true)?;
        if before == Health::Down {
            self.back = Some(now);
        }
        Some(self.words.to_string())
    }

    /// Makes it down, if that is due, and says why.
    pub fn handle_down(&mut self, now: Duration) -> Option<String> {
        self.tracker.settle().filter(|health| *health == Health::Down)?;
        self.damping.handle_down(now);
        (self.back, self.is_disputed, self.answer) = (None, false, Answer::default());
        let rise = self.rise(now);
        let flaps = if rise > self.terms.rise { format!("; flaps: needs {rise} successes") } else { String::new() };
        Some(format!("{}{flaps}", self.words))
    }

    /// Successes that it needs.
    fn rise(&self, now: Duration) -> u32 {
        let factor = if self.terms.damping { self.damping.factor(now) } else { 1 };
        self.terms.rise.saturating_mul(factor)
    }

    /// What it wants, if that is not what it wanted when it was last looked at.
    pub fn news(&mut self, now: Duration) -> Option<Asked> {
        let asked = self.asked(now);
        (std::mem::replace(&mut self.told, asked) != asked).then_some(asked)
    }

    fn asked(&mut self, now: Duration) -> Asked {
        let slow_start = self.terms.slow_start;
        let since = self.back.map(|back| now.saturating_sub(back)).filter(|age| *age < slow_start);
        if since.is_none() {
            self.back = None;
        }
        let warmed = since.map_or(Share::ALL, |age| ramp::share(age, slow_start));
        let (weight, share) = self.wanted();
        Asked { weight, share: ramp::both(warmed, share), drain: self.answer.drain }
    }

    /// More than all of its share it can have only by another weight.
    fn wanted(&self) -> (Option<u32>, Share) {
        match self.answer.weight {
            None => (None, Share::ALL),
            Some(Weight::Units(units)) => (Some(u32::from(units)), Share::ALL),
            Some(Weight::Percent(percent @ ..=100)) => (None, Share::thousandths(percent * 10)),
            Some(Weight::Percent(percent)) => {
                let weight = self.terms.weight.saturating_mul(u32::from(percent)).div_ceil(100);
                (Some(weight.min(MOST_WEIGHT)), Share::ALL)
            }
        }
    }

    pub fn standing(&self, now: Duration) -> Standing {
        Standing {
            health: self.tracker.state(),
            words: self.words.to_string(),
            age: self.last.map(|last| now.saturating_sub(last.ended)),
            asked: self.told,
            is_disputed: self.is_disputed,
            rise: self.rise(now),
        }
    }
}
