//! When a master tells the neighbours where its vips live.

use std::time::{Duration, Instant};

/// When to announce, and how often. A burst is a number of frames for each vip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcements {
    /// Frames for each vip in the first burst and in its repetitions; at least 1.
    pub burst: u8,
    /// When to repeat the first burst, counted from it, in ascending order.
    pub again: Vec<Duration>,
    /// Between later bursts, as long as one is master; `None` for none.
    pub refresh: Option<Duration>,
    /// Frames for each vip in those.
    pub refresh_burst: u8,
}

impl Default for Announcements {
    /// Spread out rather than many at once: a frame that is lost is mostly lost with its neighbours.
    fn default() -> Self {
        let again = [100, 1_000, 5_000].map(Duration::from_millis).to_vec();
        Self { burst: 1, again, refresh: Some(Duration::from_secs(60)), refresh_burst: 1 }
    }
}

/// How far a master is with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// When the first burst was sent.
    start: Option<Instant>,
    /// The repetition that is next; beyond the last one, a refresh.
    next: usize,
    /// When that is due.
    due: Option<Instant>,
    /// When a first burst is due.
    restart: Option<Instant>,
}

impl Schedule {
    /// The first burst is due now.
    pub const fn new(now: Instant) -> Self {
        Self { start: None, next: 0, due: None, restart: Some(now) }
    }

    /// All was told already; only refreshes are due.
    pub fn announced(settings: &Announcements, now: Instant) -> Self {
        let mut schedule = Self { start: Some(now), next: settings.again.len(), due: None, restart: None };
        schedule.advance(settings, now);
        schedule
    }

    /// From the first burst again: it is due now, or `gap` after the former one, whichever is later. Until then, things
    /// take their course.
    pub fn restart(&mut self, now: Instant, gap: Duration) {
        let soonest = self.start.map_or(now, |start| now.max(start + gap));
        self.restart = Some(self.restart.map_or(soonest, |due| due.min(soonest)));
    }

    /// Whether it is to begin from the first burst again.
    pub const fn restarts(&self) -> bool {
        self.restart.is_some()
    }

    /// When the next burst is due.
    pub fn due(&self) -> Option<Instant> {
        self.due.into_iter().chain(self.restart).min()
    }

    /// The frames for each vip to be sent now, if any are due. Bursts that were missed are left out.
    pub fn poll(&mut self, settings: &Announcements, now: Instant) -> Option<u8> {
        if self.restart.is_some_and(|due| due <= now) {
            *self = Self { start: Some(now), next: 0, due: None, restart: None };
            self.advance(settings, now);
            return Some(settings.burst);
        }
        self.due.filter(|due| *due <= now)?;
        let is_refresh = self.next >= settings.again.len();
        self.next += 1;
        self.advance(settings, now);
        Some(if is_refresh { settings.refresh_burst } else { settings.burst })
    }

    /// Finds what comes after this.
    fn advance(&mut self, settings: &Announcements, now: Instant) {
        let repetitions = settings.again.iter().enumerate().skip(self.next);
        let mut times = repetitions.filter_map(|(index, after)| Some((index, self.start? + *after)));
        let upcoming = times.find(|(_, due)| *due > now);
        self.next = upcoming.map_or(settings.again.len(), |(index, _)| index);
        let refresh = settings.refresh.map(|refresh| now + refresh);
        self.due = upcoming.map_or(refresh, |(_, due)| Some(due));
    }
}
