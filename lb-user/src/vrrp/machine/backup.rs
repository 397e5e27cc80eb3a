//! A backup: listens, and takes over when the master is gone (RFC 5798 section 6.4.2).

use std::net::IpAddr;
use std::num::NonZeroU8;
use std::time::{Duration, Instant};

use super::super::packet::{Advert, LEAVING, OWNER};
use super::event::Reason;
use super::settings::{Pace, Preemption};
use super::{Machine, Phase, timing};

/// What a backup knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backup {
    /// When it takes over.
    pub(super) due: Instant,
    /// For what it waits until then.
    pub(super) wait: Wait,
    /// The sender of the last advert that counted.
    pub(super) master: Option<IpAddr>,
    /// Between the master's adverts: ours in version 2, learned in version 3.
    interval: Duration,
    /// Since when all that is heard is a master of lower priority.
    outranking_since: Option<Instant>,
}

/// For what a backup waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// The master's next advert.
    Advert,
    /// Whether another one is faster, now that the master has left.
    Left,
    /// Its time to take over from a master of lower priority.
    Outranking,
}

impl Wait {
    /// Why it takes over if that time has passed.
    pub(super) const fn reason(self) -> Reason {
        match self {
            Self::Advert => Reason::MasterDown,
            Self::Left => Reason::MasterLeft,
            Self::Outranking => Reason::Preempted,
        }
    }
}

impl Backup {
    /// Takes over at `due`, if that is earlier than it would anyway.
    pub(super) fn hurried(self, wait: Wait, due: Instant) -> Self {
        if due < self.due { Self { wait, due, ..self } } else { self }
    }
}

impl Machine {
    /// One that knows nothing yet, and waits a whole master-down interval.
    pub(super) fn listening(&self, now: Instant) -> Phase {
        let (due, interval) = (now + self.own_down(), self.own_interval());
        Phase::Backup(Backup { due, wait: Wait::Advert, master: None, interval, outranking_since: None })
    }

    pub(super) fn handle_as_backup(&mut self, backup: Backup, advert: &Advert<'_>, source: IpAddr, now: Instant) {
        let backup = if advert.priority == LEAVING {
            backup.hurried(Wait::Left, now + self.skew(&backup))
        } else if advert.priority >= self.priority.get() {
            Backup { outranking_since: None, ..self.heard(backup, advert, source, now) }
        } else {
            self.outranking(backup, advert, source, now)
        };
        self.phase = Phase::Backup(backup);
    }

    /// After an advert that counts.
    pub(super) fn heard(&self, backup: Backup, advert: &Advert<'_>, source: IpAddr, now: Instant) -> Backup {
        let interval = advert.dialect.interval();
        let due = now + timing::master_down(self.version(), self.priority, interval);
        Backup { due, wait: Wait::Advert, master: Some(source), interval, ..backup }
    }

    /// After an advert of a master of lower priority. A single one from somebody who was not master before is perhaps the
    /// last word of one that gives way: it hurries nobody.
    fn outranking(&self, backup: Backup, advert: &Advert<'_>, source: IpAddr, now: Instant) -> Backup {
        let is_master = backup.master == Some(source) || backup.outranking_since.is_some();
        let since = backup.outranking_since.unwrap_or(now);
        let known = Backup { outranking_since: Some(since), ..backup };
        let Some((delay, pace)) = self.preemption() else { return self.heard(known, advert, source, now) };
        if now.saturating_duration_since(since) < delay {
            return self.heard(known, advert, source, now);
        }
        let wait = if known.wait == Wait::Advert { Wait::Outranking } else { known.wait };
        let master = if is_master { Some(source) } else { known.master.or(Some(source)) };
        let known = Backup { wait, master, ..known };
        match pace {
            Pace::Skew if is_master => known.hurried(Wait::Outranking, now + self.skew(&known)),
            Pace::Skew | Pace::MasterDown => known,
        }
    }

    /// How a master of lower priority is replaced, if it is.
    fn preemption(&self) -> Option<(Duration, Pace)> {
        let is_owner = self.priority.get() == OWNER;
        match self.settings.preemption {
            Preemption::After { pace, .. } if is_owner => Some((Duration::ZERO, pace)),
            Preemption::After { delay, pace } => Some((delay, pace)),
            Preemption::Never => is_owner.then_some((Duration::ZERO, Pace::MasterDown)),
        }
    }

    /// The same waiting under another priority: each wait has one skew in it.
    pub(super) fn shifted(&self, backup: Backup, former: NonZeroU8) -> Backup {
        let skew = |priority| timing::skew(self.version(), priority, backup.interval);
        let due = backup.due + skew(self.priority);
        Backup { due: due.checked_sub(skew(former)).unwrap_or(due), ..backup }
    }

    fn skew(&self, backup: &Backup) -> Duration {
        timing::skew(self.version(), self.priority, backup.interval)
    }
}
