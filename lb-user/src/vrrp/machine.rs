//! The state machine of one virtual router (RFC 5798 section 6.4, RFC 3768 section 6.4).
//!
//! It is told what happens and when (`handle_*`), says what to do (`poll_output`) and when it wants to be woken
//! (`deadline`). It reads no clock and owns no socket. A caller loops: take all datagrams that have arrived, then call
//! [`Machine::handle_timeout`] if the deadline has passed, and carry out all outputs in their order. Adverts first: a
//! backup that runs late must hear what was said meanwhile before it claims anything.
//!
//! Where the standards leave a choice, or where following them leaves clients without a director:
//!
//! - A master that hears of another master that it outranks sends an advert at once (RFC 9568 section 6.4.3) and announces
//!   its vips anew, however it comes to know. One that gives way sends one last advert after its vips are released, so that
//!   the winner comes to know. So the last one to announce is the one who stays.
//! - A master that has not run for a whole master-down interval must have been replaced. It says nothing, releases its
//!   vips, and listens.
//! - A list of vips that is not ours is counted and let pass, in both versions.

mod anomaly;
mod backup;
mod event;
mod master;
mod schedule;
mod settings;
pub mod timing;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::num::NonZeroU8;
use std::time::{Duration, Instant};

use super::packet::{Addresses, Advert, Auth, Coverage, Dialect, LEAVING, OWNER};
use backup::Backup;
use master::Master;

pub use anomaly::{Anomaly, Counters};
pub use event::{Output, Reason, State};
pub use schedule::Announcements;
pub use settings::{ChecksumForm, Pace, Preemption, Settings, Vips};

/// A master does not answer other masters, and does not announce because of them, more often than this.
pub const ANSWER_GAP: Duration = Duration::from_millis(10);

/// In the long run it does not announce more often than this because of announcements of others: they may be no routers at all.
pub const CLAIM_GAP: Duration = Duration::from_secs(1);

/// So many of them are contradicted at once all the same: a former master's last words come when a partition has healed, and
/// whoever believes them sends into the void until they are.
pub const CLAIMS_AT_ONCE: u32 = 5;

/// One virtual router on this machine.
#[derive(Clone, Debug)]
pub struct Machine {
    settings: Settings,
    /// The effective one.
    priority: NonZeroU8,
    is_faulty: bool,
    phase: Phase,
    outputs: VecDeque<Output>,
    counters: Counters,
    heard: Option<Coverage>,
}

/// The state, and what goes with it.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Also while the vips are still held, until this time or the next master's first advert.
    Init {
        parting: Option<Instant>,
    },
    Backup(Backup),
    Master(Master),
    Fault,
}

/// How a master stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    /// It releases its vips at once.
    AtOnce,
    /// It says that it leaves, but answers for the vips until another master is heard, or until any other router would
    /// have become one.
    Overlap,
}

/// What a sync group wants of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// To be master too.
    Master,
    /// Not to be master either.
    Backup,
}

impl Machine {
    /// One that has not been started.
    pub fn new(settings: Settings) -> Self {
        let priority = settings.priority;
        Self {
            settings,
            priority,
            is_faulty: false,
            phase: Phase::Init { parting: None },
            // More than any input makes, so that it never grows if they are all taken in time.
            outputs: VecDeque::with_capacity(16),
            counters: Counters::default(),
            heard: None,
        }
    }

    /// Where it stands.
    pub const fn state(&self) -> State {
        match self.phase {
            Phase::Init { .. } => State::Init,
            Phase::Backup(_) => State::Backup,
            Phase::Master(_) => State::Master,
            Phase::Fault => State::Fault,
        }
    }

    /// The priority in effect.
    pub const fn priority(&self) -> NonZeroU8 {
        self.priority
    }

    /// What it was told.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What happened so far.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The master that a backup hears, once it has.
    pub const fn master(&self) -> Option<IpAddr> {
        match &self.phase {
            Phase::Backup(backup) => backup.master,
            _ => None,
        }
    }

    /// What to do next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Machine::handle_timeout`] is to be called, if nothing else happens.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Init { parting } => *parting,
            Phase::Backup(backup) => Some(backup.due),
            Phase::Master(master) => Some(master.deadline()),
            Phase::Fault => None,
        }
    }

    /// Whether a master has been out of action for so long that it must not send anything any more, not even what it was
    /// about to send: to be asked right before a frame goes out. The next input makes it a backup.
    pub fn has_overslept(&self, now: Instant) -> bool {
        matches!(&self.phase, Phase::Master(master) if now.saturating_duration_since(master.sent) > self.own_down())
    }

    /// Until when nobody can take our silence for our end: for a lease that lets the vips be answered for, and that runs out
    /// by itself when the process is frozen or dies. `None` if they must not be answered for.
    pub fn leads_until(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Master(master) => Some(master.sent + self.own_interval() * timing::ADVERTS_MISSED),
            Phase::Init { parting } => *parting,
            Phase::Backup(_) | Phase::Fault => None,
        }
    }

    /// The advert that an [`Output::SendAdvert`] wants.
    pub fn advert(&self, priority: u8) -> Advert<'_> {
        let mut dialect = self.settings.dialect;
        if let (Dialect::V3 { coverage, .. }, ChecksumForm::AsHeard, Some(heard)) =
            (&mut dialect, self.settings.checksum, self.heard)
        {
            *coverage = heard;
        }
        Advert { vrid: self.settings.vrid, priority, dialect, addresses: self.settings.vips.addresses() }
    }

    /// Begins to work. Does nothing if it has begun already.
    pub fn handle_start(&mut self, now: Instant) {
        if let Phase::Init { parting } = self.phase {
            if parting.is_some() {
                self.outputs.push_back(Output::ReleaseAddresses);
                self.phase = Phase::Init { parting: None };
            }
            self.enter(Reason::Started, now);
        }
    }

    /// Goes on as the master that a process before this one was, whose last advert went out at `sent`: says so with an
    /// advert, and announces nothing, for nothing has moved. Says whether it does; it does not if the others may have given
    /// that one up by now, if it has been started already, or while something that it depends on is broken.
    pub fn handle_resume(&mut self, sent: Instant, now: Instant) -> bool {
        let silence = now.saturating_duration_since(sent);
        let may = sent <= now && silence < self.own_interval() * timing::ADVERTS_MISSED && !self.is_faulty;
        let resumes = may && matches!(self.phase, Phase::Init { parting: None });
        if resumes {
            self.resume_as_master(now);
        }
        resumes
    }

    /// Ends its work. After the outputs of this call it sends nothing more.
    pub fn handle_shutdown(&mut self, parting: Parting, now: Instant) {
        self.catch_up(now);
        match (self.phase, parting) {
            (Phase::Master(_), Parting::Overlap) => {
                self.send(LEAVING);
                // Whoever can hear us is master by then: nobody's skew is longer than that of priority 1.
                let longest = timing::skew(self.version(), NonZeroU8::MIN, self.own_interval());
                self.become_phase(Phase::Init { parting: Some(now + longest * 5 / 4) }, Reason::Stopped);
            }
            (Phase::Master(_), Parting::AtOnce) => {
                self.leave(Phase::Init { parting: None }, Reason::Stopped);
            }
            (Phase::Init { parting: Some(_) }, Parting::AtOnce) => self.part(),
            (Phase::Init { .. }, _) => {}
            (Phase::Backup(_) | Phase::Fault, _) => {
                self.become_phase(Phase::Init { parting: None }, Reason::Stopped);
            }
        }
    }

    /// Takes an advert that was read from a datagram. `source` is its sender.
    pub fn handle_advert(&mut self, advert: &Advert<'_>, source: IpAddr, now: Instant) {
        self.catch_up(now);
        if let Some(anomaly) = self.objection(advert, source) {
            self.note(anomaly);
            return;
        }
        self.counters.received += 1;
        self.counters.received_leaving += u64::from(advert.priority == LEAVING);
        self.look_at(advert);
        match self.phase {
            Phase::Init { parting: Some(_) } if advert.priority != LEAVING => self.part(),
            Phase::Backup(backup) => self.handle_as_backup(backup, advert, source, now),
            Phase::Master(master) => self.handle_as_master(master, advert, source, now),
            Phase::Init { .. } | Phase::Fault => {}
        }
    }

    /// Counts a datagram that could not be read, or that came from where it should not.
    pub fn handle_refused(&mut self, anomaly: Anomaly) {
        self.note(anomaly);
    }

    /// Does what is due. Harmless before the deadline.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.catch_up(now);
        match self.phase {
            Phase::Init { parting: Some(due) } if due <= now => self.part(),
            Phase::Backup(backup) if backup.due <= now => self.become_master(backup.wait.reason(), now),
            Phase::Master(master) => self.work_as_master(master, now),
            _ => {}
        }
    }

    /// The effective priority is another one now. A master says so at once.
    pub fn handle_priority(&mut self, priority: NonZeroU8, now: Instant) {
        self.catch_up(now);
        self.take_priority(priority, now);
    }

    fn take_priority(&mut self, priority: NonZeroU8, now: Instant) {
        let former = std::mem::replace(&mut self.priority, priority);
        if former == priority {
            return;
        }
        match self.phase {
            Phase::Backup(backup) => self.phase = Phase::Backup(self.shifted(backup, former)),
            Phase::Master(master) => self.phase = Phase::Master(self.answer(master, now)),
            Phase::Init { .. } | Phase::Fault => {}
        }
    }

    /// Something it depends on is broken. A master says that it leaves, and releases its vips.
    pub fn handle_fault(&mut self, now: Instant) {
        self.catch_up(now);
        self.is_faulty = true;
        match self.phase {
            Phase::Master(_) => self.leave(Phase::Fault, Reason::Fault),
            Phase::Backup(_) => self.become_phase(Phase::Fault, Reason::Fault),
            Phase::Init { parting: Some(_) } => self.part(),
            Phase::Init { parting: None } | Phase::Fault => {}
        }
    }

    /// Nothing is broken any more.
    pub fn handle_recovery(&mut self, now: Instant) {
        self.is_faulty = false;
        if let Phase::Fault = self.phase {
            self.enter(Reason::Recovered, now);
        }
    }

    /// Somebody else tells the neighbours that a vip is his. A master contradicts.
    pub fn handle_claim(&mut self, now: Instant) {
        self.catch_up(now);
        if let Phase::Master(master) = self.phase {
            self.note_rival(&master, now);
            let (master, gap) = master.claimed(now);
            self.phase = Phase::Master(self.contradict(master, gap, now));
        }
    }

    /// The sync group that it belongs to has changed.
    pub fn handle_group(&mut self, follow: Follow, now: Instant) {
        self.catch_up(now);
        match (self.phase, follow) {
            (Phase::Backup(_), Follow::Master) => self.become_master(Reason::Group, now),
            (Phase::Master(_), Follow::Backup) => self.leave(self.listening(now), Reason::Group),
            _ => {}
        }
    }

    /// It is configured anew, as the same virtual router of the same family: another one needs another machine. State and
    /// timers stay; the priority is the configured one until the next [`Machine::handle_priority`].
    pub fn handle_settings(&mut self, settings: Settings, now: Instant) {
        self.catch_up(now);
        let former = std::mem::replace(&mut self.settings, settings);
        // By another interval than the last advert was sent, nobody has overslept.
        self.take_priority(self.settings.priority, now);
        if let Phase::Master(master) = self.phase
            && former != self.settings
        {
            self.outputs.push_back(Output::TakeAddresses);
            self.phase = Phase::Master(self.contradict(master, Duration::ZERO, now));
        }
    }

    /// From Init or Fault to work.
    fn enter(&mut self, reason: Reason, now: Instant) {
        if self.is_faulty {
            self.become_phase(Phase::Fault, Reason::Fault);
        } else if self.priority.get() == OWNER {
            self.become_master(reason, now);
        } else {
            self.become_phase(self.listening(now), reason);
        }
    }

    /// If the process was out of action for more than a master-down interval, a master has been replaced, and a backup may
    /// have missed all that the master said: both listen for as long as if they had just been started.
    fn catch_up(&mut self, now: Instant) {
        match self.phase {
            Phase::Master(_) if self.has_overslept(now) => {
                self.note(Anomaly::LateWake);
                self.outputs.retain(|output| !matches!(output, Output::SendAdvert { .. } | Output::Announce { .. }));
                self.outputs.push_back(Output::ReleaseAddresses);
                self.become_phase(self.listening(now), Reason::LateWake);
            }
            Phase::Backup(backup) if now.saturating_duration_since(backup.due) > self.own_down() => {
                self.note(Anomaly::LateWake);
                self.phase = self.listening(now);
            }
            _ => {}
        }
    }

    /// Why an advert is not for us, if it is not (RFC 3768 section 7.1, RFC 5798 section 7.1). An owner listens too: another
    /// owner would else never be noticed.
    fn objection(&self, advert: &Advert<'_>, source: IpAddr) -> Option<Anomaly> {
        let settings = &self.settings;
        let same_family = matches!(
            (&advert.addresses, &settings.vips),
            (Addresses::V4(_), Vips::V4(_)) | (Addresses::V6(_), Vips::V6(_))
        );
        if advert.vrid != settings.vrid {
            return Some(Anomaly::OtherVrid);
        }
        if !same_family {
            return Some(Anomaly::OtherFamily);
        }
        if source == settings.source {
            return Some(Anomaly::OwnAddress);
        }
        match (&settings.dialect, &advert.dialect) {
            (Dialect::V2 { seconds, auth }, Dialect::V2 { seconds: theirs, auth: shown }) => match (auth, shown) {
                (Auth::None, Auth::Pass(_)) | (Auth::Pass(_), Auth::None) => Some(Anomaly::OtherAuth),
                _ if auth != shown => Some(Anomaly::WrongPassword),
                _ => (seconds != theirs).then_some(Anomaly::OtherInterval),
            },
            (Dialect::V3 { .. }, Dialect::V3 { .. }) => None,
            _ => Some(Anomaly::OtherVersion),
        }
    }

    /// Notes what is odd about an advert that counts all the same.
    fn look_at(&mut self, advert: &Advert<'_>) {
        if let Dialect::V3 { coverage, .. } = advert.dialect {
            self.heard = Some(coverage);
        }
        if advert.dialect.interval() != self.own_interval() {
            self.note(Anomaly::OtherInterval);
        }
        if !advert.addresses.same_set(&self.settings.vips.addresses()) {
            self.note(Anomaly::OtherAddresses);
        }
        if advert.priority == OWNER && self.priority.get() == OWNER {
            self.note(Anomaly::SecondOwner);
        }
    }

    fn note(&mut self, anomaly: Anomaly) {
        if self.counters.note(anomaly) {
            self.outputs.push_back(Output::Anomaly(anomaly));
        }
    }

    fn send(&mut self, priority: u8) {
        self.counters.sent += 1;
        self.counters.sent_leaving += u64::from(priority == LEAVING);
        self.outputs.push_back(Output::SendAdvert { priority });
    }

    /// A master says that it leaves, and releases its vips.
    fn leave(&mut self, phase: Phase, reason: Reason) {
        self.send(LEAVING);
        self.outputs.push_back(Output::ReleaseAddresses);
        self.become_phase(phase, reason);
    }

    /// The end of a [`Parting::Overlap`].
    fn part(&mut self) {
        self.phase = Phase::Init { parting: None };
        self.outputs.push_back(Output::ReleaseAddresses);
    }

    /// Another state: after all outputs that have to be quick.
    fn become_phase(&mut self, phase: Phase, reason: Reason) {
        let from = self.state();
        self.phase = phase;
        let to = self.state();
        self.counters.became_master += u64::from(to == State::Master);
        self.counters.ceased_master += u64::from(from == State::Master);
        self.outputs.push_back(Output::StateChanged { from, to, reason });
    }

    fn version(&self) -> super::packet::Version {
        self.settings.dialect.version()
    }

    const fn own_interval(&self) -> Duration {
        self.settings.dialect.interval()
    }

    /// The master-down interval by our own interval and priority.
    fn own_down(&self) -> Duration {
        timing::master_down(self.version(), self.priority, self.own_interval())
    }
}
