//! Taking in what another director tells of its pins.

use std::collections::HashSet;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire};

use lb_common::abi::{Name, Pin, PinName, PinSet, RealId, RingRange, ServiceId, ServiceInfo, Settings, Tick, WAYS};

use super::{Batch, Directory, Ledger, Moment, ToldPin, ToldReal, ToldService, family, octets, read_value};
use crate::dataplane::{Maps, WordMap};

/// What became of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Flows that were not known here.
    pub new: usize,
    /// Known ones that have been seen since, or are elsewhere now.
    pub renewed: usize,
    /// Known here as well or better.
    pub known: usize,
    /// Of a service or a real server that this director does not have.
    pub strange: usize,
    /// Silent for too long.
    pub expired: usize,
    /// Without a place: all pins of their set are of live connections.
    pub crowded: usize,
    /// Rings, by their first bucket, whose packets have to look at the pins now.
    pub rings: HashSet<u32>,
}

/// What of the maps decides about a pin.
struct Here<'a> {
    words: &'a [AtomicU64],
    now: Tick,
    idle: u32,
}

/// A told pin in our own ids.
struct Translated {
    set: usize,
    pin: Pin,
    name: PinName,
}

enum Outcome {
    New,
    Renewed,
    Known,
    Crowded,
}

/// Writes what is worth it to the pins. A live pin that packets made here stays, unless the other director has seen the flow
/// later. `owners` is as [`ToldService::owners`], of a ring here.
pub fn listen(
    maps: &impl Maps,
    directory: &Directory,
    ledger: &mut Ledger,
    batch: &Batch,
    now: Moment,
    mut owners: impl FnMut(RingRange) -> u64,
) -> Heard {
    let settings: Settings = read_value(maps.words(WordMap::Settings), 0);
    // A few hundred.
    let idle = settings.idle_ticks as u32;
    let here = Here { words: maps.words(WordMap::Pins), now: now.tick, idle };
    let services: Vec<_> = batch.services.iter().map(|told| service(directory, told)).collect();
    let same: Vec<bool> = services
        .iter()
        .zip(&batch.services)
        .map(|(service, told)| service.is_some_and(|(_, ring)| owners(ring) == told.owners))
        .collect();
    let reals: Vec<_> = batch.reals.iter().map(|told| real(directory, told)).collect();
    let mut heard = Heard::default();
    for told in &batch.pins {
        let number = usize::from(told.service);
        let service = services.get(number).copied().flatten();
        let real = reals.get(usize::from(told.real)).copied().flatten();
        let Some(((service, ring), real)) = service.zip(real) else {
            heard.strange += 1;
            continue;
        };
        if u32::from(told.age) >= idle {
            heard.expired += 1;
            continue;
        }
        // Where the other's ring is another one, nobody knows which of its flows are off ours.
        let off_ring = told.off_ring || !same.get(number).copied().unwrap_or(false);
        match here.take(&translate(told, service, real, off_ring, now.tick), ledger) {
            Outcome::New => heard.new += 1,
            Outcome::Renewed => heard.renewed += 1,
            Outcome::Known => {
                heard.known += 1;
                continue;
            }
            Outcome::Crowded => {
                heard.crowded += 1;
                continue;
            }
        }
        if off_ring {
            heard.rings.insert(ring.base);
        }
    }
    heard
}

fn service(directory: &Directory, told: &ToldService) -> Option<(ServiceId, RingRange)> {
    let wanted = (octets(told.vip), family(told.vip), told.protocol, told.ports, told.zone);
    let mut all = directory.services.iter();
    let of = |info: &ServiceInfo| (info.vip, info.family, info.protocol, (info.port, info.last_port), info.zone);
    let found = all.find(|(_, info)| of(info) == wanted);
    found.map(|(id, info)| (*id, RingRange::from_word(info.ring)))
}

fn real(directory: &Directory, told: &ToldReal) -> Option<RealId> {
    directory.real(&Name::new(&told.pool), told.address)
}

fn translate(told: &ToldPin, service: ServiceId, real: RealId, off_ring: bool, now: Tick) -> Translated {
    let name = PinName::from_fingerprint(told.print, service);
    let pin = Pin::new(name, real, off_ring, now.before(told.age)).confirmed(told.confirmed);
    Translated { set: told.set as usize, pin, name }
}

impl Here<'_> {
    fn take(&self, told: &Translated, ledger: &mut Ledger) -> Outcome {
        let first = told.set.saturating_mul(WAYS);
        let Some(words) = self.words.get(first..first.saturating_add(WAYS)) else { return Outcome::Crowded };
        let set = PinSet::new(std::array::from_fn(|way| Pin::from_word(words[way].load(Acquire))));
        let known = set.find(told.name);
        let (way, pin, outcome) = if known < WAYS {
            let ours = set.pin(known);
            let heard = ledger.was_heard(first + known, ours);
            match self.better(ours, told.pin, heard) {
                Some(pin) => (known, self.confirm(&set, ours, pin), Outcome::Renewed),
                None => return Outcome::Known,
            }
        } else {
            let Some(way) = set.room(self.now, self.idle).way() else { return Outcome::Crowded };
            (way, self.confirm(&set, set.pin(way), told.pin), Outcome::New)
        };
        // If a packet has come in between, it has told us better.
        match words[way].compare_exchange(set.pin(way).to_word(), pin.to_word(), AcqRel, Acquire) {
            Ok(_) => {
                ledger.note_heard(self.words.len(), first + way, pin);
                outcome
            }
            Err(_) => Outcome::Known,
        }
    }

    /// What a flow's pin becomes; `None` if it stays. `heard`: ours is not of our own knowledge either.
    fn better(&self, ours: Pin, theirs: Pin, heard: bool) -> Option<Pin> {
        if !ours.is_live(self.now, self.idle) {
            return Some(theirs);
        }
        let (our_age, their_age) = (ours.tick().age(self.now), theirs.tick().age(self.now));
        let same_real = ours.real() == theirs.real();
        let says_more =
            !same_real || theirs.is_foreign() && !ours.is_foreign() || theirs.is_confirmed() && !ours.is_confirmed();
        let better = their_age < our_age || heard && their_age == our_age && says_more;
        better.then(|| theirs.confirmed(same_real && ours.is_confirmed()))
    }

    /// The pin that is to replace `former`, confirmed only if there is room for one more of those.
    fn confirm(&self, set: &PinSet, former: Pin, pin: Pin) -> Pin {
        let was = former.is_confirmed() && former.is_live(self.now, self.idle);
        if !pin.is_confirmed() || was || set.room(self.now, self.idle).may_confirm() {
            return pin;
        }
        pin.unconfirmed()
    }
}

#[cfg(test)]
mod tests;
