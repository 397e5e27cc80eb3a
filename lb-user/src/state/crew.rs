//! The real servers of a pool as the maps are to have them: which flows each may have, and what packets and tables know of it.

use std::net::IpAddr;

use lb_common::abi::{Bucket, Exit, Mac, Name, RealId, RealInfo, RealSlot, RealState};
use lb_common::ring::Member;

use super::bearing::{Bearing, Facts, Flows, Reach, Turn, bearing, last_rank};
use super::desired::{RealIds, Wish};
use super::{Duty, Health, Path, View, address, family, octets, read_value};
use crate::config::{OnEmpty, Pool, Real};
use crate::dataplane::{Maps, WordMap};

/// A real server of a pool, as the maps are to have it.
pub struct Known<'a> {
    /// As the file has it.
    pub real: &'a Real,
    /// Its id.
    pub id: RealId,
    /// How it bears itself.
    pub bearing: Bearing,
    /// The directory's entry.
    pub info: RealInfo,
    /// What packets know of it.
    pub slot: RealSlot,
    /// In buckets that it owns.
    pub bucket: Bucket,
}

/// Everything about one real server but its turn.
struct Candidate<'a> {
    real: &'a Real,
    id: RealId,
    bucket: Option<Bucket>,
    exit: Exit,
    facts: Facts,
    /// It serves because nobody else does, whatever its check says.
    kept: bool,
}

impl Candidate<'_> {
    fn bearing(&self, turn: Turn) -> Bearing {
        let facts = Facts { turn, ..self.facts };
        if !self.kept {
            return bearing(&facts);
        }
        Bearing { state: RealState::Down, ..bearing(&Facts { health: Health::Unchecked, ..facts }) }
    }
}

/// Those of the pool of this index, in the order that rings have them.
pub fn crew<'a>(wish: &Wish<'a, impl Maps>, index: usize, ids: &RealIds) -> Vec<Known<'a>> {
    let pool = &wish.config.pools[index];
    let candidate = |real: &'a Real| Some(candidate(wish, pool, real, *ids.get(&(index, real.address))?));
    let mut candidates: Vec<Candidate<'a>> = pool.reals.iter().filter_map(candidate).collect();
    candidates.sort_by_cached_key(|one| Member::new(wish.view.hash_seed, octets(one.real.address), 1).key());
    if pool.on_empty == OnEmpty::Keep {
        keep_the_last(wish, &mut candidates);
    }
    let ranked = candidates.iter().map(|one| (u16::from(one.real.tier), one.bearing(Turn::Serves).flows));
    let last = last_rank(ranked, pool.min_healthy);
    let turn = |real: &Real| if u16::from(real.tier) <= last { Turn::Serves } else { Turn::StandsBy };
    candidates.iter().map(|one| known(wish, pool, one, one.bearing(turn(one.real)))).collect()
}

fn candidate<'a>(wish: &Wish<'_, impl Maps>, pool: &Pool, real: &'a Real, id: RealId) -> Candidate<'a> {
    let (bucket, exit) = way(wish.view, id, real.address);
    let facts = Facts {
        weight: real.weight,
        health: believed(wish, pool, real.address, id),
        reach: if bucket.is_some() { Reach::Known } else { Reach::Unknown },
        order: wish.view.order_of(&pool.name, real.address),
        asked: wish.view.asked_of(&pool.name, real.address),
        turn: Turn::Serves,
    };
    Candidate { real, id, bucket, exit, facts, kept: false }
}

/// The last verdict that was believed, if the pool's verdicts are not believed for now: the maps have it.
fn believed(wish: &Wish<'_, impl Maps>, pool: &Pool, address: IpAddr, id: RealId) -> Health {
    let former = wish.directory.reals.get(&id).filter(|_| wish.view.held.contains(&pool.name));
    former.map_or_else(|| wish.view.health_of(&pool.name, address), |info| Health::from_number(info.health))
}

/// Where nobody takes new flows any more those do that took them last: whom the maps say, whatever their checks say now.
fn keep_the_last(wish: &Wish<'_, impl Maps>, candidates: &mut [Candidate<'_>]) {
    if candidates.iter().any(|one| one.bearing(Turn::Serves).flows == Flows::All) {
        return;
    }
    for one in candidates.iter_mut().filter(|one| one.facts.health == Health::Down) {
        let slot: RealSlot = read_value(wish.maps.words(WordMap::Reals), one.id.index());
        one.kept = slot.owner().is_some() && !slot.is_draining() && one.facts.order.duty == Duty::Serve;
    }
}

fn known<'a>(wish: &Wish<'_, impl Maps>, pool: &Pool, one: &Candidate<'a>, bearing: Bearing) -> Known<'a> {
    let Candidate { real, id, exit, .. } = *one;
    let owner = one.bucket.filter(|_| bearing.flows != Flows::None);
    let draining = if bearing.flows == Flows::Old { RealSlot::DRAINING } else { 0 };
    let slot = RealSlot { owner: owner.map_or(0, |owner| owner.to_word() | draining), exit: exit.0 };
    let info = RealInfo {
        used: 1,
        address: octets(real.address),
        weight: bearing.weight,
        family: family(real.address),
        state: bearing.state as u8,
        health: one.facts.health.number(),
        reserved: 0,
        mac: wish.view.macs.get(&real.address).copied().map_or(0, Mac::to_word),
        name: Name::new(&real.name),
        pool: Name::new(&pool.name),
    };
    Known { real, id, bearing, info, slot, bucket: owner.unwrap_or(Bucket::EMPTY) }
}

/// How frames get to a real server; no bucket if that is not known.
fn way(view: &View, id: RealId, address: IpAddr) -> (Option<Bucket>, Exit) {
    let (index, vlan) = match view.paths.get(&address) {
        Some(Path::Here) => return (Some(Bucket::local(id)), Exit::default()),
        Some(Path::By { interface, vlan }) => (Some(*interface), *vlan),
        None => (view.interfaces.first().map(|interface| interface.index), 0),
    };
    let place = view.interfaces.iter().position(|interface| Some(interface.index) == index);
    let exit = place.and_then(|place| {
        let mtu = view.interfaces[place].mtu;
        Some(Exit::new(u8::try_from(place).ok()?, vlan, mtu))
    });
    let bucket = view.macs.get(&address).map(|mac| Bucket::new(id, *mac));
    let bucket = if view.interfaces.len() > 1 || view.has_vlans { bucket.map(Bucket::with_exit) } else { bucket };
    (bucket.filter(|_| exit.is_some()), exit.unwrap_or_default())
}

/// A real server that is gone from the config, as the maps are to have it.
pub type Departed = (RealId, RealInfo, RealSlot);

/// Real servers that are gone from the config, but that flows are pinned to, or may be on by an old ring.
pub fn departed(wish: &Wish<'_, impl Maps>, ids: &RealIds, windows: bool) -> Vec<Departed> {
    let wanted: std::collections::HashSet<RealId> = ids.values().copied().collect();
    let gone = wish.directory.reals.iter().filter(|(id, _)| !wanted.contains(id));
    let kept = gone.filter(|(id, _)| windows || wish.holds.real(**id));
    let slot = |(id, info): (&RealId, &RealInfo)| {
        let slot: RealSlot = read_value(wish.maps.words(WordMap::Reals), id.index());
        // In another pool it may still be looked after.
        let known = address(info.address, info.family).filter(|address| wish.view.macs.contains_key(address));
        let (owner, exit) = match known.map(|address| way(wish.view, *id, address)) {
            Some((Some(owner), exit)) => (owner.to_word(), exit.0),
            _ => (slot.owner, slot.exit),
        };
        let owner = if slot.owner == 0 { 0 } else { owner | RealSlot::DRAINING };
        let info = RealInfo { state: RealState::Draining as u8, weight: 0, ..*info };
        (*id, info, RealSlot { owner, exit })
    };
    kept.map(slot).collect()
}
