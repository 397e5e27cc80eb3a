//! The rings: for each pool that a service uses one, and one for each zone that clients of a service prefer.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use lb_common::abi::{Bucket, RingRange};
use lb_common::hash::mix;
use lb_common::ring::{self, Member, NOBODY, Part, Turn};

use super::bearing::{Flows, last_rank};
use super::crew::Known;
use super::desired::{DesiredError, Wish};
use super::history::{FormerRings, bucket_at};
use super::octets;
use super::places::FreeBuckets;
use crate::config::{OnEmpty, Pool, Real, Service};
use crate::dataplane::Maps;

/// Names a ring: the pool's index, and the zone that its clients prefer.
pub type RingKey<'a> = (usize, Option<&'a str>);

/// The bases of the rings, which change only with the config and with weights above it.
#[derive(Debug, Default)]
pub struct RingCache(HashMap<(String, Option<String>), Base>);

/// What a base is made of, and by bucket the index of the owner in the crew.
#[derive(Debug, Default)]
struct Base {
    members: Vec<Member>,
    owners: Arc<[u16]>,
}

impl RingCache {
    fn base(&mut self, pool: &Pool, zone: Option<&str>, members: &[Member]) -> Arc<[u16]> {
        let size = pool.ring_size as usize;
        let key = (pool.name.clone(), zone.map(String::from));
        let cached = self.0.entry(key).or_default();
        if cached.members != members || cached.owners.len() != size {
            let mut owners = vec![0; size];
            ring::base(members, &mut vec![Turn::default(); members.len()], &mut owners);
            *cached = Base { members: members.to_vec(), owners: owners.into() };
        }
        cached.owners.clone()
    }
}

/// A pool's real servers as one ring has them, in the order of the crew.
struct Circle {
    /// With the weights that the base is made with: 0 for those that are not of the first rank.
    base: Vec<Member>,
    /// With the weights that count where a base owner does not serve.
    members: Vec<Member>,
    /// What each takes of new flows.
    parts: Vec<Part>,
    /// What the base depends on, in a number.
    signature: u64,
}

impl Circle {
    fn new(seed: u64, pool: &Pool, zone: Option<&str>, crew: &[Known<'_>]) -> Self {
        let ranks: Vec<u16> = crew.iter().map(|known| rank(known.real, zone)).collect();
        let first = ranks.iter().min().copied().unwrap_or(0);
        let flows = crew.iter().map(|known| known.bearing.flows);
        let last = last_rank(ranks.iter().copied().zip(flows), pool.min_healthy);
        let member = |known: &Known<'_>, weight| Member::new(seed, octets(known.real.address), weight);
        let of_base = |(known, rank): (&Known<'_>, &u16)| {
            member(known, if *rank == first { known.bearing.base_weight } else { 0 })
        };
        let part = |(known, rank): (&Known<'_>, &u16)| match known.bearing.flows {
            Flows::All if *rank <= last => known.bearing.part,
            _ => Part::NONE,
        };
        let base: Vec<Member> = crew.iter().zip(&ranks).map(of_base).collect();
        Self {
            members: crew.iter().map(|known| member(known, known.bearing.base_weight)).collect(),
            parts: crew.iter().zip(&ranks).map(part).collect(),
            signature: signature(pool, zone, &base),
            base,
        }
    }
}

/// Tier before zone: before those of another tier help those of other zones do. Who is in no zone is in all of them.
fn rank(real: &Real, zone: Option<&str>) -> u16 {
    let is_far = zone.zip(real.zone.as_deref()).is_some_and(|(zone, of_real)| zone != of_real);
    u16::from(real.tier) * 2 + u16::from(is_far)
}

/// Another number means another base.
fn signature(pool: &Pool, zone: Option<&str>, base: &[Member]) -> u64 {
    let letter = |hash: u64, byte: u8| mix(hash ^ u64::from(byte));
    let zone = zone.map_or(0, |zone| zone.bytes().fold(1, letter));
    let one = |signature, member: &Member| mix(mix(signature ^ member.key()).wrapping_add(member.weight().into()));
    // Who owns no base bucket makes no difference.
    base.iter().filter(|member| member.weight() > 0).fold(zone ^ u64::from(pool.ring_size), one)
}

/// A ring, where it lies, and what its services had before.
pub struct Ring<'a, M> {
    /// The pool's index.
    pub pool: usize,
    /// What its base depends on.
    pub signature: u64,
    /// Where it lies.
    pub range: RingRange,
    /// Rings that flows may still be where they say.
    pub former: FormerRings<'a, M>,
    base: Arc<[u16]>,
    /// By bucket, the index of the owner in the crew.
    owners: Vec<u16>,
    /// Whether it is there already, so that marks in it may stay.
    in_place: bool,
}

/// All of them, each once.
pub type Rings<'a, M> = BTreeMap<RingKey<'a>, Ring<'a, M>>;

/// Those that services use. One that is made of something else than before gets another place, so that packets can look at the
/// one before; so does one in which real servers that go on serving lose buckets of their base, whose flows nobody has
/// remembered. Without room for that, such flows as are silent just then may move.
///
/// # Errors
/// There is no room for a ring.
pub fn rings<'a, M: Maps>(
    wish: &Wish<'a, M>,
    crews: &[Vec<Known<'_>>],
    cache: &mut RingCache,
) -> Result<Rings<'a, M>, DesiredError> {
    let Wish { config, directory, .. } = wish;
    let mut free = FreeBuckets::new(directory.rings(), config.limits.ring_buckets);
    let mut rings = Rings::new();
    for key in config.services.iter().flat_map(ring_keys) {
        if let Entry::Vacant(entry) = rings.entry(key) {
            entry.insert(ring(wish, key, &crews[key.0], cache, &mut free)?);
        }
    }
    Ok(rings)
}

fn ring<'a, M: Maps>(
    wish: &Wish<'a, M>,
    (index, zone): RingKey<'a>,
    crew: &[Known<'_>],
    cache: &mut RingCache,
    free: &mut FreeBuckets,
) -> Result<Ring<'a, M>, DesiredError> {
    let pool = &wish.config.pools[index];
    let Circle { base, members, parts, signature } = Circle::new(wish.view.hash_seed, pool, zone, crew);
    let base = cache.base(pool, zone, &base);
    let mut owners = vec![NOBODY; base.len()];
    ring::owners(&members, &base, &parts, &mut owners);
    let known = wish.directory.ring(&pool.name, zone.unwrap_or_default(), signature);
    let stays = known.filter(|range| !takes_from_the_living(wish.maps, *range, crew, &base, &owners));
    let range = stays.or_else(|| free.take(pool.ring_size)).or(known);
    let range = range.ok_or_else(|| DesiredError::Buckets(pool.name.clone(), pool.ring_size))?;
    let (in_place, former) = (known == Some(range), FormerRings::new(wish.maps));
    Ok(Ring { pool: index, signature, range, former, base, owners, in_place })
}

/// The ring of a service, then those for clients who prefer a zone.
fn ring_keys(service: &Service) -> impl Iterator<Item = RingKey<'_>> {
    let zones = service.locality.values().map(|zone| Some(zone.as_str()));
    std::iter::once(None).chain(zones).map(|zone| (service.pool, zone))
}

/// Whether some bucket is to leave its base owner although flows may go on there. As long as a bucket was its base owner's
/// nobody looked at pins, so who has flows there is not known.
fn takes_from_the_living(maps: &impl Maps, range: RingRange, crew: &[Known<'_>], base: &[u16], owners: &[u16]) -> bool {
    let leaves = |(index, (owner, base)): (u32, (&u16, &u16))| {
        let lives = || crew.get(usize::from(*base)).filter(|known| known.slot.owner().is_some());
        owner != base && lives().is_some_and(|known| bucket_at(maps, range.base + index).real() == Some(known.id))
    };
    (0..).zip(owners.iter().zip(base)).any(leaves)
}

/// Each bucket's owner, and whether packets have to look at the pins.
pub fn buckets<M: Maps>(wish: &Wish<'_, M>, crew: &[Known<'_>], ring: &Ring<'_, M>) -> Vec<Bucket> {
    let nobody = match wish.config.pools[ring.pool].on_empty {
        OnEmpty::Pass => Bucket::PASSED,
        OnEmpty::Drop | OnEmpty::Keep => Bucket::EMPTY,
    };
    let RingRange { base: first, size } = ring.range;
    let keeps_marks = ring.in_place && wish.holds.ring(ring.range);
    // Side by side, so that those of a thousand real servers lie in the cache while 65,537 buckets look for theirs.
    let of: Vec<Bucket> = crew.iter().map(|known| known.bucket).collect();
    let bucket = |(index, (owner, base)): (u32, (&u16, &u16))| {
        let bucket = of.get(usize::from(*owner)).copied().unwrap_or(nobody);
        let tracked = owner != base
            || keeps_marks && bucket_at(wish.maps, first + index).is_tracked()
            || ring.former.disagree(index, size, bucket);
        if tracked { bucket.tracked() } else { bucket }
    };
    (0..).zip(ring.owners.iter().zip(&*ring.base)).map(bucket).collect()
}
