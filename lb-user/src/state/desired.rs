//! What the maps should hold: a function of config and view, and of the ids and places already given out.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use lb_common::abi::{
    Bucket, Exit, Mac, Name, Protocol, RealId, RealInfo, RealSlot, RealState, RingRange, ServiceFlags, ServiceId,
    ServiceInfo, ServiceKey, ServiceSlot, Settings, Tick, VERSION, WAYS, limits,
};
use lb_common::hash::{FlowKey, mix};
use lb_common::ring::{self, Member, NOBODY, Turn};

use super::access::{ListsInUse, access_lists};
use super::history::{FormerRings, bucket_at, old_ring};
use super::places::{FreeBuckets, FreeIds, slot_seed};
use super::{Directory, Holds, Moment, Path, View, address, family, octets, read_value, words_of};
use crate::config::{Affinity, Config, Limits, Pool, Real, Service, Tracking};
use crate::dataplane::{AccessLists, Maps, WordMap};
use crate::vrrp::announce::virtual_mac;

/// Why a config that is right in itself cannot be had in these maps.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DesiredError {
    /// Too many services at once, those about to be removed counted too.
    #[error(
        "no id is free for service {0}: reload once with the old ones removed, then with the new ones added; or raise limits.services"
    )]
    Services(String),
    /// Too many real servers at once, those about to be removed counted too.
    #[error(
        "no id is free for real server {1} of pool {0}: reload once with the old ones removed, then with the new ones added; or raise limits.reals"
    )]
    Reals(String, String),
    /// No stretch of buckets is free, those of rings about to be replaced counted as taken.
    #[error(
        "no {1} buckets in a row are free for pool {0}, beside the rings that are in use until it is there: raise limits.ring_buckets"
    )]
    Buckets(String, u32),
    /// No seed gives every service a slot of its own. For up to 512 services this has a chance below one in 10^20.
    #[error("no perfect hash was found for the services: change director.hash_seed")]
    Seed,
}

/// What the maps should hold.
#[derive(Clone, Debug)]
pub struct Desired {
    /// As they should be; `active_half` is the half that `slots` goes to.
    pub settings: Settings,
    /// Each with its slot's index within the half.
    pub slots: Vec<(u32, ServiceSlot)>,
    /// The directory of services.
    pub services: Vec<(ServiceId, ServiceInfo)>,
    /// The directory of real servers, those among them that are gone from the config but have flows yet.
    pub reals: Vec<(RealId, RealInfo)>,
    /// What packets know of the same real servers.
    pub real_slots: Vec<(RealId, RealSlot)>,
    /// One for each pool that a service uses.
    pub rings: Vec<(RingRange, Vec<Bucket>)>,
    /// All of them.
    pub access: AccessLists,
}

/// What is to be had, as the world is, and was.
pub struct Wish<'a, M> {
    /// The file.
    pub config: &'a Config,
    /// What the daemon sees.
    pub view: &'a View,
    /// The maps as they are.
    pub maps: &'a M,
    /// What the ids in them stand for.
    pub directory: &'a Directory,
    /// The access lists as they are.
    pub access: &'a AccessLists,
    /// What flows still need.
    pub holds: &'a Holds,
    /// Now.
    pub now: Moment,
}

/// The bases of the rings, which change only with the config.
#[derive(Debug, Default)]
pub struct RingCache(HashMap<String, (Vec<Member>, Vec<u16>)>);

impl RingCache {
    fn base(&mut self, pool: &Pool, members: &[Member]) -> &[u16] {
        let size = pool.ring_size as usize;
        let cached = self.0.entry(pool.name.clone()).or_default();
        if cached.0 != members || cached.1.len() != size {
            let mut base = vec![0; size];
            ring::base(members, &mut vec![Turn::default(); members.len()], &mut base);
            *cached = (members.to_vec(), base);
        }
        &cached.1
    }
}

/// A pool's real servers as its ring has them: sorted, with what they are made of.
struct Circle<'a> {
    reals: Vec<&'a Real>,
    members: Vec<Member>,
    /// What the base depends on, in a number.
    signature: u64,
}

impl<'a> Circle<'a> {
    fn new(pool: &'a Pool, seed: u64) -> Self {
        let member = |real: &Real| Member::new(seed, octets(real.address), real.weight);
        let mut both: Vec<(Member, &Real)> = pool.reals.iter().map(|real| (member(real), real)).collect();
        both.sort_by_key(|(member, _)| member.key());
        let (members, reals): (Vec<_>, Vec<_>) = both.into_iter().unzip();
        let one = |signature, (member, real): (&Member, &&Real)| {
            mix(mix(signature ^ member.key()).wrapping_add(real.weight.into()))
        };
        let signature = members.iter().zip(&reals).fold(u64::from(pool.ring_size), one);
        Self { reals, members, signature }
    }
}

/// A ring's place, and what its services had before.
struct Place<'a, M> {
    range: RingRange,
    /// Whether the ring is there already, so that marks in it may stay.
    in_place: bool,
    former: FormerRings<'a, M>,
}

impl Desired {
    /// Keeps every id and place that the maps have, as far as the config or a flow still wants it.
    ///
    /// # Errors
    /// See [`DesiredError`].
    pub fn new(wish: &Wish<'_, impl Maps>, cache: &mut RingCache) -> Result<Self, DesiredError> {
        let Wish { config, view, .. } = wish;
        let circles: Vec<Circle<'_>> = config.pools.iter().map(|pool| Circle::new(pool, view.hash_seed)).collect();
        let ids = real_ids(wish)?;
        let mut places = places(wish, &circles)?;
        let services = services(wish, &circles, &mut places)?;
        let keys: Vec<Keyed> = config.services.iter().zip(&services).flat_map(keys_of).collect();
        let settings = settings(wish, &keys)?;
        let access = access_lists(wish, &services);
        let windows = services.iter().any(|(_, info)| info.old_ring != 0);
        let departed = departed(wish, &ids, windows);
        let slots = slots(wish, &keys, &settings, &access, &departed);
        let (mut reals, mut real_slots) = (Vec::new(), Vec::new());
        let mut rings = Vec::new();
        for (index, (pool, circle)) in config.pools.iter().zip(&circles).enumerate() {
            let known = known_reals(wish, index, circle, &ids);
            if let Some(place) = places.get(&index) {
                rings.push((place.range, buckets(wish, circle, &known, place, cache.base(pool, &circle.members))));
            }
            reals.extend(known.iter().map(|known| (known.id, known.info)));
            real_slots.extend(known.iter().map(|known| (known.id, known.slot)));
        }
        for (id, info, slot) in departed {
            reals.push((id, info));
            real_slots.push((id, slot));
        }
        Ok(Self { settings, slots, services, reals, real_slots, rings, access: access.lists })
    }
}

type RealIds = HashMap<(usize, IpAddr), RealId>;

/// By the pool's index and the address.
fn real_ids(wish: &Wish<'_, impl Maps>) -> Result<RealIds, DesiredError> {
    let Wish { config, directory, .. } = wish;
    let mut free = FreeIds::new(directory.reals.keys().copied(), config.limits.reals);
    let mut ids = RealIds::new();
    for (index, pool) in config.pools.iter().enumerate() {
        let name = Name::new(&pool.name);
        for real in &pool.reals {
            let known = directory.real(&name, real.address);
            let id = known.or_else(|| free.take(RealId::new));
            let id = id.ok_or_else(|| DesiredError::Reals(pool.name.clone(), real.name.clone()))?;
            ids.insert((index, real.address), id);
        }
    }
    Ok(ids)
}

type Places<'a, M> = HashMap<usize, Place<'a, M>>;

/// By the pool's index; only pools that a service uses have a ring. One that is made of something else than before gets
/// another place, so that packets can look at the one before.
fn places<'a, M: Maps>(wish: &Wish<'a, M>, circles: &[Circle<'_>]) -> Result<Places<'a, M>, DesiredError> {
    let Wish { config, directory, .. } = wish;
    let mut free = FreeBuckets::new(directory.rings(), config.limits.ring_buckets);
    let mut places = Places::new();
    for service in &config.services {
        let pool = &config.pools[service.pool];
        if places.contains_key(&service.pool) {
            continue;
        }
        let known = directory.ring(&pool.name, circles[service.pool].signature);
        let range = known.or_else(|| free.take(pool.ring_size));
        let range = range.ok_or_else(|| DesiredError::Buckets(pool.name.clone(), pool.ring_size))?;
        let former = FormerRings::new(wish.maps);
        places.insert(service.pool, Place { range, in_place: known.is_some(), former });
    }
    Ok(places)
}

/// Notes in `places` which rings their flows may still be where they say.
fn services<M: Maps>(
    wish: &Wish<'_, M>,
    circles: &[Circle<'_>],
    places: &mut Places<'_, M>,
) -> Result<Vec<(ServiceId, ServiceInfo)>, DesiredError> {
    let Wish { config, directory, now, .. } = wish;
    let mut free = FreeIds::new(directory.services.keys().copied(), config.limits.services);
    let mut services = Vec::new();
    let exact: Vec<Option<ServiceId>> = config.services.iter().map(|service| directory.service(service)).collect();
    let mut claimed: Vec<ServiceId> = exact.iter().flatten().copied().collect();
    for (service, exact) in config.services.iter().zip(exact) {
        // One whose ports have changed keeps its id, and so its flows.
        let moved = || directory.service_like(service).find(|id| !claimed.contains(id));
        let id = exact.or_else(moved).or_else(|| free.take(ServiceId::new));
        claimed.extend(id);
        let id = id.ok_or_else(|| DesiredError::Services(service.name.clone()))?;
        let former = directory.services.get(&id);
        // Every pool that a service uses has a place.
        let place = places.get_mut(&service.pool).ok_or_else(|| DesiredError::Services(service.name.clone()))?;
        let (old_ring, old_until) = old_ring(former, place.range, *now, service.idle_timeout.as_secs());
        let note = |rings: &mut Vec<RingRange>, word: u64| {
            let ring = RingRange::from_word(word);
            if ring.size != 0 && !rings.contains(&ring) {
                rings.push(ring);
            }
        };
        note(&mut place.former.open, old_ring);
        let former_ring = former.map(|former| former.ring);
        let seen = directory.seen_rings(id).map(RingRange::to_word);
        for ring in former_ring.into_iter().chain(seen).filter(|ring| *ring != place.range.to_word()) {
            note(&mut place.former.replaced, ring);
        }
        let info = ServiceInfo {
            used: 1,
            vip: octets(service.vip),
            port: service.ports.first,
            protocol: service.protocol as u8,
            family: family(service.vip),
            last_port: service.ports.last,
            reserved: 0,
            ring: place.range.to_word(),
            signature: circles[service.pool].signature,
            old_ring,
            old_until,
            name: Name::new(&service.name),
            pool: Name::new(&config.pools[service.pool].name),
        };
        services.push((id, info));
    }
    Ok(services)
}

/// One key of a service, which has one for each block of its ports.
struct Keyed<'a> {
    key: ServiceKey,
    /// The logarithm of the block's size.
    bits: u32,
    service: &'a Service,
    id: ServiceId,
    info: &'a ServiceInfo,
}

fn keys_of<'a>((service, (id, info)): (&'a Service, &'a (ServiceId, ServiceInfo))) -> impl Iterator<Item = Keyed<'a>> {
    let key = |(port, bits): (u16, u32)| {
        let key = service_key(service.vip, port, service.protocol);
        Keyed { key: if bits == 0 { key } else { key.block(bits) }, bits, service, id: *id, info }
    };
    service.ports.blocks().map(key)
}

fn service_key(vip: IpAddr, port: u16, protocol: Protocol) -> ServiceKey {
    let port = port.to_be_bytes();
    match vip {
        IpAddr::V4(vip) => ServiceKey::v4(vip.octets(), port, protocol),
        IpAddr::V6(vip) => ServiceKey::v6(vip.octets(), port, protocol),
    }
}

/// The half in use stays in use as long as its seed gives every service a slot of its own.
fn settings(wish: &Wish<'_, impl Maps>, keyed: &[Keyed<'_>]) -> Result<Settings, DesiredError> {
    let Wish { config, view, .. } = wish;
    let current: Settings = read_value(wish.maps.words(WordMap::Settings), 0);
    let keys: Vec<ServiceKey> = keyed.iter().map(|keyed| keyed.key).collect();
    let half = current.active_half & 1;
    let current_seed = current.slot_seeds[half as usize];
    let seed = slot_seed(&keys, current_seed, view.hash_seed).ok_or(DesiredError::Seed)?;
    let half = if seed == current_seed { half } else { half ^ 1 };
    let mut slot_seeds = current.slot_seeds;
    slot_seeds[half as usize] = seed;
    let (mut own_macs, mut interfaces) = ([0; limits::MAX_INTERFACES], [0; limits::MAX_INTERFACES]);
    for (place, interface) in view.interfaces.iter().take(limits::MAX_INTERFACES).enumerate() {
        own_macs[place] = interface.mac.to_word();
        interfaces[place] = interface.index.into();
    }
    // Behind them, the MACs of virtual routers. No frame is sent out by these places, so they have no interface.
    for (place, mac) in (view.interfaces.len()..limits::MAX_INTERFACES).zip(virtual_macs(config)) {
        own_macs[place] = mac.to_word();
    }
    let mut peer_macs = [0; limits::MAX_PEERS];
    let peers = config.director.peers.iter().filter_map(|peer| view.macs.get(peer));
    for (word, mac) in peer_macs.iter_mut().zip(peers) {
        *word = mac.to_word();
    }
    Ok(Settings {
        version: VERSION.into(),
        active_half: half,
        slot_seeds,
        hash_seed: view.hash_seed,
        flow_key: FlowKey::from_seed(view.hash_seed),
        port_blocks: keyed.iter().filter(|keyed| keyed.bits > 0).fold(0, |blocks, keyed| blocks | 1 << keyed.bits),
        pin_mask: pin_sets(&config.limits) - 1,
        idle_ticks: config.services.iter().map(|service| idle_ticks(service.idle_timeout)).max().unwrap_or(1),
        own_macs,
        interfaces,
        peer_macs,
    })
}

/// Each once.
fn virtual_macs(config: &Config) -> BTreeSet<Mac> {
    let routers = config.vrrp.iter().filter(|router| router.virtual_mac);
    routers.map(|router| virtual_mac(router.family, router.vrid)).collect()
}

/// A power of two, as the number of pins is.
fn pin_sets(limits: &Limits) -> u64 {
    u64::from(limits.pins) / WAYS as u64
}

/// Ticks that last for at least this long.
fn idle_ticks(idle: Duration) -> u64 {
    // A pin's tick is as old as the tick it was made in, so one more.
    (idle.as_nanos() as u64).div_ceil(1 << Tick::SHIFT) + 1
}

fn slots(
    wish: &Wish<'_, impl Maps>,
    keys: &[Keyed<'_>],
    settings: &Settings,
    access: &ListsInUse,
    departed: &[Departed],
) -> Vec<(u32, ServiceSlot)> {
    let seed = settings.slot_seeds[settings.active_half as usize & 1];
    let slot = |keyed: &Keyed<'_>| {
        let Keyed { key, service, id, info, .. } = keyed;
        let flags = flags(wish, service, access.second.contains(id), departed);
        let slot = ServiceSlot::new(*key, *id, flags, RingRange::from_word(info.ring));
        let slot = ServiceSlot { old_ring: info.old_ring, source_mask: source_mask(service), ..slot };
        (key.slot(seed), slot)
    };
    keys.iter().map(slot).collect()
}

fn flags(wish: &Wish<'_, impl Maps>, service: &Service, second_list: bool, departed: &[Departed]) -> ServiceFlags {
    let here = |real: &Real| wish.view.is_here(real.address);
    // A real server of any pool: its flows may have been this service's.
    let drains_here = departed.iter().any(|(_, _, slot)| slot.owner().is_some_and(Bucket::is_local));
    let asked = [
        (matches!(service.affinity, Affinity::Source { .. }), ServiceFlags::BY_SOURCE),
        (service.access.is_some(), ServiceFlags::ACCESS),
        (second_list, ServiceFlags::SECOND_LIST),
        (wish.config.pools[service.pool].reals.iter().any(here) || drains_here, ServiceFlags::LOCAL),
        (service.tracking == Tracking::Full, ServiceFlags::FULL),
    ];
    let asked = asked.into_iter().filter(|(is, _)| *is);
    asked.fold(ServiceFlags::default(), |flags, (_, flag)| flags.and(flag))
}

fn source_mask(service: &Service) -> [u64; 2] {
    match (service.affinity, service.vip) {
        (Affinity::Flow, _) => [0; 2],
        (Affinity::Source { bits }, IpAddr::V4(_)) => {
            words_of(IpAddr::V4(ipnet::Ipv4Net::new_assert(std::net::Ipv4Addr::UNSPECIFIED, bits).netmask()))
        }
        (Affinity::Source { bits }, IpAddr::V6(_)) => {
            words_of(IpAddr::V6(ipnet::Ipv6Net::new_assert(std::net::Ipv6Addr::UNSPECIFIED, bits).netmask()))
        }
    }
}

/// A real server of a pool, as the maps are to have it.
struct Known {
    id: RealId,
    info: RealInfo,
    slot: RealSlot,
    /// In buckets that it owns; `None` if it can own none.
    bucket: Option<Bucket>,
}

/// In the order of the circle.
fn known_reals(wish: &Wish<'_, impl Maps>, index: usize, circle: &Circle<'_>, ids: &RealIds) -> Vec<Known> {
    let pool = &wish.config.pools[index];
    let name = Name::new(&pool.name);
    let known = |real: &&Real| {
        let id = *ids.get(&(index, real.address))?;
        let state = wish.view.real_state(&pool.name, real.address);
        let (owner, exit) = way(wish.view, id, real.address);
        let owner = owner.filter(|_| state.is_usable());
        let draining = if real.weight == 0 { RealSlot::DRAINING } else { 0 };
        let slot = RealSlot { owner: owner.map_or(0, |owner| owner.to_word() | draining), exit: exit.0 };
        let info = RealInfo {
            used: 1,
            address: octets(real.address),
            weight: real.weight,
            family: family(real.address),
            state: state as u8,
            reserved: 0,
            mac: wish.view.macs.get(&real.address).copied().map_or(0, Mac::to_word),
            name: Name::new(&real.name),
            pool: name,
        };
        Some(Known { id, info, slot, bucket: owner.filter(|_| real.weight > 0) })
    };
    circle.reals.iter().filter_map(known).collect()
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
type Departed = (RealId, RealInfo, RealSlot);

/// Real servers that are gone from the config, but that flows are pinned to, or may be on by an old ring.
fn departed(wish: &Wish<'_, impl Maps>, ids: &RealIds, windows: bool) -> Vec<Departed> {
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

/// Each bucket's owner, and whether packets have to look at the pins.
fn buckets(
    wish: &Wish<'_, impl Maps>,
    circle: &Circle<'_>,
    known: &[Known],
    place: &Place<'_, impl Maps>,
    base: &[u16],
) -> Vec<Bucket> {
    let usable: Vec<bool> = known.iter().map(|known| known.bucket.is_some()).collect();
    let mut owners = vec![NOBODY; base.len()];
    ring::owners(&circle.members, base, &usable, &mut owners);
    let keeps_marks = place.in_place && wish.holds.ring(place.range);
    // Side by side, so that those of a thousand real servers lie in the cache while 65,537 buckets look for theirs.
    let of: Vec<Bucket> = known.iter().map(|known| known.bucket.unwrap_or(Bucket::EMPTY)).collect();
    let bucket = |(index, (owner, base)): (u32, (&u16, &u16))| {
        let bucket = of.get(*owner as usize).copied().unwrap_or(Bucket::EMPTY);
        let tracked = owner != base
            || keeps_marks && bucket_at(wish.maps, place.range.base + index).is_tracked()
            || place.former.disagree(index, place.range.size, bucket);
        if tracked { bucket.tracked() } else { bucket }
    };
    (0..).zip(owners.iter().zip(base)).map(bucket).collect()
}
