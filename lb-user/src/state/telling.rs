//! What other directors have to know of this one's pins, so that a flow stays where it is when its vip moves to them.
//!
//! A flow that is where its bucket says needs no word: the others have the same rings. Told are those that are elsewhere, and
//! those whose bucket is being tracked and so may be elsewhere as soon as a real server comes back. Ids differ between
//! directors; what travels is what they stand for.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Acquire;

use lb_common::abi::limits::{MAX_REALS, MAX_SERVICES};
use lb_common::abi::{Bucket, Name, Pin, RealId, RingRange, ServiceId, Settings, Tick, WAYS};
use lb_common::hash::mix;

use super::sweep::rings;
use super::{Directory, Ledger, Moment, RingChanges, address, read_value};
use crate::dataplane::{Maps, WordMap};

/// Pins looked at in one go: 8 MiB, some milliseconds.
const LOOK: usize = 1 << 20;
/// Changes told in one go; what is left is told in the next one.
const MOST_CHANGES: usize = 1 << 16;
/// Bytes of a batch as it travels; a message has room for 65,519.
const BATCH_BYTES: usize = 48 * 1024;

/// Pins, and what the numbers in them stand for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Meant by [`ToldPin::service`].
    pub services: Vec<ToldService>,
    /// Meant by [`ToldPin::real`].
    pub reals: Vec<ToldReal>,
    /// In any order, none twice.
    pub pins: Vec<ToldPin>,
}

/// A service as all directors know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToldService {
    /// Its vip.
    pub vip: IpAddr,
    /// Its ports, the first and the last.
    pub ports: (u16, u16),
    /// Its protocol's IANA number.
    pub protocol: u8,
    /// The zone whose clients it is for; empty: all others.
    pub zone: Name,
    /// Stands for who owns which bucket of its ring here, now.
    pub owners: u64,
}

/// A real server as all directors know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldReal {
    /// Its pool's name.
    pub pool: String,
    /// Its address.
    pub address: IpAddr,
}

/// A flow, and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToldPin {
    /// Which set it is in; the same on all directors with the same seed and as many pins.
    pub set: u32,
    /// [`Pin::fingerprint`].
    pub print: u32,
    /// Index in [`Batch::services`].
    pub service: u16,
    /// Index in [`Batch::reals`].
    pub real: u16,
    /// Ticks of 17.2 seconds since the flow was last seen, below 2048.
    pub age: u16,
    /// Whether the flow has sent more than one packet.
    pub confirmed: bool,
    /// Whether it is, or may be, elsewhere than its bucket says on the director that tells.
    pub off_ring: bool,
}

/// What is needed to judge a pin: for each service its ring's last change, and what it tracks.
#[derive(Debug)]
pub struct Standing {
    idle: u32,
    now: Tick,
    /// By the service's id: ticks since its ring changed, and whether all its flows are pinned.
    services: Vec<Option<(u32, bool)>>,
}

impl Standing {
    /// As the maps are.
    pub fn new(maps: &impl Maps, directory: &Directory, changes: &mut RingChanges, now: Moment) -> Self {
        let settings: Settings = read_value(maps.words(WordMap::Settings), 0);
        let all = |id: usize| ServiceId::new(u16::try_from(id).ok()?).map(|id| directory.tracks_all(id));
        let rings = rings(maps, changes, now).into_iter().enumerate();
        let services = rings.map(|(id, ring)| Some((ring?.1, all(id)?))).collect();
        // A few hundred.
        Self { idle: settings.idle_ticks as u32, now: now.tick, services }
    }

    /// The pin as it is to be told, foreign if its flow may be off the ring; `None` if nobody needs to know it.
    fn worth_telling(&self, pin: Pin) -> Option<Pin> {
        let service = pin.service().filter(|_| pin.is_live(self.now, self.idle))?;
        let (change_age, all_pinned) = (*self.services.get(service.index() as usize)?)?;
        if pin.is_foreign() || pin.tick().age(self.now) >= change_age {
            return Some(pin.foreign());
        }
        // What is pinned for its service's sake is on the ring.
        (pin.is_confirmed() && !all_pinned).then_some(pin)
    }
}

/// Pins that others do not know as they are now, by their places, and noted as told. Looks at so many at most, and goes on
/// there the next time.
pub fn changes(words: &[AtomicU64], ledger: &mut Ledger, standing: &Standing) -> Vec<(usize, Pin)> {
    let mut changed = Vec::new();
    for _ in 0..words.len().min(LOOK) {
        let place = ledger.next;
        ledger.next += 1;
        if let Some(pin) = worth(words, place, standing) {
            ledger.found += 1;
            if !ledger.knows(place, pin) {
                ledger.note_told(words.len(), place, pin);
                changed.push((place, pin));
            }
        }
        if ledger.next >= words.len() {
            ledger.next = 0;
            if std::mem::take(&mut ledger.found) == 0 {
                ledger.clear();
            }
        }
        if changed.len() == MOST_CHANGES {
            break;
        }
    }
    changed
}

/// Everything worth telling from a place on, known or not, at most `most` of it; and where to go on, if there is more.
pub fn from_the_start(
    words: &[AtomicU64],
    standing: &Standing,
    from: usize,
    most: usize,
) -> (Vec<(usize, Pin)>, Option<usize>) {
    let mut found = Vec::new();
    let end = words.len().min(from.saturating_add(LOOK));
    for place in from..end {
        if found.len() == most {
            return (found, Some(place));
        }
        found.extend(worth(words, place, standing).map(|pin| (place, pin)));
    }
    (found, Some(end).filter(|end| *end < words.len()))
}

fn worth(words: &[AtomicU64], place: usize, standing: &Standing) -> Option<Pin> {
    let word = words.get(place)?.load(Acquire);
    if word == 0 { None } else { standing.worth_telling(Pin::from_word(word)) }
}

/// Puts pins into as few batches as hold them. What the directory no longer has is left out: its flows are gone.
pub fn batches(
    pins: &[(usize, Pin)],
    directory: &Directory,
    standing: &Standing,
    mut owners: impl FnMut(RingRange) -> u64,
) -> Vec<Batch> {
    let mut batches = Vec::new();
    let mut open = Open::default();
    for (place, pin) in pins {
        let Some(pair) = pin.service().zip(pin.real()) else { continue };
        let Some((service, real)) = open.numbers(pair, directory, &mut owners) else { continue };
        open.batch.pins.push(ToldPin {
            // Both fit: there are at most 2^28 pins, and an age is 11 bits.
            set: (place / WAYS) as u32,
            print: pin.fingerprint(),
            service,
            real,
            age: pin.tick().age(standing.now) as u16,
            confirmed: pin.is_confirmed(),
            off_ring: pin.is_foreign(),
        });
        open.bytes += PIN_BYTES;
        if open.bytes > BATCH_BYTES {
            batches.push(std::mem::take(&mut open).batch);
        }
    }
    if !open.batch.pins.is_empty() {
        batches.push(open.batch);
    }
    batches
}

/// A pin as it travels, in bytes.
const PIN_BYTES: usize = 14;
/// At most.
const SERVICE_BYTES: usize = 31;
/// At most, beside the pool's name.
const REAL_BYTES: usize = 18;

/// A batch that has room yet.
#[derive(Default)]
struct Open {
    batch: Batch,
    services: HashMap<ServiceId, u16>,
    reals: HashMap<RealId, u16>,
    bytes: usize,
}

// So their numbers in a batch fit.
const _: () = assert!(MAX_SERVICES <= MAX_REALS && MAX_REALS <= u16::MAX as u32);

impl Open {
    /// The numbers that stand for these two in this batch.
    fn numbers(
        &mut self,
        (service, real): (ServiceId, RealId),
        directory: &Directory,
        owners: &mut impl FnMut(RingRange) -> u64,
    ) -> Option<(u16, u16)> {
        let (info, of) = (directory.services.get(&service)?, directory.reals.get(&real)?);
        let (vip, at) = (address(info.vip, info.family)?, address(of.address, of.family)?);
        let service = *self.services.entry(service).or_insert_with(|| {
            let owners = owners(RingRange::from_word(info.ring));
            let (ports, protocol, zone) = ((info.port, info.last_port), info.protocol, info.zone);
            let told = ToldService { vip, ports, protocol, zone, owners };
            self.batch.services.push(told);
            self.bytes += SERVICE_BYTES + zone.as_str().len();
            (self.batch.services.len() - 1) as u16
        });
        let real = *self.reals.entry(real).or_insert_with(|| {
            let pool = of.pool.as_str().to_owned();
            self.bytes += REAL_BYTES + pool.len();
            self.batch.reals.push(ToldReal { pool, address: at });
            (self.batch.reals.len() - 1) as u16
        });
        Some((service, real))
    }
}

/// Stands for who owns which bucket of a ring: the same number on two directors means the same owners, whatever their ids.
pub fn ring_owners(maps: &impl Maps, directory: &Directory, ring: RingRange) -> u64 {
    let stands_for = |bucket: Bucket| {
        let info = bucket.real().and_then(|real| directory.reals.get(&real));
        let number = info.map(|info| u128::from_le_bytes(info.address));
        number.map_or(0, |number| mix(number as u64 ^ mix((number >> 64) as u64)))
    };
    let first = ring.base as usize;
    let words = maps.words(WordMap::Buckets).get(first..first + ring.size as usize).unwrap_or_default();
    // Neighbours in a ring differ, but there are few real servers: each is looked up once.
    let mut known: HashMap<Option<RealId>, u64> = HashMap::new();
    words.iter().fold(u64::from(ring.size), |sum, word| {
        let bucket = Bucket::from_word(word.load(Acquire));
        mix(sum ^ *known.entry(bucket.real()).or_insert_with(|| stands_for(bucket)))
    })
}

/// Stands for what all rings are made of: the same number on two directors means the same services, real servers, weights
/// and sizes.
pub fn ring_makings(directory: &Directory) -> u64 {
    let mut all: Vec<_> = directory
        .services
        .values()
        .map(|info| (info.vip, info.family, info.protocol, info.port, info.last_port, info.signature))
        .collect();
    all.sort_unstable();
    all.into_iter().fold(0, |sum, (vip, family, protocol, first, last, signature)| {
        let vip = u128::from_le_bytes(vip);
        let ports = u64::from(first) << 32 | u64::from(last) << 16 | u64::from(family) << 8 | u64::from(protocol);
        [vip as u64, (vip >> 64) as u64, ports, signature].into_iter().fold(sum, |sum, word| mix(sum ^ word))
    })
}

#[cfg(test)]
mod tests;
