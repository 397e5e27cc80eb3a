//! From the results of all checks to verdicts: who is believed, who is waited for, which pools are held. Pure: times are
//! since any fixed moment, and what is to be done is returned as [`Ruling`]s, in order.

mod member;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::hold::{Cause, Sign};
use super::network::{Network, Surroundings};
use super::opinion::Opinion;
use super::probe::Answer;
use crate::state::{Asked, Health};

use member::{Last, Member};
pub use member::{Standing, Terms};

/// What a check is about: a pool's name and a real server's address.
pub type Subject = (String, IpAddr);

/// Real servers that are asked at once, so that they may say whether the way to another is whole.
const WITNESSES: usize = 3;
/// How long a suspected real server is asked at the fast interval.
const SUSPICION: Duration = Duration::from_secs(3);

/// What a probe found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// A success.
    Answered(Answer),
    /// A failure that only somebody who has been reached can give: a refusal, a wrong answer.
    Refused,
    /// A failure that could as well be the network's.
    Silent,
    /// We could not ask, which says nothing of the real server.
    NotAsked,
}

/// A probe that has ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// When it began.
    pub started: Duration,
    /// When it ended.
    pub ended: Duration,
    /// What it found.
    pub finding: Finding,
    /// The same in words.
    pub words: Arc<str>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// A verdict has changed; the reason is in words.
    Verdict(Subject, Health, String),
    /// What a real server's check, or the time since it came back, wants of it has changed.
    Asked(Subject, Asked),
    /// The pool's ring is to stay as it is.
    Hold(String, Cause),
    /// It follows the verdicts again; why, in words.
    Release(String, String),
    /// This real server is to be asked at once.
    Wake(Subject),
    /// This gateway is to be pinged at once.
    Ping(IpAddr),
    /// The other directors are to be asked about this real server.
    Consult(Subject),
    /// It is down to us, but another director says that it is up, so it stays.
    Disputed(Subject, String),
}

/// All that is known of one pool.
#[derive(Debug, Default)]
struct Ward {
    members: BTreeMap<IpAddr, Member>,
    held: Option<Cause>,
    /// When one of its real servers has answered last.
    answered: Option<Duration>,
}

/// Judges all real servers that are checked.
#[derive(Debug, Default)]
pub struct Judge {
    wards: BTreeMap<String, Ward>,
    network: Network,
    /// Real servers that have failed often enough, and nobody has yet said whether the way to them is whole.
    waiting: BTreeSet<Subject>,
    cut_off: bool,
}

impl Judge {
    /// Begins with a real server, or with other terms: its verdict is this, and results count anew. How long it has been back
    /// and how often it has gone down is remembered.
    pub fn enter(&mut self, subject: &Subject, terms: Terms, health: Health) {
        let ward = self.wards.entry(subject.0.clone()).or_default();
        let former = ward.members.remove(&subject.1);
        ward.members.insert(subject.1, Member::new(terms, health, former));
        self.waiting.remove(subject);
    }

    /// Other terms for a real server whose check goes on as it was.
    pub fn revise(&mut self, subject: &Subject, terms: Terms) {
        if let Some(member) = self.member_mut(subject) {
            member.terms = terms;
        }
    }

    /// Forgets all others.
    pub fn retain(&mut self, wanted: &HashSet<Subject>) -> Vec<Ruling> {
        let mut rulings = Vec::new();
        self.wards.retain(|pool, ward| {
            ward.members.retain(|address, _| wanted.contains(&(pool.clone(), *address)));
            if ward.members.is_empty() && ward.held.is_some() {
                rulings.push(Ruling::Release(pool.clone(), "it is not checked any more".into()));
            }
            !ward.members.is_empty()
        });
        self.waiting.retain(|subject| wanted.contains(subject));
        rulings
    }

    /// Takes links and ways as they are now.
    pub fn set_surroundings(&mut self, surroundings: Surroundings) -> Vec<Ruling> {
        self.network.set_surroundings(surroundings);
        self.hold_cut_off()
    }

    /// Makes these the gateways.
    pub fn set_gateways(&mut self, gateways: &[IpAddr]) -> Vec<Ruling> {
        self.network.set_gateways(gateways);
        let was_cut_off = self.cut_off;
        let mut rulings = self.note_cut_off();
        if was_cut_off && !self.cut_off {
            let held = |ward: &Ward| matches!(ward.held, Some(Cause::Gateways(_)));
            let pools = self.wards.iter().filter(|(_, ward)| held(ward)).map(|(pool, _)| pool.clone());
            for pool in pools.collect::<Vec<_>>() {
                self.end_hold(&pool, Sign::Gateway, "other gateways are asked, or none", &mut rulings);
            }
        }
        rulings
    }

    /// A ping to a gateway was answered, or was not.
    pub fn handle_gateway(&mut self, address: IpAddr, answers: bool, now: Duration) -> Vec<Ruling> {
        self.network.note_gateway(address, answers, now);
        let mut rulings = self.note_cut_off();
        if answers {
            let pools: Vec<String> = self.wards.keys().cloned().collect();
            for pool in pools {
                self.end_hold(&pool, Sign::Gateway, &format!("{address} answers"), &mut rulings);
            }
            rulings.extend(self.hear_witness(None, now));
        }
        rulings
    }

    /// A probe has ended.
    pub fn handle_outcome(&mut self, subject: &Subject, outcome: Outcome) -> Vec<Ruling> {
        let Outcome { started, ended, finding, words } = outcome;
        let mut rulings = Vec::new();
        let answers = finding != Finding::Silent;
        let Some(ward) = self.wards.get_mut(&subject.0) else { return rulings };
        let Some(member) = ward.members.get_mut(&subject.1) else { return rulings };
        if finding == Finding::NotAsked {
            member.words = words;
            return rulings;
        }
        let was_silent = member.last.is_some_and(|last| !last.answers);
        member.last = Some(Last { started, ended, answers });
        member.words = words;
        if answers {
            ward.answered = Some(ended);
            self.network.note_answer(subject.1, ended);
            let sign = if was_silent { Sign::Return } else { Sign::StillThere };
            if ward.held.is_some() {
                self.end_hold(&subject.0, sign, &format!("{} answers", subject.1), &mut rulings);
            }
        }
        self.count(subject, finding, ended, &mut rulings);
        if answers && !self.waiting.is_empty() {
            self.waiting.remove(subject);
            rulings.extend(self.hear_witness(Some(subject), ended));
        }
        self.tell_wishes(subject, ended, &mut rulings);
        rulings
    }

    /// What the other directors say of a real server that is about to be taken out.
    pub fn handle_opinions(&mut self, subject: &Subject, opinions: &[Opinion], now: Duration) -> Vec<Ruling> {
        let mut rulings = Vec::new();
        let Some(member) = self.member_mut(subject) else { return rulings };
        member.is_consulting = false;
        if member.tracker.due() != Some(Health::Down) {
            return rulings;
        }
        if opinions.contains(&Opinion::Up) {
            if !std::mem::replace(&mut member.is_disputed, true) {
                rulings.push(Ruling::Disputed(subject.clone(), member.words.to_string()));
            }
        } else {
            self.take_out(subject, now, &mut rulings);
            self.tell_wishes(subject, now, &mut rulings);
        }
        rulings
    }

    /// Its packets look as if it did not answer. Says whether it is to be asked at once; for a while it is asked at the fast
    /// interval. Verdicts are not touched.
    pub fn suspect(&mut self, subject: &Subject, now: Duration) -> bool {
        let Some(member) = self.member_mut(subject) else { return false };
        let is_news = member.suspected_until <= now;
        member.suspected_until = now + SUSPICION;
        is_news
    }

    /// Whether it is to be asked at the fast interval.
    pub fn is_urgent(&self, subject: &Subject, now: Duration) -> bool {
        let ward = self.wards.get(&subject.0);
        ward.and_then(|ward| Some((ward, ward.members.get(&subject.1)?))).is_some_and(|(ward, member)| {
            member.tracker.is_wavering() || member.suspected_until > now || ward.held.is_some()
        })
    }

    /// How long the other directors may take to say something of it.
    pub fn patience(&self, subject: &Subject) -> Duration {
        let member = self.wards.get(&subject.0).and_then(|ward| ward.members.get(&subject.1));
        member.map_or(Duration::ZERO, |member| member.terms.patience)
    }

    /// How a real server stands.
    pub fn standing(&self, subject: &Subject, now: Duration) -> Option<Standing> {
        Some(self.wards.get(&subject.0)?.members.get(&subject.1)?.standing(now))
    }

    /// What we say of a real server to another director that asks. Not the verdict: two that ask each other would keep it up
    /// for ever by theirs. Up is what answered the last time.
    pub fn opinion(&self, subject: &Subject) -> Opinion {
        let ward = self.wards.get(&subject.0).filter(|ward| ward.held.is_none());
        let Some(member) = ward.and_then(|ward| ward.members.get(&subject.1)) else { return Opinion::Unknown };
        match (member.tracker.state(), member.tracker.due()) {
            (Health::Down, _) | (_, Some(Health::Down)) => Opinion::Down,
            (Health::Up, _) if member.last.is_some() && !member.tracker.is_wavering() => Opinion::Up,
            _ => Opinion::Unknown,
        }
    }

    /// The pools that are held, and why.
    pub fn held(&self) -> impl Iterator<Item = (&str, &Cause)> {
        self.wards.iter().filter_map(|(pool, ward)| Some((pool.as_str(), ward.held.as_ref()?)))
    }
}

impl Judge {
    fn member_mut(&mut self, subject: &Subject) -> Option<&mut Member> {
        self.wards.get_mut(&subject.0)?.members.get_mut(&subject.1)
    }

    /// Counts a result, unless the pool is held and it says nothing new.
    fn count(&mut self, subject: &Subject, finding: Finding, now: Duration, rulings: &mut Vec<Ruling>) {
        let Some(ward) = self.wards.get_mut(&subject.0) else { return };
        let is_deaf = ward.held.is_some() && ward.is_without_link(&self.network);
        let Some(member) = ward.members.get_mut(&subject.1) else { return };
        match finding {
            Finding::NotAsked => {}
            Finding::Silent if ward.held.is_some() => {}
            Finding::Refused if is_deaf => {}
            Finding::Silent => {
                if member.tracker.note(false) == Some(Health::Down) {
                    self.weigh(subject, now, rulings);
                }
            }
            Finding::Refused => {
                if member.tracker.note(false) == Some(Health::Down) {
                    let why = format!("{} is reached", subject.1);
                    self.end_hold(&subject.0, Sign::Refusal, &why, rulings);
                    self.believe(subject, now, rulings);
                }
            }
            Finding::Answered(answer) => {
                if let Some(reason) = member.handle_success(answer, now) {
                    rulings.push(Ruling::Verdict(subject.clone(), Health::Up, reason));
                }
            }
        }
    }

    /// It was silent often enough. Is it gone, or are we?
    fn weigh(&mut self, subject: &Subject, now: Duration, rulings: &mut Vec<Ruling>) {
        if self.network.interface(subject.1).is_none() || self.is_way_whole(subject) {
            return self.believe(subject, now, rulings);
        }
        let witnesses = self.witnesses(subject);
        if witnesses.is_empty() && self.network.hopeful_gateways().next().is_none() {
            let cause = match self.network.dead_link(subject.1) {
                Some(link) => Cause::Link(link.into()),
                None if self.network.is_cut_off() => Cause::Gateways(self.network.gateway_names()),
                None => Cause::Silence(self.network.interface_name(subject.1).into()),
            };
            return self.hold(&subject.0, cause, rulings);
        }
        self.waiting.insert(subject.clone());
        if witnesses.is_empty() {
            rulings.extend(self.network.hopeful_gateways().map(Ruling::Ping));
        }
        rulings.extend(witnesses.into_iter().map(Ruling::Wake));
    }

    /// Whether somebody has answered after it was asked last: who is behind the same interface, is of the same pool, or a
    /// gateway.
    fn is_way_whole(&self, subject: &Subject) -> bool {
        let Some(ward) = self.wards.get(&subject.0) else { return false };
        let Some(last) = ward.members.get(&subject.1).and_then(|member| member.last) else { return false };
        self.network.last_sign(subject.1).max(ward.answered).is_some_and(|sign| sign > last.started)
    }

    /// Some who could say whether the way is whole, because they did answer last time, or have not been asked yet.
    fn witnesses(&self, subject: &Subject) -> Vec<Subject> {
        let interface = self.network.interface(subject.1);
        let of_ward = |pool: &str, ward: &Ward| -> Vec<Subject> {
            let same_pool = pool == subject.0;
            let speaks = |address: &IpAddr, member: &Member| {
                *address != subject.1
                    && !member.is_silent()
                    && (same_pool || self.network.interface(*address) == interface)
            };
            let found = ward.members.iter().filter(|(address, member)| speaks(address, member));
            found.map(|(address, _)| (pool.to_owned(), *address)).take(WITNESSES).collect()
        };
        // Those of its own pool are the likeliest to be asked soon anyway.
        let own = self.wards.get(&subject.0).map(|ward| of_ward(&subject.0, ward)).unwrap_or_default();
        if !own.is_empty() {
            return own;
        }
        let others = self.wards.iter().filter(|(pool, _)| **pool != subject.0);
        others.flat_map(|(pool, ward)| of_ward(pool, ward)).take(WITNESSES).collect()
    }

    /// Somebody has answered: those who waited for that are down, if the way to them is the same.
    fn hear_witness(&mut self, witness: Option<&Subject>, now: Duration) -> Vec<Ruling> {
        let mut rulings = Vec::new();
        let of_use = |waiting: &&Subject| {
            let one = |witness: &Subject| {
                witness.0 == waiting.0 || self.network.interface(witness.1) == self.network.interface(waiting.1)
            };
            witness.is_none_or(one) && self.is_way_whole(waiting)
        };
        let heard: Vec<Subject> = self.waiting.iter().filter(of_use).cloned().collect();
        for subject in heard {
            self.waiting.remove(&subject);
            self.believe(&subject, now, &mut rulings);
            self.tell_wishes(&subject, now, &mut rulings);
        }
        rulings
    }

    /// Our own verdict is that it is down.
    fn believe(&mut self, subject: &Subject, now: Duration, rulings: &mut Vec<Ruling>) {
        let Some(member) = self.member_mut(subject) else { return };
        if !member.terms.confirm {
            return self.take_out(subject, now, rulings);
        }
        if !std::mem::replace(&mut member.is_consulting, true) {
            rulings.push(Ruling::Consult(subject.clone()));
        }
    }

    fn take_out(&mut self, subject: &Subject, now: Duration, rulings: &mut Vec<Ruling>) {
        self.waiting.remove(subject);
        if let Some(reason) = self.member_mut(subject).and_then(|member| member.handle_down(now)) {
            rulings.push(Ruling::Verdict(subject.clone(), Health::Down, reason));
        }
    }

    fn tell_wishes(&mut self, subject: &Subject, now: Duration, rulings: &mut Vec<Ruling>) {
        if let Some(asked) = self.member_mut(subject).and_then(|member| member.news(now)) {
            rulings.push(Ruling::Asked(subject.clone(), asked));
        }
    }

    fn hold(&mut self, pool: &str, cause: Cause, rulings: &mut Vec<Ruling>) {
        let Some(ward) = self.wards.get_mut(pool).filter(|ward| ward.held.is_none()) else { return };
        ward.held = Some(cause.clone());
        ward.forget_counts();
        self.waiting.retain(|(other, _)| other != pool);
        rulings.push(Ruling::Hold(pool.into(), cause));
    }

    fn end_hold(&mut self, pool: &str, sign: Sign, why: &str, rulings: &mut Vec<Ruling>) {
        let Some(ward) = self.wards.get_mut(pool) else { return };
        let has_link = !ward.is_without_link(&self.network);
        if !ward.held.as_ref().is_some_and(|cause| cause.ends_with(sign, has_link)) {
            return;
        }
        ward.held = None;
        // A refusal has been counted already, and what it makes due is to be settled.
        if sign != Sign::Refusal {
            ward.forget_counts();
        }
        rulings.push(Ruling::Release(pool.into(), why.into()));
    }

    /// Holds every pool when the last gateway is lost; once, since a real server that comes back may end that.
    fn note_cut_off(&mut self) -> Vec<Ruling> {
        let is_cut_off = self.network.is_cut_off();
        let was_cut_off = std::mem::replace(&mut self.cut_off, is_cut_off);
        let mut rulings = Vec::new();
        if is_cut_off && !was_cut_off {
            let outside = |ward: &Ward| ward.members.keys().any(|address| self.network.interface(*address).is_some());
            let pools = self.wards.iter().filter(|(_, ward)| outside(ward));
            let pools: Vec<String> = pools.map(|(pool, _)| pool.clone()).collect();
            for pool in pools {
                self.hold(&pool, Cause::Gateways(self.network.gateway_names()), &mut rulings);
            }
        }
        rulings
    }

    /// Holds the pools that have lost every link.
    fn hold_cut_off(&mut self) -> Vec<Ruling> {
        let mut rulings = Vec::new();
        let cut = self.wards.iter().filter(|(_, ward)| ward.held.is_none() && ward.is_without_link(&self.network));
        let link =
            |ward: &Ward| ward.members.keys().find_map(|address| self.network.dead_link(*address)).map(String::from);
        let cut: Vec<(String, String)> = cut.filter_map(|(pool, ward)| Some((pool.clone(), link(ward)?))).collect();
        for (pool, link) in cut {
            self.hold(&pool, Cause::Link(link), &mut rulings);
        }
        rulings
    }
}

impl Ward {
    /// Results count anew.
    fn forget_counts(&mut self) {
        for member in self.members.values_mut() {
            member.tracker.forget();
            member.is_disputed = false;
        }
    }

    /// Whether every real server is behind an interface without a link.
    fn is_without_link(&self, network: &Network) -> bool {
        self.members.keys().all(|address| network.dead_link(*address).is_some())
    }
}

#[cfg(test)]
mod tests;
