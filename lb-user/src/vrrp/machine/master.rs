//! A master: says that it is there, and gives way to a better one (RFC 5798 section 6.4.3).

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::super::packet::{Advert, LEAVING};
use super::anomaly::Anomaly;
use super::event::{Output, Reason};
use super::schedule::Schedule;
use super::{ANSWER_GAP, CLAIM_GAP, CLAIMS_AT_ONCE, Machine, Phase};

/// What a master knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Master {
    /// Since when it is one.
    since: Instant,
    /// When it sent its last advert.
    pub(super) sent: Instant,
    /// When it will send the next.
    due: Instant,
    schedule: Schedule,
    /// When all claims that were contradicted at once have had their [`CLAIM_GAP`].
    paid: Instant,
}

impl Master {
    pub(super) fn deadline(&self) -> Instant {
        self.schedule.due().map_or(self.due, |due| due.min(self.due))
    }

    /// Somebody else has claimed a vip. Says too how long after the former announcement the next one may follow. A claim that
    /// comes while one is due anyway changes nothing.
    pub(super) fn claimed(self, now: Instant) -> (Self, Duration) {
        if self.schedule.restarts() {
            return (self, CLAIM_GAP);
        }
        let (paid, most) = (self.paid.max(now) + CLAIM_GAP, now + CLAIM_GAP * (CLAIMS_AT_ONCE + 1));
        (Self { paid: paid.min(most), ..self }, if paid >= most { CLAIM_GAP } else { ANSWER_GAP })
    }
}

impl Machine {
    /// The advert first, so that no other backup does the same (RFC 5798 section 6.4.2).
    pub(super) fn become_master(&mut self, reason: Reason, now: Instant) {
        let (due, schedule) = (now + self.own_interval(), Schedule::new(now));
        let mut master = Master { since: now, sent: now, due, schedule, paid: now };
        self.send(self.priority.get());
        self.outputs.push_back(Output::TakeAddresses);
        self.announce(&mut master, now);
        self.become_phase(Phase::Master(master), reason);
    }

    /// Without an announcement: the neighbours know.
    pub(super) fn resume_as_master(&mut self, now: Instant) {
        let schedule = Schedule::announced(&self.settings.announcements, now);
        let master = Master { since: now, sent: now, due: now + self.own_interval(), schedule, paid: now };
        self.send(self.priority.get());
        self.outputs.push_back(Output::TakeAddresses);
        self.become_phase(Phase::Master(master), Reason::Resumed);
    }

    pub(super) fn handle_as_master(&mut self, master: Master, advert: &Advert<'_>, source: IpAddr, now: Instant) {
        let own = self.priority.get();
        if advert.priority > own {
            self.give_way(advert, source, Reason::HigherPriority(advert.priority, source), now);
        } else if advert.priority == own && source > self.settings.source {
            self.give_way(advert, source, Reason::HigherAddress(source), now);
        } else {
            // One that says that it leaves was a master too.
            if advert.priority != LEAVING {
                self.note_rival(&master, now);
            }
            self.phase = Phase::Master(self.contradict(master, ANSWER_GAP, now));
        }
    }

    /// A former master needs a moment to learn that it has been replaced; only what comes later is odd.
    pub(super) fn note_rival(&mut self, master: &Master, now: Instant) {
        if now >= master.since + self.own_interval() {
            self.note(Anomaly::SecondMaster);
        }
    }

    /// The last advert tells the winner that there was another master, so that it announces its vips once more: after us,
    /// who have released them by then.
    fn give_way(&mut self, advert: &Advert<'_>, source: IpAddr, reason: Reason, now: Instant) {
        self.outputs.push_back(Output::ReleaseAddresses);
        self.send(self.priority.get());
        let mut phase = self.listening(now);
        if let Phase::Backup(backup) = &mut phase {
            *backup = self.heard(*backup, advert, source, now);
        }
        self.become_phase(phase, reason);
    }

    /// Sends what is due.
    pub(super) fn work_as_master(&mut self, mut master: Master, now: Instant) {
        if master.due <= now {
            self.send(self.priority.get());
            // By the former due time, not by this one, or all delays would add up.
            let next = master.due + self.own_interval();
            master = Master { sent: now, due: if next > now { next } else { now + self.own_interval() }, ..master };
        }
        self.announce(&mut master, now);
        self.phase = Phase::Master(master);
    }

    /// Tells everybody, routers and neighbours, who is master here.
    pub(super) fn contradict(&mut self, master: Master, gap: Duration, now: Instant) -> Master {
        let mut master = self.answer(master, now);
        master.schedule.restart(now, gap);
        self.announce(&mut master, now);
        master
    }

    /// Sends an advert now, or as soon as that is not too often.
    pub(super) fn answer(&mut self, master: Master, now: Instant) -> Master {
        let soonest = master.sent + ANSWER_GAP;
        if now < soonest {
            return Master { due: master.due.min(soonest), ..master };
        }
        self.send(self.priority.get());
        Master { sent: now, due: now + self.own_interval(), ..master }
    }

    fn announce(&mut self, master: &mut Master, now: Instant) {
        if let Some(frames) = master.schedule.poll(&self.settings.announcements, now) {
            self.counters.announced += 1;
            self.outputs.push_back(Output::Announce { frames });
        }
    }
}
